package election

import (
	"slices"
	"testing"
	"time"
)

// A machine of one process whose members change while it is at work (group.md
// ADD/DEL).

const C = 2 // the LAN of a member that comes later

// add adds a member on a LAN to the one process.
func (s *scene) add(lan int) {
	p := s.procs[0]
	p.lans = append(p.lans, lan)
	for lan >= len(s.host) {
		s.host = append(s.host, nil)
	}
	s.host[lan] = p
	p.m.Add(s.now, len(p.lans)-1, s.router(lan))
	p.rung = true
	s.settle()
}

func (s *scene) retire(lan int) {
	p := s.procs[0]
	p.m.Retire(s.now, s.vr(lan))
	p.rung = true
	s.settle()
}

// neverLeft checks that the machine has made no transition since fresh.
func (s *scene) neverLeft() {
	s.t.Helper()
	for _, e := range s.procs[0].log {
		if e.transition() {
			s.t.Fatalf("the machine moved: %s\n%s", e.text, s.story())
		}
	}
}

// onGrid checks that the member of a LAN has missed no advert since fresh.
func (s *scene) onGrid(lan int) {
	s.t.Helper()
	last := time.Duration(0)
	for _, at := range append(s.times(lan, "advert 100"), s.clock()-time.Duration(s.mark-epoch)) {
		if at-last > s.interval {
			s.t.Fatalf("LAN %c is silent from %v to %v\n%s", 'A'+lan, last, at, s.story())
		}
		last = at
	}
}

// Added to a MASTER, it listens for a master-down interval and then joins.
func TestAddToMaster(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.add(C)
	s.pass("3.609374s")
	s.did(C)
	s.pass("1ms")
	s.did(C, "advert 100", "promote", "announce")
	s.pass("5s")
	s.neverLeft()
	s.onGrid(A)
	s.onGrid(B)
	if n := len(s.times(C, "advert 100")); n != 6 {
		t.Errorf("%d adverts on the new LAN, want 6\n%s", n, s.story())
	}
}

// It meets another master there: it stays out, and that is told once.
func TestAddedMeetsAMaster(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.add(C)
	p := s.peer(150, low, C)
	s.pass("20s")
	s.neverLeft()
	s.did(C, "alarm stays-out")
	p.quiet()
	s.pass("8s")
	s.did(C, "alarm stays-out", "advert 100", "promote", "announce", "over stays-out",
		"advert 100", "advert 100", "advert 100", "advert 100")
	s.onGrid(A)
}

// With a fault it stays out, and neither holds the machine nor keeps it from taking
// over.
func TestAddedWithAFault(t *testing.T) {
	s := setup{}.open(t, 1)
	p := s.peer(200, high, A, B)
	s.at("10.5s")
	s.fresh()
	s.add(C)
	s.fault(C, FaultLinkDown, true)
	s.pass("10s")
	s.is(Backup, Recovered)
	p.quiet()
	s.pass("5s")
	s.is(Master, MasterTimeout)
	s.did(C, "BACKUP>MASTER master-timeout", "hook up master-timeout")
	s.fault(C, FaultLinkDown, false)
	s.pass("5s")
	s.is(Master, MasterTimeout)
	if len(s.times(C, "promote")) != 1 {
		t.Errorf("it has not joined\n%s", s.story())
	}
}

// Added to a BACKUP just before the master dies, it does not delay the take-over.
func TestAddedDelaysNoTakeover(t *testing.T) {
	s := setup{}.open(t, 1)
	p := s.peer(200, high, A, B)
	s.at("10.5s")
	s.fresh()
	p.quiet() // it has spoken half a second ago
	s.pass("2s")
	s.add(C)
	s.pass("1.2s")
	s.is(Master, MasterTimeout)
	if n := len(s.times(C, "promote")); n != 0 {
		t.Errorf("a member that has not listened was promoted")
	}
	s.pass("3s")
	if n := len(s.times(C, "promote")); n != 1 {
		t.Errorf("the member was promoted %d times\n%s", n, s.story())
	}
}

// On a BACKUP it has a vote once it follows a master: that one's silence counts.
func TestAddedFollowsAMaster(t *testing.T) {
	s := setup{}.open(t, 1)
	s.peer(200, high, A, B)
	s.at("10.5s")
	s.add(C)
	s.peer(200, high, C)
	s.pass("1ms")
	if s.facts(C).Joining != 0 {
		t.Error("a member that follows a master has no vote")
	}
}

// Removed from a MASTER, a member resigns, serves on until nobody has come, and goes;
// the others miss nothing.
func TestRetireFromMaster(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.retire(A) // the reference member
	s.timed(A, "resign", "0s")
	s.pass("1.05s")
	if got, want := s.done(A), []string{"resign", "resign", "resign"}; !slices.Equal(got, want) {
		t.Fatalf("did %v, want %v", got, want)
	}
	s.timed(A, "resign", "0s", "50ms", "200ms")
	s.pass("20s")
	s.did(A, "resign", "resign", "resign", "close", "demote", "gone")
	s.neverLeft()
	s.onGrid(B)
	s.is(Master, MasterTimeout)
	if m := s.procs[0].m; m.Place(0) != -1 || m.Place(1) != 0 || len(m.own) != 1 {
		t.Errorf("the places are %d and %d of %d", m.Place(0), m.Place(1), len(m.own))
	}
	// What still arrives for it concerns nobody, and what is for the other reaches it.
	s.procs[0].post(Event{Kind: EvAdvert, VR: 0, Addr: addr(A, high), Priority: 255})
	s.settle()
	s.is(Master, MasterTimeout)
	s.hear(B, 255, high)
	s.is(Backup, SuperiorAdvert)
}

