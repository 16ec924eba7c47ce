package vmacif

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/lan"
)

var (
	vmac6    = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x02, 51}
	vip6     = netip.MustParseAddr("2001:db8::200")
	vipLL    = netip.MustParseAddr("fe80::5652:5250:51")
	own6     = netip.MustParseAddr("fe80::1:1")
	client6  = netip.MustParseAddr("fe80::1:9")
	ctl6     = netip.MustParseAddr("2001:db8::250")
	kernelLL = netip.MustParseAddr("fe80::200:5eff:fe00:233") // what a kernel makes of vmac6
)

func spec6() Spec {
	return Spec{Name: "vrrp51v6", Parent: "eth0", VRID: 51, Family: 6, MAC: vmac6, Addresses: []netip.Addr{vipLL, vip6}, Owner: "eth0-51v6"}
}

// newLab6 is a lab in which eth0 speaks IPv6, as a forwarding machine, with a
// link-local address that it has at once.
func newLab6(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.sysctl("ipv6", "eth0", "accept_dad", "0")
	l.must(l.nl.LinkSetIP6AddrGenMode(l.link("eth0"), genModeNone))
	l.sysctl("ipv6", "eth0", "disable_ipv6", "0")
	l.addr6("eth0", own6.String()+"/64")
	l.addr6("eth0", "2001:db8::1/64")
	return l
}

// addr6 adds an address without duplicate detection, and waits until it serves: its
// route is made a little after the kernel has acknowledged it.
func (l *lab) addr6(name, prefix string) {
	l.Helper()
	a, err := netlib.ParseAddr(prefix)
	l.must(err)
	a.Flags = unix.IFA_F_NODAD
	l.local(func() { l.must(l.nl.AddrAdd(l.link(name), a)) }, netip.MustParsePrefix(prefix).Addr())
}

// local does what makes addresses local, and waits until they all are.
func (l *lab) local(do func(), addrs ...netip.Addr) {
	l.Helper()
	updates, done := make(chan netlib.RouteUpdate, 100), make(chan struct{})
	defer func() {
		close(done)
		for range updates { // it is closed when its goroutine has ended
		}
	}()
	l.must(netlib.RouteSubscribeWithOptions(updates, done, netlib.RouteSubscribeOptions{Namespace: &l.here}))
	do()
	missing := make(map[netip.Addr]bool)
	for _, a := range addrs {
		missing[a] = true
	}
	ctx, cancel := l.deadline()
	defer cancel()
	for len(missing) > 0 {
		select {
		case u := <-updates:
			if u.Type == unix.RTM_NEWROUTE && u.Table == unix.RT_TABLE_LOCAL && u.Dst != nil {
				if a, ok := netip.AddrFromSlice(u.Dst.IP); ok {
					delete(missing, a)
				}
			}
		case <-ctx.Done():
			l.Fatalf("not local: %v", missing)
		}
	}
}

func (l *lab) up6(i *Iface) {
	l.Helper()
	l.local(func() { l.up(i) }, i.spec.Addresses...)
}

// ask6 asks for an address, to its group or to a machine.
func (s *stranger) ask6(ip netip.Addr) {
	s.l.Helper()
	s.send(lan.AppendSolicitation(nil, s.mac, client6, ip))
}

// whoHas6 is whoHas for IPv6: the MACs that claim ip.
func (s *stranger) whoHas6(ip netip.Addr, control [6]byte) []string {
	s.l.Helper()
	s.ask6(ip)
	s.ask6(ctl6)
	var macs []string
	for {
		f := s.next()
		if len(f) < lan.NeighbourSize || f[54] != 136 {
			continue
		}
		a, drop := lan.ParseAnswer(f)
		switch {
		case drop != lan.Delivered:
			s.l.Fatalf("answer % x: %v", f, drop)
		case a.IP == ip:
			if [6]byte(f[6:12]) != a.MAC {
				s.l.Errorf("%s says that %s is at %s", macString([6]byte(f[6:12])), ip, macString(a.MAC))
			}
			macs = append(macs, macString(a.MAC))
		case a.IP == ctl6 && a.MAC == control:
			slices.Sort(macs)
			return macs
		}
	}
}

