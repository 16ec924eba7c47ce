package grouplock

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

// TestEveryEpochIsWonByOneProcess lets two processes swap the word, forced
// together before every swap.
func TestEveryEpochIsWonByOneProcess(t *testing.T) {
	const until = 20000
	dir := runDir(t)
	a, b := joined(t, dir, "g", "a", 2), joined(t, dir, "g", "b", 2) // slots 1 and 2
	const first = 1
	a.send(fmt.Sprint("race 2 ", until))
	b.send(fmt.Sprint("race 1 ", until))
	winner := make([]string, until+1)
	count := map[string]int{}
	for who, p := range map[string]*process{"a": a, "b": b} {
		for s := range strings.FieldsSeq(p.answer()) {
			epoch, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if winner[epoch] != "" {
				t.Errorf("epoch %d was won by %s and by %s", epoch, winner[epoch], who)
			}
			winner[epoch] = who
			count[who]++
		}
	}
	for epoch := uint64(first + 1); epoch <= until; epoch++ {
		if winner[epoch] == "" {
			t.Errorf("epoch %d was won by nobody", epoch)
		}
	}
	turns := 0
	for epoch := uint64(first + 2); epoch <= until; epoch++ {
		if winner[epoch] != winner[epoch-1] {
			turns++
		}
	}
	t.Logf("epochs won: %v; the winner changed %d times", count, turns)
	if turns == 0 {
		t.Error("no contest")
	}
}

func TestKilledMemberIsNoticedAndCleanedByOne(t *testing.T) {
	dir := runDir(t)
	a := joined(t, dir, "g", "a", 3)
	b := joined(t, dir, "g", "b", 3)
	for round := range 5 {
		victim := joined(t, dir, "g", "v", 3)
		victim.do("realise")
		a.bell("joined=[v]")
		b.bell("joined=[v]")
		victim.kill()
		a.bell("dead=[v]")
		b.bell("dead=[v]")
		a.send("take v")
		b.send("take v")
		got := []string{a.answer(), b.answer()}
		for slices.Equal(got, []string{"busy", "busy"}) {
			// The dying process had dropped one lock, but not yet the other.
			a.bell("dead=[v]")
			got[0] = a.do("take v")
		}
		cleaner := a
		if got[1] == "corpse" {
			cleaner = b
		}
		if slices.Sort(got); !slices.Equal(got, []string{"busy", "corpse"}) {
			t.Fatalf("round %d: taken over: %v", round, got)
		}
		cleaner.do("done v")
		a.bell("left=[v]")
		b.bell("left=[v]")
		if answer := a.do("take v"); answer != "clean" {
			t.Errorf("round %d: after Done: %q", round, answer)
		}
		if slices.Contains(files(t, dir), "v.member") {
			t.Errorf("round %d: the record is still there", round)
		}
	}
}

func TestCorpseTellsWhatToClean(t *testing.T) {
	dir := runDir(t)
	g := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, g)
	v := joined(t, dir, "g", "v", 2)
	v.do("publish 7")
	v.do("realise")
	await(t, bells, "v joined", hasJoined("v"))
	v.kill()
	c := bury(t, g, bells, "v")
	if got := g.Missing(); got != 1 {
		t.Errorf("missing: %d, want 1", got)
	}
	if got := g.Others(nil); len(got) != 0 {
		t.Errorf("a dead member still has %d facts", len(got))
	}
	if m := g.Members(); len(m) != 1 || m[0].Status != Dead {
		t.Errorf("members: %+v", m)
	}
	m := c.Member
	if m.Instance != "v" || m.Pid != v.cmd.Process.Pid || m.Status != Dead || !m.Realised.State().Serving() {
		t.Errorf("corpse: %+v", m)
	}
	if len(m.Routers) != 1 || !equalIdentity(m.Routers[0], testIdentity("v")) {
		t.Errorf("identity: %+v", m.Routers)
	}
	if len(m.Facts) != 1 || m.Facts[0] != pattern(7) {
		t.Errorf("facts: %+v", m.Facts)
	}
	if err := c.Done(); err != nil {
		t.Error(err)
	}
}

func TestDeadCleanerIsReplaced(t *testing.T) {
	dir := runDir(t)
	g := mustJoin(t, testConfig(dir, "g", "a", 3))
	bells := listen(t, g)
	cleaner, v := joined(t, dir, "g", "b", 3), joined(t, dir, "g", "v", 3)
	cleaner.bell("joined=[v]")
	v.kill()
	for answer := "busy"; answer != "corpse"; {
		cleaner.bell("dead=[v]")
		if answer = cleaner.do("take v"); answer != "corpse" && answer != "busy" {
			t.Fatalf("take over: %q", answer)
		}
	}
	if _, err := g.TakeOver("v"); !errors.Is(err, ErrBusy) {
		t.Fatalf("second cleaner: %v", err)
	}
	if list, err := List(dir); err != nil || list[2].Cleaner != cleaner.cmd.Process.Pid {
		t.Errorf("cleaner: %v %+v", err, list)
	}
	for len(bells) > 0 {
		<-bells // only what rings from here on counts
	}
	cleaner.kill()
	if err := bury(t, g, bells, "v").Done(); err != nil {
		t.Error(err)
	}
	await(t, bells, "v cleaned", hasLeft("v"))
}

