package lan

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/mdlayher/ethernet"
	"golang.org/x/net/ipv4"
)

var (
	vmac51  = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, 51}
	physMAC = [6]byte{0x02, 0x00, 0x00, 0x00, 0x00, 0x0a}
	primary = netip.MustParseAddr("192.0.2.11")
	vip     = netip.MustParseAddr("192.0.2.200")
	payload = []byte{0x21, 51, 100, 1, 0, 1, 0xba, 0x52, 192, 0, 2, 200, 0, 0, 0, 0, 0, 0, 0, 0}
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func advert(ipID uint16) []byte {
	return AppendAdvert(nil, vmac51, primary, Group4(), ipID, payload)
}

// RFC9568-5.1.1-2, -3, -4, -6 and 7.2-49, as other people's decoders see it.
func TestAppendAdvertHeaders(t *testing.T) {
	frame := AppendAdvert([]byte("before"), vmac51, primary, Group4(), 0xbeef, payload)
	if !bytes.HasPrefix(frame, []byte("before")) {
		t.Fatal("what the caller had in the buffer is gone")
	}
	frame = frame[len("before"):]
	if len(frame) != ethernetSize+ipv4Size+len(payload) {
		t.Errorf("a payload of %d bytes in a frame of %d", len(payload), len(frame))
	}
	var eth ethernet.Frame
	if err := eth.UnmarshalBinary(frame); err != nil {
		t.Fatal(err)
	}
	if eth.Destination.String() != "01:00:5e:00:00:12" || eth.Source.String() != "00:00:5e:00:01:33" || eth.EtherType != ethernet.EtherTypeIPv4 {
		t.Errorf("Ethernet header: %v < %v type %v", eth.Destination, eth.Source, eth.EtherType)
	}
	ip, err := ipv4.ParseHeader(eth.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if ip.Version != 4 || ip.Len != 20 || ip.TOS != 0xc0 || ip.TotalLen != 20+len(payload) || ip.ID != 0xbeef ||
		ip.Flags != 0 || ip.FragOff != 0 || ip.TTL != 255 || ip.Protocol != 112 ||
		ip.Src.String() != "192.0.2.11" || ip.Dst.String() != "224.0.0.18" {
		t.Errorf("IP header: %v", ip)
	}
	if !bytes.Equal(eth.Payload[20:], payload) {
		t.Errorf("payload: %x", eth.Payload[20:])
	}
}

// What an Authentication Header is put into: another protocol, and an identification
// that is changed in place.
func TestAppendAdvertAH(t *testing.T) {
	frame := AppendAdvertAH(nil, vmac51, primary, Group4(), 1, payload)
	for _, id := range []uint16{1, 2, 0xffff} {
		SetID(frame, id)
		ip, err := ipv4.ParseHeader(IPPacket(frame))
		if err != nil {
			t.Fatal(err)
		}
		if ip.Protocol != 51 || ip.ID != int(id) || ip.TTL != 255 || sum16(frame[14:34]) != 0xffff {
			t.Errorf("IP header: %v", ip)
		}
		if !bytes.Equal(Payload(frame), payload) || !bytes.Equal(IPPacket(frame)[20:], payload) {
			t.Errorf("payload: %x", Payload(frame))
		}
		r, drop := ParseAdvert(frame, false)
		if drop != Delivered || !r.AH || !bytes.Equal(r.Header, frame[14:34]) {
			t.Errorf("%v, %+v", drop, r)
		}
	}
	plain := AppendAdvert(nil, vmac51, primary, Group4(), 0xffff, payload)
	if IPPacket(frame)[9] = 112; !bytes.Equal(resum(frame), plain) {
		t.Errorf("%x\n%x", frame, plain)
	}
	if n := testing.AllocsPerRun(100, func() { SetID(frame, 7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The destination MAC keeps 23 bits of the group (RFC 1112 section 6.4).
func TestAppendAdvertGroupMAC(t *testing.T) {
	frame := AppendAdvert(nil, vmac51, primary, netip.MustParseAddr("239.200.1.2"), 0, nil)
	if got, want := hex.EncodeToString(frame[:6]), "01005e480102"; got != want {
		t.Errorf("destination MAC %s, want %s", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("a destination of another family was accepted")
		}
	}()
	AppendAdvert(nil, vmac51, primary, Group6(), 0, nil)
}

// The header in every textbook, and sums that carry more than once.
func TestSum16(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want uint16
	}{
		{"4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7", 0xffff},
		{"4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7", ^uint16(0xb861)},
		{"ffff ffff ffff 0001", 0x0001},
		{"ffff 0001 fffe", 0xffff},
		{"0000", 0},
	} {
		if got := sum16(unhex(t, tc.in)); got != tc.want {
			t.Errorf("sum16(%s) = %04x, want %04x", tc.in, got, tc.want)
		}
	}
}

// RFC9568-8.1.2-55 and RFC 5227.
func TestARPGolden(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{"request", AppendGratuitousARP(nil, vmac51, vip, false),
			"ffffffffffff 00005e000133 0806 0001 0800 06 04 0001 00005e000133 c00002c8 000000000000 c00002c8"},
		{"reply", AppendGratuitousARP(nil, vmac51, vip, true),
			"ffffffffffff 00005e000133 0806 0001 0800 06 04 0002 00005e000133 c00002c8 00005e000133 c00002c8"},
		{"probe", AppendARPProbe(nil, physMAC, vip),
			"ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 02000000000a 00000000 000000000000 c00002c8"},
		{"farewell", AppendFarewell(nil, physMAC, primary, vmac51, vip),
			"ffffffffffff 02000000000a 0806 0001 0800 06 04 0002 02000000000a c000020b 00005e000133 c00002c8"},
	} {
		if want := unhex(t, tc.want); !bytes.Equal(tc.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tc.name, tc.got, want)
		}
		if len(tc.got) != ARPSize {
			t.Errorf("%s has %d bytes, ARPSize says %d", tc.name, len(tc.got), ARPSize)
		}
	}
}

func TestBuildersDoNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	for name, f := range map[string]func(){
		"advert": func() { buf = AppendAdvert(buf[:0], vmac51, primary, Group4(), 7, payload) },
		"garp":   func() { buf = AppendGratuitousARP(buf[:0], vmac51, vip, true) },
		"probe":  func() { buf = AppendARPProbe(buf[:0], physMAC, vip) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkAppendAdvert(b *testing.B) {
	buf := make([]byte, 0, 256)
	for b.Loop() {
		buf = AppendAdvert(buf[:0], vmac51, primary, Group4(), 7, payload)
	}
}
