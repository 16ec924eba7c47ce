package election

import (
	"slices"
	"testing"
	"time"
)

// Open when the old master is silent (group.md, rule 12): who preempts advertises
// behind closed guards until nobody answers for the virtual addresses any more.

// preempting brings the machine to MASTER in the place of a master of priority 50
// that was heard on both LANs until a moment ago.
func preempting(t *testing.T, u setup, play func(*testing.T, *scene)) {
	u.cfg.Guard = true
	layouts(t, u, func(t *testing.T, s *scene) {
		s.setUp = time.Millisecond
		p := s.peer(50, low, A, B)
		s.at("3.6095s") // the last inferior adverts came at 3 s
		s.is(Prepare, Preempted)
		p.quiet()
		s.at("3.61s")
		s.fresh()
		s.at("3.612s")
		s.is(Master, Preempted)
		play(t, s)
	})
}

// silentProbes is how often a LAN is asked on which nobody answers.
const silentProbes = 10

// opened is when the guard of a LAN was opened, after the last fresh.
func (s *scene) opened(lan int) []time.Duration {
	at, _ := s.renews(lan)
	for _, e := range s.host[lan].log {
		if e.act.Kind == DoAdvert && e.act.Lease > 0 && s.host[lan].lan(e.vr) == lan {
			at = append(at, time.Duration(e.at-s.mark))
		}
	}
	return at
}

// A healthy old master of another make has gone at our first advert, without a word: for
// 50 ms nobody answers, and the guards of all members open together.
func TestPreemptorOpensAfterASilence(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		for _, lan := range []int{A, B} {
			if at := s.opened(lan); len(at) != 0 {
				t.Fatalf("LAN %d: open at %v, before anybody was asked", lan, at)
			}
		}
		s.pass("60ms")
		s.obeyed()
		for _, lan := range []int{A, B} {
			if n := len(s.times(lan, "probe")); n != silentProbes {
				t.Errorf("LAN %d: %d probes", lan, n)
			}
			at := s.opened(lan)
			if len(at) != 1 || at[0] < 50*time.Millisecond || at[0] > 54*time.Millisecond {
				t.Fatalf("LAN %d: open at %v after PREPARE", lan, at)
			}
			_, span := s.renews(lan)
			if want := 2*time.Second - at[0]; span[0] > want+2*time.Millisecond || span[0] < want {
				t.Errorf("LAN %d: the lease is %v, want two intervals from the advert on", lan, span[0])
			}
			s.did(lan, slices.Concat([]string{"PREPARE>MASTER preempted", "advert 100", "promote"},
				slices.Repeat([]string{"probe"}, silentProbes), []string{"announce", "hook up preempted"})...)
		}
	})
}

// A member that is being removed meanwhile announces nothing as the others open: the LAN
// would believe a machine that is about to be silent.
func TestPreemptorOpensWhileOneRetires(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		p := s.host[A]
		p.m.Retire(s.now, s.vr(A))
		p.rung = true
		s.settle()
		s.pass("60ms")
		if n := len(s.times(A, "announce")); n != 0 {
			t.Errorf("the member that retires is announced %d times", n)
		}
		if n := len(s.times(B, "announce")); n != 1 {
			t.Errorf("the one that stays is announced %d times", n)
		}
	})
}

// A master of ours says when it has gone: nobody needs to be asked on the LANs where it
// did, and the guards open when all have been heard of. Of an old master that hangs on
// one LAN nothing is heard there, and it is asked.
func TestPreemptorHearsAFarewell(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		asked := len(s.times(A, "probe"))
		s.bids(A, low)
		if len(s.opened(A)) != 0 || len(s.opened(B)) != 0 {
			t.Fatal("open, and of one LAN nothing is known yet")
		}
		s.bids(B, low)
		s.pass("500us") // for the news to get to the other process
		for _, lan := range []int{A, B} {
			if len(s.opened(lan)) != 1 {
				t.Fatalf("LAN %d: not open", lan)
			}
		}
		s.pass("10ms")
		if n := len(s.times(A, "probe")); n != asked {
			t.Errorf("%d more probes of a LAN that was known", n-asked)
		}
	})
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		s.answers(B, MAC{0, 0, 0x5e, 0, 1, 52}, 200*time.Microsecond)
		s.bids(A, low)
		s.at("4.999s")
		for _, lan := range []int{A, B} {
			if at := s.opened(lan); len(at) != 0 {
				t.Fatalf("LAN %d: open at %v although LAN B answers", lan, at)
			}
		}
		s.at("5.001s")
		if len(s.opened(A)) == 0 || len(s.opened(B)) == 0 {
			t.Error("closed after the old master's lease")
		}
	})
}