// control6 is control for IPv6.
func (l *lab) control6() [6]byte {
	l.Helper()
	l.must(l.nl.LinkAdd(&netlib.Macvlan{
		LinkAttrs: netlib.LinkAttrs{Name: "ctl0", ParentIndex: l.link("eth0").Attrs().Index},
		Mode:      netlib.MACVLAN_MODE_BRIDGE,
	}))
	l.must(l.nl.LinkSetIP6AddrGenMode(l.link("ctl0"), genModeNone))
	l.must(l.nl.LinkSetUp(l.link("ctl0")))
	l.addr6("ctl0", ctl6.String()+"/128")
	return l.mac("ctl0")
}

func TestLifeOfAnInterface6(t *testing.T) {
	l := newLab6(t)
	// Whatever the administrator has made the default.
	l.sysctl("ipv6", "default", "disable_ipv6", "1")
	l.sysctl("ipv6", "default", "accept_ra", "2")
	for key, value := range map[string]string{"forwarding": "1", "accept_redirects": "0", "accept_source_route": "1"} {
		l.sysctl("ipv6", "eth0", key, value)
	}
	before := l.snapshot()
	h := l.hands()
	if w, err := h.Check(spec6()); err != nil || len(w) != 0 {
		t.Errorf("Check: %q, %v", w, err)
	}
	i := l.ensure(h, spec6())
	l.wantState("after Ensure", i, false)
	k := l.link("vrrp51v6")
	if a := k.Attrs().Alias; a != "vrrpd eth0-51v6 vrid 51 ipv6 on eth0" {
		t.Errorf("alias %q", a)
	}
	d, err := h.wire.device("vrrp51v6", 0)
	l.must(err)
	if d.GenMode != genModeNone {
		t.Errorf("IPv6 address generation mode %d, want none", d.GenMode)
	}
	for key, want := range map[string]string{
		"disable_ipv6": "0", "autoconf": "0", "accept_ra": "0", "accept_dad": "0", "dad_transmits": "0",
		"forwarding": "1", "accept_redirects": "0", "accept_source_route": "1",
	} {
		l.wantSysctl("ipv6", "vrrp51v6", key, want)
	}
	for key, want := range map[string]string{"arp_ignore": "1", "rp_filter": "2", "forwarding": "0"} {
		l.wantSysctl("ipv4", "vrrp51v6", key, want)
	}
	// The parent's settings are IPv4's.
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "0")
	if !i.Forwards() {
		t.Error("it does not say that it forwards")
	}
	l.sysctl("ipv6", "eth0", "forwarding", "0")
	if changed, err := i.Reconcile(); err != nil || !slices.Equal(changed.Form, []string{"sysctl vrrp51v6.forwarding=1"}) {
		t.Errorf("Reconcile: %v %v", changed, err)
	}
	if i.Forwards() {
		t.Error("it says that it forwards")
	}
	l.sysctl("ipv6", "eth0", "forwarding", "1")
	_, err = i.Reconcile()
	l.must(err)

	// Addresses are flushed with every down and come again with every up.
	for range 2 {
		l.up6(i)
		l.wantAddresses(i)
		l.must(i.RemoveAddrs())
		l.wantState("after RemoveAddrs", i, true)
		l.must(i.Down())
		l.wantState("after Down", i, false)
	}
	l.up6(i)
	l.must(l.nl.LinkSetDown(k)) // somebody
	l.local(func() {
		changed, err := i.Reconcile()
		if slices.Sort(changed.Service); err != nil || !slices.Equal(changed.Service, []string{"address " + vip6.String(), "address " + vipLL.String(), "down"}) {
			t.Errorf("Reconcile: %v %v", changed, err)
		}
	}, vip6, vipLL)
	l.wantAddresses(i)
	if changed, err := i.Reconcile(); err != nil || changed.Any() {
		t.Errorf("another Reconcile: %v %v", changed, err)
	}
	l.must(i.Delete())
	l.same("after everything", before, l.snapshot())
}

// wantAddresses: the virtual addresses serve, none is tentative, and the kernel has
// made none of the MAC.
func (l *lab) wantAddresses(i *Iface) {
	l.Helper()
	st, err := i.State()
	l.must(err)
	got := prefixes(st)
	slices.Sort(got)
	if want := []string{vip6.String() + "/128", vipLL.String() + "/64"}; !st.Up || !slices.Equal(got, want) {
		l.Errorf("up %v with %v, want %v", st.Up, got, want)
	}
	addrs, err := l.nl.AddrList(l.link(i.Name()), netlib.FAMILY_V6)
	l.must(err)
	for _, a := range addrs {
		if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			l.Errorf("%v is tentative", a)
		}
	}
}

