package election

import (
	"slices"
	"testing"
	"time"
)

// Faults: a machine serves all of its LANs or none (group.md FAULT, LEAVE,
// HELD, DEAD).

// A fault of one member demotes all members in the same step (a second process
// as soon as the ring reaches it), and priority 0 goes out on the LANs that
// work, at 0, 0.02 and 0.1 intervals, and on no other.
func TestFaultDemotesTheMachine(t *testing.T) {
	for _, f := range []struct {
		bit   Fault
		why   Reason
		works bool // adverts can still be sent
	}{
		{FaultLinkDown, LinkDown, false},
		{FaultParentGone, ParentGone, false},
		{FaultNoAddress, NoAddress, false},
		{FaultInterface, InterfaceFault, true},
		{FaultCheck, CheckFailed, true},
	} {
		t.Run(f.why.String(), func(t *testing.T) {
			layouts(t, setup{}, func(t *testing.T, s *scene) {
				s.master()
				s.fault(B, f.bit, true)
				s.is(Held, f.why)
				s.obeyed()
				why := f.why.String()
				s.did(A, "MASTER>HELD "+why, "close", "resign", "demote", "own", "hook down "+why)
				s.pass("10s")
				s.timed(A, "resign", "0s", "20ms", "100ms")
				if f.works {
					s.timed(B, "resign", "0s", "20ms", "100ms")
				} else {
					s.did(B, "MASTER>HELD "+why, "close", "demote", "own", "hook down "+why)
				}
				s.is(Held, f.why)
			})
		})
	}
}

// A parent that is gone has no address either; the reason is the deeper one.
func TestFaultReasons(t *testing.T) {
	if r := (FaultParentGone | FaultLinkDown | FaultNoAddress).Reason(); r != ParentGone {
		t.Errorf("reason %v", r)
	}
	if r := (FaultLinkDown | FaultNoAddress | FaultCheck).Reason(); r != LinkDown {
		t.Errorf("reason %v", r)
	}
	if r := Fault(0).Reason(); r != NoReason {
		t.Errorf("reason %v of no fault", r)
	}
}

// Recovery: HELD for the hold-down of two intervals, and the master-down timer
// of the member runs in parallel. One fault that goes while another stays
// changes nothing.
func TestRecoveryAfterHoldDown(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A, B) // so that the fault is not soon after a promotion
		s.at("10s")
		s.fault(B, FaultLinkDown, true)
		s.fault(B, FaultNoAddress, true)
		s.is(Held, LinkDown)
		s.at("60s")
		s.fault(B, FaultLinkDown, false)
		s.at("70s")
		s.is(Held, LinkDown)
		s.fault(B, FaultNoAddress, false)
		s.at("71.999999999s")
		s.is(Held, LinkDown)
		s.at("72s")
		s.is(Backup, Recovered)
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3s")
		s.fault(A, FaultLinkDown, true)
		s.at("60s")
		s.fault(A, FaultLinkDown, false)
		s.at("63.609374999s")
		s.is(Backup, Recovered)
		s.at("63.609375s")
		s.is(Master, MasterTimeout)
	})
}

// What flaps must wait longer and longer, up to five minutes: more than three
// faults in ten minutes, or a fault within 60 s of a promotion.
func TestHoldDownDoublesForWhatFlaps(t *testing.T) {
	held := func(s *scene) time.Duration {
		s.pass("10s")
		s.fault(B, FaultLinkDown, true)
		s.pass("1s")
		s.fault(B, FaultLinkDown, false)
		return time.Duration(s.facts(B).HoldAt - s.now)
	}
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A, B)
		var got []time.Duration
		for range 13 {
			got = append(got, held(s))
		}
		var want []time.Duration
		for _, n := range []int{2, 2, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
			want = append(want, time.Duration(n)*time.Second)
		}
		if !slices.Equal(got, want) {
			t.Errorf("hold-downs %v", got)
		}
		s.pass("10m")
		if got := held(s); got != 2*time.Second {
			t.Errorf("after a quiet time the hold-down is %v", got)
		}
	})
	// Faults that are rare enough do not flap.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A, B)
		for range 10 {
			s.pass("3m20s")
			if got := held(s); got != 2*time.Second {
				t.Fatalf("hold-down %v", got)
			}
		}
	})
	// A check that fails only on the MASTER.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		if got := held(s); got != 4*time.Second {
			t.Errorf("10 s after a promotion: hold-down %v", got)
		}
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.pass("60s")
		if got := held(s); got != 2*time.Second {
			t.Errorf("70 s after a promotion: hold-down %v", got)
		}
	})
}

