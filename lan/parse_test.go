package lan

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// resum makes the IP header checksum of a frame right again.
func resum(frame []byte) []byte {
	ip := frame[ethernetSize:]
	head := ip[:int(ip[0]&0xf)*4]
	head[10], head[11] = 0, 0
	binary.BigEndian.PutUint16(head[10:], ^sum16(head))
	return frame
}

// withOptions inserts a router alert and three no-operations.
func withOptions(frame []byte) []byte {
	out := bytes.Clone(frame[:ethernetSize+ipv4Size])
	out = append(out, 0x94, 0x04, 0, 0, 1, 1, 1, 0)
	out = append(out, frame[ethernetSize+ipv4Size:]...)
	out[ethernetSize] = 4<<4 | 7
	binary.BigEndian.PutUint16(out[ethernetSize+2:], uint16(len(out)-ethernetSize))
	return resum(out)
}

// edit returns the standard advert after f, with a right checksum.
func edit(f func(frame []byte)) []byte {
	frame := advert(1)
	f(frame)
	return resum(frame)
}

func ipBytes(at int, b ...byte) func([]byte) {
	return func(frame []byte) { copy(frame[ethernetSize+at:], b) }
}

// badFrames are adverts that the kernel's filter passes and the parser must
// not; the tests over veth send them too.
var badFrames = []struct {
	name  string
	frame []byte
	want  Drop
}{
	{"total length beyond the frame", edit(ipBytes(2, 0, 200)), DropTruncated},
	{"cut in the payload", advert(1)[:ethernetSize+ipv4Size+len(payload)-1], DropTruncated},
	{"cut before the payload", advert(1)[:ethernetSize+ipv4Size], DropTruncated},
	{"version 6", edit(ipBytes(0, 6<<4|5)), DropHeader},
	{"header of 16 bytes", edit(ipBytes(0, 4<<4|4)), DropHeader},
	{"total length below the header", edit(ipBytes(2, 0, 19)), DropHeader},
	{"checksum", func() []byte { f := advert(1); f[ethernetSize+10] ^= 1; return f }(), DropHeader},
	{"more fragments", edit(ipBytes(6, 0x20, 0)), DropFragment},
	{"last fragment", edit(ipBytes(6, 0, 1)), DropFragment},
	{"from 0.0.0.0", edit(ipBytes(12, 0, 0, 0, 0)), DropSource},
	{"from the group", edit(ipBytes(12, 224, 0, 0, 18)), DropSource},
	{"from broadcast", edit(ipBytes(12, 255, 255, 255, 255)), DropSource},
	{"from loopback", edit(ipBytes(12, 127, 0, 0, 1)), DropSource},
}

func TestParseAdvertRefuses(t *testing.T) {
	for _, tc := range badFrames {
		if r, got := ParseAdvert(tc.frame, false); got != tc.want {
			t.Errorf("%s: %v, want %v (%+v)", tc.name, got, tc.want, r)
		}
	}
	for name, tc := range map[string]struct {
		frame []byte
		want  Drop
	}{
		"empty":           {nil, DropTruncated},
		"ethernet only":   {advert(1)[:14], DropTruncated},
		"protocol 113":    {edit(ipBytes(9, 113)), DropDestination},
		"other group":     {edit(ipBytes(16, 224, 0, 0, 19)), DropDestination},
		"unicast":         {edit(ipBytes(16, 192, 0, 2, 12)), DropDestination},
		"another type":    {func() []byte { f := advert(1); f[13] = 6; return f }(), DropHeader},
		"options cut off": {withOptions(advert(1))[:ethernetSize+24], DropTruncated},
	} {
		if r, got := ParseAdvert(tc.frame, false); got != tc.want {
			t.Errorf("%s: %v, want %v (%+v)", name, got, tc.want, r)
		}
	}
}

