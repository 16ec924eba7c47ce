package vrrp

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDropWords(t *testing.T) {
	seen := map[string]bool{}
	for d := range numDrops {
		if w := d.String(); !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(w) || seen[w] {
			t.Errorf("reason %d is %q", d, w)
		} else {
			seen[w] = true
		}
	}
	for _, d := range []Drop{numDrops, 255} {
		if d.String() != "unknown" {
			t.Errorf("reason %d is %q", d, d)
		}
	}
}

func TestCounters(t *testing.T) {
	var c Counters
	for range 3 {
		c[DropNone]++
	}
	c[DropTTL]++
	c[DropAddressList] += 2
	var words []string
	for d, n := range c.Drops() {
		words = append(words, d.String()+"="+strconv.FormatUint(n, 10))
	}
	want := strings.Fields("ip-header=0 fragment=0 destination=0 length=0 version=0 type=0 foreign-carp=0 vrid=0 not-a-peer=0 ttl=1 " +
		"checksum=0 count=0 auth-type=0 auth=0 interval-zero=0 family=0 link-local=0 interval=0 address-list=2 " +
		"auth-missing=0 auth-malformed=0 auth-stale=0 auth-unknown-key=0 auth-replay=0 flood=0")
	if !slices.Equal(words, want) {
		t.Errorf("got  %v\nwant %v", words, want)
	}
	if c.Dropped() != 3 {
		t.Errorf("Dropped = %d", c.Dropped())
	}
	for d := range c.Drops() {
		if d == DropLength {
			break // must be harmless
		}
	}
}

// A packet with every fault at once is named after the first; with that one
// mended, after the next.
func TestLadder(t *testing.T) {
	type step struct {
		want Drop
		mend func(r *Rules, p *Packet)
	}
	set := func(change func(b []byte)) func(*Rules, *Packet) {
		return func(_ *Rules, p *Packet) { *p = edit(*p, change) }
	}
	grow := func(n int) func(*Rules, *Packet) {
		return func(_ *Rules, p *Packet) {
			p.Payload = append(p.Payload, make([]byte, n)...)
			*p = reseal(*p, RFC9568)
		}
	}
	damage := func(_ *Rules, p *Packet) { p.Payload[6] ^= 0x40 }
	for _, tc := range []struct {
		name  string
		rules Rules
		steps []step
	}{
		{"v2", Rules{Version: 2, VRID: 7, Family: IPv6, Interval: time.Second, Addrs: addrs("192.0.2.1")}, []step{
			{DropIPHeader, func(_ *Rules, p *Packet) { p.Src = netip.MustParseAddr("192.0.2.251") }},
			{DropLength, func(r *Rules, p *Packet) { grow(9)(r, p); p.Payload[5] = 0; damage(r, p) }},
			{DropVersion, func(_ *Rules, p *Packet) { p.Payload[0] = 0x2f }},
			{DropType, func(_ *Rules, p *Packet) { p.Payload[0] = 0x21 }},
			{DropVRID, func(_ *Rules, p *Packet) { p.Payload[1] = 7 }},
			{DropTTL, func(_ *Rules, p *Packet) { p.TTL = 255 }},
			{DropChecksum, func(_ *Rules, p *Packet) { *p = reseal(*p, RFC9568) }},
			{DropCount, set(func(b []byte) { b[3] = 1 })},
			{DropLength, grow(4)},
			{DropAuthType, set(func(b []byte) { b[4] = 0 })},
			{DropIntervalZero, set(func(b []byte) { b[5] = 2 })},
			{DropFamily, func(r *Rules, _ *Packet) { r.Family = IPv4 }},
			{DropInterval, func(r *Rules, _ *Packet) { r.Interval = 2 * time.Second }},
			{DropAddressList, func(r *Rules, _ *Packet) { r.Addrs = addrs("0.0.0.0") }},
			{DropNone, nil},
		}},
		{"v3 IPv6", Rules{Version: 3, VRID: 7, Family: IPv4, Interval: time.Second, Addrs: addrs("fe80::1")}, []step{
			{DropIPHeader, func(_ *Rules, p *Packet) { p.Src, p.Dst = netip.MustParseAddr("fe80::1"), IPv6.Group() }},
			{DropLength, func(r *Rules, p *Packet) { grow(9)(r, p); p.Payload[4], p.Payload[5] = 0xf0, 0; damage(r, p) }},
			{DropVersion, func(_ *Rules, p *Packet) { p.Payload[0] = 0x3f }},
			{DropType, func(_ *Rules, p *Packet) { p.Payload[0] = 0x31 }},
			{DropVRID, func(_ *Rules, p *Packet) { p.Payload[1] = 7 }},
			{DropTTL, func(_ *Rules, p *Packet) { p.TTL = 255 }},
			{DropChecksum, func(_ *Rules, p *Packet) { *p = reseal(*p, RFC9568) }},
			{DropCount, set(func(b []byte) { b[3] = 1 })},
			{DropLength, grow(8)},
			{DropIntervalZero, set(func(b []byte) { b[5] = 2 })},
			{DropFamily, func(r *Rules, _ *Packet) { r.Family = IPv6 }},
			{DropLinkLocal, set(func(b []byte) { b[8], b[9] = 0xfe, 0x80 })},
			{DropNone, nil},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Packet{Dst: IPv4.Group(), TTL: 64, Payload: []byte{0x1f, 9, 1, 0, 1, 0, 0xbb}}
			for i, s := range tc.steps {
				var a Advert
				if got := tc.rules.Receive(p, &a); got != s.want {
					t.Fatalf("step %d: %v, want %v (% x)", i, got, s.want, p.Payload)
				}
				if s.mend != nil {
					s.mend(&tc.rules, &p)
				}
			}
		})
	}
}

