package vrrp

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// One test per MUST of RFC 2338 and RFC 3768 that the wire decides.

const (
	v2One = "v2 VRID 51"
	v2Two = "v2 two addresses"
)

func TestRFC3768_7_1_TTL(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	p.TTL = 254
	expect(t, r, p, DropTTL)
	p.TTL = 255
	expect(t, r, p, DropNone)
}

func TestRFC3768_7_1_Version(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	expect(t, r, edit(p, func(b []byte) { b[0] = 0x31 }), DropVersion)
	expect(t, r, edit(p, func(b []byte) { b[0] = 0x11 }), DropVersion)
}

func TestRFC3768_5_3_2_Type(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	expect(t, r, edit(p, func(b []byte) { b[0] = 0x22 }), DropType)
}

// RFC 3768: the complete packet, with the Authentication Data; RFC 2338 was
// content with a header.
func TestRFC3768_7_1_CompletePacket(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	whole := p.Payload
	for n := range whole {
		p.Payload = whole[:n]
		expect(t, r, p, DropLength)
		if n >= 8 {
			expect(t, r, reseal(p, RFC9568), DropLength)
		}
	}
	p.Payload = whole
	expect(t, r, edit(p, func(b []byte) { b[3] = 2 }), DropLength)
	expect(t, r, edit(p, func(b []byte) { b[3] = 3 }), DropLength) // the Authentication Data are no addresses
}

// The checksum covers the Authentication Data and no pseudo-header.
func TestRFC3768_7_1_Checksum(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	p.Payload[19] = 1
	expect(t, r, p, DropChecksum)
	r, p = goldenNamed(t, v2One)
	p.Payload[6]++
	expect(t, r, p, DropChecksum)
	r, p = goldenNamed(t, v2One)
	p.Src = netip.MustParseAddr("10.0.1.99")
	expect(t, r, p, DropNone)

	a := Advert{Version: 2, VRID: 51, Priority: 30, Interval: time.Second, Addrs: addrs("10.0.1.5")}
	plain, err := a.AppendTo(nil, p.Src, p.Dst, RFC9568)
	if err != nil {
		t.Fatal(err)
	}
	if legacy, err := a.AppendTo(nil, p.Src, p.Dst, RFC5798); err != nil || !bytes.Equal(plain, legacy) {
		t.Errorf("version 2 has one checksum; got % x and % x, %v", plain, legacy, err)
	}

	// What version 3 accepts as its older form is damage in version 2.
	pseudo := p
	pseudo.Payload = slices.Clone(p.Payload)
	pseudo.Payload[6], pseudo.Payload[7] = 0, 0
	c := ^fold(sum(pseudo.Payload) + pseudoSum(p.Src, p.Dst, len(p.Payload)))
	pseudo.Payload[6], pseudo.Payload[7] = byte(c>>8), byte(c)
	expect(t, r, pseudo, DropChecksum)
}

func TestRFC3768_7_1_VRID(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	expect(t, r, edit(p, func(b []byte) { b[1] = 52 }), DropVRID)
}

