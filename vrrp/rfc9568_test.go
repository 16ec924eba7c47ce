package vrrp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// One test per row of the VRRPv3 checklist that the wire decides, named after the
// section and the row.

const (
	v3IPv4 = "v3 IPv4 RFC 9568"
	v3IPv6 = "v3 IPv6 two addresses"
)

func TestRFC9568_5_1_1_3_TTL(t *testing.T) {
	for _, ttl := range []uint8{0, 1, 64, 254} {
		r, p := goldenNamed(t, v3IPv4)
		p.TTL = ttl
		expect(t, r, p, DropTTL)
	}
	r, p := goldenNamed(t, v3IPv4)
	p.TTL = 255
	expect(t, r, p, DropNone)
}

// Peers beyond routers are given less, as far as was asked for: 1 is any.
func TestMinTTL(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		for _, least := range []uint8{1, 2, 64, 254, 255} {
			for _, ttl := range []uint8{1, 2, 63, 64, 65, 253, 254, 255} {
				r, p := goldenNamed(t, name)
				r.MinTTL, p.TTL = least, ttl
				want := DropNone
				if ttl < least {
					want = DropTTL
				}
				expect(t, r, p, want)
			}
		}
	}
}

func TestRFC9568_5_1_2_3_HopLimit(t *testing.T) {
	for _, ttl := range []uint8{0, 1, 64, 254} {
		r, p := goldenNamed(t, v3IPv6)
		p.TTL = ttl
		expect(t, r, p, DropTTL)
	}
	r, p := goldenNamed(t, v3IPv6)
	p.TTL = 255
	expect(t, r, p, DropNone)
}

func TestRFC9568_5_2_1_Version(t *testing.T) {
	src, group := netip.MustParseAddr("192.0.2.251"), IPv4.Group()
	a := Advert{Version: 3, VRID: 1, Priority: 100, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	b, err := a.AppendTo(nil, src, group, RFC9568)
	if err != nil || b[0]>>4 != 3 {
		t.Errorf("got % x, %v", b, err)
	}
	for _, v := range []uint8{0, 1, 4, 15} {
		a.Version = v
		if _, err := a.AppendTo(nil, src, group, RFC9568); err == nil {
			t.Errorf("version %d was encoded", v)
		}
	}
}

func TestRFC9568_5_2_2_Type(t *testing.T) {
	for typ := range byte(16) {
		r, p := goldenNamed(t, v3IPv4)
		p = edit(p, func(b []byte) { b[0] = 0x30 | typ })
		want := DropType
		if typ == 1 {
			want = DropNone
		}
		expect(t, r, p, want)
		if _, _, drop := Identify(p.Payload); drop != want {
			t.Errorf("type %d: Identify says %v", typ, drop)
		}
	}
}

func TestRFC9568_5_2_3_VRID(t *testing.T) {
	r, p := goldenNamed(t, v3IPv4)
	expect(t, r, edit(p, func(b []byte) { b[1] = 11 }), DropVRID)
	r.VRID = 0
	zero := edit(p, func(b []byte) { b[1] = 0 })
	expect(t, r, zero, DropVRID)
	if _, _, drop := Identify(zero.Payload); drop != DropVRID {
		t.Errorf("Identify says %v", drop)
	}
	a := Advert{Version: 3, Priority: 100, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	if _, err := a.AppendTo(nil, p.Src, p.Dst, RFC9568); err == nil {
		t.Error("VRID 0 was encoded")
	}
}

// Priority 0 (resigning) and 255 (owner) are as good on the wire as any.
func TestRFC9568_5_2_4_Priority(t *testing.T) {
	for _, prio := range []byte{PriorityResign, 1, 254, PriorityOwner} {
		r, p := goldenNamed(t, v3IPv4)
		a := expect(t, r, edit(p, func(b []byte) { b[2] = prio }), DropNone)
		if a.Priority != prio {
			t.Errorf("priority %d was read as %d", prio, a.Priority)
		}
	}
}

func TestRFC9568_5_2_5_Count(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		r, p := goldenNamed(t, name)
		expect(t, r, edit(p, func(b []byte) { b[3] = 0 }), DropCount)
		p.Payload = p.Payload[:8]
		expect(t, r, edit(p, func(b []byte) { b[3] = 0 }), DropCount)
	}
	src, group := netip.MustParseAddr("192.0.2.251"), IPv4.Group()
	a := Advert{Version: 3, VRID: 1, Priority: 100, Interval: time.Second}
	if _, err := a.AppendTo(nil, src, group, RFC9568); err == nil {
		t.Error("an advert without addresses was encoded")
	}
	a.Addrs = slices.Repeat(addrs("192.0.2.1"), 256)
	if _, err := a.AppendTo(nil, src, group, RFC9568); err == nil {
		t.Error("256 addresses were encoded")
	}
	a.Addrs = a.Addrs[:255]
	b, err := a.AppendTo(nil, src, group, RFC9568)
	if err != nil {
		t.Fatal(err)
	}
	got := expect(t, Rules{Version: 3, VRID: 1, Family: IPv4, Interval: time.Second, Addrs: a.Addrs},
		Packet{Src: src, Dst: group, TTL: TTL, Payload: b}, DropNone)
	if len(got.Addrs) != 255 || got.AddressesDiffer {
		t.Errorf("%d addresses came back, differing: %v", len(got.Addrs), got.AddressesDiffer)
	}
}

func TestRFC9568_5_2_6_Reserve(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		for garbage := range byte(16) {
			r, p := goldenNamed(t, name)
			a := expect(t, r, edit(p, func(b []byte) { b[4] |= garbage << 4 }), DropNone)
			if a.Interval != time.Second || a.IntervalDiffers {
				t.Errorf("reserved bits %#x: interval %v", garbage, a.Interval)
			}
		}
	}
	a := Advert{Version: 3, VRID: 1, Interval: 40950 * time.Millisecond, Addrs: addrs("192.0.2.1")}
	b, err := a.AppendTo(nil, netip.MustParseAddr("192.0.2.251"), IPv4.Group(), RFC9568)
	if err != nil || b[4]>>4 != 0 {
		t.Errorf("reserved bits sent: % x, %v", b, err)
	}
}

