package election

import (
	"fmt"
	"testing"
	"time"
)

// The state tables of RFC 3768 and RFC 9568 section 6.4, row by row, for a
// machine with one member. Where group.md deviates, the test states our rule
// and names the line.

// versions plays the row for VRRPv2 and VRRPv3.
func versions(t *testing.T, u setup, row func(*testing.T, *scene)) {
	for _, v := range []uint8{2, 3} {
		t.Run(fmt.Sprintf("v%d", v), func(t *testing.T) {
			u := u
			u.version, u.alone = v, true
			row(t, u.open(t, 1))
		})
	}
}

// --- Initialize ---

// Startup, priority 255. RFC: advert at once, MASTER. group.md OWNER: "255 =
// highest priority only [...] Starts like any other."
func TestInitializeStartupOwner(t *testing.T) {
	versions(t, setup{priority: 255}, func(t *testing.T, s *scene) {
		s.is(Held, Startup)
		s.did(A, "INIT>HELD startup", "hook down startup")
		s.at("2s")
		s.is(Backup, Recovered)
		s.at("3.00390624s")
		s.is(Backup, Recovered)
		s.at("3.00390625s")
		s.is(Master, MasterTimeout)
	})
}

// Startup, any other priority: master-down timer starts, BACKUP. group.md HELD:
// "boot: hold_until=now+2 iv, that member's down_at=now+down (runs in parallel)".
func TestInitializeStartupBackup(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.is(Held, Startup)
		s.at("1.999999999s")
		s.is(Held, Startup)
		s.at("2s")
		s.is(Backup, Recovered)
		if got := s.host[A].m.MasterDown(0); got != 3609375*time.Microsecond {
			t.Errorf("the interval is initialised to our own: master-down interval %v", got)
		}
		s.at("3.609375s")
		s.is(Master, MasterTimeout)
	})
}

// Any other event before Startup is ignored and never panics.
func TestInitializeIgnoresEverythingElse(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		m := New(Config{}, new(LocalBoard), []Router{s.router(A)})
		for k := EventKind(0); k <= EvStop+1; k++ {
			if acts := m.Step(s.now, []Event{{Kind: k, Priority: 200}}, nil); len(acts) != 0 {
				t.Errorf("event %d before Startup: %v", k, acts)
			}
		}
		if w := m.View().Word; w.State() != Init {
			t.Errorf("state %v before Startup", w.State())
		}
	})
}

// --- Backup ---

// Shutdown: the timer is cancelled, no packet is sent.
func TestBackupShutdown(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.peer(200, high, A)
		s.at("5s")
		s.is(Backup, Recovered)
		s.fresh()
		s.post(A, Event{Kind: EvStop})
		s.did(A, "BACKUP>HELD stop", "exit")
		s.pass("60s")
		s.did(A, "BACKUP>HELD stop", "exit")
	})
}

// The timer fires: advert, gratuitous ARP, adverts every interval, MASTER.
func TestBackupTimerFires(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, high, A)
		s.at("5s")
		p.quiet()
		s.fresh()
		s.at("8.609374999s")
		s.is(Backup, Recovered)
		s.did(A)
		s.at("8.609375s")
		s.is(Master, MasterTimeout)
		s.did(A, "BACKUP>MASTER master-timeout", "advert 100", "promote", "announce", "hook up master-timeout")
		s.fresh()
		s.pass("2.5s")
		s.timed(A, "advert 100", "1s", "2s")
	})
}

// An advert of priority 0: the timer is set to the skew time. (group.md asks
// the other LANs meanwhile; with one member there are none.)
func TestBackupPriorityZero(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		p := s.peer(200, high, A)
		s.at("5.5s")
		p.resign(A)
		s.at("6.109374999s")
		s.is(Backup, Recovered)
		s.at("6.109375s")
		s.is(Master, MasterResigned)
	})
}

// Priority 0 of somebody whom we do not follow: group.md RX in BACKUP, "else:
// down_at=min(down_at, now+lrn+skew)"; the master that we know may speak. It may also
// hang, and then its lease, of two intervals, has to end first.
func TestBackupPriorityZeroOfAStranger(t *testing.T) {
	t.Run("the master goes on", func(t *testing.T) {
		versions(t, setup{}, func(t *testing.T, s *scene) {
			s.peer(200, high, A)
			s.at("5.5s")
			s.hear(A, 0, low)
			s.at("20s")
			s.is(Backup, Recovered)
		})
	})
	t.Run("the master is silent", func(t *testing.T) {
		versions(t, setup{}, func(t *testing.T, s *scene) {
			p := s.peer(200, high, A)
			s.at("5.5s")
			p.quiet()
			s.hear(A, 0, low)
			s.at("7.109374999s")
			s.is(Backup, Recovered)
			s.at("7.109375s")
			s.is(Master, MasterTimeout)
		})
	})
	t.Run("the master hangs just then", func(t *testing.T) {
		versions(t, setup{}, func(t *testing.T, s *scene) {
			p := s.peer(200, high, A)
			s.at("5.5s")
			p.quiet()
			s.hear(A, 200, high)
			s.hear(A, 0, low)
			s.at("7.499999999s")
			s.is(Backup, Recovered)
			s.at("7.5s")
			s.is(Master, MasterTimeout)
		})
	})
}

