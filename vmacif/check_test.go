package vmacif

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread of its own in another network namespace.
func inNamespace(ns int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never given back
		err := unix.Setns(ns, unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// wantRefused wants a refusal in one sentence from Check and from Ensure, and
// nothing changed.
func (l *lab) wantRefused(what string, s Spec, both bool, words ...string) {
	l.Helper()
	before := l.snapshot()
	h := l.hands()
	_, err := h.Check(s)
	var r Refused
	if !errors.As(err, &r) {
		l.Errorf("%s: Check says %v", what, err)
		return
	}
	contains(l.T, what, err.Error(), words...)
	if strings.ContainsAny(err.Error(), "\n") || strings.HasSuffix(err.Error(), ".") {
		l.Errorf("%s: %q is not one sentence for the end of a line", what, err)
	}
	if both {
		if _, err := h.Ensure(s); !errors.As(err, &r) {
			l.Errorf("%s: Ensure says %v", what, err)
		}
	}
	l.same(what, before, l.snapshot())
}

func TestRefusedSpecs(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		what  string
		spoil func(*Spec)
		words []string
	}{
		{"no name", func(s *Spec) { s.Name = "" }, []string{"--name"}},
		{"long name", func(s *Spec) { s.Name = "vrrp51-on-eth0-x" }, []string{"vrrp51-on-eth0-x", "15 bytes", "--name"}},
		{"dot", func(s *Spec) { s.Name = "vrrp.51" }, []string{"vrrp.51", "dot", "--name"}},
		{"all", func(s *Spec) { s.Name = "all" }, []string{"all", "--name"}},
		{"default", func(s *Spec) { s.Name = "default" }, []string{"default", "--name"}},
		{"space", func(s *Spec) { s.Name = "vrrp 51" }, []string{"--name"}},
		{"slash", func(s *Spec) { s.Name = "a/b" }, []string{"--name"}},
		{"colon", func(s *Spec) { s.Name = "eth0:1" }, []string{"--name"}},
		{"name of the parent", func(s *Spec) { s.Name = "eth0" }, []string{"--name"}},
		{"no parent", func(s *Spec) { s.Parent = "eth7" }, []string{"no interface eth7", "eth0"}},
		{"impossible parent", func(s *Spec) { s.Parent = "../eth0" }, []string{"../eth0"}},
		{"loopback", func(s *Spec) { s.Parent = "lo" }, []string{"lo is the loopback", "use one of eth0"}},
		{"VRID 0", func(s *Spec) { s.VRID = 0 }, []string{"1 to 255"}},
		{"IPv4 address of an IPv6 router", func(s *Spec) { s.Family = 6 }, []string{"192.0.2.200", "IPv6"}},
		{"family", func(s *Spec) { s.Family = 0 }, []string{"family"}},
		{"owner", func(s *Spec) { s.Owner = "a b" }, []string{"instance name"}},
		{"multicast MAC", func(s *Spec) { s.MAC[0] = 1 }, []string{"MAC"}},
		{"no address", func(s *Spec) { s.Addresses = nil }, []string{"at least one address"}},
		{"IPv6 address", func(s *Spec) { s.Addresses = []netip.Addr{netip.MustParseAddr("2001:db8::1")} }, []string{"2001:db8::1", "IPv4"}},
		{"multicast", func(s *Spec) { s.Addresses = []netip.Addr{netip.MustParseAddr("224.0.0.18")} }, []string{"224.0.0.18"}},
		{"broadcast", func(s *Spec) { s.Addresses = []netip.Addr{netip.MustParseAddr("255.255.255.255")} }, []string{"255.255.255.255"}},
		{"twice", func(s *Spec) { s.Addresses = []netip.Addr{vip, vip} }, []string{"twice"}},
	} {
		s := spec51()
		c.spoil(&s)
		l.wantRefused(c.what, s, true, c.words...)
	}
}

func TestRefusedParents(t *testing.T) {
	l := newLab(t)
	eth0 := l.link("eth0").Attrs().Index
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "br0"}}))
	l.cable("port0", "farp", "198.51.100.1/24", "198.51.100.9/24")
	l.must(l.nl.LinkSetMaster(l.link("port0"), l.link("br0")))
	l.must(l.nl.LinkAdd(&netlib.Macvlan{LinkAttrs: netlib.LinkAttrs{Name: "mv0", ParentIndex: eth0}, Mode: netlib.MACVLAN_MODE_BRIDGE}))
	l.must(l.nl.LinkAdd(&netlib.Tuntap{LinkAttrs: netlib.LinkAttrs{Name: "tun0"}, Mode: netlib.TUNTAP_MODE_TUN}))
	l.must(l.nl.LinkAdd(&netlib.Macvlan{LinkAttrs: netlib.LinkAttrs{Name: "moved", ParentIndex: eth0}, Mode: netlib.MACVLAN_MODE_BRIDGE}))
	on := func(parent string) Spec { return spec(60, parent, "192.0.2.160") }
	l.wantRefused("port of a bridge", on("port0"), true, "port0 is a port of br0", "-i br0")
	l.wantRefused("macvlan", on("mv0"), true, "mv0 is a macvlan", "-i eth0")
	l.wantRefused("tun", on("tun0"), true, "tun0 is not an Ethernet", "use one of eth0, br0")
	l.alive["eth0-51"] = true
	l.ensure(l.hands(), spec51())
	l.wantRefused("our own", on("vrrp51"), true, "vrrp51 is the virtual interface")
	l.must(l.hands().Release("vrrp51", "eth0-51"))
	l.must(l.nl.LinkSetHardwareAddr(l.link("port0"), []byte{0, 0, 0x5e, 0, 1, 60}))
	l.must(l.nl.LinkSetNoMaster(l.link("port0")))
	l.wantRefused("MAC of the old vrrpd", on("port0"), true, "port0 itself has the virtual MAC 00:00:5e:00:01:3c")
	// A bridge itself, and a port that was one, are fine.
	if _, err := l.hands().Check(on("br0")); err != nil {
		t.Errorf("a bridge as the parent: %v", err)
	}
	// A port of a port, as a card is in a bond that is in a bridge.
	judge := func(name string, extra ...device) error {
		all, err := l.hands().look()
		l.must(err)
		for _, d := range extra {
			all.add(d)
		}
		for i := range extra {
			if extra[i].Name == name {
				return judgeParent(on(name), extra[i], all)
			}
		}
		t.Fatalf("no %s", name)
		return nil
	}
	const ether = unix.ARPHRD_ETHER
	bond := device{Index: 900, Name: "bond9", Kind: "bond", Type: ether, Master: l.link("br0").Attrs().Index}
	inBond := device{Index: 901, Name: "eth9", Type: ether, Master: 900}
	ovs := device{Index: 902, Name: "ovs-system", Kind: "openvswitch", Type: ether}
	vrf := device{Index: 903, Name: "red", Kind: "vrf", Type: ether}
	alb := device{Index: 904, Name: "bond8", Kind: "bond", Type: ether, Balance: "balance-alb"}
	vlan := device{Index: 905, Name: "bond8.10", Kind: "vlan", Type: ether, Parent: 904}
	qinq := device{Index: 906, Name: "bond8.10.7", Kind: "vlan", Type: ether, Parent: 905}
	for _, c := range []struct {
		name  string
		extra []device
		words []string
	}{
		{"bond9", []device{bond}, []string{"bond9 is a port of br0: use -i br0"}},
		{"eth9", []device{inBond, bond}, []string{"eth9 is a port of bond9: use -i br0"}},
		{"eth9", []device{{Index: 901, Name: "eth9", Type: ether, Master: 902}, ovs}, []string{"eth9", "Open vSwitch", "internal interface"}},
		{"eth9", []device{{Index: 901, Name: "eth9", Type: ether, Master: 903}, vrf}, []string{"eth9 is in the VRF red"}},
		{"eth9", []device{inBond, {Index: 900, Name: "bond9", Kind: "bond", Type: ether, Master: 903}, vrf}, []string{"eth9 is a port of bond9, which is in the VRF red"}},
		{"eth9", []device{{Index: 901, Name: "eth9", Type: ether, Master: 999}}, []string{"eth9 is a port of another interface"}},
		{"bond8", []device{alb}, []string{"bond8 is a bond in mode balance-alb", "802.3ad", "-n"}},
		{"bond8.10", []device{vlan, alb}, []string{"bond8 below bond8.10 is a bond in mode balance-alb"}},
		{"bond8.10.7", []device{qinq, vlan, alb}, []string{"bond8 below bond8.10.7 is a bond in mode balance-alb"}},
	} {
		if err := judge(c.name, c.extra...); err == nil {
			t.Errorf("%s is accepted", c.name)
		} else {
			contains(t, c.name, err.Error(), c.words...)
		}
	}
	// What vrrpd has nothing against.
	plain := device{Index: 904, Name: "bond8", Kind: "bond", Type: ether}
	for _, extra := range [][]device{{plain}, {vlan, plain}, {qinq, vlan, plain}} {
		if err := judge(extra[0].Name, extra...); err != nil {
			t.Errorf("%s: %v", extra[0].Name, err)
		}
	}
	moved := l.link("moved")
	l.must(l.nl.LinkSetNsFd(moved, int(l.away)))
	err := inNamespace(int(l.away), func() error {
		h, err := Open(Config{Notes: l.dir})
		if err != nil {
			return err
		}
		defer h.Close()
		_, err = h.Check(on("moved"))
		return err
	})
	if err == nil {
		t.Error("a macvlan with its lower interface elsewhere is accepted")
	} else {
		contains(t, "moved", err.Error(), "outside of this network namespace")
	}
}