func TestRFC3768_7_1_AuthType(t *testing.T) {
	for typ := range 256 {
		r, p := goldenNamed(t, v2One)
		want := DropAuthType
		if typ == AuthNone {
			want = DropNone
		}
		a := expect(t, r, edit(p, func(b []byte) { b[4] = byte(typ) }), want)
		if a.AuthType != uint8(typ) {
			t.Errorf("type %d was read as %d", typ, a.AuthType)
		}
	}
	a := Advert{Version: 2, VRID: 1, AuthType: 1, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	if _, err := a.AppendTo(nil, netip.MustParseAddr("192.0.2.251"), IPv4.Group(), RFC9568); err == nil {
		t.Error("an advert with a password type and no password was encoded")
	}
}

// Zero on transmission, ignored on reception.
func TestRFC3768_5_3_10_AuthData(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	expect(t, r, edit(p, func(b []byte) { copy(b[12:], "password") }), DropNone)
	a := Advert{Version: 2, VRID: 1, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	dirty := bytes.Repeat([]byte{0xff}, 64)
	b, err := a.AppendTo(dirty[:0], netip.MustParseAddr("192.0.2.251"), IPv4.Group(), RFC9568)
	if err != nil || !bytes.Equal(b[12:], make([]byte, 8)) {
		t.Errorf("got % x, %v", b, err)
	}
}

func TestRFC3768_7_1_Interval(t *testing.T) {
	r, p := goldenNamed(t, v2One)
	for wire := range 256 {
		want := DropInterval
		switch wire {
		case 0:
			want = DropIntervalZero
		case 1:
			want = DropNone
		}
		a := expect(t, r, edit(p, func(b []byte) { b[5] = byte(wire) }), want)
		if a.Interval != time.Duration(wire)*time.Second || a.IntervalDiffers != (wire != 1) {
			t.Errorf("%d s: interval %v, differs: %v", wire, a.Interval, a.IntervalDiffers)
		}
	}
	// Priority 0 and the owner are no exceptions.
	for _, prio := range []byte{PriorityResign, PriorityOwner} {
		expect(t, r, edit(p, func(b []byte) { b[2], b[5] = prio, 2 }), DropInterval)
	}
}

func TestRFC3768_5_3_7_Interval(t *testing.T) {
	src := netip.MustParseAddr("192.0.2.251")
	for interval, wire := range map[time.Duration]byte{
		time.Second: 1, 255 * time.Second: 255,
		0: 0, -time.Second: 0, 256 * time.Second: 0, 257 * time.Second: 0,
		500 * time.Millisecond: 0, 1500 * time.Millisecond: 0, time.Second - 1: 0,
	} {
		a := Advert{Version: 2, VRID: 1, Interval: interval, Addrs: addrs("192.0.2.1")}
		b, err := a.AppendTo(nil, src, IPv4.Group(), RFC9568)
		switch {
		case wire == 0 && err == nil:
			t.Errorf("%v was encoded as % x", interval, b)
		case wire != 0 && err != nil:
			t.Errorf("%v: %v", interval, err)
		case wire != 0 && b[5] != wire:
			t.Errorf("%v is %d on the wire", interval, b[5])
		}
	}
}

func TestRFC2338_7_1_AddressList(t *testing.T) {
	r, p := goldenNamed(t, v2Two)
	other := edit(p, func(b []byte) { b[15] = 3 })
	if a := expect(t, r, other, DropAddressList); !a.AddressesDiffer || a.Addrs[1] != netip.MustParseAddr("192.0.2.3") {
		t.Errorf("the report would say %+v", a)
	}
	expect(t, r, edit(other, func(b []byte) { b[2] = PriorityResign }), DropAddressList)
	expect(t, r, edit(other, func(b []byte) { b[2] = 254 }), DropAddressList)
	if a := expect(t, r, edit(other, func(b []byte) { b[2] = PriorityOwner }), DropNone); !a.AddressesDiffer {
		t.Error("the owner's other addresses went unnoticed")
	}

	// One more, one fewer.
	fewer, more := r, r
	fewer.Addrs = r.Addrs[:1]
	more.Addrs = append(slices.Clone(r.Addrs), netip.MustParseAddr("192.0.2.3"))
	expect(t, fewer, p, DropAddressList)
	expect(t, more, p, DropAddressList)

	// Sets, not lists; but a repetition hides nothing.
	reversed := r
	reversed.Addrs = addrs("192.0.2.2", "192.0.2.1")
	if a := expect(t, reversed, p, DropNone); a.AddressesDiffer {
		t.Error("another order differs")
	}
	expect(t, r, edit(p, func(b []byte) { b[15] = 1 }), DropAddressList)
	expect(t, reversed, edit(p, func(b []byte) { b[11] = 2 }), DropAddressList)
}

// There is no version 2 over IPv6.
func TestRFC3768_5_IPv4Only(t *testing.T) {
	src, group := netip.MustParseAddr("fe80::251"), IPv6.Group()
	a := Advert{Version: 2, VRID: 1, Priority: 100, Interval: time.Second, Addrs: addrs("fe80::1")}
	if _, err := a.AppendTo(nil, src, group, RFC9568); err == nil {
		t.Error("version 2 was encoded over IPv6")
	}
	p := Packet{Src: src, Dst: group, TTL: TTL, Payload: make([]byte, 32)}
	copy(p.Payload, []byte{0x21, 1, 100, 1, 0, 1, 0, 0, 0xfe, 0x80})
	p.Payload[23] = 1
	p = reseal(p, RFC9568)
	expect(t, Rules{Version: 2, VRID: 1, Family: IPv4, Interval: time.Second, Addrs: a.Addrs}, p, DropFamily)
	expect(t, Rules{Version: 2, VRID: 1, Family: IPv6, Interval: time.Second, Addrs: a.Addrs}, p, DropFamily)
}
