package main

import (
	"net/netip"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

const msec = time.Millisecond

// us is a time in microseconds, for data that is written down by hand.
func us(n int) time.Duration { return time.Duration(n) * time.Microsecond }

// datagrams are sent every millisecond from one time to another; those from
// lostFrom on and before lostTo are lost.
func datagrams(from, to, lostFrom, lostTo time.Duration) (list []ping) {
	for t := from; t < to; t += msec {
		list = append(list, ping{sent: t, lost: t >= lostFrom && t < lostTo})
	}
	return list
}

func vip(lan int) netip.Prefix { return netip.PrefixFrom(plan()[lan].vip, 32) }

func address(at time.Duration, router, lan int, what netlab.Change) change {
	return change{at, router, plan()[lan].vmac(), what, vip(lan)}
}

// r1 has both addresses.
var atR1 = [2][2]bool{{true, true}, {}}

// cablePull is what is recorded when the cable of r1, the MASTER, is pulled.
func cablePull() observation {
	return observation{
		from: -250 * msec, to: 900 * msec, held: atR1,
		pings: datagrams(-250*msec, 900*msec, 1*msec, 613*msec),
		adverts: []advert{
			{us(-120_000), 0, 0, 100}, {us(-119_000), 0, 1, 100}, // as ever
			{us(2_100), 0, 1, 0}, {us(22_000), 0, 1, 0}, {us(102_300), 0, 1, 0},
			{us(612_400), 1, 0, 100}, {us(612_500), 1, 1, 100}, {us(890_000), 1, 1, 100},
		},
		links: []change{
			{us(600), 0, "eth0", netlab.CarrierLost, netip.Prefix{}},
			{us(610), 0, "vrrp51", netlab.CarrierLost, netip.Prefix{}}, // goes without saying
			address(us(1_200), 0, 0, netlab.AddrGone),
			address(us(1_900), 0, 1, netlab.AddrGone),
			{us(22_000), 0, "vrrp52", netlab.LinkDown, netip.Prefix{}},
			address(us(612_800), 1, 0, netlab.AddrAdded),
			address(us(612_900), 1, 1, netlab.AddrAdded),
		},
		states: []transition{
			{us(900), 0, "MASTER", "HELD", "link-down"},
			{us(612_300), 1, "BACKUP", "MASTER", "unanswered"},
		},
	}
}

// handOver is what is recorded when r1 resigns and serves on until r2 speaks.
func handOver() observation {
	return observation{
		from: -250 * msec, to: 900 * msec, held: atR1,
		pings: datagrams(-250*msec, 900*msec, 0, 0),
		adverts: []advert{
			{us(-500_000), 0, 0, 100}, {us(1_000), 0, 0, 0}, {us(1_100), 0, 1, 0},
			{us(51_000), 0, 0, 0}, {us(51_100), 0, 1, 0}, {us(201_000), 0, 0, 0}, {us(201_100), 0, 1, 0},
			{us(611_000), 1, 0, 100}, {us(611_050), 1, 1, 100},
		},
		links: []change{
			address(us(611_300), 1, 0, netlab.AddrAdded),
			address(us(611_500), 0, 0, netlab.AddrGone),
			address(us(611_600), 1, 1, netlab.AddrAdded),
			address(us(611_700), 0, 1, netlab.AddrGone),
			{us(640_000), 0, "vrrp51", netlab.LinkGone, netip.Prefix{}},
		},
		states: []transition{
			{us(900), 0, "MASTER", "LINGER", "stop"},
			{us(610_900), 1, "BACKUP", "MASTER", "master-resigned"},
			{us(611_200), 0, "LINGER", "HELD", "successor"},
		},
		crossed: 1,
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		seen observation
		want verdict
	}{
		"cable pulled": {cablePull(), verdict{sent: 1150, lost: 612, gap: 612 * msec, first: 1 * msec}},
		"handed over":  {handOver(), verdict{sent: 1150, split: us(100), crossed: 1}},
		"two gaps, the longer counts": {
			observation{to: 10 * msec, pings: []ping{{0, true}, {1 * msec, false}, {2 * msec, true}, {3 * msec, true}, {4 * msec, false}}},
			verdict{sent: 5, lost: 3, gap: 2 * msec, first: 2 * msec},
		},
		"never answered again": {
			observation{to: 10 * msec, pings: []ping{{0, false}, {1 * msec, true}, {2 * msec, true}}},
			verdict{sent: 3, lost: 2, gap: 9 * msec, first: 1 * msec},
		},
		"nothing sent": {observation{to: 10 * msec}, verdict{}},
		"one LAN changes sides 3 ms before the other": {
			observation{to: 10 * msec, held: atR1, links: []change{
				address(1*msec, 0, 0, netlab.AddrGone), address(2*msec, 1, 0, netlab.AddrAdded),
				address(5*msec, 0, 1, netlab.AddrGone), address(6*msec, 1, 1, netlab.AddrAdded),
			}},
			verdict{split: 3 * msec},
		},
		"split to the end, the interface deleted with its address": {
			observation{to: 10 * msec, held: [2][2]bool{{true, true}, {}}, links: []change{
				{1 * msec, 0, "vrrp52", netlab.LinkGone, netip.Prefix{}}, address(4*msec, 1, 1, netlab.AddrAdded),
			}},
			verdict{split: 6 * msec},
		},
		"another address moves": {
			observation{to: 10 * msec, held: atR1, links: []change{
				{1 * msec, 0, "vrrp51", netlab.AddrGone, netip.MustParsePrefix("192.0.2.1/32")},
				{1 * msec, 1, "vrrp51", netlab.AddrAdded, netip.MustParsePrefix("192.0.2.1/32")},
			}},
			verdict{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.seen.verdict(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for held, want := range map[[2][2]bool]bool{
		{}:                             false,
		{{true, true}, {}}:             false,
		{{}, {true, true}}:             false,
		{{true, false}, {}}:            false, // half a machine, but no other one
		{{true, false}, {false, true}}: true,
		{{false, true}, {true, false}}: true,
		{{true, true}, {true, false}}:  false, // both may serve LAN A
		{{true, true}, {true, true}}:   false,
	} {
		if got := split(held); got != want {
			t.Errorf("%v: split is %v, want %v", held, got, want)
		}
	}
}

func TestDatagramIsTheSameThereAndBack(t *testing.T) {
	frame := func(src, payload string) netlab.Frame {
		data := make([]byte, 14+20+8)
		copy(data[6:], src)
		return netlab.Frame{Data: append(data, payload...)}
	}
	there, ok1 := datagram(frame("r1....", "datagram 7"))
	back, ok2 := datagram(frame("r2....", "datagram 7"))
	if !ok1 || !ok2 || there != back {
		t.Errorf("there %q %v, back %q %v: not the same", there, ok1, back, ok2)
	}
	if other, _ := datagram(frame("r1....", "datagram 8")); other == there {
		t.Error("two datagrams are the same")
	}
	if _, ok := datagram(frame("r1....", "")); ok {
		t.Error("a datagram without content is one")
	}
}
