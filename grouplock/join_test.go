package grouplock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

func TestLastOneRemovesTheGroup(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	if got := files(t, dir); !slices.Equal(got, []string{"a.member", "b.member", "g.group"}) {
		t.Errorf("files: %v", got)
	}
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"b.member", "g.group"}) {
		t.Errorf("files after a left: %v", got)
	}
	if err := b.Leave(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files after all left: %v", got)
	}
}

func TestHoldOutlivesTheLastProcess(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 1))
	a.Wish(a.Wishes(), election.Wishes{Hold: true, Priority: 7})
	epoch := a.Load().Epoch()
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	a = mustJoin(t, testConfig(dir, "g", "a", 1))
	if got := a.Wishes(); got != (election.Wishes{Hold: true}) {
		t.Errorf("wishes: %+v", got)
	}
	if got := a.Load().Epoch(); got != epoch+1 {
		t.Errorf("epoch %d after %d", got, epoch)
	}
}

func TestFirstAliveStartsTheGroup(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	w := a.Load()
	if !a.Swap(w, w.Next(election.Master, election.MasterTimeout), 5) {
		t.Fatal("swap refused")
	}
	a.Wish(a.Wishes(), election.Wishes{Soft: true, Priority: 9})
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	if got := b.Load(); got.State() != election.Master || got.Epoch() != 2 {
		t.Errorf("the second one changed the word: %v in epoch %d", got.State(), got.Epoch())
	}
	if got := b.Wishes(); got != (election.Wishes{Soft: true, Priority: 9}) {
		t.Errorf("the second one changed the wishes: %+v", got)
	}
	crash(a)
	crash(b)
	c := mustJoin(t, testConfig(dir, "g", "c", 2))
	if got := c.Load(); got.State() != election.Held || got.Reason() != election.Startup || got.Epoch() != 3 {
		t.Errorf("word after all died: %v %v in epoch %d", got.State(), got.Reason(), got.Epoch())
	}
	if got := c.Wishes(); got != (election.Wishes{Soft: true}) {
		t.Errorf("wishes after all died: %+v", got)
	}
	if c.Since() != c.own.start {
		t.Errorf("since %d", c.Since())
	}
	b1 := await(t, listen(t, c), "the dead", hasDead("a"))
	if !slices.Equal(b1.Dead, []string{"a", "b"}) {
		t.Errorf("dead at start: %v", b1.Dead)
	}
}

// TestSinceOutlivesItsAuthor: the time of the word is in the group file.
func TestSinceOutlivesItsAuthor(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	w := a.Load()
	if !a.Swap(w, w.Next(election.Backup, election.Recovered), 123) {
		t.Fatal("swap refused")
	}
	crash(a)
	if got := b.Since(); got != 123 {
		t.Errorf("since %d", got)
	}
	// Another attempt of its author, stopped before the swap, destroys nothing.
	b.common.store(sinceCell(a.Slot(), w.Epoch()+2), 0)
	if got := b.Since(); got != 123 {
		t.Errorf("since %d", got)
	}
	// A new process gets the slot of the dead one.
	c := mustJoin(t, testConfig(dir, "g", "c", 2))
	if c.Slot() != a.Slot() || c.Since() != 123 {
		t.Errorf("slot %d, since %d", c.Slot(), c.Since())
	}
}

func TestContentOfAnotherBootIsIgnored(t *testing.T) {
	dir := runDir(t)
	m, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	before := m
	before.boot[0]++
	for _, instance := range []string{"a", "b"} {
		old, err := join(testConfig(dir, "g", instance, 2), before)
		if err != nil {
			t.Fatal(err)
		}
		old.Publish([]election.Facts{pattern(1)})
		old.Wish(old.Wishes(), election.Wishes{Soft: true, Hold: true, Priority: 3})
		w := old.Load()
		old.Swap(w, w.Next(election.Master, election.MasterTimeout), 5)
		defer crash(old)
		if instance == "b" {
			crash(old)
		}
	}
	// a still has its locks, as if another container with its own boot shared the
	// directory; b is dead since the last boot.
	list, err := List(dir)
	if err != nil || len(list) != 2 || list[0].Status != Alive || list[1].Status != Stale {
		t.Errorf("list: %v, %+v", err, list)
	}
	if _, err := TakeOver(dir, "b"); !errors.Is(err, ErrClean) {
		t.Errorf("take over of another boot's: %v", err)
	}
	g, err := join(testConfig(dir, "g", "b", 2), m)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Leave()
	if g.Previous() != nil || g.Wishes() != (election.Wishes{}) || g.Load().Epoch() != 1 || len(g.Members()) != 0 {
		t.Errorf("previous %v, wishes %+v, epoch %d, members %v", g.Previous(), g.Wishes(), g.Load().Epoch(), g.Members())
	}
}

