package grouplock

import (
	"testing"

	"vrrpd/election"
)

// Facts of a process that shares its fate with nobody are published with the heartbeat:
// half an interval old at most. Who comes to share it reads them as soon as it is there.
func TestFactsThatNobodyReads(t *testing.T) {
	dir := runDir(t)
	g := mustJoin(t, testConfig(dir, "g", "a", 1))
	published := func() election.Facts {
		t.Helper()
		var f election.Facts
		if !factsLatch(0).read(g.record, blockOf(&f)[:]) {
			t.Fatal("the facts change all the time")
		}
		return f
	}
	f := pattern(1)
	f.Interval = 1000
	for _, c := range []struct {
		beat election.Time
		want election.Time
	}{{10_000, 10_000}, {10_001, 10_000}, {10_499, 10_000}, {10_500, 10_500}, {10_900, 10_500}, {11_000, 11_000}} {
		f.BeatAt, f.HeardAt = c.beat, c.beat
		g.Publish([]election.Facts{f})
		if got := published(); got.BeatAt != c.want || got.HeardAt != c.want {
			t.Errorf("at %d the facts of %d are published, want those of %d", c.beat, got.BeatAt, c.want)
		}
	}
	// Another number of members is told at once.
	f.BeatAt = 11_001
	g.Publish(nil)
	g.Publish([]election.Facts{f})
	if got := published(); got.BeatAt != 11_001 {
		t.Errorf("after a change of members the facts of %d are published", got.BeatAt)
	}

	// Where others could read them, always.
	a, _, _, _ := pair(t, runDir(t))
	g = a
	for at := election.Time(20_000); at < 20_003; at++ {
		f.BeatAt = at
		a.Publish([]election.Facts{f})
		if got := published(); got.BeatAt != at {
			t.Errorf("at %d the facts of %d are published to others", at, got.BeatAt)
		}
	}
}

func TestForget(t *testing.T) {
	g := mustJoin(t, testConfig(runDir(t), "g", "a", 1))
	if err := g.Describe(0, testIdentity("x")); err != nil {
		t.Fatal(err)
	}
	if _, known, err := readIdentity(g.record, g.own.capacity, 0); !known || err != nil {
		t.Fatalf("described: %t, %v", known, err)
	}
	g.Forget(0)
	g.Forget(g.Capacity()) // beyond it there is nothing to forget
	if id, known, err := readIdentity(g.record, g.own.capacity, 0); known || err != nil {
		t.Errorf("forgotten: %+v, %v", id, err)
	}
}
