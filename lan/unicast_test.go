package lan

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// address4 gives the host an IPv4 address.
func (h *host) address4(a string) {
	h.t.Helper()
	p, err := netlink.ParseAddr(a + "/24")
	if err == nil {
		err = h.nl.AddrAdd(h.link(), p)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// single hears single machines in both families.
func single(c *Config) {
	c.Families, c.Unicast, c.Ungrouped = []uint8{4, 6}, []uint8{4, 6}, []uint8{4, 6}
}

func TestFramesForSingleMachines(t *testing.T) {
	for _, frame := range [][]byte{
		AppendAdvert(nil, vmac51, primary, vip, 7, payload),
		AppendAdvertAH(nil, vmac51, primary, vip, 7, payload),
		AppendAdvert(nil, vmac6, linkLocal, vip6, 0, payload6),
	} {
		if !IsUnicast(frame) || !bytes.HasSuffix(frame, Payload(frame)) {
			t.Errorf("% x", frame)
		}
		r, drop := ParseAdvert(frame, true)
		if drop != Delivered || r.TTL != 255 || r.Dst.IsMulticast() {
			t.Errorf("%v, %+v", drop, r)
		}
		if _, drop := ParseAdvert(frame, false); drop != DropDestination {
			t.Errorf("where only the group is heard: %v", drop)
		}
	}
	if IsUnicast(advert(1)) || IsUnicast(nil) || IsUnicast(advert6()) {
		t.Error("adverts to the group")
	}
}

func TestSplit(t *testing.T) {
	frames := [][]byte{advert(1), AppendAdvert(nil, vmac51, primary, vip, 7, payload), advert6(), AppendAdvert(nil, vmac6, linkLocal, vip6, 0, payload6)}
	got := Split(slices.Concat(frames...))
	if !slices.EqualFunc(got, frames, bytes.Equal) {
		t.Errorf("got % x", got)
	}
	whole := slices.Concat(frames...)
	for n := range whole {
		for _, f := range Split(whole[:n]) {
			if !slices.ContainsFunc(frames, func(g []byte) bool { return bytes.Equal(f, g) }) {
				t.Fatalf("of %d bytes: % x", n, f)
			}
		}
	}
	if got := Split(make([]byte, 100)); got != nil {
		t.Errorf("of nothing: % x", got)
	}
}

// What is sent to a single machine is found there by the kernel, arrives as it was built,
// and nobody answers that the protocol is unknown.
func TestSendUnicast(t *testing.T) {
	a, b := newPair(t)
	addr := netip.MustParseAddr
	a.address4("192.0.2.11")
	b.address4("192.0.2.12")
	for _, own := range []string{"fe80::", "2001:db8::"} {
		a.address(addr(own + "a"))
		b.address(addr(own + "b"))
	}
	pa, pb := a.open(single), b.open(single)
	for _, h := range []*host{a, b} {
		if _, igmp := h.members(); igmp {
			t.Error("member of the group, in which nobody speaks")
		}
	}
	errorsHeard := a.tap(unix.ETH_P_ALL, nil)
	l := listen(t, pb)
	frames := [][]byte{
		AppendAdvert(nil, vmac51, addr("192.0.2.11"), addr("192.0.2.12"), 7, payload),
		AppendAdvertAH(nil, vmac51, addr("192.0.2.11"), addr("192.0.2.12"), 8, payload),
		AppendAdvert(nil, vmac6, addr("fe80::a"), addr("fe80::b"), 0, payload6),
		AppendAdvert(nil, vmac6, addr("2001:db8::a"), addr("2001:db8::b"), 0, payload6),
	}
	for i, f := range frames {
		if sent, err := pa.SendUnicast([][]byte{f}); sent != 1 || err != nil {
			t.Fatalf("frame %d: %d, %v", i, sent, err)
		}
		r := l.advert()
		want, _ := ParseAdvert(f, true)
		if r.Src != want.Src || r.Dst != want.Dst || r.TTL != 255 || r.AH != want.AH || !bytes.Equal(r.Payload, want.Payload) ||
			!bytes.Equal(r.Header, want.Header) || r.SrcMAC != a.mac() {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	// The last thing that a hears; an error would have come before it.
	mustSend(t, pb, sentinel())
	mac := b.mac()
	for {
		f := readTap(t, errorsHeard, func(f []byte) bool { return !bytes.Equal(f[6:12], a.ifi.HardwareAddr) })
		if bytes.Equal(f, sentinel()) {
			break
		}
		if !bytes.Equal(f[6:12], mac[:]) {
			continue
		}
		if f[12] == 0x08 && f[13] == 0 && f[14+9] == 1 || f[12] == 0x86 && f[14+6] == icmpv6 && f[14+40] < 128 {
			t.Errorf("an ICMP error: % x", f)
		}
	}
	if c := pa.Counters(); c.Sent != uint64(len(frames)) || c.Unsent != 0 {
		t.Errorf("%+v", c)
	}
	// One that is refused keeps none of the others back.
	large := AppendAdvert(nil, vmac51, addr("192.0.2.11"), addr("192.0.2.12"), 7, make([]byte, 2000))
	if sent, err := pa.SendUnicast([][]byte{large, frames[0]}); sent != 1 || !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("%d, %v", sent, err)
	}
	l.advert()
	l.cancel() // which copies what it hears
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = pa.SendUnicast(frames[:3]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The last word of a dead process, to several machines, from nothing but its frames.
func TestSendOnceUnicast(t *testing.T) {
	a, b := newPair(t)
	a.address4("192.0.2.11")
	b.address4("192.0.2.12")
	b.address4("192.0.2.13")
	pb := b.open(single)
	l := listen(t, pb)
	addr := netip.MustParseAddr
	var words []byte
	for _, to := range []string{"192.0.2.12", "192.0.2.13"} {
		words = AppendAdvert(words, vmac51, addr("192.0.2.11"), addr(to), 7, payload)
	}
	a.enter()
	if err := SendOnce("veth0", words); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"192.0.2.12", "192.0.2.13"} {
		if r := l.advert(); r.Dst != addr(to) {
			t.Errorf("got %+v, want the one to %s", r, to)
		}
	}
	if err := SendOnce("veth0", make([]byte, 30)); err == nil || !strings.Contains(err.Error(), "no frame") {
		t.Errorf("what is no frame: %v", err)
	}
}
