package election

import (
	"testing"
	"time"
)

// Who yields to whom, as a group (group.md RX in MASTER, lessons 1 and 6).

// Any member that meets a superior advert takes the whole machine with it, and
// priority 0 goes, 10 ms later, only to LANs where nobody was heard.
func TestSuperiorOnAnyMember(t *testing.T) {
	for lan, other := range []int{A: B, B: A} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.master()
			s.hear(lan, 150, low)
			s.is(Backup, SuperiorAdvert)
			s.obeyed()
			s.did(other, "MASTER>BACKUP superior-advert", "close", "demote", "own", "hook down superior-advert")
			s.pass("1s")
			s.timed(lan, "resign")
			s.timed(other, "resign", "10ms")
		})
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.master()
			s.hear(lan, 150, low)
			s.hear(other, 150, low) // the same tick
			s.pass("1s")
			s.timed(lan, "resign")
			s.timed(other, "resign")
		})
	}
}

// The most superior advert of a batch decides, after the whole batch.
func TestSuperiorIsJudgedAfterTheBatch(t *testing.T) {
	s := setup{}.open(t, 1)
	s.master()
	s.post(A, s.advert(A, 50, low), s.advert(A, 100, high), s.advert(A, 200, low))
	s.is(Backup, SuperiorAdvert)
	for _, l := range s.done(A) {
		if l == "advert 100" {
			t.Error("a machine that yields answers the inferior master of the same batch")
		}
	}
}

// A tie is decided on the reference member, the lowest of (family, VRID, VIP).
func TestTieOnTheReferenceMember(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.hear(A, 100, high)
		s.is(Backup, TieLost)
		s.obeyed()
	})
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.peer(100, low, A, B) // a tie that we win
		s.pass("20s")
		s.is(Master, MasterTimeout)
	})
}

// On any other LAN a lost tie counts only if it persists for one and a half
// intervals; meanwhile it is answered, there and on the reference LAN.
func TestTieElsewhereMustPersist(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.7s")
		s.obeyed()
		s.fresh()
		s.pass("500ms")
		s.hear(B, 100, high)
		s.is(Master, MasterTimeout)
		s.pass("100ms")
		s.timed(A, "advert 100", "500ms")
		s.timed(B, "advert 100", "500ms")
		s.at("60s")
		s.is(Master, MasterTimeout) // it was one advert
		s.peer(100, high, B)
		s.pass("900ms")
		s.is(Master, MasterTimeout)
		s.pass("2.2s")
		s.is(Backup, TieLost)
		s.obeyed()
	})
	// Single adverts with long gaps between them do not add up.
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		for range 10 {
			s.hear(B, 100, high)
			s.pass("3.1s")
		}
		s.is(Master, MasterTimeout)
	})
}

// A peer that goes on although we outrank it does not hear us: alarmed once.
func TestDeafPeer(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.peer(50, low, B)
		s.pass("3s")
		s.timed(B, "alarm peer-deaf")
		s.pass("30s")
		s.timed(B, "alarm peer-deaf", "4s")
		s.is(Master, MasterTimeout)
	})
}

// An alarm about a peer is over when the peer has not been heard for a while
// (3 s, or a master-down interval), and begins anew with it.
func TestAlarmOfAPeerEnds(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		deaf := s.peer(50, low, B)
		s.pass("4s")
		s.timed(B, "alarm peer-deaf", "4s")
		deaf.quiet()
		s.pass("10s")
		over := s.times(B, "over peer-deaf")
		if len(over) != 1 || over[0] < 4*time.Second+3996*time.Millisecond || over[0] > 4*time.Second+4600*time.Millisecond {
			t.Errorf("last heard after 4 s, and over at %v", over)
		}
		s.peer(50, low, B)
		s.pass("5s")
		if n := len(s.times(B, "alarm peer-deaf")); n != 2 {
			t.Errorf("alarmed %d times, want a second time", n)
		}
	})
}

