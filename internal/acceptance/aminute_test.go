package acceptance

import (
	"context"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// Tests that run side by side begin about in the order of their files: the longest are
// here, so that nothing waits for them at the end.

// After SIGKILL at any moment the next start makes the machine what is configured,
// and after its clean stop, or after --release, it is what it was before the first
// start. The settings of all and default are never written. The kills are shared by
// machines that stand side by side.
func TestExactRestart_1(t *testing.T) {
	t.Parallel()
	exactRestart(t, crews, 0, *killCount, 2)
}

func TestExactRestart_2(t *testing.T) {
	t.Parallel()
	exactRestart(t, crews, 1, *killCount, 2)
}

func TestExactRestart_Slow(t *testing.T) {
	t.Parallel()
	exactRestart(t, slowCrews, slowKill, slowKill+(*killCount+slowShare-1)/slowShare, 1)
}

// A mixed view lasts: preemption is vetoed for 60 s, and comes then.
func TestViews_MixedViewLastsAMinute(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	s := newSite(t, options{interval: "0.3"})
	s.r2.startAll()
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	check(t, s.r1.cable(lanB).Block())
	// A machine of which a process stands still for a second, as test machines do, does not
	// see the view any more, and then anew: it is never early, and in time if that did not
	// happen.
	for attempt, letters := 1, 0; ; attempt++ {
		s.r1.startAll()
		lasted := s.mixedView(letters)
		t.Logf("preempted %v after the mixed view was reported", lasted)
		// It is reported a master-down interval (1.08 s) after it begins.
		if lasted < 58*time.Second || lasted > 60*time.Second && attempt == 3 {
			t.Fatalf("it preempted %v after the mixed view was reported, want 60 s after it began", lasted)
		}
		if lasted <= 60*time.Second {
			break
		}
		s.r1.stop(lans...)
		for _, l := range lans {
			s.r2.waitServing(l)
		}
		letters = s.r1.syslog.mark()
	}
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	s.r1.syslog.waitFor(t, 0, "why", containing("BACKUP -> MASTER: preempted (peer 10.16.1.2)"))
	s.r1.syslog.waitFor(t, 0, "the end of the mixed view", containing("the mixed view is over: this machine is not BACKUP any more"))
}

// mixedView is how long one lasts from when it is reported until it is preempted.
func (s *site) mixedView(letters int) time.Duration {
	s.t.Helper()
	began := s.r1.syslog.waitFor(s.t, letters, "the mixed view", containing("not preempting for up to 60 s"))
	ctx, cancel := context.WithTimeout(context.Background(), 180*time.Second)
	defer cancel()
	e, err := s.r1.links.WaitFrom(ctx, s.r1.links.Mark(), func(e netlab.LinkEvent) bool {
		return e.What == netlab.AddrAdded && e.Link == lanA.vrrp()
	})
	check(s.t, err)
	return e.At.Sub(began.at)
}
