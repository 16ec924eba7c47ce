package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/vrrp"
)

// many is a daemon with n virtual routers on four parents, which is not run: the test
// is its loop.
func many(n int) *Daemon {
	cfg := config.Config{RunDir: "/run/vrrpd", Group: "machine"}
	for i := range n {
		vip := netip.AddrFrom4([4]byte{10, byte(i % 4), byte(i / 4 / 250), byte(i/4%250 + 1)})
		cfg.Routers = append(cfg.Routers, config.Router{
			Name: fmt.Sprintf("vrrp%d", i), Interface: fmt.Sprintf("eth%d", i%4), VRID: uint8(i/4%255 + 1), Family: 4, Version: 3,
			Priority: 100, Preempt: true, Interval: time.Second, Addresses: []netip.Prefix{netip.PrefixFrom(vip, 32)},
		})
	}
	d := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "test"})
	board := &election.LocalBoard{}
	d.board, d.groupName = board, "machine"
	d.machine = election.New(election.Config{}, board, d.electionRouters())
	d.health = health.New(health.Options{})
	d.machine.Start(boottime(), nil)
	return d
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{1, 40, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := many(n)
			b.ReportAllocs()
			for b.Loop() {
				d.snapshot()
			}
		})
	}
}

// A survey does not keep the loop for longer than a piece: in between it turns, and a
// state that changes meanwhile is the state of all of it.
func TestSurveyInPieces(t *testing.T) {
	const n = 5*surveyPiece + 3
	d := many(n)
	fresh := make(chan struct{})
	d.wantSurvey(fresh)
	turns := 1
	epoch := d.machine.View().Word.Epoch()
	for d.survey != nil {
		if turns == 3 {
			// Nobody is heard: the machine recovers, and takes another state.
			for range 100 {
				d.machine.Step(d.machine.Deadline(), nil, nil)
				if d.machine.View().Word.Epoch() != epoch {
					break
				}
			}
		}
		before := d.survey.done
		_, calls := d.inbox.take(nil, nil)
		if len(calls) != 1 {
			t.Fatalf("%d calls wait", len(calls))
		}
		calls[0]()
		turns++
		if y := d.survey; y != nil && y.done-before > surveyPiece {
			t.Errorf("%d routers in one turn", y.done-before)
		}
	}
	<-fresh
	if turns != 6 {
		t.Errorf("%d turns", turns)
	}
	v := d.machine.View()
	if v.Word.Epoch() == epoch {
		t.Fatal("the machine did not change")
	}
	s := d.status.Load()
	if len(s.Routers) != n || s.Machine.Epoch != v.Word.Epoch() {
		t.Fatalf("%d routers, epoch %d", len(s.Routers), s.Machine.Epoch)
	}
	for i := range s.Routers {
		if r := &s.Routers[i]; r.VRID != d.routers[i].cfg.VRID || r.Held != (s.Machine.Phase == "HELD") || r.LastEvent != control.LastEvent(v.Word.Reason()) {
			t.Fatalf("router %d: %+v", i, r)
		}
	}
	if g := s.Global; g.VirtualRouters != n || g.Interfaces != 4 || len(s.Parents) != 4 {
		t.Errorf("%+v, %+v", g, s.Parents)
	}
}

// Whoever asks while a survey is being made gets the next one, because the present one
// may be older than the question; and all of them get the same one.
func TestSurveysAreShared(t *testing.T) {
	d := many(2 * surveyPiece)
	first, second, third := make(chan struct{}), make(chan struct{}), make(chan struct{})
	d.wantSurvey(first)
	d.wantSurvey(second)
	d.wantSurvey(third)
	turn := func() {
		_, calls := d.inbox.take(nil, nil)
		for _, c := range calls {
			c()
		}
	}
	turn()
	<-first
	one := d.status.Load()
	select {
	case <-second:
		t.Fatal("the second question was answered by what is older than it")
	default:
	}
	turn()
	turn()
	<-second
	<-third
	if two := d.status.Load(); two == one {
		t.Error("the same status twice")
	}
	turn()
	if d.survey != nil || len(d.surveyed) != 0 {
		t.Error("somebody still waits")
	}
}

