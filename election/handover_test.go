package election

import (
	"testing"
	"time"
)

// Planned hand-overs: make before break (group.md LINGER, soft, hold).

const lingerMax = "1.066093750s" // max skew(v,1) + 0.05 iv + 20 ms, at one second

// renews is when and for how long the guard of the LAN was opened.
func (s *scene) renews(lan int) (at []time.Duration, span []time.Duration) {
	for _, e := range s.host[lan].log {
		if e.act.Kind == DoRenew && s.host[lan].lan(e.vr) == lan {
			at = append(at, time.Duration(e.at-s.mark))
			span = append(span, time.Duration(e.act.Until-e.at))
		}
	}
	return at, span
}

// --backup: priority 0 at 0, 0.05 and 0.2 intervals on every LAN, no advert any
// more, the machine serves on under short leases until the successor speaks on
// any LAN, and is then out in one step.
func TestBackupWithSuccessor(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.is(Linger, OperatorBackup)
		s.obeyed()
		s.pass("609ms")
		s.is(Linger, OperatorBackup)
		for _, lan := range []int{A, B} {
			s.timed(lan, "resign", "0s", "50ms", "200ms")
			s.did(lan, "MASTER>LINGER operator-backup", "resign", "resign", "resign")
			at, span := s.renews(lan)
			if len(at) != 13 {
				t.Fatalf("leases at %v", at)
			}
			for i := range at {
				if span[i] != 100*time.Millisecond {
					t.Errorf("at %v a lease of %v", at[i], span[i])
				}
				if i > 0 && at[i]-at[i-1] > 51*time.Millisecond {
					t.Errorf("leases at %v, %v", at[i-1], at[i])
				}
			}
		}
		s.fresh()
		s.hear(B, 100, low) // the successor, of whatever priority
		s.is(Linger, OperatorBackup)
		s.pass("15ms") // its other process is late
		s.is(Linger, OperatorBackup)
		s.hear(A, 100, low)
		s.is(Backup, Successor)
		s.obeyed()
		s.pass("1s")
		for _, lan := range []int{A, B} {
			s.timed(lan, "resign")
			s.timed(lan, "demote", "15ms")
		}
	})
}

// A successor that speaks on one LAN only does not keep us for ever; where it is
// not heard, those who listen are told not to wait.
func TestBackupWithHalfASuccessor(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		overlap  string
	}{{time.Second, "20ms"}, {100 * time.Millisecond, "10ms"}, {10 * time.Millisecond, "1ms"}} {
		layouts(t, setup{interval: c.interval}, func(t *testing.T, s *scene) {
			s.master()
			s.op(EvBackup)
			s.pass("1ms")
			s.fresh()
			heard := s.now
			s.hear(B, 100, low)
			s.run(heard + int64(duration(t, c.overlap)) - 1)
			s.is(Linger, OperatorBackup)
			s.run(heard + int64(duration(t, c.overlap)))
			s.is(Backup, Successor)
			s.obeyed()
			s.timed(A, "demote", c.overlap)
		})
	}
}

// The lease of the last step ends with the linger time.
func TestLingerLeaseEndsWithIt(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.post(A, Event{Kind: EvStop})
		end := s.now + int64(duration(t, lingerMax))
		s.run(end - 1)
		for _, lan := range []int{A, B} {
			for _, e := range s.host[lan].log {
				if e.act.Kind == DoRenew && e.act.Until > end {
					t.Errorf("a lease beyond the end, by %v", time.Duration(e.act.Until-end))
				}
			}
		}
	})
}

// --backup without a successor: the machine serves on and says so; the wish is
// forgotten.
func TestBackupWithoutSuccessor(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.pass("1.06609s")
		s.is(Linger, OperatorBackup)
		s.fresh()
		s.pass("1ms")
		s.is(Master, NoSuccessor)
		s.obeyed()
		for _, lan := range []int{A, B} {
			s.did(lan, "LINGER>MASTER no-successor", "advert 100", "announce")
		}
		s.pass("60s")
		s.is(Master, NoSuccessor)
		if s.shared.wishes.Soft {
			t.Error("the wish is still there")
		}
	})
}