// RFC9568-6.4.2-29 and 6.4.3-34, 8.2.2-59: the virtual addresses are answered with the
// virtual MAC only and by the MASTER only, the parent's with the physical MAC only.
func TestWhoAnswers6(t *testing.T) {
	l := newLab6(t)
	control := l.control6()
	s := l.stranger("far0", unix.ETH_P_IPV6)
	phys := l.mac("eth0")
	h := l.hands()
	i := l.ensure(h, spec6())
	backup := func(what string) {
		t.Helper()
		for _, a := range []netip.Addr{vip6, vipLL, kernelLL} {
			l.wantMACs(what+": "+a.String(), s.whoHas6(a, control))
		}
		l.wantMACs(what+": own address", s.whoHas6(own6, control), phys)
	}
	backup("BACKUP after start")
	for range 2 {
		l.up6(i)
		for _, a := range []netip.Addr{vip6, vipLL} {
			l.wantMACs("MASTER: "+a.String(), s.whoHas6(a, control), vmac6)
		}
		l.wantMACs("MASTER: own address", s.whoHas6(own6, control), phys)
		l.wantMACs("MASTER: the MAC's own address", s.whoHas6(kernelLL, control))
		l.must(i.RemoveAddrs())
		backup("leaving, addresses gone")
		l.must(i.Down())
		backup("BACKUP")
	}
	l.up6(i)
	l.must(h.Silence("vrrp51v6", "eth0-51v6"))
	backup("silenced")
}

// RFC9568-6.4.3-34: the answer of a machine that forwards says so, and comes back to
// who asked for the link-local address from its own.
func TestAnswerOfARouter6(t *testing.T) {
	l := newLab6(t)
	s := l.stranger("far0", unix.ETH_P_IPV6)
	i := l.ensure(l.hands(), spec6())
	for _, c := range []struct {
		forwarding string
		flag       byte
	}{{"1", 0x80}, {"0", 0}} {
		l.sysctl("ipv6", "eth0", "forwarding", c.forwarding)
		_, err := i.Reconcile()
		l.must(err)
		l.up6(i)
		s.ask6(vipLL)
		for {
			f := s.next()
			if a, drop := lan.ParseAnswer(f); drop != lan.Delivered || a.IP != vipLL {
				continue
			}
			if to := netip.AddrFrom16([16]byte(f[38:54])); f[58]&0x80 != c.flag || to != client6 || f[6] != vmac6[0] {
				t.Errorf("forwarding %s: flags %x to %s", c.forwarding, f[58], to)
			}
			break
		}
		l.must(i.RemoveAddrs())
		l.must(i.Down())
	}
}

// An echo to the link-local virtual address is answered from it, by the virtual MAC:
// the route to the neighbours is there.
func TestEchoToTheLinkLocalAddress(t *testing.T) {
	l := newLab6(t)
	s := l.stranger("far0", unix.ETH_P_IPV6)
	i := l.ensure(l.hands(), spec6())
	l.up6(i)
	s.ask6(vipLL) // so that it knows us
	for {
		f := s.next()
		if a, drop := lan.ParseAnswer(f); drop == lan.Delivered && a.IP == vipLL {
			break
		}
	}
	s.send(echo6(s.mac, vmac6, client6, vipLL))
	for {
		f := s.next()
		if len(f) > 54 && f[20] == 58 && f[54] == 129 {
			if src := netip.AddrFrom16([16]byte(f[22:38])); src != vipLL || [6]byte(f[6:12]) != vmac6 {
				t.Errorf("answered by %s at %s", src, macString([6]byte(f[6:12])))
			}
			return
		}
	}
}

