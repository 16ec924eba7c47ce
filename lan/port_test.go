package lan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestSendAndReceive(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	before := boottime()
	mustSend(t, pa, advert(7))
	got := l.next()
	after := boottime()
	if len(got.Adverts) != 1 {
		t.Fatalf("got %+v", got)
	}
	r := got.Adverts[0]
	if r.SrcMAC != vmac51 || r.Src != primary || r.Dst != Group4() || r.TTL != 255 || !bytes.Equal(r.Payload, payload) {
		t.Errorf("received %+v", r)
	}
	if got.At < before || got.At > after {
		t.Errorf("stamped %d, sent and received within %d..%d", got.At, before, after)
	}
	if c := pb.Counters(); c.Adverts != 1 || c.Overruns != 0 || c.Dropped != [drops]uint64{} {
		t.Errorf("receiver counts %+v", c)
	}
	if c := pa.Counters(); c.Sent != 1 || c.Unsent != 0 || c.Adverts != 0 {
		t.Errorf("sender counts %+v", c)
	}
}

// A real kernel answers a probe with its real MAC, and a gratuitous reply is
// heard too; requests are not answers.
func TestAnswers(t *testing.T) {
	a, b := newPair(t)
	addr, err := netlink.ParseAddr("192.0.2.200/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.nl.AddrAdd(b.link(), addr); err != nil {
		t.Fatal(err)
	}
	pa, pb := a.open(), b.open()
	l := listen(t, pa)
	mustSend(t, pa, AppendARPProbe(nil, a.mac(), vip))
	if got := l.answer(); got != (Answer{MAC: b.mac(), IP: vip}) {
		t.Errorf("answer %+v, want %v at %x", got, vip, b.mac())
	}
	mustSend(t, pb,
		AppendGratuitousARP(nil, vmac51, vip, false),
		AppendARPProbe(nil, b.mac(), primary),
		AppendGratuitousARP(nil, vmac51, vip, true))
	if got := l.answer(); got != (Answer{MAC: vmac51, IP: vip}) {
		t.Errorf("answer %+v", got)
	}
	if c := pa.Counters(); c.Answers != 2 || c.Dropped != [drops]uint64{} {
		t.Errorf("counts %+v", c)
	}
}