func TestInstanceWaitsForItsCleaner(t *testing.T) {
	dir := runDir(t)
	crash(mustJoin(t, testConfig(dir, "", "v", 1)))
	c, err := TakeOver(dir, "v")
	if err != nil {
		t.Fatal(err)
	}
	if c.Member.Realised.State().Serving() || c.Member.Group != "v" || !equalIdentity(c.Member.Routers[0], testIdentity("v")) {
		t.Errorf("corpse: %+v", c.Member)
	}
	type result struct {
		g   *Group
		err error
	}
	done := make(chan result, 1)
	start := func() {
		go func() {
			g, err := Join(testConfig(dir, "", "v", 1))
			done <- result{g, err}
		}()
	}
	start()
	r := <-done // two seconds
	var busy *BusyError
	if !errors.As(r.err, &busy) || !busy.Cleaning || busy.Pid != os.Getpid() {
		t.Fatalf("while somebody cleans: %v", r.err)
	}
	start()
	if err := c.Done(); err != nil {
		t.Fatal(err)
	}
	if r = <-done; r.err != nil {
		t.Fatal(r.err)
	}
	defer r.g.Leave()
	if r.g.Previous() != nil {
		t.Error("it joined before its cleaner was done")
	}
	if err := c.Done(); err != nil {
		t.Errorf("second Done: %v", err)
	}
	if _, err := TakeOver(dir, "v"); !errors.Is(err, ErrAlive) {
		t.Errorf("take over of a living one: %v", err)
	}
}

func TestGivenBackCorpseIsReportedAgain(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, a)
	v := mustJoin(t, testConfig(dir, "g", "v", 2))
	await(t, bells, "v joined", hasJoined("v"))
	crash(v)
	bury(t, a, bells, "v").GiveBack()
	c := bury(t, a, bells, "v")
	c.GiveBack()
	c.GiveBack() // harmless
	if err := c.Done(); err != nil {
		t.Errorf("Done after GiveBack: %v", err)
	}
	if got := files(t, dir); !slices.Contains(got, "v.member") {
		t.Errorf("Done after GiveBack removed the record: %v", got)
	}
	// The owner itself may come back instead.
	v = mustJoin(t, testConfig(dir, "g", "v", 2))
	if v.Previous() == nil {
		t.Error("the owner does not know that it must clean up")
	}
	await(t, bells, "v joined again", hasJoined("v"))
	v.Publish([]election.Facts{pattern(2)})
	if facts := a.Others(nil); len(facts) != 1 || facts[0] != pattern(2) {
		t.Errorf("facts of the new incarnation: %v", facts)
	}
}

func TestQuickRestartIsSeenAsSomebodyNew(t *testing.T) {
	dir := runDir(t)
	v := mustJoin(t, testConfig(dir, "g", "v", 2))
	v.Publish([]election.Facts{pattern(1)})
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	if a.Missing() != 0 {
		t.Fatalf("missing %d", a.Missing())
	}
	crash(v)
	v = mustJoin(t, testConfig(dir, "g", "v", 2))
	v.Publish([]election.Facts{pattern(2)})
	// Run has noticed nothing yet: the record is not that of the process it knew.
	if a.Missing() != 1 || len(a.Others(nil)) != 0 {
		t.Errorf("missing %d, others %v", a.Missing(), a.Others(nil))
	}
	await(t, listen(t, a), "v joined again", hasJoined("v"))
	if facts := a.Others(nil); a.Missing() != 0 || len(facts) != 1 || facts[0] != pattern(2) {
		t.Errorf("missing %d, others %v", a.Missing(), facts)
	}
}

func TestDisagreementsAreRefused(t *testing.T) {
	dir := runDir(t)
	mustJoin(t, testConfig(dir, "g", "a", 2))
	_, err := Join(testConfig(dir, "g", "b", 3))
	want := fmt.Sprintf("join group: a (process %d) runs with -M 2 and this one with -M 3: all of a group must agree, stop the others first", os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("-M differs: %v", err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"a.member", "g.group"}) {
		t.Errorf("a refused one left files: %v", got)
	}
	if err := os.Remove(dir + "/g.group"); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(testConfig(dir, "g", "b", 2)); err == nil || !strings.Contains(err.Error(), "restart that process") {
		t.Errorf("group file replaced: %v", err)
	}
}