// Virtual routers that come and go while they are described leave no gap and no ghost.
func TestSurveyOfAChangingList(t *testing.T) {
	d := many(3 * surveyPiece)
	fresh := make(chan struct{})
	d.wantSurvey(fresh)
	gone := d.routers[0]
	d.delist(gone)
	for d.survey != nil {
		_, calls := d.inbox.take(nil, nil)
		for _, c := range calls {
			c()
		}
	}
	<-fresh
	s := d.status.Load()
	if len(s.Routers) != 3*surveyPiece-1 || s.Routers[0].Interface == gone.cfg.Name {
		t.Errorf("%d routers, the first is %s", len(s.Routers), s.Routers[0].Interface)
	}
}

// Where a virtual router is not meant by a packet, that is counted once for the machine,
// however many virtual routers the interface has.
func TestForeignPacketsAreCountedOnce(t *testing.T) {
	d := many(8)
	p := d.parents[0]
	p.counters[vrrp.DropVRID] = 5
	d.routers[0].counters[vrrp.DropTTL] = 2
	s := d.snapshot()
	if s.Global.Statistics.VRIDErrors != 5 || s.Global.Statistics.TTLErrors != 2 || s.Parents[0].Drops["vrid"] != 5 {
		t.Errorf("%+v, %+v", s.Global, s.Parents)
	}
	if own := s.Routers[0].Statistics.Own; own[vrrp.DropVRID] != 0 || own[vrrp.DropTTL] != 2 {
		t.Errorf("%+v", own)
	}
}

// A transition says whose fault it was, and every one is counted.
func TestTransitionsAreCounted(t *testing.T) {
	d := many(2)
	room := 0
	for range historyLength + 5 {
		d.record(control.Transition{To: "HELD", Reason: "link-down"})
		d.record(control.Transition{To: "BACKUP", Reason: "recovered"})
		room = max(room, cap(d.history))
	}
	s := d.snapshot()
	want := []control.TransitionCount{{To: "HELD", Reason: "link-down", Count: historyLength + 5}, {To: "BACKUP", Reason: "recovered", Count: historyLength + 5}}
	if len(s.Transitions) != historyLength || !slices.Equal(s.Counts, want) {
		t.Errorf("%d transitions, %+v", len(s.Transitions), s.Counts)
	}
	for i, tr := range s.Transitions {
		if want := []string{"HELD", "BACKUP"}[i%2]; tr.To != want {
			t.Errorf("transition %d of those that are remembered is to %s, want %s", i, tr.To, want)
		}
	}
	if room > historyLength*3/2 {
		t.Errorf("%d transitions are remembered, with room for %d", len(d.history), room)
	}
	r := d.routers[1]
	r.faults, r.detail = election.FaultLinkDown, "no carrier"
	d.machine.Step(boottime(), []election.Event{{Kind: election.EvFault, VR: r.vr, Fault: election.FaultLinkDown, On: true}}, nil)
	if where, detail := d.culprit(election.LinkDown); where != "eth1" || detail != "no carrier" {
		t.Errorf("%q, %q", where, detail)
	}
	d.lastGone = goneSibling{"eth2-53", boottime()}
	if where, detail := d.culprit(election.MemberDead); where != "" || detail != "eth2-53" {
		t.Errorf("%q, %q", where, detail)
	}
	d.lastGone.at -= int64(2 * goneLately)
	if _, detail := d.culprit(election.MemberDead); detail != "" {
		t.Errorf("%q is long gone", detail)
	}
	if where, detail := d.culprit(election.NoAddress); where != "" || detail != "" {
		t.Errorf("%q, %q for another reason", where, detail)
	}
}

// What the log could not write is in the status, when somebody counts it.
func TestLostRecordsInTheStatus(t *testing.T) {
	d := many(1)
	if n := d.logLost(); n != 0 {
		t.Errorf("%d records, and nobody counts", n)
	}
	d.opt.LogLost = func() uint64 { return 7 }
	if n := d.snapshot().LogLost; n != 7 {
		t.Errorf("%d records in the status, want 7", n)
	}
}
