package vmacif

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	netlib "github.com/vishvananda/netlink"
)

func prefixes(s State) (out []string) {
	for _, p := range s.Addresses {
		out = append(out, p.String())
	}
	return out
}

func (l *lab) wantState(what string, i *Iface, up bool, addrs ...string) {
	l.Helper()
	s, err := i.State()
	l.must(err)
	if !s.Exists || s.Up != up || s.MAC != i.spec.MAC || s.Index != i.Index() || s.Parent != l.link("eth0").Attrs().Index || !slices.Equal(prefixes(s), addrs) {
		l.Errorf("%s: state %+v, want up=%t addresses %v", what, s, up, addrs)
	}
}

func TestLifeOfAnInterface(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	all, def := l.sysctls("all"), l.sysctls("default")
	h := l.hands()
	s := spec51()
	s.Addresses = append(s.Addresses, netip.MustParseAddr("192.0.2.201"))
	i := l.ensure(h, s)
	l.wantState("after Ensure", i, false)
	k, ok := l.link("vrrp51").(*netlib.Macvlan)
	if !ok || k.Mode != netlib.MACVLAN_MODE_BRIDGE || k.Attrs().Alias != "vrrpd eth0-51 vrid 51 ipv4 on eth0" || k.Attrs().Group != h.group {
		t.Errorf("interface: %+v", k)
	}
	if k.BCQueueLen != broadcastQueue {
		t.Errorf("broadcast queue %d", k.BCQueueLen)
	}
	d, err := h.wire.device("vrrp51", 0)
	l.must(err)
	if d.GenMode != genModeNone {
		t.Errorf("IPv6 address generation mode %d, want none", d.GenMode)
	}
	for key, want := range map[string]string{"arp_ignore": "1", "arp_announce": "2", "rp_filter": "2", "arp_filter": "0"} {
		l.wantSysctl("ipv4", "vrrp51", key, want)
	}
	l.wantSysctl("ipv6", "vrrp51", "disable_ipv6", "1")
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "1")
	l.wantSysctl("ipv4", "eth0", "arp_announce", "2")

	l.up(i)
	l.wantState("after Up", i, true, "192.0.2.200/32", "192.0.2.201/32")
	l.addr("vrrp51", "203.0.113.5/24") // a MASTER script
	l.up(i)
	l.wantState("after another Up", i, true, "192.0.2.200/32", "192.0.2.201/32", "203.0.113.5/24")
	l.must(i.RemoveAddrs())
	l.wantState("after RemoveAddrs", i, true)
	l.must(i.RemoveAddrs())
	l.must(i.Down())
	l.wantState("after Down", i, false)
	l.must(i.Down())
	l.up(i)
	l.must(i.Delete())
	if st, err := i.State(); err != nil || st.Exists {
		t.Errorf("after Delete: %+v %v", st, err)
	}
	l.must(i.Delete())
	l.must(i.RemoveAddrs())
	l.must(i.Down())
	if err := i.Up(context.Background()); err == nil {
		t.Error("Up of a deleted interface succeeds")
	}
	l.same("after everything", before, l.snapshot())
	l.same("all", all, l.sysctls("all"))
	l.same("default", def, l.sysctls("default"))
}

// While the interface lives, nothing of "all" and "default" has changed either,
// and nothing of the other interfaces.
func TestOnlyOwnSettings(t *testing.T) {
	l := newLab(t)
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	for _, iface := range []string{"all", "default", "eth1", "lo"} {
		before := l.sysctls(iface)
		h := l.hands()
		i := l.ensure(h, spec51())
		l.up(i)
		_, err := i.Reconcile()
		l.must(err)
		l.same(iface, before, l.sysctls(iface))
		l.must(i.Delete())
		l.same(iface, before, l.sysctls(iface))
	}
	for _, iface := range []string{"all", "default", ""} {
		if _, _, err := writeSysctl("ipv4", iface, "arp_ignore", "1"); err == nil {
			t.Errorf("writeSysctl accepts %q", iface)
		}
	}
}

