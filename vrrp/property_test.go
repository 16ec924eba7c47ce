package vrrp

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawAddr(t *rapid.T, family Family, label string) netip.Addr {
	b := rapid.SliceOfN(rapid.Byte(), family.size(), family.size()).Draw(t, label)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Whatever can be encoded comes back, from any router's packet and for any form.
func TestRoundTrip(t *testing.T) {
	var got Advert // reused from case to case, as the loop does
	rapid.Check(t, func(t *rapid.T) {
		family := rapid.SampledFrom([]Family{IPv4, IPv6}).Draw(t, "family")
		version := uint8(3)
		if family == IPv4 {
			version = rapid.SampledFrom([]uint8{2, 3}).Draw(t, "version")
		}
		a := Advert{
			Version:  version,
			VRID:     rapid.Uint8Range(1, 255).Draw(t, "vrid"),
			Priority: rapid.Uint8().Draw(t, "priority"),
		}
		if version == 2 {
			a.Interval = time.Duration(rapid.IntRange(1, 255).Draw(t, "interval")) * time.Second
		} else {
			a.Interval = time.Duration(rapid.IntRange(1, 4095).Draw(t, "interval")) * 10 * time.Millisecond
		}
		for range rapid.IntRange(1, 255).Draw(t, "count") {
			a.Addrs = append(a.Addrs, drawAddr(t, family, "addr"))
		}
		if family == IPv6 {
			b := a.Addrs[0].As16()
			b[0], b[1] = 0xfe, 0x80|b[1]&0x3f
			a.Addrs[0] = netip.AddrFrom16(b)
		}
		src, dst := drawAddr(t, family, "src"), drawAddr(t, family, "dst")
		form := rapid.SampledFrom([]ChecksumForm{RFC9568, RFC5798}).Draw(t, "form")

		wire, err := a.AppendTo(nil, src, dst, form)
		if err != nil {
			t.Fatal(err)
		}
		if want := Size(version, family, len(a.Addrs)); len(wire) != want {
			t.Fatalf("%d bytes, Size says %d", len(wire), want)
		}
		r := Rules{Version: version, VRID: a.VRID, Family: family, Interval: a.Interval, Addrs: slices.Clone(a.Addrs)}
		slices.Reverse(r.Addrs)
		if drop := r.Receive(Packet{Src: src, Dst: dst, TTL: TTL, Payload: wire}, &got); drop != DropNone {
			t.Fatal(drop)
		}
		// Both forms agree when the pseudo-header's sum is zero.
		a.LegacyChecksum = version == 3 && family == IPv4 && form == RFC5798 && fold(pseudoSum(src, dst, len(wire))) != 0xffff
		if !equalAdverts(got, a) {
			t.Fatalf("got  %+v\nwant %+v", got, a)
		}
	})
}

// sum takes four bytes at a time; the definition takes two.
func TestSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "bytes")
		var want uint32
		for i, c := range b {
			want += uint32(c) << (8 * (1 - i%2))
			want = want>>16 + want&0xffff
		}
		if got := fold(sum(b)); uint32(got) != want {
			t.Fatalf("%04x, want %04x", got, want)
		}
	})
}

