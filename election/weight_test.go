package election

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What checks add to the group's priority.

func weight(n int) Event { return Event{Kind: EvChecks, Weight: n} }

// The weights of all processes add up, on top of what is configured or set at run
// time; every process says the same priority, and none leaves 1..254.
func TestWeightsAddUp(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	for _, step := range []struct {
		a, b     int
		priority uint8
	}{
		{-20, 0, 80}, {-20, -5, 75}, {30, -5, 125}, {253, 253, 254}, {-253, -253, 1}, {-1 << 40, 0, 1}, {0, 0, 100},
	} {
		s.post(A, weight(step.a))
		s.post(B, weight(step.b))
		s.pass("1.5s")
		for _, lan := range []int{A, B} {
			if v := s.host[lan].m.View(); v.Priority != step.priority || v.Base != 100 {
				t.Errorf("weights %d and %d: LAN %c has %d of %d, want %d", step.a, step.b, 'A'+lan, v.Priority, v.Base, step.priority)
			}
		}
	}
	s.is(Master, MasterTimeout)
	s.post(A, weight(-20))
	s.post(B, Event{Kind: EvPriority, Priority: 150})
	s.pass("1ms")
	if v := s.host[A].m.View(); v.Priority != 130 || v.Base != 150 {
		t.Errorf("the operator's 150 and -20 are %d of %d", v.Priority, v.Base)
	}
}

func TestWeighted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, w := rapid.Uint8Range(1, 255).Draw(t, "priority"), rapid.IntRange(-1000, 1000).Draw(t, "weight")
		got := int(weighted(p, w))
		switch {
		case w == 0 && got != int(p):
			t.Fatalf("%d without weights is %d", p, got)
		case got == 0 || got == 255 && p != 255:
			t.Fatalf("%d%+d is %d", p, w, got)
		case w > 0 && got < int(p), w < 0 && got > int(p):
			t.Fatalf("%d%+d is %d", p, w, got)
		case int(p)+w >= 1 && int(p)+w <= maxPriority && got != int(p)+w:
			t.Fatalf("%d%+d is %d", p, w, got)
		}
	})
}

// A MASTER that stays the best goes on as if nothing had happened: every advert at
// its time, no transition, no announcement.
func TestWeightDoesNotDisturbAMaster(t *testing.T) {
	layouts(t, setup{priority: 200}, func(t *testing.T, s *scene) {
		s.master()
		word, from := s.shared.word, s.now
		for i, w := range []int{-10, -60, 0, 30, -90} {
			s.pass("700ms")
			s.post(i%len(s.host), weight(w))
		}
		s.pass("7s")
		if s.shared.word != word {
			t.Errorf("the word is another one:\n%s", s.story())
		}
		for _, lan := range []int{A, B} {
			var last Time
			for _, e := range s.host[lan].log {
				if e.at <= from || !s.host[lan].concerns(&e, lan) {
					continue
				}
				if e.act.Kind != DoAdvert {
					t.Errorf("LAN %c: %s", 'A'+lan, e.text)
				} else if last != 0 && e.at-last != int64(time.Second) {
					t.Errorf("LAN %c: an advert after %v", 'A'+lan, time.Duration(e.at-last))
				}
				last = e.at
			}
			if last == 0 {
				t.Errorf("LAN %c: no adverts", 'A'+lan)
			}
		}
	})
}

// In BACKUP the running timer moves by the difference of the skew times, and does
// not begin anew.
func TestWeightMovesTheRunningTimer(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, low, A, B)
		s.at("10.5s") // last advert at 10 s
		p.quiet()
		s.post(B, weight(28))
		s.at("13.499999999s") // 3 s + skew(128)
		s.is(Backup, Recovered)
		s.at("13.5s")
		s.is(Master, MasterTimeout)
	})
}

// Who is MASTER with the lower priority is preempted by nobody's fault, and what
// was superior is inferior when our own priority has risen.
func TestWeightChangesTheOrder(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(120, low, A, B)
		s.at("20.5s")
		s.is(Backup, Recovered)
		s.post(B, weight(30))
		s.pass("4s")
		s.is(Master, Preempted)
		s.post(A, weight(-50))
		s.hear(B, 120, low)
		s.is(Backup, SuperiorAdvert)
	})
}

// A process that joins a group at work does not move it until it has a vote.
func TestWeightOfOneThatJoins(t *testing.T) {
	s := setup{alone: true}.open(t, 1)
	s.master()
	b := s.boot(B)
	b.post(weight(-60))
	s.pass("2s")
	if p := s.host[A].m.View().Priority; p != 100 || b.m.own[0].Joining != 1 {
		t.Errorf("the joining process has moved the priority to %d", p)
	}
	s.pass("4s")
	if p := s.host[A].m.View().Priority; p != 40 || b.m.own[0].Joining != 0 {
		t.Errorf("the process has joined, and the priority is %d", p)
	}
	s.is(Master, MasterTimeout)
}

// A check that fails whenever the machine is MASTER, however long after, and is
// well when it is not: each time the hold-down doubles. One that fails in BACKUP,
// too, is another matter.
func TestCheckThatFailsOnlyOnTheMaster(t *testing.T) {
	fails := func(s *scene) time.Duration {
		s.post(B, Event{Kind: EvChecks, On: true})
		s.settle()
		s.pass("1s")
		s.post(B, Event{Kind: EvChecks})
		s.settle()
		return time.Duration(s.facts(B).HoldAt - s.now)
	}
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		for _, want := range []time.Duration{2, 4, 8, 16} {
			s.pass("21m")
			if st := s.shared.word.State(); st != Master {
				t.Fatalf("%v", st)
			}
			if got := fails(s); got != want*time.Second {
				t.Errorf("hold-down %v, want %v s", got, want)
			}
		}
		s.pass("61m")
		if got := fails(s); got != 2*time.Second {
			t.Errorf("after an hour: hold-down %v", got)
		}
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A, B)
		for range 3 {
			s.pass("21m")
			if st := s.shared.word.State(); st != Backup {
				t.Fatalf("%v", st)
			}
			if got := fails(s); got != 2*time.Second {
				t.Errorf("in BACKUP: hold-down %v", got)
			}
		}
	})
}
