package lan

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

var (
	vmac6     = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x02, 51}
	linkLocal = netip.MustParseAddr("fe80::a")
	vip6      = netip.MustParseAddr("2001:db8::c8")
	payload6  = []byte{0x31, 51, 100, 1, 0, 100, 0xba, 0x52, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x56, 0x52, 0x52, 0x50, 0, 0x51}
)

func advert6() []byte { return AppendAdvert(nil, vmac6, linkLocal, Group6(), 0, payload6) }

// behind puts extension headers before what an advert carries: kind is that of the
// first, and each header names the next.
func behind(kind byte, headers ...byte) []byte {
	frame := advert6()
	frame = slices.Insert(frame, ethernetSize+ipv6Size, headers...)
	frame[ethernetSize+6] = kind
	binary.BigEndian.PutUint16(frame[ethernetSize+4:], uint16(len(headers)+len(payload6)))
	return frame
}

func change6(f func(ip []byte)) []byte {
	frame := advert6()
	f(frame[ethernetSize:])
	return frame
}

// RFC9568-5.1.2-7, -8, -9 and 7.2-49, as another decoder sees it.
func TestAppendAdvert6(t *testing.T) {
	frame := advert6()
	if to, from := frame[:6], frame[6:12]; !bytes.Equal(to, []byte{0x33, 0x33, 0, 0, 0, 0x12}) || !bytes.Equal(from, vmac6[:]) {
		t.Errorf("from %x to %x", from, to)
	}
	if frame[12] != 0x86 || frame[13] != 0xdd {
		t.Errorf("type %x", frame[12:14])
	}
	ip, err := ipv6.ParseHeader(IPPacket(frame))
	if err != nil {
		t.Fatal(err)
	}
	if ip.Version != 6 || ip.TrafficClass != 0xc0 || ip.FlowLabel != 0 || ip.PayloadLen != len(payload6) ||
		ip.NextHeader != 112 || ip.HopLimit != 255 || ip.Src.String() != "fe80::a" || ip.Dst.String() != "ff02::12" {
		t.Errorf("IPv6 header: %v", ip)
	}
	if !bytes.Equal(Payload(frame), payload6) {
		t.Errorf("payload: %x", Payload(frame))
	}
	for name, f := range map[string]func(){
		"two families":    func() { AppendAdvert(nil, vmac6, primary, Group6(), 0, payload6) },
		"the other group": func() { AppendAdvert(nil, vmac6, linkLocal, Group4(), 0, payload6) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// good6 are adverts that have to be accepted.
func good6() map[string][]byte {
	return map[string][]byte{
		"plain":               advert6(),
		"padded":              append(advert6(), 0xee, 0xee),
		"hop-by-hop":          behind(hopByHop, ProtocolVRRP, 0, 5, 2, 0, 0, 1, 0),
		"destination options": behind(destination, append([]byte{ProtocolVRRP, 1}, make([]byte, 14)...)...),
		"two headers":         behind(hopByHop, destination, 0, 1, 4, 0, 0, 0, 0, ProtocolVRRP, 0, 1, 4, 0, 0, 0, 0),
		"a route at its end":  behind(routing, ProtocolVRRP, 0, 4, 0, 0, 0, 0, 0),
		"as unicast frame":    func() []byte { f := advert6(); copy(f, physMAC[:]); return f }(),
		"hop limit 1":         change6(func(ip []byte) { ip[7] = 1 }), // package vrrp counts it
	}
}

type bad struct {
	name  string
	frame []byte
	want  Drop
}

func bad6() []bad {
	all := []bad{
		{"short", advert6()[:ethernetSize+ipv6Size-1], DropTruncated},
		{"cut", advert6()[:ethernetSize+ipv6Size+4], DropTruncated},
		{"version", change6(func(ip []byte) { ip[0] = 0x45 }), DropHeader},
		{"another protocol", change6(func(ip []byte) { ip[6] = 17 }), DropDestination},
		{"no next header", change6(func(ip []byte) { ip[6] = 59 }), DropDestination},
		{"another group", change6(func(ip []byte) { ip[39] = 0x13 }), DropDestination},
		{"unicast", change6(func(ip []byte) { copy(ip[24:], linkLocal.AsSlice()) }), DropDestination},
		{"fragment", behind(fragment, ProtocolVRRP, 0, 0, 1, 0, 0, 0, 1), DropFragment},
		{"whole fragment", behind(fragment, ProtocolVRRP, 0, 0, 0, 0, 0, 0, 1), DropFragment},
		{"header longer than the packet", behind(hopByHop, ProtocolVRRP, 200, 0, 0, 0, 0, 0, 0), DropExtension},
		{"route not at its end", behind(routing, ProtocolVRRP, 0, 4, 1, 0, 0, 0, 0), DropExtension},
		{"headers without end", behind(hopByHop, hopByHop, 0, 0, 0, 0, 0, 0, 0), DropExtension},
	}
	for _, src := range []string{"::", "::1", "ff02::1", "::ffff:192.0.2.1"} {
		all = append(all, bad{"from " + src, change6(func(ip []byte) { a := netip.MustParseAddr(src).As16(); copy(ip[8:], a[:]) }), DropSource})
	}
	return all
}

// checkParsed6 checks what was made of a frame that was accepted.
func checkParsed6(t *testing.T, frame []byte, r Received) {
	t.Helper()
	total := ipv6Size + int(binary.BigEndian.Uint16(frame[18:]))
	if len(r.Header)+len(r.Payload) != total || !bytes.Equal(append(bytes.Clone(r.Header), r.Payload...), frame[14:14+total]) {
		t.Fatalf("header % x and payload % x of % x", r.Header, r.Payload, frame)
	}
	if r.TTL != frame[21] || !r.Src.Is6() {
		t.Fatalf("%+v", r)
	}
}

func TestParseAdvert6(t *testing.T) {
	for name, frame := range good6() {
		r, drop := ParseAdvert(frame, false)
		if drop != Delivered || r.Src != linkLocal || r.Dst != Group6() || r.SrcMAC != vmac6 || r.AH || !bytes.Equal(r.Payload, payload6) {
			t.Errorf("%s: %v, %+v", name, drop, r)
			continue
		}
		checkParsed6(t, frame, r)
	}
	for _, b := range bad6() {
		if r, drop := ParseAdvert(b.frame, false); drop != b.want || r.Payload != nil {
			t.Errorf("%s: %v, want %v; %+v", b.name, drop, b.want, r)
		}
	}
}

func TestSolicitedNode(t *testing.T) {
	if got := SolicitedNode(netip.MustParseAddr("2001:db8::1:2345:6789")); got.String() != "ff02::1:ff45:6789" {
		t.Error(got)
	}
}

func both(c *Config) { c.Families = []uint8{4, 6} }
func six(c *Config)  { c.Families, c.Virtual = []uint8{6}, []netip.Addr{vip6} }

// address gives the host an address, and waits until it serves: the kernel makes its
// route a little after it has acknowledged the address.
func (h *host) address(a netip.Addr) {
	h.t.Helper()
	length := "/64"
	if a.Is4() {
		length = "/24"
	}
	p, err := netlink.ParseAddr(a.String() + length)
	if err != nil {
		h.t.Fatal(err)
	}
	if a.Is6() {
		p.Flags = unix.IFA_F_NODAD
	}
	updates, done := make(chan netlink.RouteUpdate), make(chan struct{})
	defer func() {
		close(done)
		for range updates { // it is closed when its goroutine has ended
		}
	}()
	if err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{Namespace: &h.ns}); err != nil {
		h.t.Fatal("watch routes:", err)
	}
	if err := h.nl.AddrAdd(h.link(), p); err != nil {
		h.t.Fatal(err)
	}
	deadline := time.After(patience)
	for {
		select {
		case u := <-updates:
			if u.Type == unix.RTM_NEWROUTE && u.Table == unix.RT_TABLE_LOCAL && u.Dst != nil && u.Dst.IP.Equal(a.AsSlice()) {
				return
			}
		case <-deadline:
			h.t.Fatalf("%s does not become local", a)
		}
	}
}

// What the kernel must not pass to us, and what it must.
func TestPort6(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(both), b.open(both)
	l := listen(t, pb)
	to := b.mac()
	other := func(f []byte) []byte { g := bytes.Clone(f); copy(g, physMAC[:]); return g }
	for name, frame := range map[string][]byte{
		"UDP":                          change6(func(ip []byte) { ip[6] = 17; ip[39] = 1 }),
		"another group":                change6(func(ip []byte) { ip[39] = 0x13 }),
		"unicast":                      change6(func(ip []byte) { copy(ip[24:], linkLocal.AsSlice()) }),
		"to another MAC":               other(advert6()),
		"solicitation":                 AppendSolicitation(nil, a.mac(), linkLocal, vip6),
		"solicitation to us":           AppendSolicitationTo(nil, to, a.mac(), linkLocal, vip6),
		"advertisement to another MAC": other(AppendAnnouncement(nil, vmac6, vip6, true)),
		"advertisement from far away":  func() []byte { f := AppendAnnouncement(nil, vmac6, vip6, true); f[21] = 254; return f }(),
		"IPv4 in clothes of the type":  func() []byte { f := advert(1); f[12], f[13] = 0x86, 0xdd; return f }(),
	} {
		mustSend(t, pa, frame, sentinel())
		if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
			t.Errorf("%s came through: %+v", name, r)
			l.advert()
		}
	}
	for name, frame := range good6() {
		if name == "as unicast frame" {
			continue
		}
		mustSend(t, pa, frame)
		if r := l.advert(); !bytes.Equal(r.Payload, payload6) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if c := pb.Counters(); c.Answers != 0 || c.Dropped != [drops]uint64{} {
		t.Errorf("the parser had to refuse: %+v", c)
	}
	want := [drops]uint64{}
	for _, b := range bad6() {
		if len(b.frame) < ethernetSize+ipv6Size || b.name == "another group" || b.name == "unicast" {
			continue // the sending kernel's, or the filter's
		}
		want[b.want]++
		mustSend(t, pa, b.frame)
	}
	broken := AppendAnnouncement(nil, vmac6, vip6, true)
	broken[60]++
	want[DropNeighbour]++
	// In one batch of the socket both kinds come apart.
	mustSend(t, pa, broken, AppendAnnouncement(nil, vmac6, vip6, true), advert6())
	var adverts, answers int
	for adverts+answers < 2 {
		x := l.next()
		adverts, answers = adverts+len(x.Adverts), answers+len(x.Answers)
	}
	if c := pb.Counters(); adverts != 1 || answers != 1 || c.Dropped != want {
		t.Errorf("%d adverts, %d answers, dropped %v, want %v", adverts, answers, c.Dropped, want)
	}
}

// Nothing of one family is heard by who asked for the other.
func TestFamiliesApart(t *testing.T) {
	a, b := newPair(t)
	pa := a.open(both)
	l := listen(t, b.open(six))
	mustSend(t, pa, advert(1), AppendGratuitousARP(nil, vmac51, vip, true), advert6())
	if r := l.advert(); r.Dst != Group6() {
		t.Errorf("got %+v", r)
	}
	if eth, igmp := b.members(); eth != 0 || igmp {
		t.Errorf("member for IPv4: layer 2 %d times, IGMP %v", eth, igmp)
	}
}

// groups6 are the IPv6 groups that the host is a member of on its interface.
func (h *host) groups6() string { return h.proc("igmp6") }

// RFC9568-5.1.2.2: the parent is a member of the group at layer 2 and by MLD, and of
// the solicited-node groups of the virtual addresses; it says so to the switch, also
// when it comes up again.
func TestMembership6(t *testing.T) {
	a, b := newPair(t)
	vrrp, node := "ff020000000000000000000000000012", strings.ReplaceAll("ff02 0000 0000 0000 0000 0001 ff00 00c8", " ", "")
	if g := b.groups6(); strings.Contains(g, vrrp) || strings.Contains(g, node) {
		t.Fatalf("member before Open: %s", g)
	}
	reports := a.tap(unix.ETH_P_IPV6, nil)
	reported := func() {
		t.Helper()
		for _, group := range []netip.Addr{Group6(), SolicitedNode(vip6)} {
			g := group.As16()
			readTap(t, reports, func(f []byte) bool { // MLDv2 report behind a router alert
				return len(f) > 62 && f[20] == hopByHop && f[62] == 143 && bytes.Contains(f[62:], g[:])
			})
		}
	}
	p := b.open(six)
	if g := b.groups6(); !strings.Contains(g, vrrp) || !strings.Contains(g, node) {
		t.Errorf("member after Open: %s", g)
	}
	if m := b.proc("dev_mcast"); !strings.Contains(m, "333300000012") {
		t.Errorf("at layer 2: %s", m)
	}
	reported()
	b.setUp(false)
	b.setUp(true)
	a.carrier()
	reported()
	p.Close()
	if g := b.groups6(); strings.Contains(g, vrrp) || strings.Contains(g, node) {
		t.Errorf("member after Close: %s", g)
	}
}
