package rtnl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestInitialStateAndEvents(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.up("eth0", "far0")
	l.addr("eth0", "192.0.2.1/24")
	k := l.watch(Config{})
	eth := k.v.named("eth0")
	if eth.Kind != "veth" || !eth.Ethernet() || eth.Foreign || eth.Parent != 0 || eth.MTU != 1500 {
		t.Fatalf("eth0 in the first batch: %+v", eth)
	}
	if !k.v.has(eth.Index, "192.0.2.1/24") || !k.v.named("lo").Loopback() {
		t.Fatalf("first batch: %+v", k.v)
	}
	if want := l.link("eth0").Attrs().HardwareAddr; !slices.Equal(want, eth.MAC[:]) {
		t.Fatalf("MAC %x, want %v", eth.MAC, want)
	}
	k.until("carrier", func(v view) bool { return v.named("eth0").Carrier() })

	a := l.addr("eth0", "192.0.2.2/24")
	k.until("second address", func(v view) bool { return v.has(eth.Index, "192.0.2.2/24") })
	for x := range k.v.addrs {
		if x.Prefix.Addr().Is4() && x.Secondary != (x.Prefix.String() == "192.0.2.2/24") {
			t.Errorf("secondary: %+v", x)
		}
	}
	l.must(l.nl.AddrDel(l.link("eth0"), a))
	k.until("address gone", func(v view) bool { return !v.has(eth.Index, "192.0.2.2/24") })

	l.must(l.nl.LinkSetAlias(l.link("eth0"), "vrrpd test"))
	l.must(l.nl.LinkSetMTU(l.link("eth0"), 1400))
	l.must(l.nl.LinkSetGroup(l.link("eth0"), 77))
	k.until("alias, MTU, group", func(v view) bool {
		e := v.named("eth0")
		return e.Alias == "vrrpd test" && e.MTU == 1400 && e.Group == 77
	})
	l.must(l.nl.LinkSetName(l.link("eth0"), "lan0"))
	k.until("rename", func(v view) bool { return v.named("lan0").Index == eth.Index })
	k.kinds(0)
	l.must(l.nl.LinkDel(l.link("lan0")))
	k.until("deletion", func(v view) bool { return len(v.links) == 1 })
	equal := k.seen
	if i := slices.IndexFunc(equal, func(c Change) bool { return c.Kind == LinkGone && c.Old.Index == eth.Index }); i < 0 {
		t.Errorf("no LinkGone in %v", equal)
	}
	k.sameAsDump()
}

func TestDeleteAndCreateUnderOneName(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	k := l.watch(Config{})
	first := k.v.named("eth0").Index
	l.must(l.nl.LinkDel(l.link("eth0")))
	l.veth("eth0", "far0")
	k.until("another eth0", func(v view) bool {
		n := v.named("eth0").Index
		return n != 0 && n != first
	})
	if _, still := k.v.links[first]; still {
		t.Errorf("the old eth0 is still known")
	}
	k.sameAsDump()
}

func TestIndexReused(t *testing.T) {
	l := newLab(t)
	mk := func(name string) {
		l.must(l.nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Index: 77}, PeerName: "far" + name}))
	}
	mk("one")
	l.addr("one", "192.0.2.1/24")
	k := l.watch(Config{})
	l.must(l.nl.LinkDel(l.link("one")))
	mk("two")
	k.until("two", func(v view) bool { return v.links[77].Name == "two" })
	if got := k.kinds(77); !slices.Contains(got, LinkGone) || !slices.Contains(got, AddrGone) {
		t.Errorf("index 77 was reused without LinkGone and AddrGone: %v", got)
	}
	k.sameAsDump()
}

// A lost pair of events must not make two devices one.
func TestIndexReusedUnseen(t *testing.T) {
	l := newLab(t)
	l.must(l.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "one", Index: 78}}))
	l.up("one")
	k := l.watch(Config{ReceiveBuffer: 1})
	// Run waits in its callback for this test while the buffer overflows.
	l.must(l.nl.LinkSetAlias(l.link("one"), "a"))
	for i := range 200 {
		l.must(l.nl.LinkSetAlias(l.link("one"), fmt.Sprint("b", i)))
	}
	l.must(l.nl.LinkDel(l.link("one")))
	l.must(l.nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "two", Index: 78}, PeerName: "far"}))
	k.until("two", func(v view) bool { return v.links[78].Name == "two" })
	if got := k.kinds(78); !slices.Contains(got, LinkGone) {
		t.Errorf("bridge 78 became veth 78 without LinkGone: %v", got)
	}
	if k.w.Counters().Overruns == 0 {
		t.Error("no overrun: the test did not test")
	}
}