// Several peers are told apart: each is alarmed once, and no flood of forged ones
// makes more than a few reports.
func TestAlarmsOfSeveralPeers(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.peer(50, low, B)
		s.peer(60, low+1, B)
		s.pass("30s")
		if n := len(s.times(B, "alarm peer-deaf")); n != 2 {
			t.Errorf("two peers were alarmed %d times", n)
		}
		for range 10 {
			for last := byte(30); last < 60; last++ {
				s.hear(B, 40, last)
			}
		}
		if n := len(s.times(B, "alarm peer-deaf")); n != peersAlarmed {
			t.Errorf("a flood made %d alarms, want %d", n, peersAlarmed)
		}
		s.is(Master, MasterTimeout)
	})
}

// An inferior master does not veto: it is preempted one master-down interval
// after it is the only one. A superior one on any LAN vetoes for as long as it
// speaks.
func TestPreemption(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(50, low, A, B)
		s.at("3.609374999s")
		s.is(Backup, Recovered)
		s.at("3.609375s")
		s.is(Master, Preempted)
	})
	layouts(t, setup{noPreempt: true}, func(t *testing.T, s *scene) {
		p := s.peer(50, low, A, B)
		s.at("60.5s")
		s.is(Backup, Recovered)
		p.quiet()
		s.at("70s")
		s.is(Master, MasterTimeout)
	})
	for _, vetoing := range []int{A, B} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			p := s.peer(150, high, vetoing)
			s.at("60.5s")
			s.is(Backup, Recovered)
			p.quiet()
			s.at("63.609374999s")
			s.is(Backup, Recovered)
			s.at("63.609375s")
			s.is(Master, MasterTimeout)
		})
	}
}

// --preempt-delay: after HELD an inferior master is left alone for so long; it
// counts as accepted also if it was heard before the delay began.
func TestPreemptDelay(t *testing.T) {
	delay := setup{cfg: Config{PreemptDelay: 30 * time.Second}}
	layouts(t, delay, func(t *testing.T, s *scene) {
		s.peer(50, low, A, B)
		s.at("32s") // BACKUP since 2 s
		s.is(Backup, Recovered)
		s.at("34s")
		s.is(Backup, Recovered)
		s.at("36s")
		s.is(Master, Preempted)
	})
	layouts(t, delay, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvHold)
		s.hear(A, 50, low)
		s.peer(50, low, A, B)
		s.pass("10m") // HELD: the timers have long passed
		s.is(Held, Successor)
		s.op(EvRelease)
		s.pass("29s")
		s.is(Backup, Recovered)
		s.pass("6s")
		s.is(Master, Preempted)
	})
}

// The delay ends while an inferior master is respected that was heard before it.
func TestPreemptDelayShorterThanTheTimer(t *testing.T) {
	layouts(t, setup{cfg: Config{PreemptDelay: 700 * time.Millisecond}}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvHold)
		p := s.peer(50, low, A, B)
		s.pass("10.1s")
		p.quiet()
		s.op(EvRelease)
		s.pass("699.999999ms")
		s.is(Backup, Recovered)
		s.pass("1ns")
		s.is(Master, Preempted)
	})
}

// A silent master is replaced in spite of a preempt-delay.
func TestPreemptDelayIsForTheLivingOnly(t *testing.T) {
	layouts(t, setup{cfg: Config{PreemptDelay: time.Hour}}, func(t *testing.T, s *scene) {
		s.at("3.609375s")
		s.is(Master, MasterTimeout)
	})
}