func TestInheritsFromTheParent(t *testing.T) {
	l := newLab(t)
	want := map[string]string{"forwarding": "1", "accept_redirects": "0", "accept_source_route": "1", "log_martians": "1", "shared_media": "0", "send_redirects": "0"}
	for key, value := range want {
		l.sysctl("ipv4", "eth0", key, value)
	}
	i := l.ensure(l.hands(), spec51())
	for key, value := range want {
		l.wantSysctl("ipv4", "vrrp51", key, value)
	}
	l.sysctl("ipv4", "eth0", "forwarding", "0")
	changed, err := i.Reconcile()
	if err != nil || !changed.is("sysctl vrrp51.forwarding=1") {
		t.Errorf("Reconcile: %v %v", changed, err)
	}
	l.wantSysctl("ipv4", "vrrp51", "forwarding", "0")
}

// A Down that was ordered before the last Up, and comes late, does nothing.
func TestLateDown(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	l.must(i.RemoveAddrs())
	l.up(i)
	l.must(i.Down())
	l.wantState("late Down", i, true, "192.0.2.200/32")
}

// Loop and worker at once, for the race detector; the last word is Up.
func TestDownOnAWorker(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	for range 10 {
		l.up(i)
		l.must(i.RemoveAddrs())
		done := make(chan error)
		go func() { done <- i.Down() }()
		l.up(i)
		l.must(<-done)
		l.wantState("Up during Down", i, true, "192.0.2.200/32")
	}
}

func TestNameWithADot(t *testing.T) {
	l := newLab(t)
	l.cable("eth0.10", "far10", "198.51.100.1/24", "198.51.100.9/24")
	h := l.hands()
	s := spec(52, "eth0.10", "198.51.100.200")
	before := l.snapshot()
	i := l.ensure(h, s)
	l.wantSysctl("ipv4", "eth0.10", "arp_ignore", "1")
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "0")
	l.must(i.Delete())
	l.same("after Delete", before, l.snapshot())
}

// A dead instance's interface becomes exactly what a new one would be.
func TestCrash(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	l.ensure(l.hands(), spec51())
	fresh := l.snapshot()
	old := l.hands()
	i := l.ensure(old, spec51())
	l.up(i)
	l.addr("vrrp51", "203.0.113.5/24")
	l.sysctl("ipv4", "vrrp51", "rp_filter", "1")
	l.sysctl("ipv6", "vrrp51", "disable_ipv6", "0")
	l.must(old.Close())

	index := i.Index()
	h := l.hands()
	i = l.ensure(h, spec51())
	if i.Index() != index {
		t.Errorf("a leftover that fits was made again: %d, was %d", i.Index(), index)
	}
	l.same("adopted", fresh, l.snapshot())

	// Leftovers that do not fit: another mode, another MAC, another parent.
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	beforeToo, freshToo := l.snapshot(), fresh
	for k, v := range beforeToo {
		if _, ok := freshToo[k]; !ok {
			freshToo[k] = v
		}
	}
	for _, bad := range []netlib.Macvlan{
		{LinkAttrs: netlib.LinkAttrs{ParentIndex: l.link("eth0").Attrs().Index, HardwareAddr: vmac[:]}, Mode: netlib.MACVLAN_MODE_PRIVATE},
		{LinkAttrs: netlib.LinkAttrs{ParentIndex: l.link("eth0").Attrs().Index, HardwareAddr: []byte{0, 0, 0x5e, 0, 1, 9}}, Mode: netlib.MACVLAN_MODE_BRIDGE},
		{LinkAttrs: netlib.LinkAttrs{ParentIndex: l.link("eth1").Attrs().Index, HardwareAddr: vmac[:]}, Mode: netlib.MACVLAN_MODE_BRIDGE},
	} {
		l.must(l.nl.LinkDel(l.link("vrrp51")))
		bad.Name = "vrrp51"
		l.must(l.nl.LinkAdd(&bad))
		l.must(l.nl.LinkSetAlias(l.link("vrrp51"), "vrrpd eth0-51 whatever"))
		l.must(l.nl.LinkSetUp(l.link("vrrp51")))
		l.ensure(l.hands(), spec51())
		l.same("made again", freshToo, l.snapshot())
	}

	// Died between the two messages.
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.must(l.nl.LinkAdd(&netlib.Macvlan{
		LinkAttrs: netlib.LinkAttrs{Name: "vrrp51", ParentIndex: l.link("eth0").Attrs().Index, HardwareAddr: vmac[:], Group: groupMark | 4711},
		Mode:      netlib.MACVLAN_MODE_BRIDGE,
	}))
	l.ensure(l.hands(), spec51())
	// The queue is the business of the create message.
	now := l.snapshot()
	now["macvlan vrrp51"] = freshToo["macvlan vrrp51"]
	l.same("nameless", freshToo, now)

	// The configuration gave it another name meanwhile.
	renamed := spec51()
	renamed.Name = "lanvip"
	i = l.ensure(l.hands(), renamed)
	if _, err := l.nl.LinkByName("vrrp51"); err == nil {
		t.Error("the interface of the old name is still there")
	}
	l.must(i.Delete())
	l.must(l.nl.LinkDel(l.link("eth1")))
	l.same("after Delete", before, l.snapshot())
}