// An advert of CARP as OpenBSD, FreeBSD and UCARP send it: vhid 1, advskew 0,
// advbase 1.
const carpWire = "2101000700010000 0123456789abcdef 000102030405060708090a0b0c0d0e0f10111213"

func carpPacket() Packet {
	p := Packet{Src: netip.MustParseAddr("192.0.2.9"), Dst: IPv4.Group(), TTL: TTL, Payload: unhex(carpWire)}
	p.Payload[6], p.Payload[7] = 0xe6, 0x6c // made apart from this package
	return p
}

func TestForeignCARP(t *testing.T) {
	r := Rules{Version: 2, VRID: 1, Family: IPv4, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	p := carpPacket()
	expect(t, r, p, DropForeignCARP)
	// A neighbour's vhid is none of our business, whichever it is.
	for vhid := range 256 {
		other := edit(p, func(b []byte) { b[1] = byte(vhid) })
		if version, vrid, drop := Identify(other.Payload); version != 2 || vrid != uint8(vhid) || drop != DropForeignCARP {
			t.Errorf("vhid %d: %d, %d, %v", vhid, version, vrid, drop)
		}
	}
	// OpenBSD's demotion counter stands in the pad, backing out is 255/255.
	expect(t, r, edit(p, func(b []byte) { b[2], b[4], b[5] = 255, 3, 255 }), DropForeignCARP)

	// Two of UCARP 1.5.2, as they came.
	for _, wire := range []string{
		"2133000700 0154cf 461d721c01b179c1e6d6cf3597808374ed7fcc3615d54c346258072f",
		"2133000700 01dda4 606a00992b9ef3d2412ec1501d730c986f96dbefb8d77255a1df3b8e",
	} {
		p.Payload = unhex(wire)
		expect(t, r, p, DropForeignCARP)
	}

	// What is not certainly CARP keeps its name.
	damaged := carpPacket()
	damaged.Payload[20] ^= 1
	expect(t, r, damaged, DropLength)
	seven := Advert{Version: 2, VRID: 1, Interval: time.Second, Addrs: slices.Repeat(addrs("192.0.2.1"), 7)}
	b, err := seven.AppendTo(nil, p.Src, p.Dst, RFC9568)
	if err != nil {
		t.Fatal(err)
	}
	r.Addrs = seven.Addrs
	expect(t, r, Packet{Src: p.Src, Dst: p.Dst, TTL: TTL, Payload: b}, DropNone)
	b[43] = 0x5a // with zeros cut off, it would be CARP to the last bit
	cut := reseal(Packet{Src: p.Src, Dst: p.Dst, TTL: TTL, Payload: b}, RFC9568)
	cut.Payload = cut.Payload[:36]
	expect(t, r, cut, DropLength)
	// 36 bytes are also a good advert with five addresses.
	five := Advert{Version: 2, VRID: 1, Interval: time.Second, Addrs: slices.Repeat(addrs("192.0.2.1"), 5)}
	if b, err = five.AppendTo(nil, p.Src, p.Dst, RFC9568); err != nil || len(b) != 36 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	r.Addrs = five.Addrs
	expect(t, r, Packet{Src: p.Src, Dst: p.Dst, TTL: TTL, Payload: b}, DropNone)
}
