package main

import (
	"slices"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// An advert that is missing, or late by more than an interval, is late at each point that
// it has missed; those that come within the jitter are on time.
func TestLateOnGrid(t *testing.T) {
	const iv = 10 * time.Millisecond
	begin := time.Unix(1000, 7_300_000)
	var at []time.Time
	for n := range 50 {
		when := begin.Add(time.Duration(n)*iv + time.Duration(n%3)*30*time.Microsecond)
		switch n {
		case 10:
			when = when.Add(4 * time.Millisecond)
		case 20, 21:
			continue
		case 22:
			when = when.Add(5 * time.Millisecond)
		}
		at = append(at, when)
	}
	late := lateOnGrid(at, iv, begin.Add(-time.Microsecond), begin.Add(40*iv+time.Microsecond))
	if len(late) != 41 {
		t.Fatalf("%d points, want 41", len(late))
	}
	for n, l := range late {
		want := map[int]time.Duration{10: 4 * time.Millisecond, 20: 25 * time.Millisecond, 21: 15 * time.Millisecond, 22: 5 * time.Millisecond}[n]
		if l < want || l > want+jitter {
			t.Errorf("point %d: late by %v, want %v", n, l, want)
		}
	}
	if late := lateOnGrid(at, iv, begin, begin.Add(60*iv)); late[len(late)-1] != never {
		t.Errorf("after the last advert: %v", late)
	}
	// The interval's circle begins within the jitter of those that are on time.
	at = nil
	for n := range 50 {
		at = append(at, time.Unix(1000, 0).Add(time.Duration(n)*iv+time.Duration(n%5-2)*10*time.Microsecond))
	}
	if late := lateOnGrid(at, iv, at[1], at[49]); slices.Max(late) > jitter {
		t.Errorf("around a full interval: %v", late)
	}
}

func TestDelays(t *testing.T) {
	var s sample
	for n := range 2000 {
		s = append(s, time.Duration(2000-n)*time.Millisecond)
	}
	if got, want := delaysOf(s), (delays{2000, time.Second, 1980 * time.Millisecond, 1998 * time.Millisecond, 2 * time.Second}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if delaysOf(nil).text() != "–" || delaysOf(sample{never}).text() != "never / never / never / never" {
		t.Errorf("nothing, and never: %s, %s", delaysOf(nil).text(), delaysOf(sample{never}).text())
	}
}

func TestLateByRouterNeedsAdverts(t *testing.T) {
	if late := lateByRouter([]netlab.Frame{{}, {}}, time.Second, time.Now()); late != nil {
		t.Errorf("of what is no advert: %v", late)
	}
}

func TestLateText(t *testing.T) {
	r := figuresForTest()
	r.Late = []lateness{
		{Moment: lateQuiet, Routers: 1000, Adverts: delays{2000, 30000, 1e6, 2e6, 3e6}, Floor: delays{2001, 20000, 1e6, 1e6, 1e6}},
		{Moment: latePromotion, Routers: 1000, Realtime: 5, Asked: 1400, Adverts: delays{1500, 0, 0, 0, never}, Floor: delays{1, 0, 0, 0, 0}, Crowd: delays{9, 1e5, 2e5, 3e5, 4e5}},
	}
	wants(t, document(r),
		"every\n10ms, and a crowd of 1000,",
		"| nothing happens | 2000 | 0.03 / 1.00 / 2.00 / 3.00 | 0.02 / 1.00 / 1.00 / 1.00 | – | 0 |",
		"virtual routers, `--realtime 5` | 1500 | 0.00 / 0.00 / 0.00 / never | 0.00 / 0.00 / 0.00 / 0.00 | 0.10 / 0.20 / 0.30 / 0.40 | 1400 |")
}