// Another process that has nothing but the name cleans up.
func TestRelease(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	dead := l.hands()
	i := l.ensure(dead, spec51())
	l.up(i)
	l.addr("vrrp51", "203.0.113.5/24")
	l.must(dead.Close())

	h := l.hands()
	// It is somebody else's for who comes from another run directory.
	standing := l.snapshot()
	const other = "eth0-51@/run/other"
	if _, err := h.Leftover("vrrp51", other); !errors.Is(err, ErrOthers) {
		t.Errorf("Leftover of another: %v", err)
	}
	l.must(h.Silence("vrrp51", other))
	l.must(h.Release("vrrp51", other))
	l.same("after Release by another", standing, l.snapshot())

	l.must(h.Silence("vrrp51", "eth0-51"))
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "1")
	x, err := h.Leftover("vrrp51", "eth0-51")
	l.must(err)
	if st, err := x.State(); err != nil || st.Up || len(st.Addresses) != 0 || !st.Exists || x.Owner() != "eth0-51" {
		t.Errorf("silenced: %+v %v, owner %q", st, err, x.Owner())
	}
	l.must(h.Release("vrrp51", "eth0-51"))
	l.same("after Release", before, l.snapshot())
	l.must(h.Release("vrrp51", "eth0-51"))
	l.must(h.Silence("vrrp51", "eth0-51"))
	if _, err := h.Leftover("vrrp51", "eth0-51"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Leftover of nothing: %v", err)
	}
	for _, name := range []string{"eth0", "lo"} {
		var r Refused
		if err := h.Release(name, "eth0-51"); !errors.As(err, &r) {
			t.Errorf("Release(%s): %v", name, err)
		}
		if err := h.Silence(name, "eth0-51"); !errors.As(err, &r) {
			t.Errorf("Silence(%s): %v", name, err)
		}
	}
	l.same("after refusals", before, l.snapshot())
}

// The interface went with something else; the settings are still to be had.
func TestReleaseOwner(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	l.ensure(l.hands(), spec51())
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.must(l.hands().Release("vrrp51", "eth0-51"))
	l.must(l.hands().ReleaseOwner("eth0-51"))
	l.same("after ReleaseOwner", before, l.snapshot())
}

func TestDeleteAll(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	h := l.hands()
	for vrid := range uint8(5) {
		l.up(l.ensure(h, spec(vrid+1, "eth0", netip.AddrFrom4([4]byte{192, 0, 2, 200 + vrid}).String())))
	}
	loosened := map[int]bool{}
	h.loosen = func(index int) error {
		loosened[index] = true
		return nil
	}
	l.must(h.DeleteAll())
	l.same("after DeleteAll", before, l.snapshot())
	if len(loosened) != 5 {
		t.Errorf("loosened %v", loosened)
	}
	l.must(h.DeleteAll())

	// Something of somebody else's in the same group survives.
	for vrid := range uint8(3) {
		l.ensure(h, spec(vrid+1, "eth0", netip.AddrFrom4([4]byte{192, 0, 2, 200 + vrid}).String()))
	}
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "br0", Group: h.group}}))
	l.must(h.DeleteAll())
	l.must(l.nl.LinkDel(l.link("br0")))
	l.same("after DeleteAll beside a stranger", before, l.snapshot())
}

