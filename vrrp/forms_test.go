package vrrp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// wireForm is one way in which an advert is on the wire.
type wireForm struct {
	name    string
	version uint8
	family  Family
	sum     ChecksumForm
	auth    AuthConfig
}

func wireForms() []wireForm {
	rfcAH := ahKey
	rfcAH.ICV = ICVRFC2402
	none := AuthConfig{}
	return []wireForm{
		{"v2", 2, IPv4, RFC9568, none},
		{"v2 pass", 2, IPv4, RFC9568, passKey},
		{"v2 ah", 2, IPv4, RFC9568, ahKey},
		{"v2 ah, RFC 2402", 2, IPv4, RFC9568, rfcAH},
		{"v2 hmac", 2, IPv4, RFC9568, signing(byTime)},
		{"v3 IPv4 RFC 9568", 3, IPv4, RFC9568, none},
		{"v3 IPv4 RFC 5798", 3, IPv4, RFC5798, none},
		{"v3 IPv4 hmac", 3, IPv4, RFC9568, signing(byTime)},
		{"v3 IPv4 RFC 5798 hmac", 3, IPv4, RFC5798, signing(byTime)},
		{"v3 IPv6", 3, IPv6, RFC9568, none},
		{"v3 IPv6 hmac", 3, IPv6, RFC9568, signing(byTime)},
	}
}

// source is where adverts of a form come from.
func (f wireForm) source() netip.Addr {
	if f.family == IPv6 {
		return netip.MustParseAddr("fe80::10")
	}
	return netip.MustParseAddr("198.51.100.10")
}

// packet makes an advert a packet with a number.
func (f wireForm) packet(t testing.TB, a Advert, number uint64) (Packet, error) {
	auth := mustAuth(t, f.auth)
	header := unhex("45c0004400010000ff33b075c633640ae0000012")
	src, group := f.source(), f.family.Group()
	packet, err := a.AppendPayload(slices.Clone(header), src, group, f.sum, auth)
	if err != nil {
		if !bytes.Equal(packet, header) {
			t.Fatalf("%s: an error has left % x", f.name, packet)
		}
		return Packet{}, err
	}
	if len(packet) != len(header)+Size(f.version, f.family, len(a.Addrs))+auth.Overhead() {
		t.Fatalf("%s: %d bytes with %d of header, Size says %d and Overhead %d", f.name, len(packet), len(header), Size(f.version, f.family, len(a.Addrs)), auth.Overhead())
	}
	p := Packet{Src: src, Dst: group, TTL: TTL, Header: packet[:ipv4Len], Payload: packet[ipv4Len:], Clock: Stamp(number)}
	switch auth.Kind() {
	case HeaderAuth:
		p.AH = true
		auth.SignPacket(packet, uint32(number))
	case TrailerAuth:
		auth.SignPayload(p.Payload, src, group, Stamp(number))
	}
	return p, nil
}