// FuzzReceive: nothing panics, Identify and Receive agree, nothing is written to
// the payload, and what is accepted re-encodes to the same bytes, but for the
// reserved bits, the Authentication Data and so the checksum.
func FuzzReceive(f *testing.F) {
	for _, g := range goldens {
		f.Add(g.bytes(), FamilyOf(netip.MustParseAddr(g.src)) == IPv6, uint8(TTL), g.advert.Version, uint8(0))
		f.Add(g.bytes(), FamilyOf(netip.MustParseAddr(g.src)) == IPv6, uint8(TTL), g.advert.Version, uint8(1))
		f.Add(append(g.bytes(), make([]byte, 28)...), false, uint8(TTL), g.advert.Version, uint8(2))
	}
	for _, g := range goldens {
		f.Add(g.bytes(), false, uint8(TTL), uint8(3), uint8(16|8))
	}
	f.Add(carpPacket().Payload, false, uint8(TTL), uint8(2), uint8(0))
	f.Fuzz(func(t *testing.T, payload []byte, v6 bool, ttl, version, mend uint8) {
		p := Packet{Src: netip.MustParseAddr("192.0.2.251"), Dst: IPv4.Group(), TTL: ttl, Payload: payload}
		r := Rules{Version: version, Family: IPv4, Interval: time.Second, Addrs: addrs("192.0.2.1", "192.0.2.2")}
		if v6 {
			p.Src, p.Dst, r.Family = netip.MustParseAddr("fe80::251"), IPv6.Group(), IPv6
		}
		if len(payload) >= headerLen {
			r.VRID = payload[1]
			// The checksum and the comparisons would stop nearly everything.
			if mend&1 != 0 {
				p = reseal(p, RFC9568)
			} else if mend&2 != 0 {
				p = reseal(p, RFC5798)
			}
			if mend&16 != 0 && version == 3 {
				r.Beside2 = true
			}
			if mend&4 != 0 {
				r.Interval = time.Duration(payload[5]) * time.Second
			}
			if size := r.Family.size(); mend&8 != 0 {
				r.Addrs = r.Addrs[:0]
				for rest := payload[headerLen:]; len(rest) >= size && len(r.Addrs) < int(payload[3]); rest = rest[size:] {
					a, _ := netip.AddrFromSlice(rest[:size])
					r.Addrs = append(r.Addrs, a)
				}
			}
		}
		before := slices.Clone(p.Payload)
		identified, vrid, first := Identify(p.Payload)
		a := Advert{Addrs: make([]netip.Addr, 3, 8)}
		drop := r.Receive(p, &a)
		if !bytes.Equal(before, p.Payload) {
			t.Fatal("the payload was written to")
		}
		var again Advert
		if d := r.Receive(p, &again); d != drop {
			t.Fatalf("first %v, then %v", drop, d)
		}
		if first != DropNone {
			if drop != first {
				t.Fatalf("Identify says %v, Receive %v", first, drop)
			}
			return
		}
		if drop >= numDrops || drop == DropFragment || drop == DropDestination || drop == DropAuth {
			t.Fatalf("%v is not for Receive to say", drop)
		}
		if drop != DropNone {
			return
		}
		if !equalAdverts(a, again) {
			t.Fatalf("first %+v, then %+v", a, again)
		}
		if ttl != 255 || a.Version != version && !(r.Beside2 && a.Version == 2) || identified != a.Version || vrid != a.VRID || a.VRID != r.VRID || a.VRID == 0 ||
			a.Interval <= 0 || a.AuthType != AuthNone || len(a.Addrs) == 0 ||
			len(p.Payload) != Size(a.Version, r.Family, len(a.Addrs)) ||
			a.IntervalDiffers != (a.Interval != r.Interval) || version == 2 && a.IntervalDiffers ||
			a.Version == 2 && a.AddressesDiffer && a.Priority != PriorityOwner {
			t.Fatalf("accepted %+v from % x", a, p.Payload)
		}
		form := RFC9568
		if a.LegacyChecksum {
			form = RFC5798
		}
		wire, err := a.AppendTo(nil, p.Src, p.Dst, form)
		if err != nil {
			t.Fatalf("accepted, but cannot be sent: %v", err)
		}
		// The same again, with what need not come back taken out of both.
		plain := slices.Clone(p.Payload)
		if a.Version == 3 {
			plain[4] &= 0x0f
		} else {
			clear(plain[len(plain)-authDataLen:])
		}
		if bytes.Equal(plain, p.Payload) {
			// Zero has two forms in one's complement.
			got, want := binary.BigEndian.Uint16(wire[6:]), binary.BigEndian.Uint16(plain[6:])
			if got != want && !(got == 0 && want == 0xffff) {
				t.Fatalf("checksum %04x, received %04x", got, want)
			}
		}
		copy(plain[6:8], wire[6:8])
		if !bytes.Equal(plain, wire) {
			t.Fatalf("received % x\nsent     % x", p.Payload, wire)
		}
	})
}

// Long lists are compared by a table, short ones each with each: the same answer.
func TestSameAddrs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := rapid.IntRange(1, 400).Draw(t, "pool")
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			n := rapid.IntRange(0, pool).Draw(t, "n")
			return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		})
		want := rapid.SliceOfN(addr, 0, MaxAddrs).Draw(t, "want")
		got := rapid.Permutation(want).Draw(t, "order")
		if !sameAddrs(got, want) {
			t.Fatalf("%v and %v are the same addresses", got, want)
		}
		if len(want) == 0 {
			return
		}
		got = slices.Clone(got)
		got[rapid.IntRange(0, len(got)-1).Draw(t, "changed")] = addr.Draw(t, "by")
		count := func(list []netip.Addr) map[netip.Addr]int {
			n := map[netip.Addr]int{}
			for _, a := range list {
				n[a]++
			}
			return n
		}
		if same := maps.Equal(count(got), count(want)); sameAddrs(got, want) != same {
			t.Fatalf("%v and %v: %t, want %t", got, want, !same, same)
		}
	})
}

func TestSameAddrsAllocatesNothing(t *testing.T) {
	var got, want []netip.Addr
	for i := range MaxAddrs {
		got = append(got, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		want = append(want, netip.AddrFrom4([4]byte{10, 0, 0, byte(MaxAddrs - 1 - i)}))
	}
	if n := testing.AllocsPerRun(100, func() {
		if !sameAddrs(got, want) {
			t.Error("not the same")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