// In v3 the skew time is that of the learned interval, in v2 it never changes.
func TestBackupPriorityZeroUsesTheLearnedInterval(t *testing.T) {
	for version, want := range map[uint8]string{2: "609.375ms", 3: "6.09375s"} {
		s := setup{version: version, alone: true}.open(t, 1)
		s.at("3s")
		e := s.advert(A, 200, high)
		e.Interval = 10 * time.Second
		s.post(A, e)
		s.at("3.5s")
		s.hear(A, 0, high)
		s.run(epoch + 3500*ms + int64(duration(t, want)) - 1)
		s.is(Backup, Recovered)
		s.run(s.now + 1)
		s.is(Master, MasterResigned)
	}
}

// Preempt=False or adv.prio >= local: the timer restarts.
func TestBackupAcceptsAdvert(t *testing.T) {
	for _, c := range []struct {
		name string
		u    setup
		prio uint8
	}{
		{"higher priority", setup{}, 101},
		{"equal priority, lower address", setup{}, 100}, // no tie-break in BACKUP
		{"no preemption, lower priority", setup{noPreempt: true}, 1},
		{"owner against owner", setup{priority: 255}, 255},
	} {
		t.Run(c.name, func(t *testing.T) {
			versions(t, c.u, func(t *testing.T, s *scene) {
				down := s.host[A].m.MasterDown(0)
				s.at("2.9s")
				s.hear(A, c.prio, low)
				s.run(epoch + 2900*ms + int64(down) - 1)
				s.is(Backup, Recovered)
				s.run(s.now + 1)
				s.is(Master, MasterTimeout)
			})
		})
	}
}

// The accepted advert teaches its interval in v3; in v2 it never does.
func TestBackupLearnsTheInterval(t *testing.T) {
	for version, want := range map[uint8]time.Duration{2: 3609375 * time.Microsecond, 3: 36093750 * time.Microsecond} {
		s := setup{version: version, alone: true}.open(t, 1)
		s.at("3s")
		e := s.advert(A, 200, high)
		e.Interval = 10 * time.Second
		s.post(A, e)
		if got := s.host[A].m.MasterDown(0); got != want {
			t.Errorf("v%d: master-down interval %v, want %v", version, got, want)
		}
		s.run(epoch + 3000*ms + int64(want) - 1)
		s.is(Backup, Recovered)
		s.run(s.now + 1)
		s.is(Master, MasterTimeout)
		// "Active's Adver_Timer: own Advertisement_Interval, never the learned".
		s.fresh()
		s.pass("2.5s")
		s.timed(A, "advert 100", "1s", "2s")
		// As MASTER the interval of the master is our own.
		if got := s.host[A].m.MasterDown(0); got != 3609375*time.Microsecond {
			t.Errorf("v%d: master-down interval %v", version, got)
		}
	}
}

// An echo of our own priority 0 is no master that resigns.
func TestBackupHearsItsOwnPriorityZero(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.at("2.1s")
		s.hear(A, 0, own)
		s.at("3.609374999s")
		s.is(Backup, Recovered)
		s.at("3.609375s")
		s.is(Master, MasterTimeout)
	})
}

// Preempt=True and adv.prio < local: the advert is discarded, the timer keeps
// running, and nothing is learned.
func TestBackupDiscardsInferiorAdvert(t *testing.T) {
	for _, u := range []setup{{}, {priority: 255, noPreempt: true}} { // the owner always preempts
		t.Run(fmt.Sprintf("priority %d", u.priority), func(t *testing.T) {
			versions(t, u, func(t *testing.T, s *scene) {
				down := s.host[A].m.MasterDown(0)
				s.at("2.9s")
				e := s.advert(A, 99, high)
				e.Interval = 40 * time.Second
				s.post(A, e)
				if got := s.host[A].m.MasterDown(0); got != down {
					t.Errorf("a discarded advert was learned: %v", got)
				}
				s.run(epoch + int64(down) - 1)
				s.is(Backup, Recovered)
				s.run(epoch + int64(down))
				s.is(Master, Preempted)
			})
		})
	}
}

// --- Active (MASTER) ---

// Shutdown: priority 0, the adverts end. group.md LINGER: it is repeated at
// 0.05 and 0.2 intervals, and the machine serves until a successor speaks or
// max skew(v,1) + 20 ms have passed.
func TestActiveShutdown(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.post(A, Event{Kind: EvStop})
		s.is(Linger, Stop)
		s.did(A, "MASTER>LINGER stop", "resign")
		s.pass("1.066093749s")
		s.is(Linger, Stop)
		s.timed(A, "resign", "0s", "50ms", "200ms")
		s.fresh()
		s.pass("1us")
		s.is(Held, NoSuccessor)
		s.did(A, "LINGER>HELD no-successor", "close", "resign", "demote", "own", "hook down no-successor", "exit")
		s.pass("60s")
		if n := len(s.times(A, "advert 100")); n != 0 {
			t.Errorf("%d adverts after Shutdown", n)
		}
	})
}