func TestCarrier(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.up("eth0", "far0")
	l.must(l.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	l.veth("port0", "far1")
	l.must(l.nl.LinkSetMaster(l.link("port0"), l.link("br0")))
	l.up("br0", "port0", "far1")
	tap := newTap(l, "tap0")
	l.up("tap0")
	k := l.watch(Config{})

	all := []struct {
		name    string
		pull    func()
		restore func()
	}{
		{"eth0", func() { l.must(l.nl.LinkSetDown(l.link("far0"))) }, func() { l.up("far0") }},
		{"eth0", func() { l.must(l.nl.LinkSetDown(l.link("eth0"))) }, func() { l.up("eth0") }},
		{"br0", func() { l.must(l.nl.LinkSetDown(l.link("far1"))) }, func() { l.up("far1") }},
		{"tap0", func() { tap.carrier(false) }, func() { tap.carrier(true) }},
	}
	for _, c := range all {
		k.until(c.name+" has carrier", func(v view) bool { return v.named(c.name).Carrier() })
		c.pull()
		k.until(c.name+" lost it", func(v view) bool { return !v.named(c.name).Carrier() })
		c.restore()
		k.until(c.name+" has it again", func(v view) bool { return v.named(c.name).Carrier() })
	}
	if k.v.named("port0").Master != k.v.named("br0").Index {
		t.Errorf("port0's master: %+v", k.v.named("port0"))
	}
}

// The kernel says RTM_DELLINK for a port that leaves a bridge, in the bridge's
// own address family.
func TestLeavingABridgeIsNotGone(t *testing.T) {
	l := newLab(t)
	l.must(l.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	l.veth("port0", "far0")
	l.must(l.nl.LinkSetMaster(l.link("port0"), l.link("br0")))
	l.up("port0")
	k := l.watch(Config{})
	port := k.v.named("port0").Index
	k.kinds(0)
	l.must(l.nl.LinkSetNoMaster(l.link("port0")))
	l.must(l.nl.LinkSetAlias(l.link("port0"), "afterwards"))
	k.until("no master, and later", func(v view) bool {
		p := v.links[port]
		return p.Master == 0 && p.Alias == "afterwards"
	})
	if got := k.kinds(port); slices.Contains(got, LinkGone) {
		t.Errorf("leaving a bridge was taken for deletion: %v", got)
	}
}

func TestForeignParent(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.must(l.nl.LinkAdd(&netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "mv0", ParentIndex: l.link("eth0").Attrs().Index},
		Mode:      netlink.MACVLAN_MODE_BRIDGE,
	}))
	home := l.watch(Config{})
	if mv := home.v.named("mv0"); mv.Foreign || mv.Parent != l.link("eth0").Attrs().Index {
		t.Errorf("mv0 at home: %+v", mv)
	}
	mv, far := l.link("mv0"), l.link("far0")
	other := newLab(t) // this thread is in the new namespace now
	ns := currentNS(t)
	l.must(l.nl.LinkSetNsFd(mv, ns))
	l.must(l.nl.LinkSetNsFd(far, ns))
	k := other.watch(Config{})
	if got := k.v.named("mv0"); !got.Foreign || got.Kind != "macvlan" {
		t.Errorf("mv0 stands on a link of another namespace: %+v", got)
	}
	if got := k.v.named("far0"); got.Foreign || got.Parent != 0 {
		t.Errorf("far0 stands on nothing: %+v", got)
	}
}

func TestConfigNetNS(t *testing.T) {
	l := newLab(t)
	l.veth("here", "far0")
	l.up("here", "far0")
	ns := currentNS(t)
	other := newLab(t)
	k := other.watch(Config{NetNS: ns})
	k.until("the other namespace's link", func(v view) bool { return v.named("here").Carrier() })
	up, running, err := readFlags(k.w.ioctl, "here")
	if err != nil || !up || !running {
		t.Errorf("flags of here: %t %t %v", up, running, err)
	}
}

