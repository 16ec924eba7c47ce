package acceptance

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// vrrpVariables are those that a script was called with.
func (c call) vrrpVariables() map[string]string {
	env := maps.Clone(c.env)
	maps.DeleteFunc(env, func(key, _ string) bool { return !strings.HasPrefix(key, "VRRP_") })
	return env
}

// The scripts run in order, without arguments, with the whole environment of
// the interface and nothing of it missing or too much.
func TestPoint5_OrderAndEnvironment(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	s.r1.waitCalls(lanA, 2)
	s.r2.waitCalls(lanA, 1)
	check(t, s.r1.cable(lanB).Cut())
	s.settled(s.r2, s.r1)
	check(t, s.r1.cable(lanB).Plug())
	s.settled(s.r1, s.r2)
	elected := []string{"master-timeout", "preempted", "master-resigned", "unanswered"}
	type want struct {
		script, state string
		reasons       []string
	}
	for _, c := range []struct {
		r        *router
		priority string
		runs     []want
	}{
		{s.r1, "150", []want{
			{"DOWN.sh", "BACKUP", []string{"startup"}},
			{"MASTER.sh", "MASTER", elected},
			{"DOWN.sh", "BACKUP", []string{"link-down"}},
			{"MASTER.sh", "MASTER", elected},
		}},
		{s.r2, "100", []want{
			{"DOWN.sh", "BACKUP", []string{"startup"}},
			{"MASTER.sh", "MASTER", []string{"master-resigned", "unanswered"}},
			{"DOWN.sh", "BACKUP", []string{"superior-advert"}},
		}},
	} {
		for _, l := range lans {
			runs := c.r.waitCalls(l, len(c.runs))
			if len(runs) != len(c.runs) {
				t.Errorf("%s: %d runs of scripts for %s, want %d: %+v", c.r.Name(), len(runs), l.vrrp(), len(c.runs), runs)
			}
			for i, w := range c.runs {
				got := runs[i].vrrpVariables()
				// The other machine, by its address on the LAN where it was heard
				// last: a process knows of its siblings' peers.
				peer := ""
				for _, heard := range lans {
					if p := s.routers()[2-c.r.number].own(heard).Addr().String(); got["VRRP_PEER"] == p {
						peer = p
					}
				}
				full := map[string]string{
					"VRRP_STATE": w.state, "VRRP_REASON": got["VRRP_REASON"], "VRRP_VRID": l.vrrp()[4:], "VRRP_INTERFACE": l.vrrp(),
					"VRRP_PARENT": l.nic, "VRRP_ADDRESSES": l.vip.String(), "VRRP_PRIORITY": c.priority, "VRRP_GROUP": "machine", "VRRP_PEER": peer,
				}
				if runs[i].script != w.script || runs[i].args != "0" || !maps.Equal(got, full) || !slices.Contains(w.reasons, got["VRRP_REASON"]) {
					t.Errorf("%s, run %d for %s: %s with %s arguments and %v; want %s, %v with a reason of %v",
						c.r.Name(), i+1, l.vrrp(), runs[i].script, runs[i].args, got, w.script, full, w.reasons)
				}
			}
		}
	}
	// Who yields knows to whom, at least the process that has heard it first.
	if a, b := s.r2.calls(lanA)[2], s.r2.calls(lanB)[2]; a.env["VRRP_PEER"]+b.env["VRRP_PEER"] == "" {
		t.Errorf("%s yielded to nobody: %v, %v", s.r2.Name(), a, b)
	}
}

// Scripts that sleep for an hour change nothing: adverts keep their interval,
// and both machines change sides as they should.
func TestPoint5_SleepingScripts(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{master: "exec sleep 3600", down: "exec sleep 3600"})
	var heard []*netlab.Sniffer
	for _, r := range s.routers() {
		heard = append(heard, r.sniff(lanA, netlab.MatchVRID(lanA.vrid)))
	}
	s.r1.startAll()
	s.r2.startAll()
	s.settled(s.r1, s.r2)
	punctual(t, s.r1, s.r1.waitAdverts(heard[0], 15))
	check(t, s.r1.cable(lanA).Cut())
	s.settled(s.r2, s.r1)
	punctual(t, s.r2, s.r2.waitAdverts(heard[1], 15))
	check(t, s.r1.cable(lanA).Plug())
	s.settled(s.r1, s.r2)
	for _, r := range s.routers() {
		if runs := r.waitCalls(lanA, 1); len(runs) != 1 || runs[0].script != "DOWN.sh" {
			t.Errorf("%s: the first script sleeps, and these have run: %+v", r.Name(), runs)
		}
	}
	s.neverSplit()
}

// punctual checks that adverts came every 100 ms.
func punctual(t *testing.T, r *router, frames []netlab.Frame) {
	t.Helper()
	var gaps []time.Duration
	for i, f := range frames[1:] {
		gaps = append(gaps, f.At.Sub(frames[i].At))
	}
	mean := frames[len(frames)-1].At.Sub(frames[0].At) / time.Duration(len(gaps))
	slices.Sort(gaps)
	half := gaps[len(gaps)/2]
	t.Logf("%s: adverts every %s in the mean, %s in the median; shortest %s, longest %s", r.Name(), ms(mean), ms(half), ms(gaps[0]), ms(gaps[len(gaps)-1]))
	if (mean-100*time.Millisecond).Abs() > 10*time.Millisecond || (half-100*time.Millisecond).Abs() > 10*time.Millisecond {
		t.Errorf("%s: adverts with gaps of %v, want 100 ms", r.Name(), gaps)
	}
}

// A script that is missing or fails is reported, and the election goes on.
func TestPoint5_FailingScripts(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{down: "echo it is broken; exit 3"})
	s.r1.startLine("vrrpd -i eth0 -v 51 10.16.1.200 -d 0.1 -U /etc/scripts/missing.sh -D /etc/scripts/DOWN.sh")
	s.r1.waitServing(lanA)
	st := s.r1.waitStatus(lanA, "both scripts have run", func(st control.Status) bool { return len(st.Hooks) == 2 })
	for _, h := range st.Hooks {
		switch {
		case h.State == "BACKUP" && h.ExitCode == 3 && h.Command == "/etc/scripts/DOWN.sh":
		case h.State == "MASTER" && h.Error != "" && h.Command == "/etc/scripts/missing.sh":
		default:
			t.Errorf("hook %+v", h)
		}
	}
	for _, say := range []string{"it is broken", "exit status 3", "missing.sh: no such file or directory"} {
		s.r1.syslog.waitFor(t, 0, say, containing(say))
	}
	s.r1.waitAdverts(s.r1.sniff(lanA, netlab.MatchAdverts()), 3)
}
