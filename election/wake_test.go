package election

import (
	"testing"
	"time"
)

// Waking up after a stall, a suspend or SIGSTOP (group.md WAKE, lessons 11, 13
// and 14), and what a process does that has missed something.

// sleep stops all processes for so long; waiting is what then lies in the
// sockets of both LANs.
func (s *scene) sleep(d string, waiting ...Event) {
	s.t.Helper()
	for _, p := range s.procs {
		p.stopped = true
	}
	s.pass(d)
	for _, lan := range []int{A, B} {
		for _, e := range waiting {
			e.VR = s.vr(lan)
			if e.Kind == EvAdvert {
				e.Addr, e.MAC = addr(lan, high), mac(lan, high)
			}
			s.host[lan].post(e)
		}
	}
	s.fresh()
	for _, p := range s.procs {
		p.stopped, p.rung = false, true
	}
	s.settle()
	s.pass("1ms")
}

// The lease has passed and somebody speaks, of whatever priority: BACKUP,
// without a word where he was heard.
func TestLeaseExpiredAndSomebodySpeaks(t *testing.T) {
	for _, prio := range []uint8{1, 99, 101, 200} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.master()
			s.sleep("3s", s.advert(A, prio, high))
			s.is(Backup, LeaseExpired)
			s.obeyed()
			s.pass("500ms")
			for _, lan := range []int{A, B} {
				s.did(lan, "MASTER>BACKUP lease-expired", "close", "demote", "own", "hook down lease-expired")
			}
		})
	}
}

// The lease has passed and nobody has spoken: advert now, then go on.
func TestLeaseExpiredAndNobodySpeaks(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.sleep("3.2s")
		s.is(Master, MasterTimeout)
		for _, lan := range []int{A, B} {
			s.did(lan, "advert 100")
		}
		s.pass("1.2s")
		for _, lan := range []int{A, B} {
			if got := s.times(lan, "advert 100"); len(got) < 2 || got[1] >= time.Second {
				t.Errorf("LAN %c: adverts at %v: the grid is kept", 'A'+lan, got)
			}
		}
	})
}

// A stall shorter than the lease changes nothing.
func TestShortStall(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("4.609375s")
		s.obeyed()
		s.sleep("1.9s", s.advert(A, 50, high))
		s.is(Master, MasterTimeout)
	})
}

// After a suspend nobody can tell who took over: LISTEN for one interval and
// skew(v,1), serving nothing; then BACKUP if somebody speaks, MASTER if not.
func TestSuspended(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.sleep("1h", Event{Kind: EvSuspended})
		s.is(Listen, Suspended)
		s.obeyed()
		s.pass("15ms")
		s.timed(A, "resign", "10ms") // whoever is MASTER answers that at once
		s.fresh()
		s.pass("1.975s")
		s.is(Listen, Suspended)
		s.pass("10ms")
		s.is(Master, MasterTimeout)
		s.obeyed()
		s.did(A, "LISTEN>MASTER master-timeout", "advert 100", "promote", "announce", "hook up master-timeout")
	})
	for _, prio := range []uint8{1, 200} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.master()
			s.sleep("1h", Event{Kind: EvSuspended})
			s.pass("500ms")
			s.hear(B, prio, high)
			s.is(Backup, MasterHeard)
			down := s.now + 3609375000
			s.run(down - 1)
			s.is(Backup, MasterHeard)
			s.run(down)
			s.is(Master, MasterTimeout)
		})
	}
	// A nap shorter than the lease.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("4.609375s")
		s.obeyed()
		s.sleep("1.5s", Event{Kind: EvSuspended})
		s.is(Master, MasterTimeout)
	})
	// A fault in LISTEN.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.sleep("1h", Event{Kind: EvSuspended})
		s.fault(B, FaultLinkDown, true)
		s.is(Held, LinkDown)
	})
}

// A machine that was suspended in BACKUP has heard nobody because it slept.
func TestSuspendedInBackup(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A, B)
		s.at("10.1s")
		s.sleep("1h", Event{Kind: EvSuspended})
		for _, p := range s.procs {
			p.inbox = nil // the network card slept too
		}
		s.pass("5m")
		s.is(Backup, Recovered)
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, high, A, B)
		s.at("10.1s")
		p.quiet()
		s.sleep("1h", Event{Kind: EvSuspended})
		s.pass("3.6s")
		s.is(Backup, Recovered)
		s.pass("10ms")
		s.is(Master, MasterTimeout)
	})
}