func TestRefusedClashes(t *testing.T) {
	l := newLab(t)
	eth0 := l.link("eth0").Attrs().Index
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")

	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "vrrp51"}}))
	l.wantRefused("foreign bridge", spec51(), true, "vrrp51", "--name")
	l.must(l.nl.LinkSetAlias(l.link("vrrp51"), "vrrpd eth0-51 vrid 51 ipv4 on eth0"))
	l.wantRefused("bridge with our alias", spec51(), true, "vrrp51", "--name")
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.must(l.nl.LinkAdd(&netlib.Macvlan{LinkAttrs: netlib.LinkAttrs{Name: "vrrp51", ParentIndex: eth0, HardwareAddr: vmac[:]}, Mode: netlib.MACVLAN_MODE_BRIDGE}))
	l.wantRefused("foreign macvlan", spec51(), true, "vrrp51", "--name")
	l.must(l.nl.LinkSetName(l.link("vrrp51"), "keepalived"))
	l.wantRefused("foreign twin", spec51(), true, "keepalived", "virtual MAC 00:00:5e:00:01:33", "VRID")
	l.must(l.nl.LinkDel(l.link("keepalived")))

	// The default name, on another parent, of a living and of a dead instance.
	other := spec(51, "eth1", "198.51.100.200")
	l.alive[other.Owner] = true
	l.ensure(l.hands(), other)
	l.wantRefused("name of a living instance", spec51(), true, "vrrp51", "eth1-51", "--name")
	l.alive[other.Owner] = false
	if _, err := l.hands().Check(spec51()); err != nil {
		t.Errorf("name of a dead instance: %v", err)
	}
	i := l.ensure(l.hands(), spec51())
	if d, err := i.h.wire.device("vrrp51", 0); err != nil || d.Parent != eth0 {
		t.Errorf("after taking over the name: %+v %v", d, err)
	}
	l.must(i.Delete())
	l.wantSysctl("ipv4", "eth1", "arp_ignore", "0")

	// The same VRID on the same parent, under another name and owner.
	twin := spec51()
	twin.Name, twin.Owner = "twin", "another"
	l.alive[twin.Owner] = true
	l.ensure(l.hands(), twin)
	l.wantRefused("living twin", spec51(), true, "VRID 51", "another", "twin")
	l.alive[twin.Owner] = false
	i = l.ensure(l.hands(), spec51())
	if _, err := l.nl.LinkByName("twin"); err == nil {
		t.Error("a dead twin is still there")
	}
	l.up(i) // with a twin up it would be EBUSY
	l.must(i.Delete())

	// Nobody knows who lives: nothing is taken.
	l.ensure(l.hands(), twin)
	blind, err := Open(Config{Notes: l.dir})
	l.must(err)
	defer blind.Close()
	var r Refused
	if _, err := blind.Ensure(spec51()); !errors.As(err, &r) {
		t.Errorf("without Alive: %v", err)
	}
}