func TestStoppedMemberKeepsItsLock(t *testing.T) {
	dir := runDir(t)
	g := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, g)
	v := joined(t, dir, "g", "v", 2)
	await(t, bells, "v joined", hasJoined("v"))
	if err := v.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, v.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := g.TakeOver("v"); !errors.Is(err, ErrAlive) {
		t.Errorf("take over: %v", err)
	}
	if g.Missing() != 0 || len(g.Others(nil)) != 1 {
		t.Errorf("missing %d, others %d", g.Missing(), len(g.Others(nil)))
	}
	ids, err := g.Identity("v")
	if err != nil || len(ids) != 1 || !equalIdentity(ids[0], testIdentity("v")) {
		t.Errorf("identity of the stopped one: %+v, %v", ids, err)
	}
	var busy *BusyError
	if _, err := Join(testConfig(dir, "g", "v", 2)); !errors.As(err, &busy) || busy.Pid != v.cmd.Process.Pid || busy.Cleaning {
		t.Errorf("second instance: %v", err)
	}
	if err := v.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	v.do("leave")
	await(t, bells, "v left", hasLeft("v"))
}

func TestSecondInstanceRefuses(t *testing.T) {
	dir := runDir(t)
	v := joined(t, dir, "v", "v", 1)
	start := time.Now()
	_, err := Join(testConfig(dir, "", "v", 1))
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Pid != v.cmd.Process.Pid || busy.Cleaning {
		t.Fatalf("second instance: %v", err)
	}
	if want := fmt.Sprintf("join group: v is already running (process %d): stop that first", busy.Pid); err.Error() != want {
		t.Errorf("message: %q, want %q", err, want)
	}
	if waited := time.Since(start); waited >= waitLimit {
		t.Errorf("it waited %v for an owner that lives", waited)
	}
	// The flock itself is what others may test.
	f, err := os.Open(dir + "/v.member")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("flock of a living member: %v", err)
	}
}

func TestRestartAfterKillFindsItsPreviousRecord(t *testing.T) {
	dir := runDir(t)
	v := joined(t, dir, "v", "v", 1)
	v.do("publish 9")
	v.do("realise")
	v.kill()
	g, err := Join(testConfig(dir, "", "v", 1))
	if err != nil {
		t.Fatal(err)
	}
	p := g.Previous()
	if p == nil || p.Pid != v.cmd.Process.Pid || p.Status != Dead || !p.Realised.State().Serving() ||
		len(p.Routers) != 1 || !equalIdentity(p.Routers[0], testIdentity("v")) ||
		len(p.Facts) != 1 || p.Facts[0] != pattern(9) {
		t.Errorf("previous: %+v", p)
	}
	if w := g.Load(); w.Epoch() != 2 || w.State() != election.Held || w.Reason() != election.Startup {
		t.Errorf("word: epoch %d, %v, %v", w.Epoch(), w.State(), w.Reason())
	}
	if err := g.Leave(); err != nil {
		t.Fatal(err)
	}
	g = mustJoin(t, testConfig(dir, "", "v", 1))
	if p := g.Previous(); p != nil {
		t.Errorf("previous after Leave: %+v", p)
	}
}

func TestFactsAreNeverTornAcrossProcesses(t *testing.T) {
	dir := runDir(t)
	g := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, g)
	v := joined(t, dir, "g", "v", 2)
	await(t, bells, "v joined", hasJoined("v"))
	v.do("hammer")
	var facts []election.Facts
	var last uint64
	changes := 0
	for deadline := time.Now().Add(patience); changes < 2000; {
		facts = g.Others(facts[:0])
		if len(facts) != 1 {
			t.Fatalf("%d facts", len(facts))
		}
		n, whole := patternOf(&facts[0])
		if !whole || n < last {
			t.Fatalf("torn or old: %v after %d", *blockOf(&facts[0]), last)
		}
		if n != last {
			changes++
		}
		if last = n; time.Now().After(deadline) {
			t.Fatalf("only %d changes seen", changes)
		}
	}
	// Killed in the middle of whatever it was doing: the last complete facts stay.
	v.kill()
	c := bury(t, g, bells, "v")
	if n, whole := patternOf(&c.Member.Facts[0]); !whole || n < last {
		t.Errorf("the corpse's facts are torn or old: %v", c.Member.Facts[0])
	}
	if err := c.Done(); err != nil {
		t.Error(err)
	}
	t.Logf("reads given up: %d", g.Stats().Torn)
}

func equalIdentity(a, b Identity) bool {
	return a.Parent == b.Parent && a.VMAC == b.VMAC && a.Family == b.Family && a.VRID == b.VRID && string(a.Frame) == string(b.Frame) && string(a.Beside) == string(b.Beside)
}

// TestDeathLatency measures; it fails only if a death is not noticed at all.
func TestDeathLatency(t *testing.T) {
	if testing.Short() {
		t.Skip("a measurement")
	}
	dir := runDir(t)
	g := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, g)
	var took []time.Duration
	for range 30 {
		v := joined(t, dir, "g", "v", 2)
		await(t, bells, "v joined", hasJoined("v"))
		start := time.Now()
		if err := v.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c := bury(t, g, bells, "v")
		took = append(took, time.Since(start))
		if err := c.Done(); err != nil {
			t.Fatal(err)
		}
		await(t, bells, "v left", hasLeft("v"))
	}
	slices.Sort(took)
	t.Logf("SIGKILL to corpse: p50 %v, p90 %v, max %v", took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
}