// Members of one process that fail together, because their parent does, are
// one fault and not a flapping one.
func TestOneParentIsOneFault(t *testing.T) {
	s := setup{}.open(t, 1)
	s.peer(200, high, A, B)
	s.pass("5s")
	off := []Event{{Kind: EvFault, VR: 0, Fault: FaultLinkDown, On: true}, {Kind: EvFault, VR: 1, Fault: FaultLinkDown, On: true}}
	for range 3 {
		s.pass("10s")
		s.host[A].post(off...)
		s.pass("1s")
		s.host[A].post(Event{Kind: EvFault, VR: 0, Fault: FaultLinkDown}, Event{Kind: EvFault, VR: 1, Fault: FaultLinkDown})
		s.settle()
		if got := time.Duration(s.facts(A).HoldAt - s.now); got != 2*time.Second {
			t.Fatalf("hold-down %v", got)
		}
	}
}

// -M: a member that is missing holds the machine, from the start and later.
func TestMissingMemberHolds(t *testing.T) {
	s := setup{}.open(t, 2)
	s.shared.want = 3
	s.at("60s")
	s.is(Held, Startup)
	if v := s.host[A].m.View(); v.Holding != MemberMissing || v.Missing != 1 {
		t.Errorf("held by %v, %d missing", v.Holding, v.Missing)
	}
	s.boot(2)
	s.settle()
	s.pass("1.9s")
	s.is(Held, Startup) // the new one's hold-down
	s.pass("100ms")
	s.is(Backup, Recovered)
	s.pass("1.609375s")
	s.is(Master, MasterTimeout)
	s.shared.want = 4
	s.pass("1s")
	s.is(Held, MemberMissing)
	s.obeyed()
}

// More processes than -M says are an alarm, not a fault.
func TestTooManyMembers(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.shared.want = 1
	s.pass("1s")
	s.is(Master, MasterTimeout)
	if n := len(s.times(A, "alarm too-many-members")); n != 1 {
		t.Errorf("%d alarms", n)
	}
	s.shared.want = 2
	s.pass("1s")
	if n := len(s.times(A, "over too-many-members")); n != 1 {
		t.Errorf("the alarm ended %d times", n)
	}
}

// A process that dies takes the machine with it, whatever the state, and the
// reason says so; its successor brings it back.
func TestDeadMember(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.kill(B)
	s.pass("1ms")
	s.is(Held, MemberDead)
	s.did(A, "MASTER>HELD member-dead", "close", "resign", "demote", "own", "hook down member-dead")
	s.pass("60s")
	s.is(Held, MemberDead)
	s.boot(B)
	s.settle()
	s.pass("2s")
	s.is(Backup, Recovered)
	s.pass("1.609375s")
	s.is(Master, MasterTimeout)
	s.obeyed()
	s.shared.want = 3 // a later fault has a reason of its own
	s.pass("1s")
	if v := s.host[A].m.View(); v.Holding != MemberMissing {
		t.Errorf("held by %v", v.Holding)
	}
	s.shared.want = 2

	s.kill(A)
	s.kill(B)
	s.pass("60s")
	s.boot(A)
	s.boot(B)
	s.pass("60s")
	s.is(Master, MasterTimeout)
}

// A process that dies and is back before the other one has noticed: its part of
// the service was gone, so the machine is held.
func TestMemberRestartsAtOnce(t *testing.T) {
	for _, state := range []State{Master, Backup} {
		s := setup{}.open(t, 2)
		if state == Backup {
			s.peer(200, high, A, B)
		}
		s.at("10s")
		if got := s.shared.word.State(); got != state {
			t.Fatalf("%v", got)
		}
		s.kill(B)
		s.boot(B)
		s.is(Held, MemberMissing)
		s.obeyed()
		s.pass("60s")
		s.is(state, map[State]Reason{Master: MasterTimeout, Backup: Recovered}[state])
		s.obeyed()
	}
}

// A process that is stopped does not move its heartbeat: the others expel it by
// raising the epoch, no later than its lease ends.
// When it wakes up it obeys before it does anything, and earns its place anew.
func TestStuckMemberIsExpelled(t *testing.T) {
	s := setup{}.open(t, 2)
	s.at("3.7s")
	s.is(Master, MasterTimeout)
	s.obeyed()
	lease := s.facts(B).LeaseAt
	before := s.shared.word.Epoch()
	s.stall(B)
	s.fresh()
	s.run(lease - 1)
	s.is(Master, MasterTimeout)
	s.run(lease)
	s.is(Held, MemberStuck)
	if e := s.shared.word.Epoch(); e != before+1 {
		t.Errorf("epoch %d after %d", e, before)
	}
	// Who carries that out finds the same process, also one that gave a sign of life
	// less than an interval ago because it was late to speak; and none that moved.
	stuck := *s.facts(B)
	late, awake := stuck, stuck
	late.BeatAt = lease - int64(s.interval)/2
	awake.BeatAt, awake.LeaseAt = lease-1, lease+1
	for _, c := range []struct {
		name string
		f    *Facts
		want bool
	}{{"stuck", &stuck, true}, {"late", &late, true}, {"awake", &awake, false}, {"itself", s.facts(A), false}} {
		if got := s.host[A].m.Expelled(c.f); got != c.want {
			t.Errorf("%s: expelled %v", c.name, got)
		}
	}
	s.pass("10s")
	s.is(Held, MemberStuck)
	s.did(B)

	s.hear(B, 200, high) // it waits in the socket: too late to resign
	s.fresh()
	s.awaken(B)
	s.did(B, "MASTER>HELD member-stuck", "close", "demote", "own", "hook down member-stuck")
	s.pass("1.999s")
	s.is(Held, MemberStuck)
	s.pass("2ms")
	s.is(Backup, Recovered)
	s.obeyed()
}