// Linux learns from both forms of the gratuitous ARP.
func TestGratuitousARPIsBelieved(t *testing.T) {
	for _, reply := range []bool{false, true} {
		a, b := newPair(t)
		if err := b.nl.NeighAdd(&netlink.Neigh{LinkIndex: b.ifi.Index, IP: vip.AsSlice(), HardwareAddr: a.ifi.HardwareAddr, State: netlink.NUD_STALE}); err != nil {
			t.Fatal(err)
		}
		// The address makes the interface one that speaks IPv4.
		addr, _ := netlink.ParseAddr("192.0.2.12/24")
		if err := b.nl.AddrAdd(b.link(), addr); err != nil {
			t.Fatal(err)
		}
		pa := a.open()
		l := listen(t, b.open())
		mustSend(t, pa, AppendGratuitousARP(nil, vmac51, vip, reply), sentinel())
		for len(l.next().Adverts) == 0 {
			// The reply form is an answer, too.
		} // the ARP before the sentinel has been handled
		ns, err := b.nl.NeighList(b.ifi.Index, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		learned := false
		for _, n := range ns {
			learned = learned || n.IP.Equal(vip.AsSlice()) && bytes.Equal(n.HardwareAddr, vmac51[:])
		}
		if !learned {
			t.Errorf("reply=%v: neighbours %v", reply, ns)
		}
	}
}

// otherFrames are frames that the kernel must not pass to us: none of them
// appears in any counter.
func otherFrames(b *host) map[string][]byte {
	to := b.mac()
	return map[string][]byte{
		"UDP":                             edit(ipBytes(9, 17)),
		"protocol 113":                    edit(ipBytes(9, 113)),
		"another group":                   edit(ipBytes(16, 224, 0, 0, 5)),
		"unicast to this host":            edit(func(f []byte) { copy(f, to[:]); ipBytes(16, 192, 0, 2, 12)(f) }),
		"unicast to another MAC":          edit(func(f []byte) { copy(f, physMAC[:]) }),
		"a VLAN that is not here":         tagged(advert(1), 20),
		"a VLAN that is not here, urgent": tagged(advert(1), 7<<13|20),
		"an ARP reply in a VLAN":          tagged(AppendGratuitousARP(nil, vmac51, vip, true), 20),
		"IPv6":                            func() []byte { f := advert(1); f[12], f[13] = 0x86, 0xdd; return f }(),
		"ARP request":                     AppendGratuitousARP(nil, vmac51, vip, false),
		"ARP probe":                       AppendARPProbe(nil, physMAC, vip),
		"ARP reply to another MAC": func() []byte {
			f := AppendGratuitousARP(nil, vmac51, vip, true)
			copy(f, physMAC[:])
			return f
		}(),
		"RARP": func() []byte { f := AppendGratuitousARP(nil, vmac51, vip, true); f[21] = 4; return f }(),
		"ARP for IPv6": func() []byte {
			f := AppendGratuitousARP(nil, vmac51, vip, true)
			f[16], f[17] = 0x86, 0xdd
			return f
		}(),
		"ARP with 8-byte MACs": func() []byte { f := AppendGratuitousARP(nil, vmac51, vip, true); f[18] = 8; return f }(),
	}
}

// tagged puts a frame into a VLAN. In tci are its number and, before that, a priority.
func tagged(f []byte, tci uint16) []byte {
	return slices.Concat(f[:12], binary.BigEndian.AppendUint16([]byte{0x81, 0x00}, tci), f[12:])
}

// A tag that only gives a priority makes no VLAN.
func TestPriorityTag(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(both), b.open(both)
	l := listen(t, pb)
	mustSend(t, pa, tagged(advert(1), 7<<13), tagged(advert6(), 0), tagged(AppendGratuitousARP(nil, vmac51, vip, true), 5<<13))
	l.advert()
	l.advert()
	l.answer()
}

func TestKernelFilters(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	for name, frame := range otherFrames(b) {
		mustSend(t, pa, frame, sentinel())
		if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
			t.Errorf("%s came through: %+v", name, r)
			l.advert()
		}
	}
	protected := AppendAdvertAH(nil, vmac51, primary, Group4(), 1, payload)
	mustSend(t, pa, protected)
	if r := l.advert(); !r.AH || !bytes.Equal(r.Payload, payload) || !bytes.Equal(r.Header, protected[14:34]) {
		t.Errorf("behind an Authentication Header: %+v", r)
	}
	mustSend(t, pa, AppendGratuitousARP(nil, vmac51, vip, true))
	l.answer()
	if c := pb.Counters(); c.Answers != 1 || c.Dropped != [drops]uint64{} {
		t.Errorf("the parser had to refuse: %+v", c)
	}
}

func TestUnicastDestination(t *testing.T) {
	a, b := newPair(t)
	own := netip.MustParseAddr("192.0.2.12")
	pa := a.open()
	pb := b.open(func(c *Config) { c.Unicast = []uint8{4} })
	l := listen(t, pb)
	to := b.mac()
	unicast := edit(func(f []byte) { copy(f, to[:]); ipBytes(16, 192, 0, 2, 12)(f) })
	inBroadcast := edit(func(f []byte) { copy(f, bytes.Repeat([]byte{0xff}, 6)); ipBytes(16, 192, 0, 2, 12)(f) })
	other := edit(func(f []byte) { copy(f, to[:]); ipBytes(16, 192, 0, 2, 13)(f) })
	mustSend(t, pa, inBroadcast, unicast, other, sentinel())
	if r := l.advert(); r.Dst != own || !bytes.Equal(r.Payload, payload) {
		t.Errorf("got %+v, want the advert to %v", r, own)
	}
	if r := l.advert(); r.Dst.As4()[3] != 13 { // whose that is others know
		t.Errorf("got %+v, want the advert to somebody else by way of this machine", r)
	}
	if r := l.advert(); r.Dst != Group4() {
		t.Errorf("got %+v, want the sentinel", r)
	}
	if c := pb.Counters(); c.Dropped != [drops]uint64{} {
		t.Errorf("the parser had to refuse: %+v", c)
	}
}