// What a dead instance has left of several goes, all in one message if their group is
// their own. They are loosened before that, when none of them serves any more.
func TestReleaseAll(t *testing.T) {
	for _, how := range []string{"together", "beside a stranger", "not loosened"} {
		alone := how == "together"
		l := newLab(t)
		before := l.snapshot()
		specs := crowd(5)
		var names []string
		dead := l.hands()
		for n, i := range l.ensureAll(dead, specs) {
			l.up(i)
			if names = append(names, i.Name()); n == 3 {
				l.must(l.nl.LinkDel(l.link(i.Name()))) // somebody has removed one
			}
		}
		l.must(dead.Close())
		if how == "beside a stranger" {
			l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "other0", Group: dead.group}}))
		}
		h := l.hands()
		loosened := map[int]int{}
		h.loosen = func(index int) error {
			loosened[index]++
			for _, s := range specs {
				k, err := l.nl.LinkByName(s.Name)
				if err != nil {
					continue
				}
				addrs, err := l.nl.AddrList(k, netlib.FAMILY_ALL)
				if l.must(err); len(addrs) > 0 {
					t.Errorf("%s: %s has %v still", how, s.Name, addrs)
				}
				if d := k.Attrs().Index; !alone && len(loosened) > 1 && d < index {
					t.Errorf("%s: %d is there still, before %d", how, d, index)
				}
			}
			if how == "not loosened" {
				return errors.ErrUnsupported
			}
			return nil
		}
		l.must(h.ReleaseAll(names, "machine"))
		l.must(h.ReleaseOwner("machine"))
		if len(loosened) != 4 {
			t.Errorf("%s: loosened %v", how, loosened)
		}
		if how == "beside a stranger" {
			l.must(l.nl.LinkDel(l.link("other0")))
		}
		l.same("after ReleaseAll", before, l.snapshot())
		l.must(h.ReleaseAll(names, "machine"))
	}
}

// The parent goes and comes back as another device.
func TestParentDeleted(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	i := l.ensure(h, spec51())
	l.up(i)
	l.must(l.nl.LinkDel(l.link("eth0")))
	l.must(i.RemoveAddrs())
	l.must(i.Down())
	if _, err := i.Reconcile(); !errors.Is(err, ErrGone) {
		t.Fatalf("Reconcile without parent: %v", err)
	}
	_, err := h.Ensure(spec51())
	var r Refused
	if !errors.As(err, &r) {
		t.Fatalf("Ensure without parent: %v", err)
	}
	contains(t, "Ensure without parent", err.Error(), "no interface eth0")
	l.cable("eth0", "far0", "192.0.2.1/24", "192.0.2.9/24")
	before := l.snapshot()
	i = l.ensure(h, spec51())
	l.up(i)
	l.wantState("on the new parent", i, true, "192.0.2.200/32")
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "1")
	l.must(i.Delete())
	l.same("after Delete", before, l.snapshot())
}

// The same instance comes back on another parent.
func TestOwnerMoves(t *testing.T) {
	l := newLab(t)
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	before := l.snapshot()
	l.ensure(l.hands(), spec51())
	moved := spec51()
	moved.Parent = "eth1"
	i := l.ensure(l.hands(), moved)
	l.wantParent("0", "0")
	l.wantSysctl("ipv4", "eth1", "arp_ignore", "1")
	l.must(i.Delete())
	l.same("after Delete", before, l.snapshot())
}

// What the loop thread pays for each operation.
func TestCosts(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	const rounds = 20
	costs := make(map[string][]time.Duration)
	measure := func(what string, f func() error) {
		t.Helper()
		start := time.Now()
		l.must(f())
		costs[what] = append(costs[what], time.Since(start))
	}
	for range rounds {
		measure("Up", func() error { return i.Up(context.Background()) })
		measure("Up again", func() error { return i.Up(context.Background()) })
		measure("State", func() error { _, err := i.State(); return err })
		measure("Reconcile, nothing wrong", func() error { _, err := i.Reconcile(); return err })
		measure("RemoveAddrs", i.RemoveAddrs)
		measure("Down", i.Down)
	}
	for what, d := range costs {
		slices.Sort(d)
		t.Logf("%-25s p50 %-12v max %v", what, d[len(d)/2], d[len(d)-1])
	}
}
