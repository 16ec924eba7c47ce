package acceptance

import (
	"maps"
	"strings"
	"syscall"
	"testing"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// machine is everything of a router but what the scripts have written.
func (r *router) machine() snapshot {
	r.site.t.Helper()
	s := r.snapshot()
	maps.DeleteFunc(s, func(key, _ string) bool {
		return strings.HasPrefix(key, "file /run/calls.") || key == "file /run"
	})
	return s
}

// A clean stop, as MASTER and as BACKUP, leaves the machine exactly as it was
// found: links, addresses, routes, settings, multicast groups, the run
// directory. So does --release after processes that were killed.
func TestCleanStop(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{master: toolLine(toolAddAddr, "vrrp$VRRP_VRID", "10.$((VRRP_VRID-35)).1.201/24")})
	// Settings that somebody has chosen, and that must come back.
	check(t, s.r1.SetSysctl("net/ipv4/conf/eth0/arp_announce", "1"))
	check(t, s.r1.SetSysctl("net/ipv4/conf/eth1/arp_ignore", "2"))
	before := map[*router]snapshot{}
	for _, r := range s.routers() {
		// The directory itself is left to those who come next.
		check(t, r.WriteFile(runDir+"/.keep", netlab.File{}))
		before[r] = r.machine()
		r.startAll()
	}
	s.settled(s.r1, s.r2)
	if diff := before[s.r1].differences(s.r1.machine()); len(diff) < 10 {
		t.Fatalf("a running daemon changes more than %v: this test is blind", diff)
	}
	s.r2.stop(lans...)
	before[s.r2].same(t, "a BACKUP was stopped", s.r2.machine())
	s.r1.waitCalls(lanA, 2)
	s.r1.waitCalls(lanB, 2)
	s.r1.stop(lans...)
	before[s.r1].same(t, "a MASTER was stopped", s.r1.machine())

	s.r1.startAll()
	for _, l := range lans {
		s.r1.waitServing(l)
		s.r1.waitCalls(l, 5) // startup, MASTER, stop; startup, MASTER
	}
	killTogether(t, s.r1.processes())
	s.r1.waitProcesses(0)
	if got := s.r1.typed("vrrpd --release"); got.Code != 0 {
		t.Errorf("vrrpd --release: %+v", got)
	}
	before[s.r1].same(t, "two were killed and released", s.r1.machine())
}

// Who is stopped while it cleans up after a dead sibling finishes that first: others that
// would, vrrpd --release among them, have been told that somebody does.
func TestCleanStop_WhileCleaningUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	check(t, r.WriteFile(runDir+"/.keep", netlab.File{}))
	before := r.machine()
	for range 3 {
		mark := r.syslog.mark()
		for _, l := range lans {
			r.start(l)
			// Not yet BACKUP: there is nothing to hand over, nothing delays its end.
			r.waitStatus(l, "it has begun", func(s control.Status) bool { return s.Machine.Phase == "HELD" })
		}
		survivor := r.daemon(lanB)
		r.signal(lanA, syscall.SIGKILL)
		r.syslog.waitFor(t, mark, "that somebody cleans up", containing("died: cleaning up after it"))
		check(t, survivor.Signal(syscall.SIGTERM))
		r.waitProcesses(0)
		before.same(t, "one was killed, the other one stopped", r.machine())
	}
}
