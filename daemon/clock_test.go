package daemon

import (
	"testing"
	"time"
)

// When the loop is late, and what it makes of the two clocks.
func TestTurns(t *testing.T) {
	const s = int64(time.Second)
	// The turn is due half a second after the last one, and the sockets have been looked
	// into, or something has happened before.
	inTime := turns{last: 100 * s, looked: 100*s + s/2, due: 100*s + s/2, slept: 5 * s}
	early := turns{last: 100 * s, looked: 100*s + s/10, due: 101 * s, slept: 5 * s}
	for _, c := range []struct {
		name      string
		turns     turns
		now       int64
		asleep    int64
		late      bool
		suspended time.Duration
	}{
		{"in time", inTime, 100*s + s/2 + 1, 5 * s, false, 0},
		{"nobody looks at the clocks in time", inTime, 100*s + s/2 + 1, 500 * s, false, 0},
		{"an event long after the last turn", turns{last: 100 * s, looked: 103 * s, due: 104 * s}, 103*s + 1, 0, false, 0},
		{"stopped (SIGSTOP) for a minute, asleep", turns{last: 100 * s, looked: 160 * s, due: 100*s + s/2, slept: 5 * s}, 160*s + 1, 5 * s, true, 0},
		{"stopped for a minute, after the sockets", inTime, 160 * s, 5 * s, true, 0},
		{"stopped for half an interval, after the sockets", early, 100*s + 6*s/10, 5 * s, true, 0},
		{"suspended for a minute", inTime, 160 * s, 65 * s, true, time.Minute},
		{"suspended for less than an interval, then stopped", inTime, 103 * s, 5*s + s/2, true, 0},
		{"stopped and suspended", inTime, 110 * s, 8 * s, true, 3 * time.Second},
	} {
		w := c.turns
		late, suspended := w.next(c.now, s, func() int64 { return c.asleep })
		if late != c.late || suspended != c.suspended {
			t.Errorf("%s: late %v, suspended for %v; want %v, %v", c.name, late, suspended, c.late, c.suspended)
		}
		if w.last != c.now {
			t.Errorf("%s: the turn is not remembered", c.name)
		}
		// It is told once: the steps of one turn are not late because it is, and what was
		// slept is known.
		if late, _ := w.next(c.now+1, s, func() int64 { return c.asleep }); late {
			t.Errorf("%s: late again", c.name)
		}
		if _, again := w.next(c.now+2*s, s, func() int64 { return c.asleep }); c.late && again != 0 {
			t.Errorf("%s: told again: %v", c.name, again)
		}
	}
}

// The two real clocks differ by the time for which this machine was suspended,
// which does not grow while a test runs.
func TestAsleep(t *testing.T) {
	first := asleep()
	for range 1000 {
		if d := asleep() - first; d < -2*int64(time.Millisecond) || d > 2*int64(time.Millisecond) {
			t.Fatalf("awake, and %v more slept", time.Duration(d))
		}
	}
}
