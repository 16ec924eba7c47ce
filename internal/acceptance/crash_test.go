package acceptance

import (
	"slices"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

const (
	// crashTarget is how soon the other machine serves when somebody could still say
	// that the MASTER is dead: 609 ms of it are the skew time of priority 100.
	crashTarget = 700 * time.Millisecond
	// crashAlone is the protocol's own time, when nobody could: 3 intervals and the
	// skew time; what a machine that is busy adds makes it try again.
	crashAlone = 3609*time.Millisecond + 50*time.Millisecond
	// crashes are of how many the median counts.
	crashes = 3
)

// A crash is as good as a resignation, at adverts of a second: the sibling of a
// process that is killed resigns for both. At no moment do two machines serve.
func crashOfOne(t *testing.T) {
	onStage(t)
	var sites []*site // for one crash each: a machine recovers for seconds
	for range crashes {
		s := newSite(t, options{interval: "1", flags: "-s"})
		s.open()
		sites = append(sites, s)
	}
	var took []time.Duration
	for n, s := range sites {
		s.opened()
		watch := s.watch(50 * time.Millisecond)
		quietly(t, func() { took = append(took, s.crash(s.r1.daemon(lans[n%len(lans)]))) })
		s.neverTwo(watch)
	}
	slices.Sort(took)
	t.Logf("one of two is killed: the other machine serves after %v", took)
	if took[len(took)/2] > crashTarget {
		t.Errorf("one of two is killed: the other machine serves after %v, want a median of %v", took, crashTarget)
	}
}

// With nobody left to tell it takes the protocol's own time.
func TestCrash_OfAll(t *testing.T) {
	t.Parallel()
	s := pair(t, options{interval: "1", flags: "-s"})
	var took []time.Duration
	for len(took) < 1 || len(took) < 3 && slices.Min(took) > crashAlone {
		watch := s.watch(50 * time.Millisecond)
		took = append(took, s.crash(s.r1.processes()...))
		s.neverTwo(watch)
		s.r1.startAll()
		s.settled(s.r2, s.r1)
		s.r2.stop(lans...)
		for _, l := range lans {
			s.r1.waitServing(l)
		}
		s.r2.startAll()
		s.opened()
	}
	t.Logf("all are killed: the other machine serves after %v", took)
	if slices.Min(took) > crashAlone {
		t.Errorf("all are killed: the other machine serves after %v, want %v", took, crashAlone)
	}
}

// crash kills processes of r1, which is MASTER, and returns how long it took until the
// other machine serves both LANs.
func (s *site) crash(victims ...netlab.Process) (took time.Duration) {
	s.t.Helper()
	mark := s.r2.links.Mark()
	at := time.Now()
	killTogether(s.t, victims)
	for _, l := range lans {
		took = max(took, s.r2.waitEvent(mark, l.vrrp(), netlab.LinkUp, noAddr).At.Sub(at))
		s.r2.waitServing(l)
	}
	return took
}
