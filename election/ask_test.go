package election

import (
	"testing"
	"time"
)

// Ask before take (group.md ASK, PROMOTE b, lessons 3, 8 and 9). The skew time
// of priority 100 at one second is 609.375 ms; a question takes ten steps of
// 60.9375 ms in it, after 10 ms of grace.

// answers has every question on the LAN answered after the given time.
func (s *scene) answers(lan int, from MAC, after time.Duration) {
	seen := 0
	var look func()
	look = func() {
		if n := len(s.times(lan, "probe")); n > seen {
			seen = n
			s.after(after, func() { s.post(lan, Event{Kind: EvAnswer, MAC: from}) })
		}
		s.after(time.Millisecond, look)
	}
	look()
}

// followed lets a master of priority 200 speak on both LANs until 10.5 s.
func (s *scene) followed() *peer {
	s.t.Helper()
	p := s.peer(200, high, A, B)
	s.at("10.5s")
	s.is(Backup, Recovered)
	s.fresh()
	return p
}

// Priority 0 on one LAN, silence on the other: taken over after one skew time
// instead of a master-down interval, and not a moment earlier.
func TestAskBeforeTake(t *testing.T) {
	for _, hears := range []int{A, B} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.followed().resign(hears)
			s.pass("9.9ms")
			s.timed(1-hears, "probe") // 10 ms of grace for the other LAN's priority 0
			s.pass("590ms")
			s.timed(hears, "probe")
			s.timed(1-hears, "probe", "10ms", "70.9375ms", "131.875ms", "192.8125ms", "253.75ms",
				"314.6875ms", "375.625ms", "436.5625ms", "497.5ms", "558.4375ms")
			s.run(s.mark + 609375000 - 1)
			s.is(Backup, Recovered)
			s.run(s.mark + 609375000)
			s.is(Master, Unanswered)
			s.obeyed()
		})
	}
}

// Priority 0 on every LAN: no question, and the first one counts; repetitions do
// not push the take-over away.
func TestPriorityZeroEverywhere(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.followed().resign(A, B)
		s.pass("50ms")
		s.hear(A, 0, high)
		s.hear(B, 0, high)
		s.pass("150ms")
		s.hear(A, 0, high)
		s.run(s.mark + 609375000 - 1)
		s.is(Backup, Recovered)
		s.timed(A, "probe")
		s.timed(B, "probe")
		s.run(s.mark + 609375000)
		s.is(Master, MasterResigned)
	})
	// The second LAN's comes late, but counts from the first.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.followed()
		p.resign(A)
		s.pass("200ms")
		s.hear(B, 0, high)
		s.run(s.mark + 609375000)
		s.is(Master, MasterResigned)
	})
}

// At small intervals the window is the skew time or 5 ms, and the whole takes
// less than 20 ms at 10 ms.
func TestAskAtSmallIntervals(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		within   string
	}{{100 * time.Millisecond, "80ms"}, {10 * time.Millisecond, "20ms"}} {
		layouts(t, setup{version: 3, interval: c.interval}, func(t *testing.T, s *scene) {
			s.followed().resign(A)
			s.pass("5ms")
			s.is(Backup, Recovered)
			s.pass(c.within)
			s.is(Master, Unanswered)
		})
	}
}

// However short the skew time, a question has five probes and 5 ms to be
// answered in.
func TestAskHasPatience(t *testing.T) {
	for _, u := range []setup{
		{priority: 254}, {priority: 255},
		{priority: 254, version: 3, interval: 100 * time.Millisecond},
		{priority: 254, version: 3, interval: 10 * time.Millisecond},
		{priority: 100, version: 3, interval: 10 * time.Millisecond},
	} {
		layouts(t, u, func(t *testing.T, s *scene) {
			p := s.peer(255, high, A, B)
			s.pass("5s")
			s.is(Backup, Recovered)
			s.fresh()
			p.resign(A)
			s.pass("1s")
			s.is(Master, Unanswered)
			probes, taken := s.times(B, "probe"), s.times(B, "promote")
			if len(probes) < 5 || len(probes) > 10 || taken[0]-probes[0] < 5*time.Millisecond {
				t.Errorf("priority %d, %v: asked at %v, taken at %v", u.priority, u.interval, probes, taken)
			}
		})
	}
}

// That holds also for a question that is asked late, because of a hold-down.
func TestLateQuestionHasPatience(t *testing.T) {
	layouts(t, setup{priority: 254, version: 3, interval: 10 * time.Millisecond}, func(t *testing.T, s *scene) {
		p := s.peer(255, high, A, B)
		s.at("5ms")
		p.resign(A) // HELD until 20 ms
		s.at("60ms")
		s.is(Master, Unanswered)
		probes, taken := s.times(B, "probe"), s.times(B, "promote")
		if probes[0] < 20*time.Millisecond || taken[0]-probes[0] < 5*time.Millisecond {
			t.Errorf("asked at %v, taken at %v", probes, taken)
		}
	})
}

