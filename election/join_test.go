package election

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Members that are added while the group serves (group.md ADD/DEL): no vote
// until they have listened for one master-down interval.

// added lets a third member join a serving machine of two members.
func added(t *testing.T, play func(t *testing.T, s *scene, c int)) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprintf("to %d processes", n), func(t *testing.T) {
			s := setup{}.open(t, n)
			s.master()
			s.boot(2)
			s.settle()
			play(t, s, 2)
		})
	}
}

// It hears nobody: it joins, with its advert first, and the group goes on.
func TestAddedMemberJoins(t *testing.T) {
	added(t, func(t *testing.T, s *scene, c int) {
		s.did(c, "INIT>MASTER master-timeout", "alarm too-many-members")
		s.pass("3.609374s")
		s.did(c, "INIT>MASTER master-timeout", "alarm too-many-members")
		s.fresh()
		s.pass("1ms")
		s.did(c, "advert 100", "promote", "announce", "hook up master-timeout")
		s.obeyed()
		s.did(A)
		s.is(Master, MasterTimeout)
		// On the group's grid from then on.
		s.fresh()
		s.pass("3s")
		if a, c := s.times(A, "advert 100"), s.times(c, "advert 100"); len(c) != 3 || c[0] < a[0] || c[0]-a[0] > 2*s.bell {
			t.Errorf("A speaks at %v, the new one at %v", a, c)
		}
	})
}

// It hears a master that it accepts: it stays out and does not move the group,
// whatever priority that has, until the group is BACKUP for another reason.
func TestAddedMemberStaysOut(t *testing.T) {
	for _, prio := range []uint8{100, 101, 254} {
		added(t, func(t *testing.T, s *scene, c int) {
			s.peer(prio, high, c)
			s.pass("60s")
			s.is(Master, MasterTimeout)
			s.did(c, "INIT>MASTER master-timeout", "alarm too-many-members")
			s.peer(200, high, A, B)
			s.is(Backup, SuperiorAdvert)
			s.pass("10ms")
			if s.facts(c).Joining != 0 {
				t.Error("a member of a BACKUP has a vote")
			}
			s.timed(c, "resign") // it has nothing to resign
		})
	}
}

// In a process of which other members serve it has nothing to resign either.
func TestAddedMemberDoesNotResign(t *testing.T) {
	s := setup{}.open(t, 1)
	s.at("1s")
	s.host[A].m.own[B].Joining, s.host[A].m.some.joining = 1, true // as if added by a reload
	s.shared.word = s.shared.word.Next(Backup, Recovered).Next(Prepare, MasterTimeout).Next(Master, MasterTimeout)
	s.shared.since = s.now
	s.pass("2s")
	s.is(Master, MasterTimeout)
	s.timed(B, "advert 100")
	s.hear(A, 150, high)
	s.is(Backup, SuperiorAdvert)
	s.pass("1s")
	s.timed(B, "resign")
}

// A vote that it has got counts: its accepted master vetoes.
func TestAddedMemberVotesInBackup(t *testing.T) {
	added(t, func(t *testing.T, s *scene, c int) {
		s.peer(200, high, c)
		p := s.peer(200, high, A, B)
		s.pass("5s")
		p.quiet()
		s.pass("60s")
		s.is(Backup, SuperiorAdvert)
	})
}

// An inferior master does not restart its timer.
func TestAddedMemberPreempts(t *testing.T) {
	added(t, func(t *testing.T, s *scene, c int) {
		s.peer(50, low, c)
		s.pass("4s")
		s.is(Master, MasterTimeout)
		if s.facts(c).Joining != 0 {
			t.Error("it stays out")
		}
	})
}

// Its faults are its own: a link that is down keeps it out, no more.
func TestAddedMemberWithFault(t *testing.T) {
	added(t, func(t *testing.T, s *scene, c int) {
		s.fault(c, FaultLinkDown, true)
		s.pass("60s")
		s.is(Master, MasterTimeout)
		s.fault(c, FaultLinkDown, false)
		s.pass("3.6s")
		if s.facts(c).Joining != 1 {
			t.Error("joined before it has listened")
		}
		s.pass("100ms")
		if s.facts(c).Joining != 0 {
			t.Error("still out")
		}
		s.is(Master, MasterTimeout)
	})
}

// It is stopped before it has joined: it goes, and nobody notices.
func TestAddedMemberStops(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	p := s.boot(2)
	s.pass("1s")
	s.post(2, Event{Kind: EvStop})
	s.pass("10ms")
	if !p.gone {
		t.Error("still here")
	}
	s.pass("10s")
	s.is(Master, MasterTimeout)
	s.timed(2, "resign")
}

// Another interval keeps it out: it would hold everybody.
func TestAddedMemberOfAnotherInterval(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	r := s.router(2)
	r.Interval = 2 * time.Second
	s.bootAs([]Router{r}, 2)
	s.pass("60s")
	s.is(Master, MasterTimeout)
	if s.facts(2).Joining != 1 {
		t.Error("joined")
	}
}

// The others speak of ties on the same reference member, whoever is joining.
func TestJoiningMemberIsNoReference(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	r := s.router(2)
	r.VRID = 1 // lower than all
	s.bootAs([]Router{r}, 2)
	s.pass("1s")
	if !s.host[A].m.isReference(s.facts(A)) {
		t.Error("a member without a vote is the reference")
	}
	s.pass("5s")
	s.host[A].rung = true
	s.settle()
	if s.host[A].m.isReference(s.facts(A)) || !s.host[2].m.isReference(s.facts(2)) {
		t.Error("the lowest member with a vote is the reference")
	}
}

// Every machine finds the same reference member: by family, VRID, first VIP.
func TestReferenceOrder(t *testing.T) {
	order := []Facts{
		{Family: 4, VRID: 1, VIP: AddrFrom(addr(B, 9))},
		{Family: 4, VRID: 2, VIP: AddrFrom(addr(A, 9))},
		{Family: 4, VRID: 2, VIP: AddrFrom(addr(A, 10))},
		{Family: 6, VRID: 1, VIP: AddrFrom(addr(A, 1))},
	}
	if !slices.IsSortedFunc(order, func(a, b Facts) int {
		switch {
		case a.before(&b):
			return -1
		case b.before(&a):
			return 1
		}
		return 0
	}) {
		t.Error("out of order")
	}
	if order[0].before(&order[0]) {
		t.Error("a member is before itself")
	}
}