func TestOverrun(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.veth("eth1", "far1")
	l.up("eth0", "far0", "eth1")
	k := l.watch(Config{ReceiveBuffer: 8 << 10})
	eth0, eth1 := l.link("eth0"), l.link("eth1")
	// 5,000 events while nobody takes the batches: Run sits in its callback.
	for i := range 1250 {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 18, byte(i>>8), byte(i)), Mask: net.CIDRMask(24, 32)}}
		l.must(l.nl.AddrAdd(eth0, a))
		l.must(l.nl.LinkSetAlias(eth0, fmt.Sprint("n", i)))
		if i%100 != 99 {
			l.must(l.nl.AddrDel(eth0, a))
		} else {
			l.must(l.nl.LinkSetAlias(eth1, fmt.Sprint("n", i)))
		}
		l.must(l.nl.LinkSetMTU(eth0, 1400+i%2))
	}
	l.must(l.nl.LinkDel(eth1))
	k.sameAsDump()
	if c := k.w.Counters(); c.Overruns == 0 || c.Dumps < 2 {
		t.Errorf("counters %+v: an overrun and a new dump were expected", c)
	}
	// It lives on.
	l.addr("eth0", "203.0.113.1/24")
	k.until("an address after the overrun", func(v view) bool { return v.has(eth0.Attrs().Index, "203.0.113.1/24") })
}

// Dumps that are interrupted and events that never pause must end in the truth.
func TestChurnDuringStart(t *testing.T) {
	l := newLab(t)
	for i := range 30 {
		l.veth(fmt.Sprint("eth", i), fmt.Sprint("far", i))
	}
	ns := currentNS(t)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		nl, err := netlink.NewHandleAt(nsHandle(ns))
		if err != nil {
			stopped <- err
			return
		}
		defer nl.Close()
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			name := fmt.Sprint("churn", i)
			if err := nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
				stopped <- err
				return
			}
			if i%2 == 0 {
				br, err := nl.LinkByName(name)
				if err == nil {
					err = nl.LinkDel(br)
				}
				if err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	k := l.watch(Config{ReceiveBuffer: 64 << 10})
	for range 20 {
		k.step("churn")
	}
	close(stop)
	l.must(<-stopped)
	k.sameAsDump()
}

// steps drives a Watcher by hand, without Run.
type steps struct {
	*lab
	w *Watcher
}

func (l *lab) steps() *steps {
	l.Helper()
	w, err := Open(Config{})
	l.must(err)
	l.Cleanup(func() { _ = w.Close() })
	var expired atomic.Bool
	timer := time.AfterFunc(patience, func() {
		expired.Store(true)
		_ = w.events.conn.SetReadDeadline(time.Unix(1, 0))
	})
	l.Cleanup(func() { timer.Stop() })
	w.stopping = expired.Load
	_, err = w.resync(nil)
	l.must(err)
	return &steps{l, w}
}

// until takes batches in until ok, and returns all that they changed.
func (s *steps) until(what string, ok func() bool) (all []Change) {
	s.Helper()
	for !ok() {
		changes, err := s.w.next()
		if err != nil {
			s.Fatalf("%s: %v", what, err)
		}
		all = append(all, changes...)
	}
	return all
}

