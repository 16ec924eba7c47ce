package grouplock

import (
	"fmt"
	"testing"

	"vrrpd/election"
)

// pair joins two members of one group in this process. The locks belong to the
// open files, so that is as good as two processes.
func pair(t testing.TB, dir string) (a, b *Group, bellsA, bellsB <-chan Bell) {
	t.Helper()
	tt := t.(*testing.T)
	a = mustJoin(tt, testConfig(dir, "g", "a", 2))
	bellsA = listen(tt, a)
	b = mustJoin(tt, testConfig(dir, "g", "b", 2))
	bellsB = listen(tt, b)
	await(tt, bellsA, "b joined", hasJoined("b"))
	return a, b, bellsA, bellsB
}

func TestBoardIsShared(t *testing.T) {
	a, b, bellsA, bellsB := pair(t, runDir(t))
	if a.Slot() != 1 || b.Slot() != 2 {
		t.Errorf("slots %d and %d", a.Slot(), b.Slot())
	}
	w := a.Load()
	if w.State() != election.Held || w.Reason() != election.Startup || w.Epoch() != 1 || w.Slot() != 1 {
		t.Errorf("first word: %v %v epoch %d slot %d", w.State(), w.Reason(), w.Epoch(), w.Slot())
	}
	if since := b.Since(); since != a.own.start {
		t.Errorf("since %d, want the time of the start %d", since, a.own.start)
	}
	next := w.Next(election.Backup, election.Recovered)
	if b.Swap(next, next.Next(election.Prepare, election.MasterTimeout), 5) {
		t.Error("a word that is not the present one was replaced")
	}
	if b.Swap(w, w.Next(election.Backup, election.Recovered).Next(election.Master, 0), 5) {
		t.Error("an epoch was left out")
	}
	if b.Swap(w, election.MakeWord(w.Epoch(), election.Backup, election.Recovered), 5) {
		t.Error("a word was replaced within its epoch")
	}
	if since := a.Since(); since != a.own.start {
		t.Errorf("a lost swap changed the time to %d", since)
	}
	if !b.Swap(w, next, 77) {
		t.Fatal("swap refused")
	}
	if a.Load() != next.WithSlot(2) || a.Since() != 77 || b.Since() != 77 {
		t.Errorf("word %x since %d", a.Load(), a.Since())
	}
	await(t, bellsA, "swap", rang)
	if a.Swap(w, next, 78) || a.Since() != 77 {
		t.Error("the same epoch was won twice")
	}

	old := a.Wishes()
	if old != (election.Wishes{}) {
		t.Errorf("wishes at start: %+v", old)
	}
	wish := election.Wishes{Soft: true, Hold: true, Priority: 254}
	if !a.Wish(old, wish) || b.Wishes() != wish {
		t.Errorf("wishes: %+v", b.Wishes())
	}
	await(t, bellsB, "wish", rang)
	if b.Wish(old, election.Wishes{}) || a.Wishes() != wish {
		t.Error("wishes that are not the present ones were replaced")
	}
}

func TestProcessCountsFromItsFirstPublish(t *testing.T) {
	a, b, bellsA, _ := pair(t, runDir(t))
	if a.Missing() != 1 || b.Missing() != 1 {
		t.Errorf("missing before anything is published: %d, %d", a.Missing(), b.Missing())
	}
	if facts := a.Others(nil); len(facts) != 0 {
		t.Errorf("facts out of nothing: %v", facts)
	}
	b.Publish([]election.Facts{pattern(3)})
	await(t, bellsA, "first publish", rang)
	if a.Missing() != 0 || b.Missing() != 1 {
		t.Errorf("missing: %d, %d", a.Missing(), b.Missing())
	}
	prefix := []election.Facts{pattern(1)}
	if facts := a.Others(prefix); len(facts) != 2 || facts[0] != pattern(1) || facts[1] != pattern(3) {
		t.Errorf("others: %v", facts)
	}
	b.Publish([]election.Facts{pattern(4), pattern(5)}) // one too many
	if facts := a.Others(nil); len(facts) != 1 || facts[0] != pattern(4) {
		t.Errorf("others: %v", facts)
	}
	if s := b.Stats(); s.Dropped != 1 {
		t.Errorf("dropped: %d", s.Dropped)
	}
	b.Publish(nil)
	if facts := a.Others(nil); len(facts) != 0 || a.Missing() != 0 {
		t.Errorf("without virtual routers: %v, missing %d", facts, a.Missing())
	}
	if err := b.Leave(); err != nil {
		t.Fatal(err)
	}
	await(t, bellsA, "b left", hasLeft("b"))
	if a.Missing() != 1 {
		t.Errorf("missing after b left: %d", a.Missing())
	}
}