// FuzzForms: what can be encoded in a form is received as it was, also by who speaks
// version 2 beside version 3; what cannot leaves nothing; one changed bit is noticed, and
// with a digest so is any other change.
func FuzzForms(f *testing.F) {
	f.Add(uint8(51), uint8(100), uint16(1), []byte("\xc0\x00\x02\x01\xc0\x00\x02\x02"), uint64(7)<<32, uint16(3), []byte{1, 2})
	f.Add(uint8(255), uint8(0), uint16(255), bytes.Repeat([]byte{9}, 255*16), uint64(1), uint16(0xffff), []byte{0})
	f.Add(uint8(0), uint8(255), uint16(0), []byte{}, uint64(0), uint16(0), []byte{})
	f.Add(uint8(1), uint8(1), uint16(4095), bytes.Repeat([]byte{7}, 256*4), uint64(1)<<63, uint16(77), bytes.Repeat([]byte{0xff}, 90))
	f.Fuzz(func(t *testing.T, vrid, priority uint8, interval uint16, addresses []byte, number uint64, bit uint16, noise []byte) {
		for _, form := range wireForms() {
			a := Advert{Version: form.version, VRID: vrid, Priority: priority, Interval: time.Duration(interval) * time.Second}
			limit := uint16(maxInterval2)
			if form.version == 3 {
				a.Interval, limit = time.Duration(interval)*10*time.Millisecond, maxInterval3
			}
			for size := form.family.size(); len(addresses) >= size*(len(a.Addrs)+1) && len(a.Addrs) <= MaxAddrs; {
				addr, _ := netip.AddrFromSlice(addresses[size*len(a.Addrs):][:size])
				a.Addrs = append(a.Addrs, addr)
			}
			if form.family == IPv6 && len(a.Addrs) > 0 {
				b := a.Addrs[0].As16()
				b[0], b[1] = 0xfe, 0x80
				a.Addrs[0] = netip.AddrFrom16(b)
			}
			number := max(number&(1<<32-1), 1) | number&^(1<<32-1)
			p, err := form.packet(t, a, number)
			possible := vrid != 0 && interval != 0 && interval <= limit && len(a.Addrs) > 0 && len(a.Addrs) <= MaxAddrs
			if (err == nil) != possible {
				t.Fatalf("%s: %v", form.name, err)
			}
			if err != nil {
				continue
			}
			marks := &Marks{}
			r := Rules{Version: form.version, VRID: vrid, Family: form.family, Interval: a.Interval, Addrs: a.Addrs, Auth: mustAuth(t, form.auth), Marks: marks}
			judge := func(p Packet) (got Advert, drop Drop) {
				*marks = Marks{}
				drop = r.Receive(p, &got)
				return got, drop
			}
			got, drop := judge(p)
			same := drop == DropNone && got.Version == form.version && got.VRID == vrid && got.Priority == priority && got.Interval == a.Interval &&
				slices.Equal(got.Addrs, a.Addrs) && got.Signed == mustAuth(t, form.auth).Numbered() && !got.AddressesDiffer && !got.IntervalDiffers
			if !same {
				t.Fatalf("%s: %v, %+v, sent %+v", form.name, drop, got, a)
			}
			if form.version == 2 && form.auth.Kind != PasswordAuth && form.auth.Kind != HeaderAuth {
				r.Version, r.Beside2 = 3, true
				if got, drop := judge(p); drop != DropNone || got.Version != 2 || got.Interval != a.Interval {
					t.Fatalf("%s beside version 3: %v, %+v", form.name, drop, got)
				}
				r.Version, r.Beside2 = 2, false
			}
			changed := p
			changed.Payload = slices.Clone(p.Payload)
			changed.Payload[int(bit/8)%len(p.Payload)] ^= 1 << (bit % 8)
			if _, drop := judge(changed); drop == DropNone && !zeroTurned(p.Payload, changed.Payload) {
				t.Fatalf("%s: bit %d was changed, and nobody has noticed\n% x\n% x", form.name, bit, p.Payload, changed.Payload)
			}
			if !got.Signed {
				continue
			}
			for i, b := range noise {
				changed.Payload[(int(bit)+i)%len(p.Payload)] ^= b
			}
			if _, drop := judge(changed); drop == DropNone && !bytes.Equal(changed.Payload, p.Payload) && !zeroTurned(p.Payload, changed.Payload) {
				t.Fatalf("%s: forged\n% x\n% x", form.name, p.Payload, changed.Payload)
			}
		}
	})
}

// zeroTurned: only the checksum differs, and by the two forms of zero.
func zeroTurned(a, b []byte) bool {
	at := 6
	if len(a) > headerAuthLen && a[0] == Protocol && a[1] == ahWords {
		at += headerAuthLen
	}
	x, y := binary.BigEndian.Uint16(a[at:]), binary.BigEndian.Uint16(b[at:])
	rest := slices.Clone(b)
	copy(rest[at:at+2], a[at:])
	return x != y && x^y == 0xffff && (x == 0 || y == 0) && bytes.Equal(rest, a)
}
