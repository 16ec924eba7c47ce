package grouplock

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

// inherited are descriptors as the next program has them: of the same open files.
func inherited(t *testing.T, g *Group) Kept {
	t.Helper()
	k := g.Keep()
	for _, fd := range []*int{&k.Member, &k.Shared, &k.Doorbell} {
		d, err := unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, 100)
		if err != nil {
			t.Fatal(err)
		}
		*fd = d
	}
	return k
}

// Whoever goes on in the place of a process has what that one had; the others notice
// nothing, see what it says from then on, and are seen.
func TestAdopt(t *testing.T) {
	dir := runDir(t)
	cfg := testConfig(dir, "g", "a", 2)
	cfg.Capacity = 3
	a := mustJoin(t, cfg)
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	bells := listen(t, b)
	facts := func(n int64) []election.Facts {
		f := make([]election.Facts, 2)
		for i := range f {
			f[i] = election.Facts{Interval: 5, Priority: 100, BeatAt: n, DownAt: n * int64(i), SentAt: n % 2, VRID: uint8(i)}
		}
		return f
	}
	for n := int64(1); n <= 3; n++ {
		a.Publish(facts(n))
	}
	w := a.Load()
	if !a.Swap(w, w.Next(election.Master, election.MasterTimeout), 5) {
		t.Fatal("swap refused")
	}
	a.Wish(a.Wishes(), election.Wishes{Soft: true, Priority: 9})
	a.Realise(a.Load())

	k := inherited(t, a)
	next, err := Adopt(cfg, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Leave() })
	if next.Load() != a.Load() || next.Since() != a.Since() || next.Wishes() != a.Wishes() || next.Slot() != a.Slot() || next.Capacity() != 3 {
		t.Errorf("it found %v %+v in slot %d", next.Load(), next.Wishes(), next.Slot())
	}
	if m := next.Members(); len(m) != 1 || m[0].Instance != "b" || m[0].Status != Alive {
		t.Errorf("members: %+v", m)
	}
	listen(t, next)
	// Words that were not zero before and are now, too, reach the others.
	for n := int64(4); n <= 9; n++ {
		want := facts(n)
		want[1].DownAt *= n % 2
		next.Publish(want)
		if got := b.Others(nil); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Fatalf("the other sees %+v, want %+v", got, want)
		}
	}
	w = next.Load()
	if !next.Swap(w, w.Next(election.Held, election.LinkDown), 7) || b.Load() != next.Load() {
		t.Error("its swap is not seen")
	}
	var busy *BusyError
	if _, err := Join(cfg); !errors.As(err, &busy) {
		t.Errorf("another one joins as a: %v", err)
	}
	for {
		select {
		case bell := <-bells:
			if len(bell.Joined)+len(bell.Left)+len(bell.Dead)+len(bell.Lost) > 0 {
				t.Fatalf("the others have noticed: %+v", bell)
			}
			continue
		default:
		}
		break
	}
	// It dies as any other, and is found dead.
	crash(a)
	crash(next)
	await(t, bells, "the death", hasDead("a"))
}

// What is not the place of this process is refused.
func TestAdoptRefuses(t *testing.T) {
	dir := runDir(t)
	cfg := testConfig(dir, "g", "a", 1)
	a := mustJoin(t, cfg)
	b := mustJoin(t, testConfig(dir, "h", "b", 1))
	if _, err := Adopt(testConfig(dir, "h", "a", 1), inherited(t, a)); err == nil {
		t.Error("a record of another group was adopted")
	}
	k := inherited(t, a)
	unix.Close(k.Shared)
	k.Shared = inherited(t, b).Member
	if _, err := Adopt(cfg, k); err == nil {
		t.Error("a member file was taken for the group's")
	}
	k = inherited(t, a)
	unix.Close(k.Member)
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	k.Member = p[0]
	if _, err := Adopt(cfg, k); err == nil {
		t.Error("a pipe was taken for a member file")
	}
	h := a.own
	h.pid++
	writeHeader(a.record, h)
	if _, err := Adopt(cfg, inherited(t, a)); err == nil {
		t.Error("the record of another process was adopted")
	}
}