// What another machine says of itself is nothing of the one that we have preempted, and
// of two that were heard the other one may hang.
func TestPreemptorMindsWhoseFarewell(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		s.bids(A, high)
		s.bids(B, high)
		if len(s.opened(A)) != 0 || len(s.opened(B)) != 0 {
			t.Error("open by a stranger's farewell")
		}
		s.hear(A, 50, low)
		s.hear(A, 50, high) // a third one: its adverts were lost before
		s.bids(A, high)
		s.bids(B, low)
		if at := s.opened(A); len(at) != 0 {
			t.Errorf("open at %v, and one of two masters has not left", at)
		}
		s.pass("60ms")
		if len(s.opened(A)) == 0 {
			t.Error("nobody answers, and it is closed")
		}
	})
}

// Several machines take over at once, and the best one preempts them all: each says
// farewell, the first of them perhaps before we speak.
func TestPreemptorHearsAllFarewells(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		for _, lan := range []int{A, B} {
			s.hear(lan, 50, low)
			s.hear(lan, 60, high)
			s.hear(lan, 70, 30)
			s.bids(lan, high)
			s.bids(lan, low)
		}
		if at := s.opened(A); len(at) != 0 {
			t.Fatalf("open at %v, and the third master has not left", at)
		}
		s.bids(A, 30)
		s.bids(B, 30)
		s.pass("500us")
		if len(s.opened(A)) != 1 || len(s.opened(B)) != 1 {
			t.Error("not open, and all of them have left")
		}
	})
	u := setup{cfg: Config{Guard: true}}
	layouts(t, u, func(t *testing.T, s *scene) {
		s.setUp = 5 * time.Millisecond
		p := s.peer(50, low, A, B)
		s.at("3.6095s")
		s.is(Prepare, Preempted)
		p.quiet()
		s.bids(A, low)
		s.bids(B, low)
		s.at("3.616s")
		s.is(Master, Preempted)
		if len(s.opened(A)) != 1 || len(s.opened(B)) != 1 {
			t.Error("not open, although the old master had left before")
		}
		s.hear(A, 50, low)
		s.timed(A, "probe")
	})
}

// A virtual router whose master has resigned says nothing of the next one on the same
// LAN, which is asked for itself.
func TestPreemptorAsksForWhoDidNotResign(t *testing.T) {
	s := setup{cfg: Config{Guard: true}, oneLAN: true}.open(t, 1)
	s.setUp = time.Millisecond
	p := s.peer(50, low, A, B)
	s.at("3.55s")
	s.is(Backup, Recovered)
	s.hear(A, 0, low)
	p.quiet()
	s.at("4.15s")
	s.fresh()
	s.at("4.2s") // it takes over at 4.159 s
	s.is(Master, Preempted)
	if a, b := s.opened(A), s.opened(B); len(a)+len(b) != 0 {
		t.Fatalf("open at %v and %v, and only one of two masters has resigned", a, b)
	}
	s.at("4.3s")
	if n := len(s.times(B, "probe")); n < openProbes {
		t.Errorf("%d probes for the one that did not", n)
	}
	if len(s.opened(A)) != 1 || len(s.opened(B)) != 1 {
		t.Error("not open, and nobody answers")
	}
}