func TestRefusedAddresses(t *testing.T) {
	l := newLab(t)
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	want := func(what, ip string, words ...string) {
		t.Helper()
		s := spec51()
		s.Addresses = []netip.Addr{vip, netip.MustParseAddr(ip)}
		l.wantRefused(what, s, false, append(words, ip)...)
	}
	want("address of the parent", "192.0.2.1", "own address of eth0", "choose a free one")
	want("address of another interface", "198.51.100.1", "on eth1")
	want("network", "192.0.2.0", "192.0.2.0/24 on eth0")
	want("broadcast", "192.0.2.255", "192.0.2.0/24 on eth0")
	i := l.ensure(l.hands(), spec(52, "eth0", "192.0.2.202"))
	l.up(i)
	l.alive["eth0-52"] = true
	want("served by another instance", "192.0.2.202", "vrrp52", "eth0-52")
	l.alive["eth0-52"] = false
	want("left by another instance", "192.0.2.202", "vrrp52", "--release")
	// On our own leftover it is where it belongs.
	l.up(l.ensure(l.hands(), spec51()))
	if _, err := l.hands().Check(spec51()); err != nil {
		t.Errorf("VIP on our own leftover: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	l := newLab(t)
	l.must(l.nl.LinkSetUp(l.link("lo")))
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	check := func() string {
		t.Helper()
		before := l.snapshot()
		w, err := l.hands().Check(spec51())
		l.must(err)
		l.same("Check", before, l.snapshot())
		return strings.Join(w, "\n")
	}
	if w := check(); w != "" {
		t.Errorf("a plain machine is warned: %s", w)
	}
	undo := func(name string, a *netlib.Addr) { l.must(l.nl.AddrDel(l.link(name), a)) }
	a := l.addr("lo", "203.0.113.7/32")
	contains(t, "service address on lo", check(), "203.0.113.7 (lo)")
	undo("lo", a)
	a = l.addr("eth1", "192.0.2.50/32")
	contains(t, "address of this LAN on another card", check(), "192.0.2.50 (eth1)")
	l.sysctl("ipv4", "eth0", "arp_ignore", "1")
	if w := check(); w != "" {
		t.Errorf("arp_ignore was set before: %s", w)
	}
	l.sysctl("ipv4", "eth0", "arp_ignore", "0")
	undo("eth1", a)
	for key, value := range map[string]string{"arp_ignore": "2", "arp_filter": "1", "proxy_arp": "1", "rp_filter": "1"} {
		l.sysctl("ipv4", "all", key, value)
		if w := check(); key == "proxy_arp" {
			contains(t, key, w, "proxy ARP")
		} else {
			contains(t, key, w, "all."+key)
		}
		l.sysctl("ipv4", "all", key, "0")
	}
	s := spec51()
	s.Addresses = append(s.Addresses, netip.MustParseAddr("203.0.113.9"))
	w, err := l.hands().Check(s)
	if err != nil || len(w) != 1 {
		t.Errorf("VIP outside: %v %v", w, err)
	}
	contains(t, "VIP outside", strings.Join(w, ""), "203.0.113.9 is in no subnet of eth0")
}

// The two warnings about "all" say the truth.
func TestWarnedSettingsSilence(t *testing.T) {
	for key, value := range map[string]string{"arp_ignore": "2", "arp_filter": "1"} {
		t.Run(key, func(t *testing.T) {
			l := newLab(t)
			control := l.control()
			i := l.ensure(l.hands(), spec51())
			l.up(i)
			s := l.stranger("far0", unix.ETH_P_ARP)
			// The control interface gets what these settings ask for: the
			// client in its own subnet, and the way back to it.
			l.addr("ctl0", "192.0.2.251/24")
			l.must(l.nl.RouteAdd(&netlib.Route{
				LinkIndex: l.link("ctl0").Attrs().Index, Scope: netlib.SCOPE_LINK,
				Dst: &net.IPNet{IP: client.AsSlice(), Mask: net.CIDRMask(32, 32)},
			}))
			has := func() []string { return s.whoHasBy(vip, netip.MustParseAddr("192.0.2.251"), control) }
			l.wantMACs("before", has(), vmac)
			l.sysctl("ipv4", "all", key, value)
			l.wantMACs("with all."+key+"="+value, has())
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0, 0, 0, 3, 16, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0, 'e', 't', 'h', '0', 0, 0, 0, 0})
	f.Add([]byte{2, 24, 0, 0, 2, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1, 8, 0, 2, 0, 192, 0, 2, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, ok, err := decodeDevice(b); ok && (err != nil || d.Index <= 0 || d.Name == "") {
			t.Fatalf("device %+v %v", d, err)
		}
		if a, ok, err := decodeHeld(b); ok && (err != nil || !a.Prefix.Addr().IsValid()) {
			t.Fatalf("address %+v %v", a, err)
		}
	})
}
