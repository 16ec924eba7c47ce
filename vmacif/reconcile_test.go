package vmacif

import (
	"net/netip"
	"slices"
	"testing"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

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
			{"deleted", raw(func() error { return l.nl.LinkDel(vrrp()) }), true, true, nil},
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
			c.damage()
			changed, err := i.Reconcile(up)
			if err != nil {
				t.Fatalf("up=%t, %s: %v", up, c.what, err)
			}
			if c.what == "deleted" {
				if len(changed) == 0 || changed[0] != "missing" {
					t.Errorf("up=%t, %s: %v", up, c.what, changed)
				}
				if up {
					l.must(i.Down()) // ordered before, carried out late
				}
			} else if !slices.Equal(changed, c.want) {
				t.Errorf("up=%t, %s: %v, want %v", up, c.what, changed, c.want)
			}
			l.same(c.what, want, l.snapshot())
			if again, err := i.Reconcile(up); err != nil || len(again) != 0 {
				t.Errorf("up=%t, %s: still %v %v", up, c.what, again, err)
			}
		}
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
	changed, err := i.Reconcile(true)
	if err != nil || !slices.Equal(changed, []string{"address 192.0.2.200"}) {
		t.Errorf("Reconcile: %v %v", changed, err)
	}
	l.wantState("after Reconcile", i, true, "203.0.113.5/24", "192.0.2.200/32")
}

// Our interface was replaced by something of somebody's: that is not ours to
// delete.
func TestReconcileRefusesAStranger(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "vrrp51"}}))
	if changed, err := i.Reconcile(true); err == nil {
		t.Errorf("Reconcile: %v", changed)
	} else {
		contains(t, "stranger", err.Error(), "vrrp51", "--name")
	}
	if l.link("vrrp51").Type() != "bridge" {
		t.Error("the stranger's interface was touched")
	}
}

// Repair happens while serving: the VIP is answered with the virtual MAC again.
func TestReconcileRestoresService(t *testing.T) {
	l := newLab(t)
	control := l.control()
	s := l.stranger("far0", unix.ETH_P_ARP)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	for what, damage := range map[string]func() error{
		"deleted":    func() error { return l.nl.LinkDel(l.link("vrrp51")) },
		"taken down": func() error { return l.nl.LinkSetDown(l.link("vrrp51")) },
	} {
		l.must(damage())
		l.wantMACs(what, s.whoHas(vip, control))
		_, err := i.Reconcile(true)
		l.must(err)
		l.wantMACs(what+" and repaired", s.whoHas(vip, control), vmac)
	}
}