// A tap for all protocols is shown what the machine sends, unless it asks not to be; the
// filter alone, for kernels where that cannot be asked, turns it away, too.
func TestOwnFramesAreFiltered(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(both), b.open(both)
	filter, err := portFilter([]uint8{4, 6}, func(uint8) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	everything := a.tap(unix.ETH_P_ALL, nil)
	filtered := a.tap(unix.ETH_P_ALL, filter)
	l := listen(t, pa)
	ours := [][]byte{advert(1), AppendGratuitousARP(nil, vmac51, vip, true), advert6(), AppendAnnouncement(nil, vmac6, vip6, true)}
	mustSend(t, pa, ours...)
	theirs := [][]byte{AppendGratuitousARP(nil, physMAC, vip, true), AppendAnnouncement(nil, physMAC, vip6, false), sentinel()}
	mustSend(t, pb, theirs...)
	for _, f := range ours {
		readTap(t, everything, func(got []byte) bool { return bytes.Equal(got, f) })
	}
	for i, f := range theirs {
		if got := readTap(t, filtered, func([]byte) bool { return true }); !bytes.Equal(got, f) {
			t.Errorf("heard as number %d: %x", i, got)
		}
	}
	for len(l.next().Adverts) == 0 {
	}
	if c := pa.Counters(); c.Adverts != 1 || c.Answers != 2 || c.Dropped != [drops]uint64{} {
		t.Errorf("heard %+v", c)
	}
}

func TestParentDownAndUp(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	mustSend(t, pa, advert(1))
	l.advert()

	b.setUp(false)
	reports := a.tap(unix.ETH_P_IP, nil) // not before: the first join reports too
	if n, err := pb.Send([][]byte{advert(1)}); n != 0 || !errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENXIO) {
		t.Errorf("sent %d, %v; want ENETDOWN", n, err)
	}
	b.setUp(true)
	if eth, igmp := b.members(); eth != 2 || !igmp {
		t.Errorf("membership after up: layer 2 %d times, IGMP %v", eth, igmp)
	}
	// The switch is told again: IGMPv3 for our group (record at 14+24+8), or v2.
	readTap(t, reports, func(f []byte) bool {
		return len(f) >= 50 && f[23] == unix.IPPROTO_IGMP && bytes.Contains(f[34:], []byte{224, 0, 0, 18})
	})
	a.carrier()
	mustSend(t, pb, advert(2))
	mustSend(t, pa, sentinel())
	if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
		t.Errorf("after up: %+v", r)
	}
	mustSend(t, pa, AppendGratuitousARP(nil, vmac51, vip, true))
	l.answer()
	select {
	case <-l.ended:
		t.Errorf("listening ended: %v", l.err)
	default:
	}
}

func TestOpenWhileDown(t *testing.T) {
	a, b := newPair(t)
	b.setUp(false)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	b.setUp(true)
	a.carrier()
	mustSend(t, pa, advert(1))
	l.advert()
}

func TestParentDeleted(t *testing.T) {
	a, b := newPair(t)
	pb := b.open()
	l := listen(t, pb)
	if err := a.nl.LinkDel(a.link()); err != nil { // takes the other end with it
		t.Fatal(err)
	}
	if n, err := pb.Send([][]byte{advert(1)}); n != 0 || !errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENETDOWN) {
		t.Errorf("sent %d, %v; want ENXIO", n, err)
	}
	if n, err := pb.Drain(); n != 0 || err != nil {
		t.Errorf("Drain: %d, %v", n, err)
	}
	if err := pb.Close(); err != nil {
		t.Error(err)
	}
	if err := l.wait(); err != nil {
		t.Error(err)
	}
}

func TestParentDeletedWhileDown(t *testing.T) {
	_, b := newPair(t)
	pb := b.open()
	l := listen(t, pb)
	b.setUp(false)
	if err := b.nl.LinkDel(b.link()); err != nil {
		t.Fatal(err)
	}
	if n, err := pb.Send([][]byte{advert(1)}); n != 0 || !errors.Is(err, unix.ENXIO) {
		t.Errorf("sent %d, %v; want ENXIO", n, err)
	}
	if err := pb.Close(); err != nil {
		t.Error(err)
	}
	if err := l.wait(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, b := newPair(t)
	b.enter()
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no such parent": {func(c *Config) { c.Index = 9999; c.Name = "eth7" }, "eth7"},
	} {
		cfg := b.config()
		tc.change(&cfg)
		p, err := Open(cfg)
		if err == nil {
			p.Close()
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %q does not say %q", name, err, tc.want)
		}
	}
	cfg := b.config()
	cfg.Index = 9999
	if _, err := Open(cfg); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no such parent: %v, want ENODEV", err)
	}
}