func TestRFC9568_5_2_7_Interval(t *testing.T) {
	src, group := netip.MustParseAddr("192.0.2.251"), IPv4.Group()
	for _, tc := range []struct {
		interval time.Duration
		wire     uint16 // 0: cannot be sent
	}{
		{10 * time.Millisecond, 1},
		{100 * time.Millisecond, 10},
		{time.Second, 100},
		{2560 * time.Millisecond, 256},
		{40950 * time.Millisecond, 4095},
		{40960 * time.Millisecond, 0},
		{0, 0},
		{-10 * time.Millisecond, 0},
		{5 * time.Millisecond, 0},
		{15 * time.Millisecond, 0},
		{time.Second + 1, 0},
		{655370 * time.Millisecond, 0}, // 1 in 16 bits
	} {
		a := Advert{Version: 3, VRID: 1, Priority: 100, Interval: tc.interval, Addrs: addrs("192.0.2.1")}
		b, err := a.AppendTo(nil, src, group, RFC9568)
		if tc.wire == 0 {
			if err == nil || b != nil {
				t.Errorf("%v was encoded as % x", tc.interval, b)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", tc.interval, err)
			continue
		}
		if got := binary.BigEndian.Uint16(b[4:]); got != tc.wire {
			t.Errorf("%v is %d on the wire, want %d", tc.interval, got, tc.wire)
		}
		got := expect(t, Rules{Version: 3, VRID: 1, Family: IPv4, Interval: tc.interval, Addrs: a.Addrs},
			Packet{Src: src, Dst: group, TTL: TTL, Payload: b}, DropNone)
		if got.Interval != tc.interval {
			t.Errorf("%v came back as %v", tc.interval, got.Interval)
		}
	}
}

func TestRFC9568_5_2_8_ChecksumIPv4(t *testing.T) {
	r, p := goldenNamed(t, v3IPv4)
	if a := expect(t, r, p, DropNone); a.LegacyChecksum {
		t.Error("the message-only checksum was taken for the older form")
	}
	// No pseudo-header: the addresses of the IP header do not matter.
	p.Src = netip.MustParseAddr("192.0.2.7")
	expect(t, r, p, DropNone)
	p.Payload[7]++
	expect(t, r, p, DropChecksum)
}

func TestRFC5798_5_2_8_ChecksumIPv4(t *testing.T) {
	r, p := goldenNamed(t, "v3 IPv4 RFC 5798")
	if a := expect(t, r, p, DropNone); !a.LegacyChecksum {
		t.Error("the pseudo-header went unnoticed")
	}
	// The pseudo-header counts: another sender's checksum is wrong.
	p.Src = netip.MustParseAddr("192.0.2.7")
	expect(t, r, p, DropChecksum)
}

func TestRFC9568_5_2_8_ChecksumIPv6(t *testing.T) {
	r, p := goldenNamed(t, v3IPv6)
	if a := expect(t, r, p, DropNone); a.LegacyChecksum {
		t.Error("IPv6 has one form only")
	}
	other := p
	other.Src = netip.MustParseAddr("fe80::7")
	expect(t, r, other, DropChecksum)
	other = p
	other.Dst = netip.MustParseAddr("fe80::7")
	expect(t, r, other, DropChecksum)
	// The message alone is not enough.
	plain := p
	plain.Payload = slices.Clone(p.Payload)
	plain.Payload[6], plain.Payload[7] = 0, 0
	binary.BigEndian.PutUint16(plain.Payload[6:], ^fold(sum(plain.Payload)))
	expect(t, r, plain, DropChecksum)
}

func TestRFC9568_5_2_9_FirstAddressLinkLocal(t *testing.T) {
	r, p := goldenNamed(t, v3IPv6)
	for addr, want := range map[string]Drop{
		"fe80::1":            DropNone,
		"febf:ffff::1":       DropNone,
		"fec0::1":            DropLinkLocal,
		"2001:db8::2":        DropLinkLocal,
		"::":                 DropLinkLocal,
		"ff02::1":            DropLinkLocal,
		"::ffff:169.254.0.1": DropLinkLocal,
	} {
		first := netip.MustParseAddr(addr)
		r.Addrs[0] = first
		b := first.As16()
		expect(t, r, edit(p, func(m []byte) { copy(m[8:], b[:]) }), want)
		a := Advert{Version: 3, VRID: 1, Interval: time.Second, Addrs: []netip.Addr{first}}
		if _, err := a.AppendTo(nil, p.Src, p.Dst, RFC9568); (err == nil) != (want == DropNone) {
			t.Errorf("encoding with first address %v: %v", addr, err)
		}
	}
	// Only the first one.
	r, p = goldenNamed(t, v3IPv6)
	swapped := edit(p, func(m []byte) {
		first := slices.Clone(m[8:24])
		copy(m[8:], m[24:40])
		copy(m[24:], first)
	})
	expect(t, r, swapped, DropLinkLocal)
}

func TestRFC9568_5_2_9_Family(t *testing.T) {
	r4, p4 := goldenNamed(t, v3IPv4)
	r6, p6 := goldenNamed(t, v3IPv6)
	r4.Family, r6.Family = IPv6, IPv4
	expect(t, r4, p4, DropFamily)
	expect(t, r6, p6, DropFamily)
	// An IP header is of one family.
	r4, _ = goldenNamed(t, v3IPv4)
	for _, pair := range [][2]netip.Addr{
		{p4.Src, p6.Dst}, {p6.Src, p4.Dst}, {p4.Src, {}}, {{}, p4.Dst}, {{}, {}},
	} {
		bad := p4
		bad.Src, bad.Dst = pair[0], pair[1]
		expect(t, r4, bad, DropIPHeader)
	}
	// Nor can a message mix them.
	for _, list := range [][]netip.Addr{addrs("fe80::1"), addrs("192.0.2.1", "fe80::1"), addrs("::ffff:192.0.2.1"), {{}}} {
		a := Advert{Version: 3, VRID: 1, Interval: time.Second, Addrs: list}
		if _, err := a.AppendTo(nil, p4.Src, p4.Dst, RFC9568); err == nil {
			t.Errorf("%v was encoded over IPv4", list)
		}
	}
	for _, list := range [][]netip.Addr{addrs("192.0.2.1"), addrs("fe80::1", "192.0.2.1"), addrs("fe80::1%eth0"), {{}}} {
		a := Advert{Version: 3, VRID: 1, Interval: time.Second, Addrs: list}
		if _, err := a.AppendTo(nil, p6.Src, p6.Dst, RFC9568); err == nil {
			t.Errorf("%v was encoded over IPv6", list)
		}
	}
	a := Advert{Version: 3, VRID: 1, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	for _, pair := range [][2]netip.Addr{{p4.Src, p6.Dst}, {p4.Src, {}}, {{}, p4.Dst}, {{}, {}}} {
		if _, err := a.AppendTo(nil, pair[0], pair[1], RFC9568); err == nil {
			t.Errorf("encoded from %v to %v", pair[0], pair[1])
		}
	}
	a.Addrs = []netip.Addr{{}}
	if _, err := a.AppendTo(nil, netip.Addr{}, netip.Addr{}, RFC9568); err == nil {
		t.Error("encoded without any address")
	}
}

func TestRFC9568_7_1_Version(t *testing.T) {
	for version := range byte(16) {
		r, p := goldenNamed(t, v3IPv4)
		p = edit(p, func(b []byte) { b[0] = version<<4 | 1 })
		want := DropVersion
		if version == 3 {
			want = DropNone
		}
		expect(t, r, p, want)
		if version == 2 {
			want = DropNone // another virtual router may speak it
		}
		if got, _, drop := Identify(p.Payload); drop != want || got != version {
			t.Errorf("version %d: Identify says %d, %v", version, got, drop)
		}
	}
	// A good advert of the other version is not for us.
	r3, p3 := goldenNamed(t, v3IPv4)
	r2, p2 := goldenNamed(t, "v2 two addresses")
	expect(t, r3, p2, DropVersion)
	expect(t, r2, p3, DropVersion)
}

func TestRFC9568_7_1_Type(t *testing.T) {
	// Extreme's "fast advertisement" is a packet type of its own.
	r, p := goldenNamed(t, v3IPv4)
	expect(t, r, edit(p, func(b []byte) { b[0] = 0x37 }), DropType)
}

func TestRFC9568_7_1_CompletePacket(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		r, p := goldenNamed(t, name)
		whole := p.Payload
		for n := range whole {
			p.Payload = whole[:n]
			expect(t, r, p, DropLength)
			if n >= 8 {
				// A forger's checksum is right; the packet is no more complete.
				expect(t, r, reseal(p, RFC9568), DropLength)
			}
			if _, _, drop := Identify(p.Payload); (drop == DropLength) != (n < 8) {
				t.Errorf("%d bytes: Identify says %v", n, drop)
			}
		}
		p.Payload = whole
		expect(t, r, edit(p, func(b []byte) { b[3]++ }), DropLength)
		expect(t, r, edit(p, func(b []byte) { b[3]-- }), DropLength)
		expect(t, r, edit(p, func(b []byte) { b[3] = 255 }), DropLength)
	}
}

func TestRFC9568_7_1_Checksum(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		r, p := goldenNamed(t, name)
		right := binary.BigEndian.Uint16(p.Payload[6:])
		for try := range 1 << 16 {
			if uint16(try) == right {
				continue
			}
			binary.BigEndian.PutUint16(p.Payload[6:], uint16(try))
			var a Advert
			drop := r.Receive(p, &a)
			if drop != DropChecksum && !(drop == DropNone && a.LegacyChecksum) {
				t.Fatalf("%s with checksum %04x: %v", name, try, drop)
			}
		}
	}
}