// A suspend in LINGER is no way back to MASTER.
func TestSuspendedInLinger(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvBackup)
		s.pass("300ms")
		s.sleep("1h", Event{Kind: EvSuspended})
		s.is(Listen, Suspended)
		s.obeyed()
	})
}

// An advert that left after the lease that it should have renewed is followed
// by priority 0 at once, and the machine listens before it serves again.
func TestAdvertThatLeftLate(t *testing.T) {
	s := setup{}.open(t, 1)
	s.at("4s")
	s.fresh()
	s.host[A].late = 3 * time.Second // stopped between the check and the send of 4.609 s
	s.at("7.61s")
	s.is(Listen, LeaseExpired)
	s.did(A, "advert 100", "MASTER>LISTEN lease-expired", "close", "resign", "demote", "own", "hook down lease-expired")
	s.at("9.608s") // a lease later, in which a master that hangs may serve
	s.is(Listen, LeaseExpired)
	s.at("9.61s")
	s.is(Master, MasterTimeout)
}

// The same, and the successor's adverts wait in the socket: priority 0 where the
// late advert went, and BACKUP.
func TestAdvertThatLeftLateAndSuccessor(t *testing.T) {
	s := setup{}.open(t, 1)
	s.at("4s")
	s.fresh()
	s.host[A].late = 4 * time.Second
	s.at("8s")
	s.host[A].post(s.advert(A, 50, high), s.advert(B, 50, high))
	s.at("8.61s")
	s.is(Backup, LeaseExpired)
	if got := s.times(A, "resign"); len(got) != 1 || got[0] != 4609375*time.Microsecond {
		t.Errorf("priority 0 at %v", got)
	}
	s.timed(B, "resign") // nothing left late there, and somebody speaks
}

// A first advert that leaves later than a lease after the promotion.
func TestFirstAdvertLeavesLate(t *testing.T) {
	s := setup{alone: true}.open(t, 1)
	s.host[A].late = 10 * time.Second
	s.at("13.7s")
	s.timed(A, "advert 100", "3.609375s")
	s.timed(A, "resign", "13.609375s", "13.619375s")
	s.is(Listen, LeaseExpired)
}

// An advert that leaves although another process has ended the mastership
// meanwhile is taken back.
func TestAdvertUnderAnEpochThatPassed(t *testing.T) {
	s := setup{}.open(t, 2)
	s.at("4s")
	s.fresh()
	s.host[B].late = 10 * time.Millisecond // of the advert at 4.609 s
	s.at("4.61s")
	s.hear(A, 200, high)
	s.hear(B, 200, high) // waits in the socket
	s.is(Backup, SuperiorAdvert)
	s.at("5s")
	s.timed(B, "resign", "619.375ms")
	s.timed(A, "resign")
}