// Whoever expelled it has resigned for it: it does not say so again when it wakes
// up, not even what was left to say of a LINGER.
func TestExpelledDoesNotResign(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.stall(B)
	s.pass("2.5s")
	s.is(Held, MemberStuck)
	s.fresh()
	s.awaken(B)
	s.did(B, "MASTER>HELD member-stuck", "close", "demote", "own", "hook down member-stuck")

	s = setup{}.open(t, 2)
	s.master()
	s.op(EvBackup)
	s.pass("60ms") // two words of three
	s.is(Linger, OperatorBackup)
	s.stall(B)
	s.pass("2.5s")
	s.is(Held, MemberStuck)
	s.fresh()
	s.awaken(B)
	s.pass("1s")
	s.timed(B, "resign")
}

// In BACKUP, where nobody has a lease: two intervals after its last sign of life.
func TestStuckMemberInBackup(t *testing.T) {
	s := setup{}.open(t, 2)
	s.peer(200, high, A, B)
	s.at("10.2s")
	beat := s.facts(B).BeatAt
	s.stall(B)
	s.run(beat + 2000*ms)
	s.is(Backup, Recovered)
	s.run(beat + 2000*ms + 1)
	s.is(Held, MemberStuck)
}

// A process that was stopped itself does not take the old heartbeats of the
// others for their death.
func TestSleeperDoesNotExpelTheOthers(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.stall(A)
	s.stall(B)
	s.pass("30s")
	s.awaken(A)
	s.pass("100ms")
	s.is(Master, MasterTimeout)
	s.awaken(B)
	s.pass("10s")
	s.is(Master, MasterTimeout)
}

// Members of different intervals cannot be kept together: nobody is elected.
func TestDifferentIntervalsHold(t *testing.T) {
	s := setup{alone: true}.open(t, 1)
	s.shared.want = 2
	r := s.router(B)
	r.Interval = 3 * time.Second
	s.bootAs([]Router{r}, B)
	s.at("60s")
	s.is(Held, Startup)
	if v := s.host[A].m.View(); v.Holding != IntervalDiffers {
		t.Errorf("held by %v", v.Holding)
	}
}

// Adverts that cannot be sent: retried every eighth of an interval, and a fault
// after one interval or a quarter of an interval before the lease ends. Where it can still speak, the machine resigns.
func TestSendFailures(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.7s")
		s.obeyed()
		s.fresh()
		s.host[B].mute = true
		lease := s.facts(B).LeaseAt
		s.at("5.359s")
		s.is(Master, MasterTimeout)
		s.timed(B, "advert 100", "908.775ms", "1.033775s", "1.158775s", "1.283775s", "1.408775s", "1.533775s")
		s.run(lease - 125*ms)
		s.is(Held, SendFailed)
		failed := s.now
		s.obeyed()
		if s.now >= lease {
			t.Errorf("%v after the lease", time.Duration(s.now-lease))
		}
		// Whether it works again is known by trying, after a hold-down that
		// doubles while this repeats.
		s.host[B].mute = false
		s.run(failed + 3700*ms)
		s.is(Held, SendFailed)
		s.run(failed + 4001*ms) // soon after the promotion: four intervals
		s.is(Master, MasterTimeout)
	})
	// Another hold-down that runs meanwhile is not cut short by that.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.7s")
		s.host[B].mute = true
		s.at("5.5s")
		s.is(Held, SendFailed)
		s.host[B].mute = false
		s.fault(B, FaultLinkDown, true)
		s.at("8s")
		s.fault(B, FaultLinkDown, false)
		s.at("11.999s")
		s.is(Held, SendFailed)
		s.at("12.001s")
		s.is(Master, MasterTimeout)
	})
	// A single failure is made good at once.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.7s")
		s.host[B].mute = true
		s.at("4.7s")
		s.host[B].mute = false
		s.fresh()
		s.at("20s")
		s.is(Master, MasterTimeout)
		if first := s.times(B, "advert 100")[0]; first > 125*time.Millisecond {
			t.Errorf("retried after %v", first)
		}
	})
	// Failures while a higher priority takes over are not judged in BACKUP.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.7s")
		s.host[B].mute = true
		s.at("4.7s")
		s.peer(200, high, A, B)
		s.at("30s")
		s.is(Backup, SuperiorAdvert)
	})
}
