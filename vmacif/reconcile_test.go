package vmacif

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// is tells whether exactly that was found.
func (f Found) is(want ...string) bool {
	return slices.Equal(slices.Concat(f.Form, f.Service), want)
}

// Whatever somebody else does to the interface is named and put right, without
// leaving the state.
func TestReconcile(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	s := spec51()
	s.Addresses = append(s.Addresses, netip.MustParseAddr("192.0.2.201"))
	i := l.ensure(h, s)
	raw := func(req func() error) func() { return func() { t.Helper(); l.must(req()) } }
	vrrp := func() netlib.Link { return l.link("vrrp51") }
	del := func(prefix string) func() error {
		a, err := netlib.ParseAddr(prefix)
		l.must(err)
		return func() error { return l.nl.AddrDel(vrrp(), a) }
	}
	for _, up := range []bool{true, false} {
		target := func() map[string]string {
			l.must(i.RemoveAddrs())
			if up {
				l.up(i)
			} else {
				l.must(i.Down())
			}
			return l.snapshot()
		}
		cases := []struct {
			what   string
			damage func()
			up     bool // applies to a MASTER
			down   bool // applies to a BACKUP
			want   []string
		}{
			{"nothing", func() {}, true, true, nil},
			{"VIP deleted", raw(del("192.0.2.200/32")), true, false, []string{"address 192.0.2.200"}},
			{"both VIPs deleted and down", func() {
				l.must(del("192.0.2.200/32")())
				l.must(del("192.0.2.201/32")())
				l.must(l.nl.LinkSetDown(vrrp()))
			}, true, false, []string{"address 192.0.2.200", "address 192.0.2.201", "down"}},
			{"taken down", raw(func() error { return l.nl.LinkSetDown(vrrp()) }), true, false, []string{"down"}},
			{"taken up", raw(func() error { return l.nl.LinkSetUp(vrrp()) }), false, true, []string{"up"}},
			{"address on a BACKUP", func() { l.addr("vrrp51", "203.0.113.5/24") }, false, true, []string{"address 203.0.113.5/24"}},
			{"renamed", raw(func() error { return l.nl.LinkSetName(vrrp(), "mine0") }), true, true, []string{"name mine0"}},
			{"MAC", raw(func() error { return l.nl.LinkSetHardwareAddr(vrrp(), []byte{2, 0, 0, 0, 0, 9}) }), true, true, []string{"mac 02:00:00:00:00:09"}},
			{"alias", raw(func() error { return l.nl.LinkSetAlias(vrrp(), "mine") }), true, true, []string{"alias"}},
			{"group", raw(func() error { return l.nl.LinkSetGroup(vrrp(), 7) }), true, true, []string{"alias"}},
			{"address generation", raw(func() error { return l.nl.LinkSetIP6AddrGenMode(vrrp(), 0) }), true, true, []string{"alias"}},
			{"mode", raw(func() error {
				return l.nl.LinkModify(&netlib.Macvlan{LinkAttrs: netlib.LinkAttrs{Name: "vrrp51", Index: i.Index(), ParentIndex: l.link("eth0").Attrs().Index, TxQLen: -1}, Mode: netlib.MACVLAN_MODE_PRIVATE})
			}), true, true, []string{"mode"}},
			{"parent's sysctl", func() { l.sysctl("ipv4", "eth0", "arp_ignore", "0") }, true, true, []string{"sysctl eth0.arp_ignore=0"}},
			{"own sysctl", func() { l.sysctl("ipv4", "vrrp51", "rp_filter", "1") }, true, true, []string{"sysctl vrrp51.rp_filter=1"}},
			{"IPv6 on", func() { l.sysctl("ipv6", "vrrp51", "disable_ipv6", "0") }, true, true, []string{"sysctl vrrp51.disable_ipv6=0"}},
		}
		for _, c := range cases {
			if (up && !c.up) || (!up && !c.down) {
				continue
			}
			want := target()
			if found, err := i.Inspect(); err != nil || found.Any() {
				t.Fatalf("up=%t, before %s: %v %v", up, c.what, found, err)
			}
			if !i.asItWas() {
				t.Errorf("up=%t, before %s: the look was not remembered", up, c.what)
			}
			c.damage()
			damaged := l.snapshot()
			found, err := i.Inspect()
			if err != nil || !found.is(c.want...) {
				t.Errorf("up=%t, %s: Inspect: %v, want %v; %v", up, c.what, found, c.want, err)
			}
			l.same(c.what+" after Inspect", damaged, l.snapshot())
			changed, err := i.Reconcile()
			if err != nil || !changed.is(c.want...) {
				t.Errorf("up=%t, %s: Reconcile: %v, want %v; %v", up, c.what, changed, c.want, err)
			}
			l.same(c.what, want, l.snapshot())
			if again, err := i.Reconcile(); err != nil || again.Any() {
				t.Errorf("up=%t, %s: still %v %v", up, c.what, again, err)
			}
		}
	}
}