func TestRFC9568_7_1_VRID(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		for vrid := range 256 {
			r, p := goldenNamed(t, name)
			p = edit(p, func(b []byte) { b[1] = byte(vrid) })
			want := DropVRID
			if uint8(vrid) == r.VRID {
				want = DropNone
			}
			expect(t, r, p, want)
			if _, got, _ := Identify(p.Payload); got != uint8(vrid) {
				t.Errorf("VRID %d identified as %d", vrid, got)
			}
		}
	}
}

// Erratum 8298: that we own the addresses ourselves is no reason to discard.
func TestRFC9568_7_1_e8298_Owner(t *testing.T) {
	r, p := goldenNamed(t, v3IPv4)
	expect(t, r, edit(p, func(b []byte) { b[2] = PriorityOwner }), DropNone)
	p.Src = r.Addrs[0] // an owner's primary address is the virtual one
	expect(t, r, p, DropNone)
}

func TestRFC9568_7_1_e8299_Count(t *testing.T) {
	r, p := goldenNamed(t, v3IPv4)
	p.Payload = p.Payload[:8]
	expect(t, r, edit(p, func(b []byte) { b[3] = 0 }), DropCount)
}

func TestRFC9568_7_1_e8300_LinkLocal(t *testing.T) {
	r, p := goldenNamed(t, v3IPv6)
	expect(t, r, edit(p, func(b []byte) { b[8] = 0x20 }), DropLinkLocal)
}

