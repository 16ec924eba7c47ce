package netlab

import (
	"testing"
	"time"
)

// Stalls of several processors at once count once, and what is outside of the time does not
// count.
func TestNoise(t *testing.T) {
	began := time.Now()
	span := func(from, to int) Span {
		at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Millisecond) }
		return Span{From: at(from), To: at(to)}
	}
	var n Noise
	for _, s := range [][2]int{{40, 60}, {10, 30}, {20, 50}, {100, 120}, {105, 110}, {200, 300}} {
		n.note(span(s[0], s[1]))
	}
	for _, c := range []struct {
		from, to      int
		during, worst time.Duration
	}{
		{0, 400, 50 + 20 + 100, 100},
		{0, 10, 0, 0},
		{0, 100, 50, 30},
		{25, 45, 20, 30},
		{108, 250, 12 + 50, 100},
		{60, 100, 0, 0},
		{300, 400, 0, 0},
	} {
		when := span(c.from, c.to)
		if got := n.During(when); got != c.during*time.Millisecond {
			t.Errorf("from %d to %d: %v of stalls, want %d ms", c.from, c.to, got, c.during)
		}
		if got := n.Worst(when); got != c.worst*time.Millisecond {
			t.Errorf("from %d to %d: the worst is %v, want %d ms", c.from, c.to, got, c.worst)
		}
	}
}