// It makes no difference when between two adverts the operator asks: the lease
// of the last advert before LINGER is no reason to give up after it.
func TestBackupWithoutSuccessorAtAnyTime(t *testing.T) {
	for _, iv := range []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond} {
		for _, version := range []uint8{2, 3} {
			for step := range 20 {
				layouts(t, setup{interval: iv, version: version}, func(t *testing.T, s *scene) {
					s.at("5s")
					s.is(Master, MasterTimeout)
					s.run(s.facts(A).SentAt + int64(iv)) // the next tick
					s.run(s.now + int64(iv)*int64(2*step+1)/40)
					s.op(EvBackup)
					s.pass("5s")
					s.is(Master, NoSuccessor)
				})
			}
		}
	}
}

// --backup lasts: the machine does not take the state back by preemption, but
// still takes over when the other one dies; that clears the wish. --release
// does as well.
func TestBackupIsSoft(t *testing.T) {
	layouts(t, setup{priority: 200}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.pass("300ms")
		p := s.peer(100, low, A, B)
		s.is(Backup, Successor)
		s.pass("5m")
		s.is(Backup, Successor)
		p.quiet()
		s.pass("4s")
		s.is(Master, MasterTimeout)
		if s.shared.wishes.Soft {
			t.Error("a promotion clears the wish")
		}
	})
	layouts(t, setup{priority: 200}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.pass("300ms")
		s.peer(100, low, A, B)
		s.pass("60s")
		s.op(EvRelease)
		s.pass("3s")
		s.is(Backup, Successor)
		s.pass("1s")
		s.is(Master, Preempted)
	})
}

// --hold: LINGER, then HELD with or without a successor, until --release.
func TestHold(t *testing.T) {
	layouts(t, setup{priority: 200}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvHold)
		s.is(Linger, OperatorHold)
		s.pass("300ms")
		p := s.peer(100, low, A, B)
		s.is(Held, Successor)
		s.obeyed()
		s.pass("60s")
		p.quiet()
		s.pass("60s")
		s.is(Held, Successor) // not even then
		if v := s.host[A].m.View(); v.Holding != OperatorHold {
			t.Errorf("held by %v", v.Holding)
		}
		s.op(EvRelease)
		s.is(Master, MasterTimeout) // nobody is heard: at once
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvHold)
		s.pass(lingerMax)
		s.pass("1ms")
		s.is(Held, NoSuccessor)
		s.pass("1h")
		s.is(Held, NoSuccessor)
		s.op(EvRelease)
		s.is(Master, MasterTimeout)
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A, B)
		s.at("5s")
		s.op(EvHold)
		s.is(Held, OperatorHold) // not serving: at once
	})
}

// SIGTERM with a successor: out when it speaks; the process exits only after
// that and after its last priority 0.
func TestStopWithSuccessor(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.post(A, Event{Kind: EvStop})
		s.is(Linger, Stop)
		s.pass("609.5ms")
		s.fresh()
		p := s.host[A]
		s.hear(A, 100, low)
		s.hear(B, 100, low)
		s.is(Held, Successor)
		s.pass("9ms")
		s.did(A, "LINGER>HELD successor", "close", "demote", "own", "hook down successor")
		if p.gone {
			t.Error("exited before the LANs that may need a priority 0 are known")
		}
		s.pass("2ms")
		s.did(A, "LINGER>HELD successor", "close", "demote", "own", "hook down successor", "exit")
	})
}

// SIGTERM without one: a last priority 0 on every LAN, once.
func TestStopWithoutSuccessor(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.post(A, Event{Kind: EvStop})
		s.pass(lingerMax)
		s.pass("1s")
		s.is(Held, NoSuccessor)
		for _, lan := range []int{A, B} {
			s.timed(lan, "resign", "0s", "50ms", "200ms", lingerMax)
		}
		if !s.host[A].gone {
			t.Error("still here")
		}
	})
}

// Stopping one of two processes is a planned hand-over of the machine; the other
// goes on living, held.
func TestStopOfOneProcess(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.post(B, Event{Kind: EvStop})
	s.is(Linger, Stop)
	s.obeyed()
	s.pass("700ms")
	s.hear(A, 100, low)
	s.pass("20ms")
	s.is(Held, Successor)
	s.pass("1s")
	if s.host[A].gone || !s.host[B].gone {
		t.Errorf("gone: A %v, B %v", s.host[A].gone, s.host[B].gone)
	}
	s.pass("60s")
	if v := s.host[A].m.View(); v.Holding != MemberLeft {
		t.Errorf("held by %v", v.Holding)
	}
	s.boot(B)
	s.pass("60s")
	s.is(Master, MasterTimeout)
}

