package acceptance

import (
	"slices"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

const (
	// crashTarget is how soon the other machine serves when somebody could still say
	// that the MASTER is dead: 609 ms of it are the skew time of priority 100.
	crashTarget = 700 * time.Millisecond
	// crashAlone is the protocol's own time, when nobody could: 3 intervals and the
	// skew time, and 50 ms for a machine that is busy.
	crashAlone = 3609*time.Millisecond + 50*time.Millisecond
	// crashes are of how many the median counts.
	crashes = 3
)

// A crash is as good as a resignation, at adverts of a second: the sibling of a
// process that is killed resigns for both. With nobody left it takes the protocol's
// own time. At no moment do two machines serve.
func TestCrash_OfMembers(t *testing.T) {
	s := pair(t, options{interval: "1", flags: "-s"})
	watch := s.watch(50 * time.Millisecond)
	master, backup := s.r1, s.r2
	crash := func(victims ...netlab.Process) time.Duration {
		t.Helper()
		mark := backup.links.Mark()
		at := time.Now()
		killTogether(t, victims)
		var last time.Duration
		for _, l := range lans {
			last = max(last, backup.waitEvent(mark, l.vrrp(), netlab.LinkUp, noAddr).At.Sub(at))
			backup.waitServing(l)
		}
		master, backup = backup, master
		return last
	}
	var took []time.Duration
	for n := range crashes {
		l := lans[n%len(lans)]
		took = append(took, crash(master.daemon(l)))
		backup.waitProcesses(1)
		backup.start(l)
		s.settled(master, backup)
		for _, l := range lans { // not before its hold-down is over
			backup.waitStatus(l, "it may be elected", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
		}
	}
	slices.Sort(took)
	t.Logf("one of two is killed: the other machine serves after %v", took)
	if took[len(took)/2] > crashTarget {
		t.Errorf("one of two is killed: the other machine serves after %v, want a median of %v", took, crashTarget)
	}
	all := crash(master.processes()...)
	t.Logf("all are killed: the other machine serves after %v", all)
	if all > crashAlone {
		t.Errorf("all are killed: the other machine serves after %v, want %v", all, crashAlone)
	}
	s.neverTwo(watch)
}