func TestRefusedRestartKeepsThePreviousRecord(t *testing.T) {
	dir := runDir(t)
	mustJoin(t, testConfig(dir, "g", "a", 2))
	crash(mustJoin(t, testConfig(dir, "g", "v", 2)))
	if _, err := Join(testConfig(dir, "g", "v", 3)); err == nil {
		t.Fatal("joined with another -M")
	}
	if v := mustJoin(t, testConfig(dir, "g", "v", 2)); v.Previous() == nil {
		t.Error("what must be cleaned up has been forgotten")
	}
}

func TestTenthProcessIsRefused(t *testing.T) {
	dir := runDir(t)
	slots := map[uint8]bool{}
	for i := range MaxProcesses {
		slots[mustJoin(t, testConfig(dir, "g", fmt.Sprint("i", i), MaxProcesses)).Slot()] = true
	}
	if len(slots) != MaxProcesses || slots[0] {
		t.Errorf("slots: %v", slots)
	}
	if _, err := Join(testConfig(dir, "g", "i9", MaxProcesses)); err == nil || !strings.Contains(err.Error(), "has 9 processes already") {
		t.Errorf("the tenth: %v", err)
	}
	mustJoin(t, testConfig(dir, "other", "i9", 1)) // another group
}

func TestBadConfigChangesNothing(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no directory":   func(c *Config) { c.Dir = "" },
		"no instance":    func(c *Config) { c.Instance = "" },
		"path":           func(c *Config) { c.Instance = "../x" },
		"hidden":         func(c *Config) { c.Instance = ".x" },
		"long":           func(c *Config) { c.Instance = strings.Repeat("x", 64) },
		"group":          func(c *Config) { c.Group = "a b" },
		"-M 10":          func(c *Config) { c.Wanted = 10 },
		"-M -1":          func(c *Config) { c.Wanted = -1 },
		"capacity":       func(c *Config) { c.Capacity = MaxRouters + 1 },
		"identity":       func(c *Config) { c.Routers[0].Parent = "" },
		"missing parent": func(c *Config) { c.Dir += "/x/y" },
	} {
		dir := runDir(t)
		cfg := testConfig(dir, "g", "a", 1)
		spoil(&cfg)
		if g, err := Join(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			g.Leave()
		}
		if got := files(t, dir); len(got) != 0 {
			t.Errorf("%s: files: %v", name, got)
		}
	}
}

func TestRunDirectory(t *testing.T) {
	old := unix.Umask(0o077)
	t.Cleanup(func() { unix.Umask(old) })
	base := runDir(t)
	dir := filepath.Join(base, "run")
	g := mustJoin(t, testConfig(dir+"/", "g", "a", 1))
	for name, want := range map[string]fs.FileMode{"": 0o755, "a.member": 0o640, "g.group": 0o640} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", name, st.Mode(), err, want)
		}
	}
	g.Leave()
	refuse := func(what, path, text string) {
		t.Helper()
		if g, err := Join(testConfig(path, "g", "a", 1)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", what, err, text)
			if err == nil {
				g.Leave()
			}
		}
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	refuse("symlink", link, "is a symbolic link")
	refuse("symlink with slash", link+"/", "is a symbolic link")
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	refuse("file", filepath.Join(base, "file"), "not a directory")
	for _, mode := range []fs.FileMode{0o775, 0o757, 0o777 | fs.ModeSticky} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		refuse(mode.String(), dir, "writable by others")
		if _, err := List(dir); err == nil {
			t.Errorf("List of a directory that is %v", mode)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		refuse("owner", dir, "belongs to user 65534")
		if _, err := TakeOver(dir, "a"); err == nil || !strings.Contains(err.Error(), "belongs to user") {
			t.Errorf("TakeOver in somebody else's directory: %v", err)
		}
		if _, err := List(dir); err != nil {
			t.Errorf("List of somebody else's directory: %v", err)
		}
	}
	if _, err := List(filepath.Join(base, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("List of nothing: %v", err)
	}
}

func TestFilesThatAreNotOurs(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"symbolic link":      func(p string) error { return os.Symlink(os.DevNull, p) },
		"no plain file":      func(p string) error { return unix.Mkfifo(p, 0o640) },
		"second name":        func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o640), os.Link(p, p+".x")) },
		"writable by others": func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o640), os.Chmod(p, 0o660)) },
		"belongs to user": func(p string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return errors.Join(os.WriteFile(p, nil, 0o640), os.Chown(p, 65534, 65534))
		},
	} {
		for _, file := range []string{"a.member", "g.group"} {
			dir := runDir(t)
			if err := plant(filepath.Join(dir, file)); errors.Is(err, errors.ErrUnsupported) {
				t.Logf("needs root: %s", name)
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			if g, err := Join(testConfig(dir, "g", "a", 1)); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s as %s: %v", file, name, err)
				if err == nil {
					g.Leave()
				}
			}
		}
		// As somebody else's file it is ignored, and listed.
		dir := runDir(t)
		if plant(filepath.Join(dir, "x.member")) != nil {
			continue
		}
		g := mustJoin(t, testConfig(dir, "g", "a", 1))
		if got := g.Stats().Ignored; got != 1 {
			t.Errorf("%s: %d ignored", name, got)
		}
		list, err := List(dir)
		if err != nil || len(list) != 2 || list[1].Status != Damaged || list[1].Err == nil || !strings.Contains(list[1].Err.Error(), name) {
			t.Errorf("%s: list %v %+v", name, err, list)
		}
		g.Leave()
	}
}

