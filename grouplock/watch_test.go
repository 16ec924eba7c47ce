package grouplock

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrrpd/election"
)

func TestOtherGroupsDoNotWakeUs(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	x := mustJoin(t, testConfig(dir, "h", "x", 2))
	y := mustJoin(t, testConfig(dir, "h", "y", 2))
	bellsX := listen(t, x)
	bells := listen(t, a)
	await(t, bellsX, "y joined", hasJoined("y"))
	y.Publish([]election.Facts{pattern(1)})
	for range 100 {
		y.Ring()
		x.Ring()
	}
	await(t, bellsX, "rings in h", rang)
	mustJoin(t, testConfig(dir, "g", "b", 2))
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case b := <-bells:
		if b.Rang || !slices.Equal(b.Joined, []string{"b"}) {
			t.Errorf("first bell: %+v", b)
		}
	case <-timeout.C:
		t.Error("no bell")
	}
	if got := a.Members(); len(got) != 1 || got[0].Instance != "b" || got[0].Status != Alive {
		t.Errorf("members: %+v", got)
	}
}

// TestRingIsNotLostOnANewcomer: who joins is rung by all who notice it, because
// what they rang before they knew of it went nowhere.
func TestRingIsNotLostOnANewcomer(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	bellsB := listen(t, b)
	w := a.Load()
	if !a.Swap(w, w.Next(election.Backup, election.Recovered), 5) { // a knows nobody
		t.Fatal("swap refused")
	}
	listen(t, a)
	await(t, bellsB, "a ring from a", rang)
}

func TestLostFilesAreReported(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, a)
	for _, name := range []string{"g.group", "a.member"} {
		if err := os.Remove(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
		await(t, bells, name+" lost", func(b Bell) bool { return slices.Contains(b.Lost, name) })
	}
	if err := a.Leave(); err != nil {
		t.Errorf("leave: %v", err)
	}
}

// TestRemovedRecordOfALivingMember: it goes on, its lock still says so.
func TestRemovedRecordOfALivingMember(t *testing.T) {
	a, b, bellsA, _ := pair(t, runDir(t))
	b.Publish([]election.Facts{pattern(1)})
	if err := os.Remove(b.member.Name()); err != nil {
		t.Fatal(err)
	}
	b.Ring()
	await(t, bellsA, "ring", rang)
	if a.Missing() != 0 || len(a.Others(nil)) != 1 {
		t.Errorf("missing %d", a.Missing())
	}
	crash(b)
	await(t, bellsA, "b gone", hasLeft("b"))
	if a.Missing() != 1 {
		t.Errorf("missing %d", a.Missing())
	}
}

// TestCutRecordOfAnotherIsSurvived: a truncated mapping raises SIGBUS at the next
// access, which must not kill those who only read it.
func TestCutRecordOfAnotherIsSurvived(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, a)
	v := joined(t, dir, "g", "v", 2)
	await(t, bells, "v joined", hasJoined("v"))
	if a.Missing() != 0 {
		t.Fatalf("missing %d", a.Missing())
	}
	if err := os.Truncate(dir+"/v.member", 0); err != nil {
		t.Fatal(err)
	}
	if facts := a.Others(nil); len(facts) != 0 || a.Missing() != 1 || a.Stats().Damaged != 1 {
		t.Errorf("facts %v, missing %d, damaged %d", facts, a.Missing(), a.Stats().Damaged)
	}
	if m := a.Members(); len(m) != 1 || len(m[0].Routers) != 1 {
		t.Errorf("members: %+v", m)
	}
	v.kill()
	c := bury(t, a, bells, "v")
	if c.Member.Err == nil || len(c.Member.Routers) != 1 || !equalIdentity(c.Member.Routers[0], testIdentity("v")) {
		t.Errorf("corpse: %+v", c.Member)
	}
	if err := c.Done(); err != nil {
		t.Error(err)
	}
	await(t, bells, "v cleaned", hasLeft("v"))
}

