package election

import (
	"testing"
	"time"
)

// PREPARE with a guard: everything is set up behind it, nothing is announced,
// and an accepted advert undoes it silently (group.md PREPARE, lesson 4).

var guarded = setup{cfg: Config{Guard: true}}

// preparing brings the machine to PREPARE, where setting up takes so long.
func preparing(t *testing.T, setUp time.Duration, play func(*testing.T, *scene)) {
	layouts(t, guarded, func(t *testing.T, s *scene) {
		s.setUp = setUp
		s.at("3.609s")
		s.fresh()
		s.at("3.61s")
		s.is(Prepare, MasterTimeout)
		s.obeyed()
		for _, lan := range []int{A, B} {
			s.did(lan, "BACKUP>PREPARE master-timeout", "prepare")
		}
		s.fresh()
		play(t, s)
	})
}

// All members stand: adverts first, then the rest.
func TestPrepareThenMaster(t *testing.T) {
	preparing(t, 40*time.Millisecond, func(t *testing.T, s *scene) {
		s.at("3.649s")
		s.is(Prepare, MasterTimeout)
		s.at("3.65s")
		s.is(Master, MasterTimeout)
		s.obeyed()
		for _, lan := range []int{A, B} {
			s.did(lan, "PREPARE>MASTER master-timeout", "advert 100", "promote", "announce", "hook up master-timeout")
		}
	})
}

// Not done within 100 ms: MASTER all the same.
func TestPrepareLimit(t *testing.T) {
	preparing(t, -1, func(t *testing.T, s *scene) {
		s.at("3.709374s")
		s.is(Prepare, MasterTimeout)
		s.at("3.709375s")
		s.is(Master, MasterTimeout)
	})
}

// One member that is not done is waited for; what was prepared in an earlier
// epoch does not count.
func TestPrepareWaitsForAll(t *testing.T) {
	preparing(t, -1, func(t *testing.T, s *scene) {
		epoch := s.shared.word.Epoch()
		s.post(A, Event{Kind: EvPrepared, Epoch: epoch})
		s.post(B, Event{Kind: EvPrepared, Epoch: epoch - 2})
		s.pass("10ms")
		s.is(Prepare, MasterTimeout)
		s.post(B, Event{Kind: EvPrepared, Epoch: epoch})
		s.is(Master, MasterTimeout)
	})
}

// An accepted advert on any member aborts, and nobody has heard anything of us.
func TestPrepareVetoed(t *testing.T) {
	for _, vetoing := range []int{A, B} {
		preparing(t, -1, func(t *testing.T, s *scene) {
			s.pass("50ms")
			s.hear(vetoing, 100, low)
			s.is(Backup, Vetoed)
			s.obeyed()
			for _, lan := range []int{A, B} {
				s.did(lan, "PREPARE>BACKUP vetoed", "unprepare")
			}
			s.pass("3.6s")
			s.is(Backup, Vetoed)
			s.pass("10ms")
			s.is(Prepare, MasterTimeout)
		})
	}
}

// The whole machine stands still in PREPARE, and meanwhile another one takes over. The
// process that wakes first may have nothing to read, on a LAN where that one is not
// heard: it waits for what the others have.
func TestPrepareSleepsThroughASuccessor(t *testing.T) {
	for _, heard := range []bool{true, false} {
		s := guarded.open(t, 2)
		s.setUp = time.Millisecond
		s.at("3.6095s")
		s.is(Prepare, MasterTimeout)
		s.stall(A)
		s.stall(B)
		s.pass("5s")
		if heard {
			s.hear(B, 100, low)
		}
		s.awaken(A)
		s.pass("300us")
		s.is(Prepare, MasterTimeout)
		s.awaken(B)
		s.pass("501ms") // until its next heartbeat
		if heard {
			s.is(Backup, Vetoed)
		} else {
			s.is(Master, MasterTimeout)
		}
	}
}

// Priority 0 and inferior masters change nothing.
func TestPrepareIsNotVetoedByLess(t *testing.T) {
	preparing(t, -1, func(t *testing.T, s *scene) {
		s.pass("50ms")
		s.hear(A, 0, high)
		s.hear(B, 99, high)
		s.is(Prepare, MasterTimeout)
		s.pass("60ms")
		s.is(Master, Preempted) // for there is somebody to preempt now
	})
}

// A fault, the operator's hold or a stop in PREPARE: HELD, nothing was said and
// nothing is resigned.
func TestPrepareAndFault(t *testing.T) {
	for why, do := range map[Reason]func(s *scene){
		LinkDown:     func(s *scene) { s.fault(B, FaultLinkDown, true) },
		OperatorHold: func(s *scene) { s.op(EvHold) },
		Stop:         func(s *scene) { s.post(B, Event{Kind: EvStop}) },
	} {
		preparing(t, -1, func(t *testing.T, s *scene) {
			s.pass("50ms")
			do(s)
			s.is(Held, why)
			s.pass("1s")
			s.did(A, append([]string{"PREPARE>HELD " + why.String(), "unprepare"}, exits(s, A)...)...)
			s.did(B, append([]string{"PREPARE>HELD " + why.String(), "unprepare"}, exits(s, B)...)...)
		})
	}
}

func exits(s *scene, lan int) []string {
	if s.host[lan].gone {
		return []string{"exit"}
	}
	return nil
}

// The process that prepared dies: the other does not stay in PREPARE.
func TestPreparingProcessDies(t *testing.T) {
	s := guarded.open(t, 2)
	s.setUp = -1
	s.at("3.62s")
	s.is(Prepare, MasterTimeout)
	s.kill(A)
	s.pass("1ms")
	s.is(Held, MemberDead)
}

// A suspend in PREPARE: whoever has taken over meanwhile is listened for.
func TestSuspendedInPrepare(t *testing.T) {
	preparing(t, -1, func(t *testing.T, s *scene) {
		s.sleep("1h", Event{Kind: EvSuspended})
		s.is(Listen, Suspended)
		s.obeyed()
		s.fresh()
		s.pass("3s")
		s.is(Master, MasterTimeout)
	})
}

// A stall in PREPARE: what waits in the socket vetoes.
func TestStallInPrepare(t *testing.T) {
	preparing(t, -1, func(t *testing.T, s *scene) {
		s.sleep("90ms", s.advert(A, 100, high))
		s.is(Backup, Vetoed)
	})
}

// A process that does not obey PREPARE would leave its LAN to nobody: the machine
// is held instead, and the one that resigned goes on.
func TestPrepareWithAStuckSibling(t *testing.T) {
	s := guarded.open(t, 2)
	s.setUp = time.Millisecond
	s.at("3.6094s") // the other process has not heard the doorbell yet
	s.is(Prepare, MasterTimeout)
	s.stall(A)
	s.fresh()
	s.at("3.8s")
	s.is(Held, MemberStuck)
	s.timed(B, "advert 100")
}

// One that has obeyed PREPARE and hangs then is expelled before its lease, which
// it has never had, would end.
func TestSiblingThatNeverSpeaks(t *testing.T) {
	s := guarded.open(t, 2)
	s.setUp = 20 * time.Millisecond
	s.at("3.62s")
	s.is(Prepare, MasterTimeout)
	s.stall(B)
	s.post(B, Event{Kind: EvPrepared, Epoch: s.shared.word.Epoch()})
	s.fresh()
	s.pass("150ms")
	s.is(Master, MasterTimeout)
	s.pass("250ms")
	s.is(Held, MemberStuck)
	if n := len(s.times(A, "resign")); n == 0 {
		t.Error("no priority 0")
	}
}