// A successor ends that at once.
func TestRetireWithASuccessor(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.retire(B)
	s.pass("30ms")
	s.hear(B, 50, high)
	s.did(B, "resign", "close", "demote", "gone")
	s.pass("3s")
	s.neverLeft()
	s.onGrid(A)
}

// A machine that leaves meanwhile takes it along.
func TestLeaveWhileRetiring(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.retire(B)
	s.pass("30ms")
	s.hear(A, 255, high)
	s.is(Backup, SuperiorAdvert)
	s.did(B, "resign", "MASTER>BACKUP superior-advert", "close", "demote", "own", "hook down superior-advert", "gone")
	s.pass("60ms")
	if len(s.procs[0].m.own) != 1 {
		t.Error("it is still there")
	}
}

func TestRetireFromBackup(t *testing.T) {
	s := setup{}.open(t, 1)
	s.peer(200, high, A, B)
	s.at("10.5s")
	s.fresh()
	s.retire(A)
	s.did(A, "gone")
	s.pass("10s")
	s.is(Backup, Recovered)
}

// All members are exchanged: the machine stays what it is.
func TestExchangeAll(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.retire(A)
	s.retire(B)
	s.pass("3s")
	if len(s.procs[0].m.own) != 0 {
		t.Fatal("they are still there")
	}
	s.pass("10s")
	s.add(C)
	s.pass("5s")
	s.neverLeft()
	s.is(Master, MasterTimeout)
	if n := len(s.times(C, "promote")); n != 1 {
		t.Errorf("promoted %d times\n%s", n, s.story())
	}
}

// Another interval is told with an advert at once, and nobody is given up sooner.
func TestUpdateInterval(t *testing.T) {
	s := setup{version: 3}.open(t, 1)
	s.master()
	s.interval = 200 * time.Millisecond
	for i, lan := range []int{A, B} {
		s.procs[0].m.Update(s.now, i, s.router(lan))
	}
	s.procs[0].rung = true
	s.settle()
	s.timed(A, "advert 100", "0s")
	s.pass("10s")
	s.onGrid(A)
	s.onGrid(B)
	s.neverLeft()
}

// Of members that share a LAN and a master one is asked about.
func TestOneQuestionPerLAN(t *testing.T) {
	s := setup{}.open(t, 1)
	for _, same := range []bool{true, false} {
		var routers []Router
		for i := range 5 {
			r := s.router(A)
			r.VRID, r.VIP, r.LAN = uint8(60+i), addr(A, byte(60+i)), 1
			if i == 4 {
				r.LAN = 2
			}
			routers = append(routers, r)
		}
		s := &scene{lab: newLab(t), setup: s.setup, t: t, mark: epoch}
		s.shared = &shared{lab: s.lab, want: 1}
		p := s.bootAs(routers, 0, 1, 2, 3, 4)
		from := func(i int) byte {
			if same || i != 3 {
				return high
			}
			return high + 1
		}
		for n := range 10 {
			s.at((time.Duration(n) * time.Second).String())
			for i := range routers {
				p.post(Event{Kind: EvAdvert, VR: i, Addr: addr(0, from(i)), MAC: mac(0, from(i)), Priority: 200, Interval: s.interval})
			}
			s.settle()
		}
		s.is(Backup, Recovered)
		s.fresh()
		p.post(Event{Kind: EvAdvert, VR: 4, Addr: addr(0, high)}) // on LAN 2
		s.settle()
		s.pass("600ms")
		asked := make([]int, len(routers))
		for _, e := range p.log {
			if e.act.Kind == DoProbe {
				asked[e.vr]++
			}
		}
		want := []int{10, 0, 0, 0, 0}
		if !same {
			want[3] = 10
		}
		if !slices.Equal(asked, want) {
			t.Errorf("same master %t: asked %v, want %v", same, asked, want)
		}
		// An answer for one is one for all that share its master.
		s.post(0, Event{Kind: EvAnswer, MAC: mac(0, high)})
		s.pass("20ms")
		s.is(Backup, Recovered)
		s.pass("2s")
		s.is(Master, Unanswered)
	}
}

// A check that holds the machine holds what is added, too; when it is well again all
// of them are.
func TestAddedWhileACheckHolds(t *testing.T) {
	s := setup{}.open(t, 1)
	s.peer(200, high, A, B)
	s.pass("10s")
	s.post(A, Event{Kind: EvChecks, On: true})
	s.pass("10s")
	s.is(Held, CheckFailed)
	s.add(C)
	if f := s.facts(C).Faults; f != FaultCheck {
		t.Errorf("what was added has the faults %b", f)
	}
	s.pass("10s")
	s.post(A, Event{Kind: EvChecks})
	s.pass("5s")
	s.is(Backup, Recovered)
	for _, lan := range []int{A, B, C} {
		if f := s.facts(lan); f.Faults != 0 || f.Joining != 0 {
			t.Errorf("LAN %c: faults %b, joining %d", 'A'+lan, f.Faults, f.Joining)
		}
	}
}