func TestRFC9568_7_1_e8301_IntervalZero(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		for _, reserved := range []byte{0x00, 0xf0} {
			r, p := goldenNamed(t, name)
			expect(t, r, edit(p, func(b []byte) { b[4], b[5] = reserved, 0 }), DropIntervalZero)
			expect(t, r, edit(p, func(b []byte) { b[4], b[5] = reserved, 1 }), DropNone)
		}
	}
}

func TestRFC9568_7_1_IntervalMismatch(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		r, p := goldenNamed(t, name)
		if a := expect(t, r, p, DropNone); a.IntervalDiffers {
			t.Error("the same interval differs")
		}
		a := expect(t, r, edit(p, func(b []byte) { b[5]++ }), DropNone)
		if !a.IntervalDiffers || a.Interval != 1010*time.Millisecond {
			t.Errorf("interval %v, differs: %v", a.Interval, a.IntervalDiffers)
		}
	}
}

func TestRFC9568_7_1_AddressMismatch(t *testing.T) {
	for _, name := range []string{v3IPv4, v3IPv6} {
		r, p := goldenNamed(t, name)
		if a := expect(t, r, p, DropNone); a.AddressesDiffer {
			t.Error("the same addresses differ")
		}
		last := len(p.Payload) - 1
		if a := expect(t, r, edit(p, func(b []byte) { b[last]++ }), DropNone); !a.AddressesDiffer {
			t.Error("another address went unnoticed")
		}
		r.Addrs = r.Addrs[:1]
		if a := expect(t, r, p, DropNone); !a.AddressesDiffer {
			t.Error("one address more went unnoticed")
		}
	}
}