// The advert timer fires: advert, every interval.
func TestActiveAdvertTimer(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.609375s")
		s.is(Master, MasterTimeout)
		s.fresh()
		s.pass("999.999999ms")
		s.did(A)
		s.pass("1ns")
		s.did(A, "advert 100")
		s.pass("3s")
		s.did(A, "advert 100", "advert 100", "advert 100", "advert 100")
	})
}

// Priority 0: advert at once. RFC restarts the timer; group.md MASTER: "adverts
// every iv on one common grid", so the grid stays.
func TestActivePriorityZero(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.609375s")
		s.fresh()
		s.pass("600ms")
		s.did(A)
		s.hear(A, 0, high)
		s.did(A, "advert 100")
		s.is(Master, MasterTimeout)
		s.pass("1s")
		s.timed(A, "advert 100", "600ms", "1s")
	})
}

// A higher priority, or the same from a higher address (unsigned, network
// order): BACKUP, the timer starts, nothing is sent.
func TestActiveYields(t *testing.T) {
	for _, c := range []struct {
		name string
		prio uint8
		last byte
		why  Reason
	}{
		{"higher priority, lower address", 101, low, SuperiorAdvert},
		{"higher priority, higher address", 101, high, SuperiorAdvert},
		{"same priority, higher address", 100, high, TieLost},
		{"same priority, address above 127", 100, 200, TieLost},
		{"owner", 255, low, SuperiorAdvert},
	} {
		t.Run(c.name, func(t *testing.T) {
			versions(t, setup{noPreempt: true}, func(t *testing.T, s *scene) {
				// "Preempt_Mode is not consulted in Active."
				s.master()
				s.hear(A, c.prio, c.last)
				s.is(Backup, c.why)
				want := []string{"MASTER>BACKUP " + c.why.String(), "close", "demote", "own", "hook down " + c.why.String()}
				if c.why == TieLost {
					want = append([]string{"alarm same-priority-peer"}, want...)
				}
				s.did(A, want...)
				left := s.now
				s.run(left + 3609375*ms/1000 - 1)
				s.is(Backup, c.why)
				if n := len(s.times(A, "resign")); n != 0 {
					t.Errorf("%d times priority 0 to a LAN that has a master", n)
				}
				s.run(left + 3609375*ms/1000)
				s.is(Master, MasterTimeout)
			})
		})
	}
}

// Yielding, v3 learns the new master's interval.
func TestActiveYieldsAndLearns(t *testing.T) {
	for version, want := range map[uint8]time.Duration{2: 3609375 * time.Microsecond, 3: 36093750 * time.Microsecond} {
		s := setup{version: version, alone: true}.open(t, 1)
		s.master()
		e := s.advert(A, 200, high)
		e.Interval = 10 * time.Second
		s.post(A, e)
		s.is(Backup, SuperiorAdvert)
		s.run(s.now + int64(want) - 1)
		s.is(Backup, SuperiorAdvert)
		s.run(s.now + 1)
		s.is(Master, MasterTimeout)
	}
}

// Otherwise: discard, advert at once (RFC 9568; group.md: "v2 too"), and the
// timer is not reset.
func TestActiveIgnoresInferior(t *testing.T) {
	for _, c := range []struct {
		name string
		prio uint8
		last byte
	}{
		{"lower priority, higher address", 99, high},
		{"same priority, lower address", 100, low},
	} {
		t.Run(c.name, func(t *testing.T) {
			versions(t, setup{}, func(t *testing.T, s *scene) {
				s.at("3.609375s")
				s.fresh()
				s.pass("600ms")
				s.hear(A, c.prio, c.last)
				s.is(Master, MasterTimeout)
				s.did(A, "advert 100", "announce")
				s.pass("1s")
				s.timed(A, "advert 100", "600ms", "1s")
				if got := s.facts(A).Learned; got != int64(time.Second) {
					t.Errorf("a discarded advert was learned: %v", time.Duration(got))
				}
			})
		})
	}
}

// Two masters that ignore each other must not storm: at most four immediate
// adverts per interval, whatever arrives.
func TestActiveNeverStorms(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.at("3.609375s")
		s.fresh()
		for range 1000 {
			s.pass("1ms")
			s.hear(A, 50, low)
			s.hear(A, 0, high)
		}
		s.timed(A, "advert 100", "1ms", "1ms", "2ms", "2ms", "1s")
		s.timed(A, "announce", "1ms")
	})
}

// Our own source address, whatever the priority: neither a reason to yield nor
// to answer. group.md RX in MASTER: "Same addr as ours: ignore, alarm."
func TestActiveHearsItself(t *testing.T) {
	versions(t, setup{}, func(t *testing.T, s *scene) {
		s.master()
		s.hear(A, 100, own)
		s.hear(A, 254, own)
		s.hear(A, 0, own)
		s.is(Master, MasterTimeout)
		s.did(A, "alarm own-address-heard")
	})
}