// Who has slept reads priority 0 and a later advert of the same master at once, and does
// not know how long they were apart: that master is there.
func TestSleeperReadsAResignationTakenBack(t *testing.T) {
	s := setup{cfg: Config{Guard: true}}.open(t, 1)
	s.setUp = time.Millisecond
	p := s.peer(50, low, A, B)
	s.at("2.5s")
	s.stall(A)
	p.quiet()
	s.pass("5s")
	for _, lan := range []int{A, B} {
		s.host[lan].post(s.advert(lan, 0, low), s.advert(lan, 50, low))
	}
	s.fresh()
	s.awaken(A)
	s.pass("620ms") // the skew time
	s.is(Master, Preempted)
	if a, b := s.opened(A), s.opened(B); len(a)+len(b) != 0 {
		t.Errorf("open at %v and %v, unasked", a, b)
	}
}

// Of several virtual routers on one LAN, each is said farewell of: the process of
// another one may hang. The next one asks for those that are left.
func TestPreemptorHearsOneFarewellOfTwo(t *testing.T) {
	s := setup{cfg: Config{Guard: true}, oneLAN: true}.open(t, 1)
	s.setUp = time.Millisecond
	p := s.peer(50, low, A, B)
	s.at("3.6095s")
	p.quiet()
	s.at("3.612s")
	s.is(Master, Preempted)
	s.fresh()
	s.bids(A, low)
	if at := s.opened(A); len(at) != 0 {
		t.Fatalf("open at %v by the farewell of the other one", at)
	}
	s.pass("60ms")
	if n := len(s.times(B, "probe")); n < openProbes || n > silentProbes {
		t.Errorf("%d probes for the one that was not heard of", n)
	}
	if len(s.opened(A)) != 1 || len(s.opened(B)) != 1 {
		t.Error("not open")
	}
}

// An old master that hangs serves until its lease ends: answers keep the guards
// closed, on every LAN, until two intervals after its last advert.
func TestPreemptorWaitsForALease(t *testing.T) {
	for _, hangs := range []int{A, B} {
		preempting(t, setup{}, func(t *testing.T, s *scene) {
			s.answers(hangs, MAC{0, 0, 0x5e, 0, 1, byte(51 + hangs)}, 200*time.Microsecond)
			s.at("4.999s")
			for _, lan := range []int{A, B} {
				if at := s.opened(lan); len(at) != 0 {
					t.Fatalf("LAN %d: open at %v although LAN %d answers", lan, at, hangs)
				}
			}
			s.at("5.001s")
			for _, lan := range []int{A, B} {
				if len(s.opened(lan)) == 0 {
					t.Errorf("LAN %d: closed after the old master's lease", lan)
				}
			}
			if n := len(s.times(1-hangs, "probe")); n != silentProbes {
				t.Errorf("%d probes on the LAN that is silent", n)
			}
		})
	}
}

// One answer (the old master had not read our advert yet) costs what has passed.
func TestPreemptorAsksOnAfterAnAnswer(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		if n := len(s.times(A, "probe")); n != 1 {
			t.Fatalf("%d probes", n)
		}
		s.post(A, Event{Kind: EvAnswer, MAC: MAC{0, 0, 0x5e, 0, 1, 51}})
		s.pass("60ms")
		if n := len(s.times(A, "probe")); n < silentProbes || n > silentProbes+1 {
			t.Errorf("%d probes, want %d or one more", n, silentProbes)
		}
		if len(s.opened(A)) != 1 || len(s.opened(B)) != 1 {
			t.Error("not open")
		}
	})
}

// The old master's last advert may be under way when we enter MASTER: its lease
// counts from that one. A master that goes on does not hear us, and is not waited
// for.
func TestPreemptorHearsALastAdvert(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		s.answers(A, MAC{0, 0, 0x5e, 0, 1, 51}, 200*time.Microsecond)
		s.pass("1ms")
		s.hear(A, 50, low)
		s.at("4.5s")
		s.hear(A, 50, low)
		s.at("5.61s")
		if at := s.opened(A); len(at) != 0 {
			t.Fatalf("open at %v", at)
		}
		s.at("5.615s")
		if len(s.opened(A)) == 0 || len(s.opened(B)) == 0 {
			t.Error("closed two intervals after the last advert but one")
		}
	})
}