// What is discarded leaves no trace: a failure in the first half does not touch
// the Advert, one in the second half leaves what was said.
func TestRFC9568_7_1_Discard(t *testing.T) {
	before := Advert{Version: 9, VRID: 9, Priority: 9, AuthType: 9, Interval: 9, Addrs: addrs("198.51.100.9"), LegacyChecksum: true}
	r, p := goldenNamed(t, v3IPv4)
	for _, bad := range []Packet{
		{Src: p.Src, Dst: p.Dst, TTL: 254, Payload: p.Payload},
		{Src: p.Src, Dst: p.Dst, TTL: TTL, Payload: p.Payload[:9]},
		edit(p, func(b []byte) { b[1]++ }),
		edit(p, func(b []byte) { b[0]++ }),
		edit(p, func(b []byte) { b[3] = 0 }),
	} {
		a := before
		a.Addrs = slices.Clone(before.Addrs)
		if drop := r.Receive(bad, &a); drop == DropNone || !equalAdverts(a, before) {
			t.Errorf("%v left %+v", drop, a)
		}
	}
	a := before
	if drop := r.Receive(edit(p, func(b []byte) { b[4], b[5] = 0, 0 }), &a); drop != DropIntervalZero ||
		a.Priority != 200 || a.Version != 3 || a.AuthType != 0 || a.LegacyChecksum {
		t.Errorf("%v left %+v", drop, a)
	}
}

func TestRFC9568_7_2_Transmit(t *testing.T) {
	a := Advert{Version: 3, VRID: 7, Priority: 1, Interval: 250 * time.Millisecond, Addrs: addrs("192.0.2.1")}
	b, err := a.AppendTo(nil, netip.MustParseAddr("192.0.2.251"), IPv4.Group(), RFC9568)
	if err != nil || !bytes.Equal(b[:6], []byte{0x31, 7, 1, 1, 0, 25}) || !bytes.Equal(b[8:], []byte{192, 0, 2, 1}) {
		t.Errorf("got % x, %v", b, err)
	}
	if _, err := a.AppendTo(nil, netip.MustParseAddr("192.0.2.251"), IPv4.Group(), RFC5798+1); err == nil {
		t.Error("an unknown checksum form was encoded")
	}
}

// Version 3 has no authentication (section 9).
func TestRFC9568_9_NoAuthentication(t *testing.T) {
	a := Advert{Version: 3, VRID: 7, AuthType: 1, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	if _, err := a.AppendTo(nil, netip.MustParseAddr("192.0.2.251"), IPv4.Group(), RFC9568); err == nil {
		t.Error("an authentication type was encoded in version 3")
	}
}
