package acceptance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// Without a virtual MAC (-n) the virtual address is on the router's own NIC.

// waitDirect waits until a machine has the virtual addresses on its NICs, or has them
// no more.
func (r *router) waitDirect(serves bool) {
	r.site.t.Helper()
	for _, l := range lans {
		_, err := r.WaitLink(within(r.site.t, patience), l.nic, func(k netlab.Link) bool { return k.Has(l.vip) == serves })
		if err != nil {
			r.site.t.Fatalf("%s, %s, serves %t: %v", r.Name(), l.nic, serves, err)
		}
	}
}

// mayServe waits until a machine is BACKUP and may be elected.
func (r *router) mayServe() {
	r.site.t.Helper()
	for _, l := range lans {
		r.waitStatus(l, "it may be elected", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	}
}

// wantAt is who answers for the virtual addresses: the machine's own MAC.
func (r *router) wantAt() {
	r.site.t.Helper()
	for _, l := range lans {
		macs, err := r.site.host(l).ResolveAll(within(r.site.t, patience), "eth0", l.vip, 20*time.Millisecond)
		check(r.site.t, err)
		if len(macs) != 1 || macs[0] != r.mac(l) {
			r.site.t.Errorf("%v is at %v, want %v of %s", l.vip, macs, r.mac(l), r.Name())
		}
	}
}

// A machine's group without a virtual MAC, in everything that may happen to a MASTER: it
// changes sides as a whole, at no moment do two machines answer, and what vrrpd leaves is
// what it has found.
func TestDirect(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{interval: "0.2", flags: "-s -n"})
	before := s.r1.snapshot()
	s.r1.startAll()
	s.r1.waitDirect(true)
	s.r1.wantAt()
	if diff := before.differences(s.r1.snapshot("link", "sysctl")); len(diff) == 0 {
		t.Error("the snapshots do not tell anything")
	}
	for _, line := range before.differences(s.r1.snapshot("link ", "sysctl ")) {
		if line[:4] != "gone" { // of what was not looked at
			t.Errorf("on the MASTER: %s", line)
		}
	}
	s.r2.startAll()
	s.r2.mayServe()
	// Planned: both serve for a moment, as ever.
	s.r1.typed("atropos --backup -f " + runDir)
	s.r2.waitDirect(true)
	s.r1.waitDirect(false)
	s.r2.wantAt()

	var askers []*netlab.Asker
	for _, l := range lans {
		a, err := s.host(l).StartAsker("eth0", l.vip, netlab.AskerOptions{Interval: 20 * time.Millisecond, Cables: []*netlab.Cable{s.r1.cable(l), s.r2.cable(l)}})
		check(t, err)
		askers = append(askers, a)
	}

	// A hang: the guard closes, for the virtual addresses only.
	s.r1.mayServe()
	stopped := s.r2.processes()
	signalAll(t, stopped, syscall.SIGSTOP)
	s.r1.waitDirect(true)
	s.r1.wantAt()
	for _, l := range lans {
		if k, err := s.r2.Link(l.nic); err != nil || !k.Has(l.vip) {
			t.Errorf("%s of the machine that hangs: %+v, %v; the test sees nothing", l.nic, k, err)
		}
		s.r2.wantDeaf(l)
	}
	signalAll(t, stopped, syscall.SIGCONT)
	s.r2.waitDirect(false)
	s.r2.mayServe()

	// A member dies: its sibling cleans up, and the whole machine leaves.
	check(t, s.r1.daemon(lanA).Signal(syscall.SIGKILL))
	s.r2.waitDirect(true)
	s.r1.waitDirect(false)
	s.r1.waitProcesses(1)
	s.r1.start(lanA)
	s.r1.mayServe()

	// A cable is pulled, and the addresses leave both LANs; then one of the other machine.
	for _, r := range []*router{s.r2, s.r1} {
		other := s.r1
		if r == s.r1 {
			other = s.r2
		}
		check(t, r.cable(lanA).Cut())
		other.waitDirect(true)
		r.waitDirect(false)
		other.wantAt()
		check(t, r.cable(lanA).Plug())
		r.mayServe()
	}

	// Somebody removes the address.
	mark := s.r2.links.Mark()
	check(t, s.r2.DelAddr(lanA.nic, netip.PrefixFrom(lanA.vip, 32)))
	s.r2.waitEvent(mark, lanA.nic, netlab.AddrGone, lanA.vip)
	s.r2.waitDirect(true)

	// Nobody is left to clean up: the first to die stands still, as the second does.
	all := s.r2.processes()
	signalAll(t, all, syscall.SIGSTOP)
	signalAll(t, all, syscall.SIGKILL)
	s.r1.waitDirect(true)
	s.r2.waitDirect(true)
	for _, l := range lans {
		s.r2.wantDeaf(l)
	}
	if got := s.r2.typed("vrrpd --release"); got.Code != 0 {
		t.Fatalf("vrrpd --release: %+v", got)
	}
	s.r2.waitDirect(false)

	s.r1.stop(lans...)
	for i, a := range askers {
		answers, err := a.Stop()
		check(t, err)
		for _, o := range answers.Double() {
			t.Errorf("two machines answered for %v: %+v", lans[i].vip, o)
		}
	}
	after := s.r1.snapshot()
	delete(after, "file "+runDir)
	for _, l := range lans { // the scripts' own
		delete(after, fmt.Sprintf("file /run/calls.%d", l.vrid))
	}
	before.same(t, "the machine is not what it was", after)
}