func TestCorruptFiles(t *testing.T) {
	garbage := []byte(strings.Repeat("garbage ", 1000))
	dir := runDir(t)
	for _, name := range []string{"a.member", "x.member", "g.group"} {
		if err := os.WriteFile(filepath.Join(dir, name), garbage, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "short.member"), garbage[:10], 0o640); err != nil {
		t.Fatal(err)
	}
	a := mustJoin(t, testConfig(dir, "g", "a", 2)) // nobody needs what was there
	if a.Previous() != nil || a.Load().Epoch() != 1 || a.Stats().Ignored != 1 {
		t.Errorf("previous %v, epoch %d, ignored %d", a.Previous(), a.Load().Epoch(), a.Stats().Ignored)
	}
	list, err := List(dir)
	if err != nil || len(list) != 2 || list[0].Status != Alive || list[1].Status != Damaged {
		t.Errorf("list: %v %+v", err, list)
	}
	if _, err := TakeOver(dir, "x"); err == nil || errors.Is(err, ErrClean) {
		t.Errorf("take over of garbage: %v", err)
	}
	// In use, it cannot be replaced.
	a.common.store(grpMagic, 5)
	if _, err := Join(testConfig(dir, "g", "b", 2)); err == nil || !strings.Contains(err.Error(), "not a vrrpd group file") {
		t.Errorf("group file damaged in use: %v", err)
	}
	a.common.store(grpMagic, groupMagic)
	mustJoin(t, testConfig(dir, "g", "b", 2))
}

func TestList(t *testing.T) {
	dir := runDir(t)
	mustJoin(t, testConfig(dir, "g", "alive", 2))
	crash(mustJoin(t, testConfig(dir, "g", "dead", 2)))
	left := mustJoin(t, testConfig(dir, "h", "left", 1))
	left.record.store(recState, recLeft)
	crash(left)
	list, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, m.Instance+" "+m.Status.String()+" "+m.Group)
		if m.Pid != os.Getpid() || m.Err != nil || len(m.Routers) != 1 {
			t.Errorf("%+v", m)
		}
	}
	if want := []string{"alive alive g", "dead dead g", "left left h"}; !slices.Equal(got, want) {
		t.Errorf("list %q, want %q", got, want)
	}
	if _, err := TakeOver(dir, "left"); !errors.Is(err, ErrClean) {
		t.Errorf("take over of one that has left: %v", err)
	}
	if _, err := TakeOver(dir, "none"); !errors.Is(err, ErrClean) {
		t.Errorf("take over of nothing: %v", err)
	}
	if _, err := TakeOver(dir, "../x"); err == nil || errors.Is(err, ErrClean) {
		t.Errorf("take over of a path: %v", err)
	}
}

// TestLockAndRemoveDoNotRace lets many try to be the same instance, while each
// that succeeds soon leaves and removes the file.
func TestLockAndRemoveDoNotRace(t *testing.T) {
	dir := runDir(t)
	var inside, wins atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				g, err := Join(testConfig(dir, "g", "v", 1))
				var busy *BusyError
				if errors.As(err, &busy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				inside.Add(1)
				for range 100 { // long enough for a second one to get in
					runtime.Gosched()
					if n := inside.Load(); n != 1 {
						t.Errorf("%d instances at once", n)
						break
					}
				}
				wins.Add(1)
				inside.Add(-1)
				if err := g.Leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := files(t, dir); wins.Load() == 0 || len(got) != 0 {
		t.Errorf("%d joined; files: %v", wins.Load(), got)
	}
}