func TestTooManyIsNegative(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, a)
	for _, instance := range []string{"b", "c"} {
		mustJoin(t, testConfig(dir, "g", instance, 2)).Publish(nil)
		await(t, bells, instance, hasJoined(instance))
	}
	if got := a.Missing(); got != -1 {
		t.Errorf("missing %d with three of two", got)
	}
}

func TestAfterLeaveTheBoardChangesNothing(t *testing.T) {
	a, b, _, _ := pair(t, runDir(t))
	w, wishes := b.Load(), b.Wishes()
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	a.Publish([]election.Facts{pattern(1)})
	a.Ring()
	if a.Swap(w, w.Next(election.Backup, election.Recovered), 5) || a.Wish(wishes, election.Wishes{Hold: true}) {
		t.Error("a process that has left decides")
	}
	if a.Load() != w || b.Load() != w || len(a.Others(nil)) != 0 {
		t.Error("the board does not answer any more")
	}
	if err := a.Leave(); err != nil {
		t.Errorf("second Leave: %v", err)
	}
}

func TestDescribeReplacesTheIdentity(t *testing.T) {
	a, b, _, _ := pair(t, runDir(t))
	id := testIdentity("b")
	id.Frame = []byte("another source address")
	if err := b.Describe(0, id); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Identity("b"); err != nil || len(got) != 1 || !equalIdentity(got[0], id) {
		t.Errorf("identity: %+v, %v", got, err)
	}
	if err := b.Describe(1, id); err == nil {
		t.Error("beyond the capacity")
	}
	if err := b.Describe(0, Identity{}); err == nil {
		t.Error("an empty identity")
	}
	if _, err := a.Identity("nobody"); err == nil {
		t.Error("the identity of nobody")
	}
}

func TestBoardDoesNotAllocate(t *testing.T) {
	a, b, _, _ := pair(t, runDir(t))
	b.Publish([]election.Facts{pattern(1)})
	own := []election.Facts{pattern(1)}
	others := make([]election.Facts, 0, 8)
	var n int64
	for name, f := range map[string]func(){
		"Load":    func() { a.Load() },
		"Since":   func() { a.Since() },
		"Wishes":  func() { a.Wishes() },
		"Missing": func() { a.Missing() },
		"Ring":    func() { a.Ring() },
		"Realise": func() { a.Realise(a.Load()) },
		"Others":  func() { others = a.Others(others[:0]) },
		"Publish": func() {
			n++
			own[0].BeatAt = n
			a.Publish(own)
		},
		"Swap": func() {
			n++
			w := a.Load()
			if !a.Swap(w, w.Next(election.Backup, election.Recovered), n) {
				t.Error("swap refused")
			}
		},
		"Wish": func() {
			w := a.Wishes()
			if !a.Wish(w, election.Wishes{Soft: !w.Soft}) {
				t.Error("wish refused")
			}
		},
	} {
		// The reader of b's bells runs meanwhile and allocates a little now and
		// then; the average is cut to an integer.
		if got := testing.AllocsPerRun(1000, f); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
	if len(others) != 1 {
		t.Errorf("others: %v", others)
	}
}

func BenchmarkBoard(b *testing.B) {
	dir := b.TempDir()
	join := func(instance string) *Group {
		g, err := Join(testConfig(dir, "g", instance, 2))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { g.Leave() })
		return g
	}
	other := join("b")
	other.Publish([]election.Facts{pattern(1)})
	g := join("a")
	own := []election.Facts{pattern(1)}
	others := make([]election.Facts, 0, 8)
	for _, c := range []struct {
		name string
		f    func(i int64)
	}{
		{"Publish/heartbeat", func(i int64) { own[0].BeatAt = i; g.Publish(own) }},
		{"Publish/all", func(i int64) { own[0] = pattern(uint64(i)); g.Publish(own) }},
		{"Publish/same", func(int64) { g.Publish(own) }},
		{"Others", func(int64) { others = g.Others(others[:0]) }},
		{"Load", func(int64) { g.Load() }},
		{"Since", func(int64) { g.Since() }},
		{"Missing", func(int64) { g.Missing() }},
		{"Ring", func(int64) { g.Ring() }},
		{"Swap", func(i int64) {
			w := g.Load()
			if !g.Swap(w, w.Next(election.Backup, 0), i) {
				b.Fatal("swap refused")
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := int64(0)
			for b.Loop() {
				i++
				c.f(i)
			}
		})
	}
	if len(others) > 1 {
		b.Fatal(fmt.Sprint(others))
	}
}
