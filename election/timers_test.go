package election

import (
	"net/netip"
	"testing"
	"time"
)

// The timers of RFC 3768 section 6.1 and RFC 9568 section 6.1, exact to the
// nanosecond.
func TestTimersAreExact(t *testing.T) {
	const (
		us = time.Microsecond
		s  = time.Second
	)
	for _, c := range []struct {
		version, priority uint8
		interval          time.Duration
		skew, down        time.Duration
	}{
		// The examples of rfc-checklist section 3.
		{2, 100, s, 609375 * us, 3609375 * us},
		{2, 254, s, 7812500, 3007812500},
		{3, 100, s, 609375 * us, 3609375 * us},
		{3, 254, 10 * time.Millisecond, 78125, 30078125},
		{3, 1, 40950 * time.Millisecond, 40790039062, 163640039062}, // .5 ns are cut

		// The corners.
		{2, 1, s, 996093750, 3996093750},
		{2, 255, s, 3906250, 3003906250},
		{3, 1, 10 * time.Millisecond, 9960937, 39960937},
		{3, 100, 10 * time.Millisecond, 6093750, 36093750},
		{3, 255, 10 * time.Millisecond, 39062, 30039062},
		{3, 100, 40950 * time.Millisecond, 24953906250, 147803906250},
		{3, 254, 40950 * time.Millisecond, 319921875, 123169921875},
		{3, 255, 40950 * time.Millisecond, 159960937, 123009960937},

		// In v2 the skew time does not scale with the interval.
		{2, 100, 255 * s, 609375 * us, 765609375 * us},
		{2, 100, 100 * time.Millisecond, 609375 * us, 909375 * us},
	} {
		if got := SkewTime(c.version, c.priority, c.interval); got != c.skew {
			t.Errorf("v%d priority %d interval %v: skew time %d ns, want %d", c.version, c.priority, c.interval, got, c.skew)
		}
		if got := MasterDownInterval(c.version, c.priority, c.interval); got != c.down {
			t.Errorf("v%d priority %d interval %v: master-down interval %d ns, want %d", c.version, c.priority, c.interval, got, c.down)
		}
	}
}

// A machine that hears nobody takes over exactly when its master-down timer
// fires, and not a nanosecond before.
func TestMasterDownTimerFiresExactly(t *testing.T) {
	for _, c := range []struct {
		version, priority uint8
		interval          time.Duration
		down              string
	}{
		{2, 100, time.Second, "3.609375s"},
		{2, 254, time.Second, "3.0078125s"},
		{2, 255, time.Second, "3.00390625s"},
		{3, 254, 10 * time.Millisecond, "30.078125ms"},
		{3, 1, 40950 * time.Millisecond, "2m43.640039062s"},
	} {
		s := setup{version: c.version, priority: c.priority, interval: c.interval}.open(t, 1)
		down := duration(t, c.down)
		s.run(epoch + int64(down) - 1)
		s.is(Backup, Recovered)
		s.run(epoch + int64(down))
		s.is(Master, MasterTimeout)
	}
}

// Two processes that look in the same moment, and do not see that of each other,
// take over as soon as the doorbell has rung.
func TestMasterDownTimerOfTwoProcesses(t *testing.T) {
	s := setup{}.open(t, 2)
	s.at("3.609374999s")
	s.now++
	board := &meanwhile{seat: s.host[A].seat, do: func() { s.host[B].step() }}
	s.host[A].m.board = board
	s.host[A].step()
	s.host[A].m.board = board.seat
	s.is(Backup, Recovered)
	s.obeyed()
	s.is(Master, MasterTimeout)
}

// The lease is shorter than any peer's master-down interval; below 100 ms it is
// three intervals, where stalls are normal.
func TestLeaseSpan(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		config   int
		want     time.Duration
	}{
		{time.Second, 0, 2 * time.Second},
		{100 * time.Millisecond, 0, 200 * time.Millisecond},
		{99 * time.Millisecond, 0, 297 * time.Millisecond},
		{10 * time.Millisecond, 0, 30 * time.Millisecond},
		{time.Second, 3, 3 * time.Second},
		{10 * time.Millisecond, 2, 20 * time.Millisecond},
	} {
		m := New(Config{LeaseIntervals: c.config}, new(LocalBoard), []Router{{Version: 3, Priority: 100, Interval: c.interval}})
		if got := m.lease(); got != c.want {
			t.Errorf("interval %v, configured %d: lease %v, want %v", c.interval, c.config, got, c.want)
		}
	}
}

// Every advert carries the lease that it opens.
func TestAdvertsCarryTheLease(t *testing.T) {
	s := setup{}.open(t, 1)
	s.at("5s")
	for _, e := range s.host[A].log {
		want := 2 * time.Second
		if e.text == "resign" {
			want = 0
		}
		if e.act.Kind == DoAdvert && e.act.Lease != want {
			t.Errorf("%s has a lease of %v, want %v", e.text, e.act.Lease, want)
		}
	}
	if f := s.facts(A); f.LeaseAt != f.SentAt+2*int64(time.Second) {
		t.Errorf("sent at %d, lease until %d", f.SentAt, f.LeaseAt)
	}
}

// Adverts lie on one grid that begins with the epoch, whatever else happens.
func TestAdvertGrid(t *testing.T) {
	layouts(t, setup{version: 3}, func(t *testing.T, s *scene) {
		s.at("3.609375s")
		s.is(Master, MasterTimeout)
		s.fresh()
		s.obeyed()
		s.forget() // of two processes either may be the one that promotes
		s.pass("499.7ms")
		s.hear(A, 50, low) // answered at once, off the grid
		s.pass("3s")
		s.timed(A, "advert 100", "500ms", "1s", "2s", "3s")
		for _, lan := range []int{A, B} {
			for _, at := range s.times(lan, "advert 100") {
				if at != 500*time.Millisecond && lan == A && at%time.Second > 2*s.bell {
					t.Errorf("LAN %c: advert at %v", 'A'+lan, at)
				}
			}
		}
	})
}

func TestAddr16(t *testing.T) {
	for _, s := range []string{"192.0.2.1", "2001:db8::1", "fe80::1"} {
		a := netip.MustParseAddr(s)
		if got := AddrFrom(a).Addr(); got != a {
			t.Errorf("%v becomes %v", a, got)
		}
	}
	if AddrFrom(netip.Addr{}) != (Addr16{}) || (Addr16{}).Addr().IsValid() {
		t.Error("no address must stay none")
	}
	lower, higher := AddrFrom(netip.MustParseAddr("192.0.2.9")), AddrFrom(netip.MustParseAddr("192.0.2.200"))
	if lower.Compare(higher) >= 0 || higher.Compare(lower) <= 0 || lower.Compare(lower) != 0 {
		t.Error("addresses are ordered as unsigned numbers")
	}
}