// TestEarlyDeathNoticeIsFollowedUp: the kernel may report the death before the
// locks are free, and reports nothing more.
func TestEarlyDeathNoticeIsFollowedUp(t *testing.T) {
	dir := runDir(t)
	v := mustJoin(t, testConfig(dir, "g", "v", 2))
	a := mustJoin(t, testConfig(dir, "g", "a", 2)) // this test is its Run
	n := a.watches.table["v"]
	var b Bell
	a.heard(n, unix.IN_CLOSE_WRITE, &b)
	if len(b.Dead) != 0 || n.again.IsZero() || a.nextLook() != n.again {
		t.Fatalf("bell %+v, next look %v", b, n.again)
	}
	looks := 0
	for ; !n.again.IsZero(); looks++ {
		n.again = time.Unix(1, 0)
		if a.lookAgain(&b); len(b.Dead) != 0 || looks > 100 {
			t.Fatalf("look %d: bell %+v", looks, b)
		}
	}
	if looks < 10 {
		t.Errorf("given up after %d looks", looks)
	}
	a.heard(n, unix.IN_CLOSE_WRITE, &b)
	crash(v)
	n.again = time.Unix(1, 0)
	if a.lookAgain(&b); !slices.Equal(b.Dead, []string{"v"}) {
		t.Errorf("bell %+v", b)
	}
}

// TestVainTakeOverRingsNoBell: contenders for a corpse must not wake each other.
func TestVainTakeOverRingsNoBell(t *testing.T) {
	a, v, bells, _ := pair(t, runDir(t)) // Run has seen v
	if _, err := a.TakeOver("b"); !errors.Is(err, ErrAlive) {
		t.Fatal(err)
	}
	if err := v.Leave(); err != nil {
		t.Fatal(err)
	}
	await(t, bells, "b left", func(b Bell) bool {
		if b.Rang {
			t.Error("the try rang")
		}
		return hasLeft("b")(b)
	})
}

// TestMoveToAnotherGroup: an instance that comes back elsewhere has left us.
func TestMoveToAnotherGroup(t *testing.T) {
	dir := runDir(t)
	v := mustJoin(t, testConfig(dir, "g", "v", 2))
	v.Publish(nil)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	crash(v)
	mustJoin(t, testConfig(dir, "h", "v", 2))
	await(t, listen(t, a), "v left", hasLeft("v"))
	if got := a.Members(); len(got) != 0 || a.Missing() != 1 {
		t.Errorf("members: %+v, missing %d", got, a.Missing())
	}
}

// TestLockHasTheHighestNumber: a dying process releases its files in descending
// order, and some of the others take tens of milliseconds.
func TestLockHasTheHighestNumber(t *testing.T) {
	g := mustJoin(t, testConfig(runDir(t), "g", "a", 1))
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := int(g.member.Fd())
	for _, other := range []int{int(f.Fd()), g.watches.fd, g.dir.Fd(), int(g.shared.Fd())} {
		if other >= lock {
			t.Errorf("the lock has number %d, another file %d", lock, other)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(lock), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

func TestGuardPassesOtherPanics(t *testing.T) {
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
	}()
	guard(func() { panic("mine") })
}

func TestRunEndsWithItsContextAndCanRunAgain(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	for range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- a.Run(ctx, func(Bell) {}) }()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	bells := listen(t, a)
	mustJoin(t, testConfig(dir, "g", "b", 2))
	await(t, bells, "b", hasJoined("b"))
}

func TestLeaveEndsRun(t *testing.T) {
	a := mustJoin(t, testConfig(runDir(t), "g", "a", 2))
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		done <- a.Run(context.Background(), func(Bell) {})
	}()
	<-started
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNothingLeaks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := runDir(t)
	round := func() {
		a, err := Join(testConfig(dir, "g", "a", 2))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		bells := make(chan Bell, 1000)
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx, func(b Bell) { bells <- b }) }()
		for range 3 {
			b, err := Join(testConfig(dir, "g", "b", 2))
			if err != nil {
				t.Fatal(err)
			}
			await(t, bells, "b joined", hasJoined("b"))
			if _, err := Join(testConfig(dir, "g", "c", 3)); err == nil {
				t.Fatal("joined with another -M")
			}
			crash(b)
			if err := bury(t, a, bells, "b").Done(); err != nil {
				t.Fatal(err)
			}
			await(t, bells, "b cleaned", hasLeft("b"))
			if _, err := List(dir); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := a.Leave(); err != nil {
			t.Fatal(err)
		}
	}
	round()
	fds := len(files(t, "/proc/self/fd"))
	maps := mappings(t)
	for range 10 {
		round()
	}
	if got := len(files(t, "/proc/self/fd")); got > fds {
		t.Errorf("%d open files, %d before", got, fds)
	}
	// The collector unmaps; its clean-ups run in a goroutine of the runtime.
	for deadline := time.Now().Add(patience); mappings(t) > maps; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("%d mappings, %d before", mappings(t), maps)
		}
	}
}

// mappings counts the member and group files that are mapped, removed ones too.
func mappings(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{memberSuffix, groupSuffix} {
		n += strings.Count(string(b), suffix)
	}
	return n
}