// A half-seen world (a port blocked by spanning tree): an inferior master on
// one LAN and silence on the other veto preemption for 60 s. It is reported.
func TestMixedView(t *testing.T) {
	for _, hears := range []int{A, B} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.peer(50, low, hears)
			s.at("61.9s") // BACKUP, and therefore judging, since 2 s
			s.is(Backup, Recovered)
			s.at("62.1s")
			s.is(Master, Preempted)
			for lan := range s.host {
				reported := s.times(lan, "alarm mixed-view")
				if lan != hears && (len(reported) != 1 || reported[0] > 7300*time.Millisecond) {
					t.Errorf("reported at %v", reported)
				}
			}
		})
		// The port opens: both hear the inferior master, nothing vetoes.
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			s.peer(50, low, hears)
			s.at("30.2s")
			s.peer(50, low, 1-hears)
			s.is(Master, Preempted)
			s.timed(1-hears, "over partition-over", "30.2s")
		})
		// The inferior master dies: nobody is left to disturb.
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			p := s.peer(50, low, hears)
			s.at("30.2s")
			p.quiet() // last heard at 30 s; 3 intervals + skew(1) later it is gone
			s.at("33.99609s")
			s.is(Backup, Recovered)
			s.at("33.996094s")
			s.is(Master, MasterTimeout)
		})
	}
}

// The mixed view's limit is configurable; negative is for ever.
func TestMixedLimit(t *testing.T) {
	layouts(t, setup{cfg: Config{MixedLimit: 5300 * time.Millisecond}}, func(t *testing.T, s *scene) {
		s.peer(50, low, A)
		s.at("7.299999999s")
		s.is(Backup, Recovered)
		s.at("7.3s")
		s.is(Master, Preempted)
	})
	layouts(t, setup{cfg: Config{MixedLimit: -1}}, func(t *testing.T, s *scene) {
		s.peer(50, low, A)
		s.at("1h")
		s.is(Backup, Recovered)
	})
}

// It vetoes also a machine whose timers have passed while it was held.
func TestMixedViewAfterHeld(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.op(EvHold)
		s.pass("2s")
		s.is(Held, NoSuccessor)
		s.peer(50, low, B)
		s.pass("10m")
		s.op(EvRelease)
		s.is(Backup, Recovered)
		s.pass("59.9s")
		s.is(Backup, Recovered)
		s.pass("200ms")
		s.is(Master, Preempted)
	})
}

// Nor does it veto when the inferior master resigns.
func TestMixedViewAndPriorityZero(t *testing.T) {
	layouts(t, setup{noAsk: true}, func(t *testing.T, s *scene) {
		p := s.peer(50, low, A)
		s.at("10.5s")
		s.is(Backup, Recovered)
		p.resign(A)
		s.at("11.109374999s")
		s.is(Backup, Recovered)
		s.at("11.109375s")
		s.is(Master, MasterTimeout)
	})
}

// --backup while the mixed view vetoes must not end the veto.
func TestMixedViewAndBackup(t *testing.T) {
	layouts(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(50, low, A)
		s.at("10.5s")
		s.op(EvBackup)
		s.pass("5m")
		s.is(Backup, Recovered)
	})
}

// A partition: one LAN of the group silent, the other with a master that we
// accept. Reported after one master-down interval; nothing is done.
func TestPartition(t *testing.T) {
	for _, hears := range []int{A, B} {
		layouts(t, setup{}, func(t *testing.T, s *scene) {
			p := s.peer(150, high, A, B)
			s.at("20.5s")
			p.lans = []int{hears}
			s.fresh()
			s.at("23.6s")
			s.at("27s") // silent from 23.609 s on
			s.timed(1-hears, "alarm partition")
			s.at("27.8s")
			if n := len(s.times(1-hears, "alarm partition")); n != 1 {
				t.Errorf("%d reports", n)
			}
			if v := s.host[A].m.View(); v.Parted != Partition {
				t.Errorf("the view says %v", v.Parted)
			}
			s.at("5m")
			s.is(Backup, Recovered)
			p.lans = []int{A, B}
			s.pass("1s")
			if n := len(s.times(1-hears, "over partition-over")); n != 1 {
				t.Errorf("%d reports of the end", n)
			}
		})
	}
}
