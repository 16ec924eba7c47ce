package election

import (
	"testing"
	"time"
)

// What the operator and the configuration want, as a group.

// The group has one priority: the minimum of its members, with an alarm.
func TestPriorityIsTheMinimum(t *testing.T) {
	s := setup{alone: true, priority: 150}.open(t, 1)
	s.shared.want = 2
	r := s.router(B)
	r.Priority, r.Preempt = 120, false
	s.bootAs([]Router{r}, B)
	s.pass("10s")
	s.is(Master, MasterTimeout)
	if n := len(s.times(A, "advert 120")); n < 5 {
		t.Errorf("%d adverts of priority 120", n)
	}
	for _, alarm := range []string{"alarm priority-differs", "alarm preempt-differs"} {
		for _, lan := range []int{A, B} {
			if n := len(s.times(lan, alarm)); n != 1 {
				t.Errorf("LAN %c: %d times %q", 'A'+lan, n, alarm)
			}
		}
	}
	if v := s.host[A].m.View(); v.Preempt {
		t.Error("preemption needs all members")
	}
}

// A priority set at run time holds for all members, at once.
func TestPriorityChange(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.post(A, Event{Kind: EvPriority, Priority: 90})
		s.pass("1.5s")
		for _, lan := range []int{A, B} {
			if n := len(s.times(lan, "advert 90")); n == 0 {
				t.Errorf("LAN %c does not know", 'A'+lan)
			}
		}
		s.hear(B, 91, low)
		s.is(Backup, SuperiorAdvert)
	})
	// Raised in BACKUP: the master that was superior is preempted.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(150, low, A, B)
		s.at("20.5s")
		s.is(Backup, Recovered)
		s.post(B, Event{Kind: EvPriority, Priority: 160})
		s.pass("60s")
		s.is(Master, Preempted)
	})
	// 0 is no priority.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.post(A, Event{Kind: EvPriority})
		s.pass("2s")
		if n := len(s.times(A, "advert 100")); n < 2 {
			t.Errorf("%d adverts", n)
		}
	})
}

// "recompute running down-timer relative to the last advert" (rfc-checklist 3).
func TestPriorityMovesTheRunningTimer(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, low, A, B)
		s.at("10.5s") // last advert at 10 s
		p.quiet()
		s.post(A, Event{Kind: EvPriority, Priority: 200})
		s.at("13.218749999s") // 3 s + skew(200)
		s.is(Backup, Recovered)
		s.at("13.218750s")
		s.is(Master, MasterTimeout)
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, low, A, B)
		s.at("10.5s")
		p.quiet()
		s.post(B, Event{Kind: EvPriority, Priority: 1})
		s.at("13.9960937s")
		s.is(Backup, Recovered)
		s.at("13.996094s")
		s.is(Master, MasterTimeout)
	})
}

// The wishes of two operators at two processes do not undo each other.
func TestWishesMerge(t *testing.T) {
	s := setup{}.open(t, 2)
	s.peer(200, high, A, B)
	s.at("5s")
	s.host[A].post(Event{Kind: EvHold})
	s.host[B].post(Event{Kind: EvPriority, Priority: 42})
	s.host[A].post(Event{Kind: EvBackup})
	s.settle()
	if w := s.shared.wishes; w != (Wishes{Soft: true, Hold: true, Priority: 42}) {
		t.Errorf("wishes %+v", w)
	}
	s.op(EvRelease)
	if w := s.shared.wishes; w != (Wishes{Priority: 42}) {
		t.Errorf("wishes %+v", w)
	}
}

// Both processes see the end of LINGER in the same moment, and one of them has
// read the wishes before the other cleared them: MASTER must not be left again.
func TestBackupEndsOnceForBothProcesses(t *testing.T) {
	for _, bell := range []time.Duration{0, 1, time.Microsecond, 5 * time.Millisecond} {
		s := setup{}.open(t, 2)
		s.bell = bell
		s.master()
		s.op(EvBackup)
		e := s.shared.word.Epoch()
		// A reads the wishes, then B ends the linger behind its back.
		s.run(s.now + int64(duration(t, lingerMax)) - 1)
		s.now++
		board := &meanwhile{seat: s.host[A].seat, do: func() { s.host[B].step() }}
		s.host[A].m.board = board
		s.host[A].step()
		s.host[A].m.board = board.seat
		s.pass("10s")
		s.is(Master, NoSuccessor)
		if got := s.shared.word.Epoch(); got != e+1 {
			t.Errorf("%d transitions instead of one\n%s", got-e, s.story())
		}
	}
}

// meanwhile is a Board on which something happens right after the first look at
// the wishes.
type meanwhile struct {
	*seat
	do func()
}

func (b *meanwhile) Wishes() Wishes {
	w := b.seat.Wishes()
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return w
}

// A process that is added while the group serves must not forget its wishes.
func TestJoiningKeepsTheWishes(t *testing.T) {
	s := setup{alone: true}.open(t, 1)
	s.master()
	s.shared.wishes.Soft = true // as if asked for in this moment
	s.boot(B)
	if !s.shared.wishes.Soft {
		t.Error("the wish was cleared by somebody who promoted nothing")
	}
}