// An event of a macvlan makes the Watcher look at the link under it, whose own
// event may be late or lost.
func TestLooksBelow(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.up("eth0", "far0")
	index := l.link("eth0").Attrs().Index
	l.must(l.nl.LinkAdd(&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "vrrp51", ParentIndex: index}, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	s := l.steps()
	links := &s.w.table.links
	known := func() Link {
		l, _ := links.Get(index)
		return l
	}
	s.until("carrier", func() bool { return known().Carrier() })
	settle := func() Link {
		_, err := s.w.resync(nil)
		l.must(err)
		return known()
	}

	// Good news that the table has missed, then an event of vrrp51 only.
	truth := settle()
	wrong := truth
	wrong.Running, wrong.LowerUp = false, false
	links.Set(wrong)
	l.must(l.nl.LinkSetMTU(l.link("vrrp51"), 1400))
	changes := s.until("correction of eth0", func() bool { return known() == truth })
	if !slices.Contains(changes, Change{Kind: LinkChanged, Old: wrong, New: truth}) {
		t.Errorf("changes %v", changes)
	}

	// Bad news likewise: eth0 goes down, which the table has missed.
	l.must(l.nl.LinkSetDown(l.link("far0")))
	down := func() bool { return !known().Carrier() }
	s.until("carrier loss", down)
	settle()
	links.Set(truth)
	l.must(l.nl.LinkSetMTU(l.link("vrrp51"), 1300))
	s.until("correction of eth0", down)
}

// What happened before a dump is not told again after it, nor what happened
// while it was taken: an address that went and came back would be gone for an
// instant.
func TestDumpOutdatesEvents(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	a := l.addr("eth0", "192.0.2.1/24")
	s := l.steps()
	flap := func() {
		l.must(l.nl.AddrDel(l.link("eth0"), a))
		l.must(l.nl.AddrAdd(l.link("eth0"), a))
	}
	flap()
	changes, err := s.w.resync(nil)
	if err != nil || len(changes) != 0 {
		t.Errorf("events before the dump: %v %v", changes, err)
	}
	reads := 0
	s.w.dump = func() (dump, error) {
		d, err := s.w.query.everything()
		if reads++; reads == 1 {
			flap()
		}
		return d, err
	}
	changes, err = s.w.resync(nil)
	if err != nil || len(changes) != 0 || reads != 2 {
		t.Errorf("events during the dump: %v %v after %d dumps", changes, err, reads)
	}
	// It never pauses: the last dump counts, and its events are told.
	s.w.dump = func() (dump, error) {
		d, err := s.w.query.everything()
		reads++
		flap()
		return d, err
	}
	reads = 0
	changes, err = s.w.resync(nil)
	if got := kindsOf(changes); err != nil || reads != syncTries || !slices.Equal(got, []ChangeKind{AddrGone, AddrAdded}) {
		t.Errorf("events during every dump: %v %v after %d dumps", changes, err, reads)
	}
}

// A dump that stays interrupted takes nothing away, and is repeated when the
// events pause.
func TestInterruptedDump(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.addr("eth0", "192.0.2.1/24")
	s := l.steps()
	want := len(s.w.table.links)
	s.w.dump = func() (dump, error) {
		d, err := s.w.query.everything()
		d.links, d.addrs = d.links[:1], nil
		return d, errors.Join(err, errDumpInterrupted)
	}
	changes, err := s.w.resync(nil)
	if err != nil || len(changes) != 0 || len(s.w.table.links) != want {
		t.Errorf("interrupted dump: %v %v", changes, err)
	}
	s.w.dump = s.w.query.everything
	l.must(l.nl.LinkDel(l.link("eth0")))
	l.must(s.w.drain()) // nobody tells
	changes = s.until("repair", func() bool { return len(s.w.table.links) == 1 })
	if got := kindsOf(changes); !slices.Equal(got, []ChangeKind{AddrGone, LinkGone, LinkGone}) {
		t.Errorf("repair: %v", changes)
	}
	if s.w.unsettled {
		t.Error("still unsettled after a good dump")
	}
}

func TestRunEnds(t *testing.T) {
	l := newLab(t)
	w, err := Open(Config{})
	l.must(err)
	defer w.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func([]Change) { cancel() }) }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v, want nil after cancel", err)
		}
	case <-time.After(patience):
		t.Fatal("Run did not end")
	}
}

// The order kept from events is the kernel's order.
func TestOrderIsTheKernels(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	s := l.steps()
	w := s.w
	l.must(os.WriteFile("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", []byte("1"), 0o644))
	eth := l.link("eth0")
	first := l.addr("eth0", "192.0.2.1/24")
	l.addr("eth0", "192.0.2.2/24")
	l.addr("eth0", "198.51.100.1/24")
	l.addr("eth0", "203.0.113.1/32")
	l.must(l.nl.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(169, 254, 1, 1), Mask: net.CIDRMask(16, 32)}, Scope: unix.RT_SCOPE_LINK}))
	l.must(l.nl.AddrDel(eth, first)) // promotes 192.0.2.2
	s.until("promotion", func() bool {
		return slices.ContainsFunc(w.table.addrs[eth.Attrs().Index], func(a Addr) bool {
			return a.Prefix.String() == "192.0.2.2/24" && !a.Secondary
		})
	})
	d, err := w.query.everything()
	l.must(err)
	var fresh []Addr
	for _, a := range d.addrs {
		if a.Index == eth.Attrs().Index && a.Prefix.Addr().Is4() {
			fresh = append(fresh, a)
		}
	}
	if got := w.table.addrs[eth.Attrs().Index]; !slices.Equal(got, fresh) {
		t.Errorf("table %v\n dump %v", got, fresh)
	}
}