// wantDeaf: the machine does not answer what is sent to the virtual address, but goes on
// to answer for its own.
func (r *router) wantDeaf(l lan) {
	t := r.site.t
	t.Helper()
	h := r.site.host(l)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if from, err := h.PingMAC(ctx, "eth0", r.mac(l), l.vip); err == nil {
		t.Errorf("%s hangs and answers for %v from %v", r.Name(), l.vip, from)
	}
	if _, err := h.PingMAC(within(t, patience), "eth0", r.mac(l), r.own(l).Addr()); err != nil {
		t.Errorf("%s does not answer for its own address: %v", r.Name(), err)
	}
}

// A reload adds, changes and removes virtual routers without a virtual MAC: their
// addresses come and go, those of the others stay, and in the end the parent is bare.
func TestDirect_Reload(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	before := r.snapshot("addr", "route", "link", "sysctl")
	router := func(vrid int, more string, vips ...string) string {
		return fmt.Sprintf("[[router]]\ninterface = \"eth1\"\nvrid = %d\nvmac = false\naddresses = [\"%s\"]\n%s", vrid, strings.Join(vips, "\", \""), more)
	}
	top := "interval = 0.1\n"
	has := func(want ...string) {
		t.Helper()
		_, err := r.WaitLink(within(t, patience), "eth1", func(k netlab.Link) bool {
			for _, vip := range []string{"10.17.1.61", "10.17.1.62", "10.17.1.63"} {
				if k.Has(netip.MustParseAddr(vip)) != slices.Contains(want, vip) {
					return false
				}
			}
			return true
		})
		if err != nil {
			t.Fatalf("want %v: %v", want, err)
		}
	}
	r.conf(top + router(61, "", "10.17.1.61"))
	r.startLine("vrrpd -c " + confFile)
	has("10.17.1.61")
	mark := r.links.Mark()
	r.conf(top + router(61, "", "10.17.1.61") + router(62, "peers = [\"10.17.1.2\"]\n", "10.17.1.62"))
	r.reload(0, "1 virtual routers added")
	has("10.17.1.61", "10.17.1.62")
	r.conf(top + router(61, "", "10.17.1.61") + router(62, "peers = [\"10.17.1.3\"]\n", "10.17.1.62/32", "10.17.1.63"))
	r.reload(0, "1 virtual routers added, 1 removed")
	has("10.17.1.61", "10.17.1.62", "10.17.1.63")
	r.conf(top + router(61, "", "10.17.1.61") + router(62, "peers = [\"10.17.1.1\"]\n", "10.17.1.62"))
	r.reload(1, "is an address of this machine")
	r.conf(top + router(61, "", "10.17.1.61"))
	r.reload(0, "1 removed")
	has("10.17.1.61")
	for _, e := range r.since(mark) {
		if e.What == netlab.AddrGone && e.Addr.Addr().String() == "10.17.1.61" {
			t.Errorf("the one that has not changed: %v", e)
		}
	}
	all, err := r.Find("vrrpd")
	check(t, err)
	signalAll(t, all, syscall.SIGTERM)
	r.waitProcesses(0)
	before.same(t, "the machine is not what it was", r.snapshot("addr", "route", "link", "sysctl"))
}
