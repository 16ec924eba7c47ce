package acceptance

import (
	"context"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// A mixed view lasts: preemption is vetoed for 60 s, and comes then. Of the tests
// that run side by side those of the first file start first, and nothing else takes
// so long: that is why this one has a file, of this name.
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
	s.r1.startAll()
	began := s.r1.syslog.waitFor(t, 0, "the mixed view", containing("not preempting for up to 60 s"))
	mark := s.r1.links.Mark()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	e, err := s.r1.links.WaitFrom(ctx, mark, func(e netlab.LinkEvent) bool { return e.What == netlab.AddrAdded && e.Link == lanA.vrrp() })
	check(t, err)
	lasted := e.At.Sub(began.at)
	t.Logf("preempted %v after the mixed view was reported", lasted)
	// It is reported a master-down interval (1.08 s) after it begins.
	if lasted < 58*time.Second || lasted > 60*time.Second {
		t.Errorf("it preempted %v after the mixed view was reported, want 60 s after it began", lasted)
	}
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	s.r1.syslog.waitFor(t, 0, "why", containing("BACKUP -> MASTER: preempted (peer 10.16.1.2)"))
	s.r1.syslog.waitFor(t, 0, "the end of the mixed view", containing("the mixed view is over: this machine is not BACKUP any more"))
}