// Of two backups the one with the higher priority finishes asking first.
func TestHigherPriorityFinishesAskingFirst(t *testing.T) {
	for _, iv := range []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond} {
		var before time.Duration
		for _, prio := range []uint8{254, 100, 50, 1} {
			s := setup{priority: prio, version: 3, interval: iv}.open(t, 1)
			p := s.peer(255, high, A, B)
			s.pass("5s")
			s.fresh()
			p.resign(A)
			s.pass("1.1s")
			s.is(Master, Unanswered)
			taken := s.times(A, "promote")[0]
			if taken <= before {
				t.Errorf("%v: priority %d takes over after %v, a higher one after %v", iv, prio, taken, before)
			}
			before = taken
		}
	}
}

// Only the right answer counts: the virtual MAC, or the MAC of the master that
// was heard; a proxy-ARP host answers for anything.
func TestAnswersThatCount(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   MAC
		counts bool
	}{
		{"virtual MAC", vmac(B), true},
		{"MAC of the master", mac(B, high), true},
		{"proxy-ARP host", mac(B, 77), false},
		{"virtual MAC of another router", vmac(A), false},
		{"no MAC", MAC{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			layouts(t, setup{}, func(t *testing.T, s *scene) {
				p := s.followed()
				s.answers(B, c.from, time.Millisecond)
				p.resign(A)
				s.pass("800ms")
				if c.counts {
					s.is(Backup, Recovered)
				} else {
					s.is(Master, Unanswered)
				}
				// The ordinary timers go on: B's last advert was at 10 s.
				s.at("13.60937s")
				if c.counts {
					s.is(Backup, Recovered)
				}
				s.at("13.609375s")
				if c.counts {
					s.is(Master, MasterTimeout)
				}
			})
		})
	}
}

// Answers that stop (a master that lingered) hold the take-over up for five
// steps more.
func TestAnswersThatStop(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.followed().resign(A)
		s.pass("600ms")
		s.post(B, Event{Kind: EvAnswer, MAC: vmac(B)})
		s.pass("304ms")
		s.is(Backup, Recovered)
		s.pass("70ms")
		s.is(Master, Unanswered)
	})
}

// An advert that is accepted more than 10 ms after the priority 0 ends the
// question: another master really serves there, and nobody is disturbed.
func TestAdvertEndsTheQuestion(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.followed().resign(A)
		s.pass("100ms")
		p := s.peer(150, low, B)
		s.pass("10ms")
		s.fresh()
		s.pass("60s")
		s.timed(B, "probe")
		s.timed(A, "probe")
		s.is(Backup, Recovered)
		// A resigned and stays silent: priority 0 on B completes the picture.
		p.resign(B)
		s.pass("610ms")
		s.is(Master, MasterResigned)
	})
	// One that was under way at the time does not.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.followed().resign(A)
		s.pass("9ms")
		s.hear(B, 200, high)
		s.pass("601ms")
		s.is(Master, Unanswered)
	})
	// One on the LAN that resigned.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.followed().resign(A)
		s.pass("100ms")
		s.hear(A, 150, low)
		s.pass("1s")
		s.is(Backup, Recovered)
	})
}

// Priority 0 of a router that we do not follow asks nothing.
func TestStrangersPriorityZeroAsksNothing(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.followed()
		s.hear(A, 0, low)
		s.pass("1s")
		s.timed(B, "probe")
		s.is(Backup, Recovered)
	})
}

// A LAN of unicast peers cannot be asked; its timer must run out.
func TestLANThatCannotBeAsked(t *testing.T) {
	layouts(t, setup{noAsk: true}, func(t *testing.T, s *scene) {
		s.followed().resign(A)
		s.at("13.60937s")
		s.is(Backup, Recovered)
		s.timed(B, "probe")
		s.at("13.609375s")
		s.is(Master, MasterTimeout)
	})
}

// While HELD nothing is asked; the facts persist, and when the hold-down is over
// the question is asked with all patience, not all at once.
func TestQuestionAfterHeld(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, high, A, B)
		s.at("1.7s")
		p.resign(A) // HELD until 2 s
		s.fresh()
		s.at("1.999s")
		s.timed(B, "probe")
		s.at("2.003s")
		if n := len(s.times(B, "probe")); n != 1 {
			t.Errorf("%d probes at once", n)
		}
		s.at("2.240s")
		s.is(Backup, Recovered)
		s.at("2.400s")
		s.is(Master, Unanswered)
	})
}

// A resignation that an inferior master followed long ago is forgotten: it asks
// nothing and makes nothing look resigned.
func TestOldPriorityZeroIsForgotten(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, high, A, B)
		s.at("5.5s")
		s.op(EvHold)
		p.resign(A, B)
		s.pass("500ms")
		p = s.peer(50, low, A, B)
		s.pass("60s")
		p.lans = []int{A} // B is blocked
		s.pass("60s")
		s.op(EvRelease)
		s.is(Backup, Recovered)
		s.pass("59s")
		s.is(Backup, Recovered) // the mixed view vetoes
		s.timed(B, "probe")
		s.pass("2s")
		s.is(Master, Preempted)
	})
}

// The question does not depend on the doorbell being fast.
func TestQuestionBetweenSlowProcesses(t *testing.T) {
	s := setup{}.open(t, 2)
	s.bell = 5 * time.Millisecond
	s.followed().resign(A)
	s.pass("620ms")
	s.is(Master, Unanswered)
	if n := len(s.times(B, "probe")); n < 9 || n > 11 {
		t.Errorf("%d probes", n)
	}
}
