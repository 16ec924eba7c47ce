package vrrp

import (
	"errors"
	"testing"
)

func next(t *testing.T, a *Auth, s *Sequence, clock Stamp) uint64 {
	t.Helper()
	n, err := a.Next(s, clock)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTrailerNumbers(t *testing.T) {
	timed, monotonic := mustAuth(t, signing(byTime)), mustAuth(t, signing())
	var s Sequence
	now := StampOf(1_800_000_000, 500_000_000)
	if uint64(now) != 1_800_000_000<<32|0x8000<<16 {
		t.Fatalf("%x", uint64(now))
	}
	for i, c := range []struct {
		auth  *Auth
		clock Stamp
		want  Stamp
	}{
		{timed, now, now},         // the clock
		{timed, now, now + 1},     // which has not moved on: the counter
		{timed, now - 1, now + 2}, // and may even be set back a little
		{timed, now + 5, now + 5},
		{timed, now - 4*second, now + 6}, // within the window: go on
		{timed, now - 6*second, now - 6*second},
		{monotonic, now - 3600*second, now - 6*second + 1}, // never back
		{monotonic, now, now},
	} {
		if got := Stamp(next(t, c.auth, &s, c.clock)); got != c.want {
			t.Errorf("step %d: %x, want %x", i, got, c.want)
		}
	}
	// The counter carries into the fraction.
	s.Last = uint64(now | 0xffff)
	if got := next(t, timed, &s, now); got != uint64(now+0x10000) {
		t.Errorf("%x", got)
	}
}

// Whenever a process is killed, whatever its successor begins with comes after all
// that was sent, and after what was signed in advance for its death.
func TestNumbersAreNotUsedTwice(t *testing.T) {
	now := StampOf(1_800_000_000, 0)
	for name, c := range map[string]struct {
		auth *Auth
		tick Stamp // of the clock between two packets
	}{
		"ah at a stopped clock":         {mustAuth(t, ahKey), 0},
		"ah":                            {mustAuth(t, ahKey), second},
		"hmac":                          {mustAuth(t, signing(byTime)), second / 10},
		"hmac at a stopped clock":       {mustAuth(t, signing(byTime)), 0},
		"hmac monotonic":                {mustAuth(t, signing()), second / 100},
		"hmac with the smallest window": {mustAuth(t, signing(byTime, func(c *AuthConfig) { c.Window = 1 })), second / 10},
	} {
		var stored, highest uint64
		clock, renewals, packets := now, 0, 0
		for range 20 { // lives
			var s Sequence
			c.auth.Begin(&s, stored, clock)
			for range 700 {
				n := next(t, c.auth, &s, clock)
				packets++
				if n <= highest {
					t.Fatalf("%s: %x after %x", name, n, highest)
				}
				highest = n
				if c.auth.Spent(&s, clock) {
					stored = c.auth.Renew(&s, clock)
					renewals++
				}
				if s.Reserve <= n {
					t.Fatalf("%s: %x is beyond the reserve %x", name, n, s.Reserve)
				}
				clock += c.tick
			}
			highest = max(highest, s.Reserve) // the last word of the dead
			if c.auth.Kind() == TrailerAuth && Stamp(highest).away(clock) > 3 {
				t.Fatalf("%s: the last word would be stale: %x at %x", name, highest, uint64(clock))
			}
			clock += c.tick
		}
		if renewals > packets/4 {
			t.Errorf("%s: %d renewals for %d packets", name, renewals, packets)
		}
	}
}

func TestHeaderNumbers(t *testing.T) {
	a := mustAuth(t, ahKey)
	var s Sequence
	a.Begin(&s, 0, StampOf(1_800_000_000, 0))
	if n := next(t, a, &s, 0); n != 1_800_000_001 {
		t.Errorf("%d", n)
	}
	// keepalived wants us above the last number of anybody.
	a.Heard(&s, 1_900_000_000)
	if n := next(t, a, &s, 0); n != 1_900_000_001 {
		t.Errorf("%d", n)
	}
	a.Heard(&s, 5)
	if n := next(t, a, &s, 0); n != 1_900_000_002 {
		t.Errorf("%d", n)
	}
	// It never starts again from zero.
	a.Heard(&s, 1<<32-3)
	if n := next(t, a, &s, 0); n != 1<<32-2 {
		t.Errorf("%d", n)
	}
	if n, err := a.Next(&s, 0); !errors.Is(err, ErrUsedUp) {
		t.Errorf("%d, %v", n, err)
	}
	// A trailer is deaf to that: its numbers are its own clock.
	h := mustAuth(t, signing(byTime))
	var own Sequence
	h.Heard(&own, 1<<63)
	if n := next(t, h, &own, StampOf(9, 0)); n != 9<<32 {
		t.Errorf("%x", n)
	}
}