// A host with proxy ARP answers for anything, and keeps nobody waiting.
func TestPreemptorAndProxyARP(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		s.answers(A, MAC{2, 0xff, 0, 0, 0, 1}, 100*time.Microsecond)
		s.pass("60ms")
		if len(s.opened(A)) != 1 {
			t.Error("a proxy-ARP host keeps the guard closed")
		}
	})
}

// Unicast peers cannot be asked: the guards open with the first advert, as soon
// as that has really left.
func TestPreemptorThatCannotAsk(t *testing.T) {
	preempting(t, setup{noAsk: true}, func(t *testing.T, s *scene) {
		s.pass("1ms")
		for _, lan := range []int{A, B} {
			s.timed(lan, "probe")
			if len(s.opened(lan)) != 1 {
				t.Errorf("LAN %d: not open", lan)
			}
		}
	})
}

// Whoever leaves again while its guards are closed has not served, and neither
// runs nor announces anything; a LINGER without a successor opens them.
func TestPreemptorLeavesAgain(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		s.pass("2ms")
		s.hear(A, 200, high)
		s.is(Backup, SuperiorAdvert)
		s.pass("100ms")
		for _, lan := range []int{A, B} {
			if at := s.opened(lan); len(at) != 0 {
				t.Errorf("LAN %d: open at %v", lan, at)
			}
			s.timed(lan, "announce")
			s.timed(lan, "hook up preempted")
		}
	})
}

// While nobody serves yet there is nothing to hand over: an operator's wish, or a
// stop, waits for the guards.
func TestPreemptorLingersWhenItServes(t *testing.T) {
	for _, op := range []EventKind{EvBackup, EvHold, EvStop} {
		preempting(t, setup{}, func(t *testing.T, s *scene) {
			s.pass("1ms")
			s.op(op)
			s.is(Master, Preempted)
			if len(s.opened(A)) != 0 {
				t.Fatal("open")
			}
			s.pass("60ms")
			if got := s.shared.word.State(); got != Linger {
				t.Fatalf("%v", got)
			}
			for _, lan := range []int{A, B} {
				if len(s.opened(lan)) == 0 {
					t.Errorf("LAN %d: closed in LINGER", lan)
				}
			}
		})
	}
}

// A process that sleeps while its sibling opens the guards finds LINGER when it
// wakes, and serves as well; one that has not yet found the old master silent
// keeps the machine from it.
func TestPreemptorWhoseSiblingSleeps(t *testing.T) {
	u := setup{cfg: Config{Guard: true}}
	s := u.open(t, 2)
	s.setUp = time.Millisecond
	p := s.peer(50, low, A, B)
	s.at("3.6095s")
	p.quiet()
	s.at("3.612s")
	s.is(Master, Preempted)
	s.stall(A)
	s.fresh()
	s.op(EvStop)
	s.pass("100ms")
	s.is(Master, Preempted)
	s.awaken(A)
	s.pass("60ms")
	s.is(Linger, MemberLeft)
	for _, lan := range []int{A, B} {
		if len(s.opened(lan)) == 0 {
			t.Errorf("LAN %d: closed in LINGER", lan)
		}
	}
}

// Without a guard there is nothing to hold back, and who takes over from a master
// that is silent or has resigned does not wait.
func TestOnlyAPreemptorWaits(t *testing.T) {
	layouts(t, guarded, func(t *testing.T, s *scene) {
		s.setUp = time.Millisecond
		s.at("3.609s")
		s.fresh()
		s.at("3.612s")
		s.is(Master, MasterTimeout)
		s.timed(A, "probe")
		if len(s.opened(A)) != 1 {
			t.Error("not open with its first advert")
		}
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(50, low, A, B)
		s.at("3.609s")
		s.fresh()
		s.at("3.612s")
		p.quiet()
		s.is(Master, Preempted)
		s.timed(A, "probe")
		if len(s.times(A, "hook up preempted")) != 1 {
			t.Error("no command")
		}
	})
}