// What makes no interface serve is put right without that.
func TestReform(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	a, err := netlib.ParseAddr("192.0.2.200/32")
	l.must(err)
	l.must(l.nl.AddrDel(l.link("vrrp51"), a))
	l.sysctl("ipv4", "vrrp51", "rp_filter", "1")
	if changed, err := i.Reform(); err != nil || !changed.is("sysctl vrrp51.rp_filter=1") {
		t.Errorf("Reform: %v, %v", changed, err)
	}
	if found, err := i.Inspect(); err != nil || !found.is("address 192.0.2.200") {
		t.Errorf("Inspect: %v, %v", found, err)
	}
}

// A MASTER's script adds production addresses; repair leaves them.
func TestReconcileKeepsForeignAddresses(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	l.addr("vrrp51", "203.0.113.5/24")
	a, err := netlib.ParseAddr("192.0.2.200/32")
	l.must(err)
	l.must(l.nl.AddrDel(l.link("vrrp51"), a))
	changed, err := i.Reconcile()
	if err != nil || !changed.is("address 192.0.2.200") {
		t.Errorf("Reconcile: %v %v", changed, err)
	}
	l.wantState("after Reconcile", i, true, "203.0.113.5/24", "192.0.2.200/32")
}

// Our interface was replaced by something of somebody's: that is not ours to
// delete.
func TestEnsureRefusesAStranger(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	i := l.ensure(h, spec51())
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "vrrp51"}}))
	if changed, err := i.Reconcile(); !errors.Is(err, ErrGone) {
		t.Errorf("Reconcile: %v, %v", changed, err)
	}
	_, err := h.Ensure(spec51())
	var r Refused
	if !errors.As(err, &r) {
		t.Fatalf("Ensure: %v", err)
	}
	contains(t, "stranger", err.Error(), "vrrp51", "--name")
	if l.link("vrrp51").Type() != "bridge" {
		t.Error("the stranger's interface was touched")
	}
}

// Between the addresses and the flag, which a worker takes away later, nothing is
// wrong: the flag is our own.
func TestInspectKnowsItsOwnDown(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	l.must(i.RemoveAddrs())
	if found, err := i.Inspect(); err != nil || found.Any() {
		t.Errorf("before Down: %v, %v", found, err)
	}
	l.must(i.Down())
	l.must(l.nl.LinkSetUp(l.link("vrrp51")))
	if found, err := i.Inspect(); err != nil || !found.is("up") {
		t.Errorf("set up after Down: %v, %v", found, err)
	}
}

// A parent that is renamed takes its interface along.
func TestParentRenamed(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	l.must(l.nl.LinkSetName(l.link("eth0"), "lan0"))
	for range 2 {
		if found, err := i.Inspect(); err != nil || found.Any() {
			t.Errorf("Inspect: %v, %v", found, err)
		}
		l.must(i.Relabel("lan0"))
	}
	if alias := l.link("vrrp51").Attrs().Alias; !strings.HasSuffix(alias, " on lan0") {
		t.Errorf("alias %q", alias)
	}
	l.sysctl("ipv4", "lan0", "arp_announce", "0")
	if changed, err := i.Reconcile(); err != nil || !changed.is("sysctl lan0.arp_announce=0") {
		t.Errorf("Reconcile: %v, %v", changed, err)
	}
	l.must(l.nl.LinkSetName(l.link("lan0"), "eth0"))
	l.wantState("on the renamed parent", i, true, "192.0.2.200/32")
}

// The kernel makes a macvlan's MTU smaller with that of its parent, and never
// larger again.
func TestFollowMTU(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	for _, mtu := range []int{1400, 1500} {
		l.must(l.nl.LinkSetMTU(l.link("eth0"), mtu))
		l.must(i.FollowMTU(mtu))
		if got := l.link("vrrp51").Attrs().MTU; got != mtu {
			t.Errorf("MTU %d, the parent has %d", got, mtu)
		}
	}
	l.must(i.Delete())
	l.must(i.FollowMTU(1400))
}

// Repair happens while serving: the VIP is answered with the virtual MAC again.
func TestReconcileRestoresService(t *testing.T) {
	l := newLab(t)
	control := l.control()
	s := l.stranger("far0", unix.ETH_P_ARP)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	for what, damage := range map[string]func() error{
		"another MAC": func() error { return l.nl.LinkSetHardwareAddr(l.link("vrrp51"), []byte{2, 0, 0, 0, 0, 9}) },
		"taken down":  func() error { return l.nl.LinkSetDown(l.link("vrrp51")) },
	} {
		l.must(damage())
		if got := s.whoHas(vip, control); slices.Contains(got, macString(vmac)) {
			t.Errorf("%s: %v answer", what, got)
		}
		_, err := i.Reconcile()
		l.must(err)
		l.wantMACs(what+" and repaired", s.whoHas(vip, control), vmac)
	}
}