// echo6 is an ICMPv6 echo request.
func echo6(from, to [6]byte, src, dst netip.Addr) []byte {
	f := append(append([]byte{}, to[:]...), from[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 64)
	f = append(f, src.AsSlice()...)
	f = append(f, dst.AsSlice()...)
	f = append(f, 128, 0, 0, 0, 0x12, 0x34, 0, 1)
	sum := uint32(8 + 58)
	for n := 22; n < len(f); n += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[n:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(f[56:], ^uint16(sum))
	return f
}

// No duplicate detection, no solicitation of routers, no address made of the MAC: all
// that the interface itself says, whatever it goes through, is that it is a member of
// its groups, by the virtual MAC and from a virtual address.
func TestUpIsQuiet6(t *testing.T) {
	l := newLab6(t)
	s := l.stranger("far0", unix.ETH_P_ALL)
	i := l.ensure(l.hands(), spec6())
	for range 3 {
		l.up6(i)
		l.must(i.RemoveAddrs())
		l.must(i.Down())
	}
	l.up6(i)
	s.ask6(own6) // the mark
	for {
		f := s.next()
		if len(f) < 62 || f[12] != 0x86 || f[13] != 0xdd {
			t.Errorf("on the wire: % x", f)
			continue
		}
		src := netip.AddrFrom16([16]byte(f[22:38]))
		if a, drop := lan.ParseAnswer(f); drop == lan.Delivered && a.IP == own6 {
			return
		}
		if [6]byte(f[6:12]) != vmac6 {
			continue // the machine's own
		}
		if report := f[20] == 0 && f[62] == 143; !report || !src.IsUnspecified() && src != vipLL {
			t.Errorf("from %s with the virtual MAC: % x", src, f)
		}
	}
}

func TestRefused6(t *testing.T) {
	l := newLab6(t)
	s := spec6()
	s.Addresses = []netip.Addr{own6}
	l.wantRefused("the parent's link-local address", s, false, own6.String(), "eth0")
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	l.sysctl("ipv6", "eth1", "disable_ipv6", "0")
	l.addr6("eth1", "fe80::7/64")
	l.addr6("eth1", "2001:db8:1::7/64")
	// On another link it is another address; a global one is the same everywhere.
	s.Addresses = []netip.Addr{netip.MustParseAddr("fe80::7")}
	if w, err := l.hands().Check(s); err != nil || len(w) != 0 {
		t.Errorf("the link-local address of another link: %q, %v", w, err)
	}
	s.Addresses = []netip.Addr{vipLL, netip.MustParseAddr("2001:db8:1::7")}
	l.wantRefused("an address of another interface", s, false, "2001:db8:1::7", "eth1")
	s.Addresses = []netip.Addr{vipLL, netip.MustParseAddr("::ffff:192.0.2.200")}
	l.wantRefused("IPv4 in clothes", s, true, "::ffff:192.0.2.200")

	s = spec6()
	s.Addresses = append(s.Addresses, netip.MustParseAddr("2001:db8:7::1"))
	if w, err := l.hands().Check(s); err != nil || len(w) != 1 {
		t.Errorf("an address of no subnet: %q, %v", w, err)
	} else {
		contains(t, "warning", w[0], "2001:db8:7::1", "no subnet of eth0")
	}
	l.must(l.nl.AddrDel(l.link("eth0"), mustAddr(l, own6.String()+"/64")))
	if w, err := l.hands().Check(spec6()); err != nil || len(w) != 1 {
		t.Errorf("no link-local address: %q, %v", w, err)
	} else {
		contains(t, "warning", w[0], "eth0 has no link-local address")
	}
	l.sysctl("ipv6", "eth0", "disable_ipv6", "1")
	l.wantRefused("IPv6 off", spec6(), false, "net.ipv6.conf.eth0.disable_ipv6")
}

func mustAddr(l *lab, prefix string) *netlib.Addr {
	l.Helper()
	a, err := netlib.ParseAddr(prefix)
	l.must(err)
	return a
}

// Two virtual routers of one VRID on one parent, each with its own interface, MAC and
// settings; the last one to leave restores the parent.
func TestBothFamilies(t *testing.T) {
	l := newLab6(t)
	before := l.snapshot()
	h := l.hands()
	l.alive["eth0-51"], l.alive["eth0-51v6"] = true, true
	six := l.ensure(h, spec6())
	four := l.ensure(h, spec51())
	l.up(four)
	l.up6(six)
	l.wantState("IPv4", four, true, "192.0.2.200/32")
	l.wantAddresses(six)
	l.must(six.Delete())
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "1")
	six = l.ensure(h, spec6())
	l.must(four.Delete())
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "0")
	l.up6(six)
	l.must(six.Delete())
	l.same("after everything", before, l.snapshot())
}
