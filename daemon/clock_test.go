package daemon

import (
	"testing"
	"time"
)

// When the loop is late, and what it makes of the two clocks.
func TestTurns(t *testing.T) {
	const s = int64(time.Second)
	start := turns{last: 100 * s, slept: 5 * s}
	for _, c := range []struct {
		name      string
		now       int64
		asleep    int64
		late      bool
		suspended time.Duration
	}{
		{"in time", 100*s + s/2, 5 * s, false, 0},
		{"nobody looks at the clocks in time", 100*s + s/2, 500 * s, false, 0},
		{"stopped (SIGSTOP) for a minute", 160 * s, 5 * s, true, 0},
		{"suspended for a minute", 160 * s, 65 * s, true, time.Minute},
		{"suspended for less than an interval, then stopped", 103 * s, 5*s + s/2, true, 0},
		{"stopped and suspended", 110 * s, 8 * s, true, 3 * time.Second},
	} {
		w := start
		late, suspended := w.next(c.now, s, func() int64 { return c.asleep })
		if late != c.late || suspended != c.suspended {
			t.Errorf("%s: late %v, suspended for %v; want %v, %v", c.name, late, suspended, c.late, c.suspended)
		}
		if w.last != c.now {
			t.Errorf("%s: the turn is not remembered", c.name)
		}
		// What was slept is told once.
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
