package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/internal/netlab"
	"vrrpd/internal/realtime"
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

// What a status costs the loop.
func BenchmarkSurvey(b *testing.B) {
	for _, n := range []int{1, 40, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := many(n)
			y := d.newSurvey(room{})
			b.ReportAllocs()
			for b.Loop() {
				y.list, y.parents = nil, y.parents[:0]
				y.next(n)
			}
		})
	}
}

// ask begins a survey as Status does.
func ask(d *Daemon) *survey {
	y := d.newSurvey(d.used)
	d.inbox.run(&y.goOn)
	return y
}

// turn has the loop do what waits, and says how much that was.
func turn(d *Daemon) int {
	_, calls := d.inbox.take(nil, nil)
	calls = d.inbox.errands.take(calls)
	for _, c := range calls {
		c()
	}
	return len(calls)
}

// A survey does not keep the loop for longer than a piece: in between it turns, and a
// state that changes meanwhile is the state of all of it.
func TestSurveyInPieces(t *testing.T) {
	const n = 5*surveyPiece + 3
	d := many(n)
	y := ask(d)
	turns := 0
	epoch := d.machine.View().Word.Epoch()
	for !y.isTaken() {
		if turns == 3 {
			// Nobody is heard: the machine recovers, and takes another state.
			for range 100 {
				d.machine.Step(d.machine.Deadline(), nil, nil)
				if d.machine.View().Word.Epoch() != epoch {
					break
				}
			}
		}
		before := turns * surveyPiece
		if n := turn(d); n != 1 {
			t.Fatalf("%d calls wait", n)
		}
		if turns++; len(y.routers)-before > surveyPiece {
			t.Errorf("%d routers in one turn", len(y.routers)-before)
		}
		if unfinished := !y.isTaken(); unfinished != (d.surveys == 1) {
			t.Errorf("%d surveys after %d turns", d.surveys, turns)
		}
	}
	if turns != 6 {
		t.Errorf("%d turns", turns)
	}
	v := d.machine.View()
	if v.Word.Epoch() == epoch {
		t.Fatal("the machine did not change")
	}
	s := y.status()
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

// Virtual routers that come and go while notes are taken leave no gap and no ghost.
func TestSurveyOfAChangingList(t *testing.T) {
	d := many(3 * surveyPiece)
	y := ask(d)
	turn(d)
	gone := d.routers[0]
	d.delist(gone)
	for !y.isTaken() {
		turn(d)
	}
	if s := y.status(); len(s.Routers) != 3*surveyPiece-1 || s.Routers[0].Interface == gone.cfg.Name {
		t.Errorf("%d routers, the first is %s", len(s.Routers), s.Routers[0].Interface)
	}
}

// Who asks is answered by the loop, with what is newer than the question; of one that is
// stuck he is told how things stood, and it is asked once, however often that is.
func TestStatusOfAStuckLoop(t *testing.T) {
	d := many(surveyPiece + 1)
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	d.inbox.bell.Store(bell)
	turning := func() (stop func()) {
		var end bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				bell.Quiet()
				if turn(d); end {
					return
				}
				bell.Wait(math.MaxInt64)
			}
		}()
		return func() {
			d.inbox.call(func() { end = true })
			<-done
		}
	}
	// transitions is how many an answer tells of, among them those of before the question.
	transitions := func() int {
		d.inbox.call(func() { d.record(control.Transition{To: "HELD", Reason: "link-down"}) })
		s := d.Status()
		if len(s.Routers) != surveyPiece+1 {
			t.Errorf("%d routers", len(s.Routers))
		}
		return len(s.Transitions)
	}
	stop := turning()
	netlab.Eventually(t, 10*time.Second, func() (bool, string) { // the machine may be busy for longer than the patience
		before := d.status.Load()
		n := transitions()
		return before != nil && n == len(before.Transitions)+1, fmt.Sprint(n)
	})
	// Many at once are answered, too.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { transitions() })
	}
	all.Wait()
	stop()
	last := d.status.Load()
	for range 3 {
		if n := transitions(); n != len(last.Transitions) {
			t.Errorf("of a stuck loop: %d transitions, want %d", n, len(last.Transitions))
		}
	}
	y := d.unanswered
	if n := turn(d); n != 4 { // and three transitions
		t.Errorf("%d calls wait", n)
	}
	for !y.isTaken() {
		turn(d)
	}
	if d.surveys != 0 {
		t.Errorf("%d surveys left", d.surveys)
	}
	// That answer is old now.
	stop = turning()
	defer func() {
		stop()
		if err := bell.Close(); err != nil {
			t.Error(err)
		}
	}()
	netlab.Eventually(t, 10*time.Second, func() (bool, string) {
		before := d.status.Load()
		n := transitions()
		return n == len(before.Transitions)+1 || n == historyLength, fmt.Sprint(n)
	})
}

// The loop makes no garbage for a status, whatever there is to tell.
func TestSurveyMakesNoGarbage(t *testing.T) {
	d := many(2 * surveyPiece)
	d.record(control.Transition{To: "HELD", Reason: "link-down"})
	d.hookLog[hookKey{}] = &control.HookResult{Command: "true"}
	d.alarms = append(d.alarms, control.Alarm{Reason: "peer-deaf"})
	d.lastPeer = netip.MustParseAddr("192.0.2.9")
	d.lastSendError = errors.New("no buffers")
	d.checkSum.Hold = true
	for _, r := range d.routers {
		r.auth.config = vrrp.AuthConfig{Kind: vrrp.TrailerAuth, Keys: []vrrp.TrailerKey{{ID: 1}}}
		r.counters[vrrp.DropTTL], r.parent.counters[vrrp.DropVRID] = 3, 4
		p := r.parent
		p.mu.Lock()
		for k := range byte(2 * namedLimit) {
			p.note(note{ownerConflict, r.cfg.VRID, netip.AddrFrom4([4]byte{192, 0, 2, k})}, r)
		}
		p.mu.Unlock()
		d.machine.Step(boottime(), []election.Event{{Kind: election.EvFault, VR: r.vr, Fault: election.FaultLinkDown, On: true}}, nil)
	}
	turn(d)
	first := d.newSurvey(room{}) // finds out how much there is
	first.next(len(d.routers))
	s := first.status()
	oddities := 0
	for _, a := range s.Machine.Alarms {
		if a.Reason == ownerConflict.String() {
			oddities++
		}
	}
	if r := s.Routers[0]; oddities != len(d.routers)*(namedLimit+1) || len(s.Machine.Faults) != len(d.routers) || s.Parents[0].Drops["vrid"] != 4 || s.Parents[0].Drops["ttl"] != 0 ||
		r.Statistics.Drops["vrid"] != 4 || r.Statistics.Drops["ttl"] != 3 || !slices.Equal(r.Authentication.Keys, []int{1}) {
		t.Fatalf("%d oddities, %d faults, %v, %v, %+v", oddities, len(s.Machine.Faults), s.Parents[0].Drops, r.Statistics.Drops, r.Authentication)
	}
	const runs = 10
	var all []*survey
	for range runs + 1 {
		all = append(all, d.newSurvey(first.room()))
	}
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	d.bell = bell
	if n := testing.AllocsPerRun(runs, func() {
		for d.inbox.run(&all[0].goOn); !all[0].isTaken(); {
			d.errands()
		}
		all = all[1:]
	}); n != 0 {
		t.Errorf("%v allocations of the loop", n)
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