// A process that slept through several epochs obeys the last one only, once.
func TestSupersededEpochs(t *testing.T) {
	// MASTER, HELD, BACKUP: out.
	s := setup{}.open(t, 2)
	s.master()
	s.stall(B)
	s.pass("2.5s")
	s.is(Held, MemberStuck)
	w := s.shared.word
	s.shared.word = w.Next(Backup, Recovered).Next(Held, OperatorHold).Next(Backup, Recovered)
	s.fresh()
	s.awaken(B)
	// Nobody has spoken meanwhile: whoever listens should not wait for it.
	s.did(B, "MASTER>BACKUP recovered", "close", "demote", "own", "hook down recovered", "resign")
	if e := s.host[B].m.Facts(0).Seen; e < w.Epoch()+3 {
		t.Errorf("obeyed epoch %d", e)
	}

	// MASTER, something, MASTER: in; others may have been announced meanwhile.
	s = setup{}.open(t, 2)
	s.master()
	s.stall(B)
	s.pass("500ms")
	s.fresh()
	s.shared.word = s.shared.word.Next(Backup, TieLost).Next(Prepare, MasterResigned).Next(Master, MasterResigned)
	s.shared.since = s.now
	s.awaken(B)
	s.did(B, "advert 100", "announce")

	// The same for longer than the lease: that lease was another epoch's, and
	// the inferior advert that waits is answered.
	s = setup{}.open(t, 1)
	s.master()
	s.stall(A)
	s.pass("3s")
	s.shared.word = s.shared.word.Next(Backup, TieLost).Next(Prepare, MasterResigned).Next(Master, MasterResigned)
	s.shared.since = s.now
	s.hear(A, 50, low)
	s.awaken(A)
	s.is(Master, MasterResigned)

	// BACKUP, MASTER, LINGER, BACKUP: nothing to do.
	s = setup{}.open(t, 2)
	s.peer(200, high, A, B)
	s.at("5.5s")
	s.stall(B)
	s.fresh()
	s.shared.word = s.shared.word.Next(Master, MasterTimeout).Next(Backup, SuperiorAdvert)
	s.awaken(B)
	s.did(B)

	// HELD to MASTER while it slept.
	s = setup{}.open(t, 2)
	s.at("1s")
	s.fresh()
	s.shared.word = s.shared.word.Next(Backup, Recovered).Next(Prepare, MasterTimeout).Next(Master, MasterTimeout)
	s.shared.since = s.now
	s.host[B].rung = true
	s.settle()
	s.did(B, "HELD>MASTER master-timeout", "advert 100", "promote", "announce", "hook up master-timeout")
}

// A time that the board does not know, or that lies ahead of this process's
// clock reading, is now.
func TestSinceIsNeverInTheFuture(t *testing.T) {
	for _, since := range []Time{0, epoch + Time(time.Hour)} {
		s := setup{}.open(t, 1)
		s.at("3s")
		s.shared.word = s.shared.word.Next(Listen, Suspended)
		s.shared.since = since
		s.host[A].rung = true
		s.settle()
		if v := s.host[A].m.View(); v.Since != s.now {
			t.Errorf("since %d, now %d", v.Since, s.now)
		}
	}
}

// The whole machine was stopped, and every timer has fired: the process that
// wakes first must not take for silence what the other has not read yet.
func TestFirstProcessAwakeWaitsForTheOther(t *testing.T) {
	for _, first := range []int{A, B} {
		s := setup{}.open(t, 2)
		p := s.peer(200, high, A, B)
		s.at("10.1s")
		p.lans = []int{1 - first}
		s.stall(A)
		s.stall(B)
		s.at("15s")
		s.awaken(first)
		s.pass("50ms")
		s.is(Backup, Recovered)
		s.awaken(1 - first)
		s.pass("3s")
		s.is(Backup, Recovered)
	}
}

// Nobody is promoted together with a process that does not look any more.
func TestNoPromotionWithAStalledProcess(t *testing.T) {
	s := setup{}.open(t, 2)
	s.at("3.05s")
	s.stall(B)
	s.at("4.9s")
	s.is(Backup, Recovered)
	s.at("5.1s")
	s.is(Held, MemberStuck)
	s.awaken(B)
	s.pass("10s")
	s.is(Master, MasterTimeout)
	s.obeyed()
}

// A second suspend begins LISTEN anew.
func TestSuspendedInListen(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.sleep("10s", Event{Kind: EvSuspended})
		s.is(Listen, Suspended)
		s.pass("1.9s")
		s.sleep("10s", Event{Kind: EvSuspended})
		s.is(Listen, Suspended)
		s.pass("1.9s")
		s.is(Listen, Suspended)
		s.pass("200ms")
		s.is(Master, MasterTimeout)
		s.timed(A, "resign")
	})
}

// A preemptor whose guards are still closed and whose loop comes back after its
// lease speaks again and goes on waiting; it has not lost anything.
func TestPreemptorSleepsPastItsLease(t *testing.T) {
	preempting(t, setup{}, func(t *testing.T, s *scene) {
		s.sleep("2.5s")
		s.is(Master, Preempted)
		s.pass("20ms")
		for _, lan := range []int{A, B} {
			s.timed(lan, "resign")
			if len(s.opened(lan)) == 0 {
				t.Errorf("LAN %d: closed", lan)
			}
		}
	})
}