func TestParseAdvertAccepts(t *testing.T) {
	own := netip.MustParseAddr("192.0.2.12")
	toOwn := edit(func(f []byte) {
		copy(f, physMAC[:])
		copy(f[ethernetSize+16:], own.AsSlice())
	})
	for name, tc := range map[string]struct {
		frame []byte
		dst   netip.Addr
	}{
		"plain":              {advert(1), Group4()},
		"padded":             {append(advert(1), make([]byte, 18)...), Group4()},
		"options":            {withOptions(advert(1)), Group4()},
		"options and padded": {append(withOptions(advert(1)), 0, 0, 0, 0), Group4()},
		"do not fragment":    {edit(ipBytes(6, 0x40, 0)), Group4()},
		"other TOS":          {edit(ipBytes(1, 0)), Group4()},
		"group as unicast":   {edit(func(f []byte) { copy(f, physMAC[:]) }), Group4()},
		"unicast":            {toOwn, own},
		"protocol 51":        {edit(ipBytes(9, 51)), Group4()},
	} {
		r, drop := ParseAdvert(tc.frame, true)
		if drop != Delivered {
			t.Errorf("%s: dropped as %v", name, drop)
			continue
		}
		if r.SrcMAC != vmac51 || r.Src != primary || r.Dst != tc.dst || r.TTL != 255 || !bytes.Equal(r.Payload, payload) ||
			r.AH != (name == "protocol 51") || len(r.Header) != int(tc.frame[14]&0xf)*4 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// The own address in a frame for everybody (RFC 1122 section 3.3.6).
	copy(toOwn, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if _, drop := ParseAdvert(toOwn, true); drop != DropDestination {
		t.Errorf("unicast in a broadcast frame: %v", drop)
	}
	// TTL is package vrrp's to judge.
	if r, drop := ParseAdvert(edit(ipBytes(8, 64)), false); drop != Delivered || r.TTL != 64 {
		t.Errorf("TTL 64: %v, %d", drop, r.TTL)
	}
}

func TestParseAnswer(t *testing.T) {
	good := AppendGratuitousARP(nil, vmac51, vip, true)
	for name, frame := range map[string][]byte{
		"plain":  good,
		"padded": append(bytes.Clone(good), make([]byte, 18)...),
	} {
		if a, drop := ParseAnswer(frame); drop != Delivered || a != (Answer{MAC: vmac51, IP: vip}) {
			t.Errorf("%s: %v, %+v", name, drop, a)
		}
	}
	// A farewell is told to everybody; what the kernel answers to the machine that has the
	// virtual address looks the same, and is for that one alone.
	bye := AppendFarewell(nil, physMAC, primary, vmac51, vip)
	if a, drop := ParseAnswer(bye); drop != Delivered || a != (Answer{physMAC, primary, FarewellTo(vip)}) {
		t.Errorf("farewell: %v, %+v", drop, a)
	}
	copy(bye, vmac51[:])
	if a, drop := ParseAnswer(bye); drop != Delivered || a != (Answer{MAC: physMAC, IP: primary}) {
		t.Errorf("answer to one machine: %v, %+v", drop, a)
	}
	for name, tc := range map[string]struct {
		at   int
		b    byte
		want Drop
	}{
		"request":           {21, 1, DropARP},
		"hardware type 6":   {15, 6, DropARP},
		"protocol IPv6":     {16, 0x86, DropARP},
		"8-byte MACs":       {18, 8, DropARP},
		"16-byte addresses": {19, 16, DropARP},
		"another type":      {13, 0, DropARP},
		"sender 0.0.2.200":  {28, 0, DropSource},
	} {
		frame := bytes.Clone(good)
		frame[tc.at] = tc.b
		if _, drop := ParseAnswer(frame); drop != tc.want {
			t.Errorf("%s: %v, want %v", name, drop, tc.want)
		}
	}
	if _, drop := ParseAnswer(good[:ARPSize-1]); drop != DropTruncated {
		t.Errorf("cut: %v", drop)
	}
}

func TestDropWords(t *testing.T) {
	seen := map[string]bool{}
	for d := Delivered; d < drops; d++ {
		w := d.String()
		if w == "" || w == "unknown" || seen[w] {
			t.Errorf("drop %d has the word %q", d, w)
		}
		seen[w] = true
	}
	if Drop(200).String() != "unknown" {
		t.Error("a drop that does not exist has a word")
	}
}

func FuzzParseAdvert(f *testing.F) {
	f.Add(advert(1))
	f.Add(withOptions(advert(1)))
	for _, b := range badFrames {
		f.Add(b.frame)
	}
	f.Add(advert6())
	for _, frame := range good6() {
		f.Add(frame)
	}
	for _, b := range bad6() {
		f.Add(b.frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		r, drop := ParseAdvert(frame, true)
		if !bytes.Equal(before, frame) {
			t.Fatal("the frame was changed")
		}
		if drop != Delivered {
			if drop >= drops || r.Payload != nil {
				t.Fatalf("dropped as %d with %+v", drop, r)
			}
			return
		}
		if r.Dst.Is6() {
			if r.Dst != Group6() && (frame[0]&1 != 0 || r.Dst.IsMulticast()) {
				t.Fatalf("to %v in a frame for many", r.Dst)
			}
			checkParsed6(t, frame, r)
			return
		}
		if !r.Src.Is4() || r.Dst != Group4() && (frame[0]&1 != 0 || !canSend(r.Dst)) {
			t.Fatalf("from %v to %v", r.Src, r.Dst)
		}
		head := int(frame[14]&0xf) * 4
		total := int(binary.BigEndian.Uint16(frame[16:]))
		if len(r.Payload) != total-head || !bytes.Equal(r.Payload, frame[14+head:14+total]) {
			t.Fatalf("payload of %d bytes in a packet of %d with a header of %d", len(r.Payload), total, head)
		}
		if r.Dst != Group4() || r.TTL != 255 {
			return
		}
		build := AppendAdvert
		if r.AH {
			build = AppendAdvertAH
		}
		if r.AH != (frame[14+9] == 51) || !bytes.Equal(r.Header, frame[14:14+head]) {
			t.Fatalf("AH %v, header % x", r.AH, r.Header)
		}
		again, drop := ParseAdvert(build(nil, r.SrcMAC, r.Src, r.Dst, 1, r.Payload), false)
		if drop != Delivered || again.Src != r.Src || again.SrcMAC != r.SrcMAC || !bytes.Equal(again.Payload, r.Payload) {
			t.Fatalf("built again: %v, %+v, want %+v", drop, again, r)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(AppendGratuitousARP(nil, vmac51, vip, true))
	f.Add(AppendARPProbe(nil, physMAC, vip))
	f.Add(AppendFarewell(nil, physMAC, primary, vmac51, vip))
	f.Add(AppendFarewell6(nil, physMAC, linkLocal, vip6, true))
	f.Add(AppendAnnouncement(nil, vmac6, vip6, true))
	f.Add(AppendSolicitation(nil, physMAC, linkLocal, vip6))
	f.Fuzz(func(t *testing.T, frame []byte) {
		a, drop := ParseAnswer(frame)
		if drop != Delivered {
			return
		}
		if a.To.IsValid() {
			if a.To == a.IP || a.To.Is4() != a.IP.Is4() || a.To.Is6() && !a.To.IsMulticast() {
				t.Fatalf("answer %+v", a)
			}
			if a.IP.Is4() {
				if again, drop := ParseAnswer(AppendFarewell(nil, a.MAC, a.IP, vmac51, a.To)); drop != Delivered || again != a {
					t.Fatalf("built again: %v, %+v, want %+v", drop, again, a)
				}
				return
			}
			a.To = netip.Addr{}
		}
		if a.IP.Is6() {
			if again, drop := ParseAnswer(AppendAnnouncement(nil, a.MAC, a.IP, true)); drop != Delivered || again != a {
				t.Fatalf("built again: %v, %+v, want %+v", drop, again, a)
			}
			return
		}
		if !a.IP.Is4() {
			t.Fatalf("answer %+v", a)
		}
		if again, drop := ParseAnswer(AppendGratuitousARP(nil, a.MAC, a.IP, true)); drop != Delivered || again != a {
			t.Fatalf("built again: %v, %+v, want %+v", drop, again, a)
		}
	})
}

func BenchmarkParseAdvert(b *testing.B) {
	frame := advert(1)
	for b.Loop() {
		if _, drop := ParseAdvert(frame, false); drop != Delivered {
			b.Fatal(drop)
		}
	}
}