// A peer's advert has our own VMAC as source; it must reach the parent whether
// our macvlan with that MAC is up (MASTER) or down (BACKUP).
func TestMacvlanWithSameMAC(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	vmac := &netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "vrrp51", ParentIndex: b.ifi.Index, HardwareAddr: vmac51[:]},
		Mode:      netlink.MACVLAN_MODE_BRIDGE,
	}
	if err := b.nl.LinkAdd(vmac); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("needs macvlan:", err)
		}
		t.Fatal(err)
	}
	l := listen(t, pb)
	for _, up := range []bool{false, true, false} {
		set := b.nl.LinkSetDown
		if up {
			set = b.nl.LinkSetUp
		}
		if err := set(vmac); err != nil {
			t.Fatal(err)
		}
		mustSend(t, pa, advert(1))
		if r := l.advert(); r.SrcMAC != vmac51 || !bytes.Equal(r.Payload, payload) {
			t.Errorf("up=%v: %+v", up, r)
		}
		// An answer that comes from a machine with the same VMAC, too.
		mustSend(t, pa, AppendGratuitousARP(nil, vmac51, vip, true))
		if got := l.answer(); got.MAC != vmac51 {
			t.Errorf("up=%v: answer %+v", up, got)
		}
	}
}

// What the kernel gives to an interface above the parent is not the parent's, though
// it is shown to the parent's taps: this is how the adverts of a VLAN reach those of
// its trunk (internal/vmtest), and frames to its MAC those below a macvlan.
func TestFramesOfAnInterfaceAbove(t *testing.T) {
	a, b := newPair(t)
	above := [6]byte{0x02, 0, 0, 0, 0, 0x77}
	link := &netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "above", ParentIndex: b.ifi.Index, HardwareAddr: above[:]},
		Mode:      netlink.MACVLAN_MODE_BRIDGE,
	}
	if err := b.nl.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	if err := b.nl.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	pa, pb := a.open(both), b.open(both)
	l := listen(t, pb)
	frames := [][]byte{advert(1), advert6(), AppendGratuitousARP(nil, vmac51, vip, true)}
	var taps []*packet.Conn
	for i, protocol := range []int{unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_ARP} {
		copy(frames[i], above[:])
		taps = append(taps, b.tap(protocol, nil))
	}
	mustSend(t, pa, append(frames, sentinel())...)
	for i, tap := range taps {
		readTap(t, tap, func(f []byte) bool { return bytes.Equal(f, frames[i]) })
	}
	if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
		t.Errorf("it came through: %+v", r)
	}
	if c := pb.Counters(); c.Adverts != 1 || c.Answers != 0 || c.Dropped != [drops]uint64{} {
		t.Errorf("the parser had to refuse: %+v", c)
	}
}

func TestListenAgain(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	for range 20 {
		l := listen(t, pb)
		mustSend(t, pa, advert(1))
		l.advert()
		if err := run(t.Context(), pb, func(Batch) {}); err == nil || !strings.Contains(err.Error(), "somebody else") {
			t.Fatalf("two listen: %v", err)
		}
		l.cancel()
		if err := l.wait(); err != nil {
			t.Fatal(err)
		}
	}
	// What arrived while nobody was reading has waited.
	mustSend(t, pa, sentinel())
	l := listen(t, pb)
	if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
		t.Errorf("got %+v", r)
	}
	if err := pb.Close(); err != nil {
		t.Error(err)
	}
	if err := l.wait(); err != nil {
		t.Errorf("it was closed: %v", err)
	}
	if err := pb.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := pb.Send([][]byte{advert(1)}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if _, err := pb.Drain(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Drain after Close: %v", err)
	}
	if err := run(t.Context(), pb, func(Batch) {}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Listen after Close: %v", err)
	}
	if c := pb.Counters(); c.Adverts != 21 {
		t.Errorf("counts after Close: %+v", c)
	}
}

func TestCloseLeavesTheGroup(t *testing.T) {
	_, b := newPair(t)
	if eth, igmp := b.members(); eth != 0 || igmp {
		t.Fatalf("member before Open: layer 2 %d times, IGMP %v", eth, igmp)
	}
	p := b.open()
	if eth, igmp := b.members(); eth != 2 || !igmp {
		t.Errorf("member after Open: layer 2 %d times, IGMP %v", eth, igmp)
	}
	p.Close()
	if eth, igmp := b.members(); eth != 0 || igmp {
		t.Errorf("member after Close: layer 2 %d times, IGMP %v", eth, igmp)
	}
}
