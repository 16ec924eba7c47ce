package acceptance

import (
	"maps"
	"strings"
	"testing"

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
