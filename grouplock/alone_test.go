package grouplock

import (
	"testing"

	"vrrpd/election"
)

// Facts of a process that shares its fate with nobody are published with the heartbeat:
// half an interval old at most, or as old as the last adverts. Who comes to share it reads
// them as soon as it is there.
func TestFactsThatNobodyReads(t *testing.T) {
	dir := runDir(t)
	cfg := testConfig(dir, "g", "a", 1)
	cfg.Capacity = 2
	g := mustJoin(t, cfg)
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
		beat, want, sent election.Time
	}{
		{beat: 10_000, want: 10_000}, {beat: 10_001, want: 10_000}, {beat: 10_499, want: 10_000},
		{beat: 10_500, want: 10_500}, {beat: 10_900, want: 10_500}, {beat: 11_000, want: 11_000},
		// Who serves publishes when it has spoken.
		{beat: 12_000, want: 12_000, sent: 11_999}, {beat: 12_999, want: 12_000, sent: 11_999},
		{beat: 13_001, want: 13_001, sent: 13_000}, {beat: 14_000, want: 13_001, sent: 13_000},
		// One that cannot speak is as one that does not serve.
		{beat: 14_001, want: 14_001, sent: 13_000}, {beat: 14_502, want: 14_502, sent: 13_000},
		{beat: 15_001, want: 14_502, sent: 13_000}, {beat: 15_003, want: 15_003, sent: 13_000},
	} {
		f.BeatAt, f.HeardAt, f.SentAt = c.beat, c.beat, c.sent
		g.Publish([]election.Facts{f})
		if got := published(); got.BeatAt != c.want || got.HeardAt != c.want {
			t.Errorf("at %d the facts of %d are published, want those of %d", c.beat, got.BeatAt, c.want)
		}
	}
	// That another virtual router has spoken since is published in time for its lease.
	first, second := f, f
	for _, c := range []struct{ beat, sent, want election.Time }{
		{17_000, 16_000, 17_000}, {17_400, 17_200, 17_000}, {17_800, 17_200, 17_800},
	} {
		first.BeatAt, first.HeardAt, first.SentAt = c.beat, c.beat, 16_999
		second.SentAt = c.sent
		g.Publish([]election.Facts{first, second})
		if got := published(); got.BeatAt != c.want {
			t.Errorf("at %d the facts of %d are published, want those of %d", c.beat, got.BeatAt, c.want)
		}
	}
	// Another number of members is told at once.
	f.BeatAt = 18_001
	g.Publish(nil)
	g.Publish([]election.Facts{f})
	if got := published(); got.BeatAt != 18_001 {
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