// Both processes are stopped in the same moment, or one while the other
// lingers, or just as the linger ends: one LINGER, one end, both exit.
func TestStopOfBothProcesses(t *testing.T) {
	for _, apart := range []string{"0s", "100us", "1ms", "500ms", "1.0659s", "1.06609375s", "1.067s"} {
		s := setup{}.open(t, 2)
		s.master()
		s.host[A].post(Event{Kind: EvStop})
		if apart != "0s" {
			s.pass(apart)
		}
		s.host[B].post(Event{Kind: EvStop})
		s.pass("3s")
		s.is(Held, NoSuccessor)
		if !s.host[A].gone || !s.host[B].gone {
			t.Errorf("%s apart: gone: A %v, B %v\n%s", apart, s.host[A].gone, s.host[B].gone, s.story())
		}
		for _, lan := range []int{A, B} {
			if n := len(s.times(lan, "resign")); n != 4 {
				t.Errorf("%s apart: LAN %c resigned %d times", apart, 'A'+lan, n)
			}
		}
	}
}

// A fault in LINGER ends it at once.
func TestFaultInLinger(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.pass("300ms")
		s.fresh()
		s.fault(A, FaultLinkDown, true)
		s.is(Held, LinkDown)
		s.obeyed()
		s.pass("1s")
		s.timed(A, "resign")
		s.timed(B, "resign", "0s", "20ms", "100ms")
	})
}

// LINGER is never left for a priority 0, and never answered with an advert.
func TestLingerIsSilent(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvHold)
		s.pass("300ms")
		s.fresh()
		s.hear(A, 0, high)
		s.hear(B, 100, own) // our own echo is no successor
		s.pass("500ms")
		s.is(Linger, OperatorHold)
		s.did(A)
		s.did(B, "alarm own-address-heard")
	})
}

// One that a process has heard as MASTER, while another process of the machine
// began to linger, is the successor's all the same.
func TestSuccessorWhileAnotherProcessLingers(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.host[A].inbox = []Event{s.advert(A, 150, high)}
	s.host[B].inbox = []Event{{Kind: EvBackup}}
	s.host[A].m.board = &meanwhile{seat: s.host[A].seat, do: func() { s.host[B].step() }}
	s.host[A].m.Step(s.now, s.host[A].inbox, nil)
	s.is(Linger, OperatorBackup)
	s.host[A].inbox = nil
	s.pass("20ms")
	s.is(Backup, Successor)
}

// An advert that arrives together with the operator's wish is its answer.
func TestSuccessorInTheSameBatch(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.post(A, s.advert(A, 150, high), Event{Kind: EvStop})
	s.is(Held, Stop)
	s.pass("1s")
	if !s.host[A].gone {
		t.Error("still here")
	}
}

// A successor that was heard on one LAN, less than the overlap before the end:
// it is one, and nobody speaks again.
func TestSuccessorAtTheEndOfLinger(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.pass("1.06s") // 6 ms before the end
		s.fresh()
		s.hear(A, 100, high)
		s.is(Linger, OperatorBackup)
		s.pass("20ms")
		s.is(Backup, Successor)
		s.timed(A, "advert 100")
		s.timed(B, "advert 100")
	})
}

// A process that sleeps through the end of LINGER may have the successor's
// adverts still to read: who is awake does not speak again before it has looked.
func TestLingerWaitsForASleeper(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.op(EvBackup)
	s.pass("500ms")
	s.stall(A)
	s.fresh()
	s.pass("800ms")
	s.is(Linger, OperatorBackup)
	s.timed(B, "advert 100")
	s.post(A, s.advert(A, 100, high))
	s.awaken(A)
	s.is(Backup, Successor)
	s.timed(B, "advert 100")
}

// A machine that was suspended while it lingered does not know who serves: it
// listens, or stays away if that is what was asked for.
func TestSuspendedBeforeTheEndOfLinger(t *testing.T) {
	for op, want := range map[EventKind]State{EvBackup: Listen, EvHold: Held} {
		s := setup{}.open(t, 1)
		s.master()
		s.op(op)
		s.pass("100ms")
		s.fresh()
		s.sleep("500ms", Event{Kind: EvSuspended})
		s.is(want, Suspended)
		if at, _ := s.renews(A); len(at) != 0 {
			t.Errorf("the lease is renewed at %v", at)
		}
	}
}
