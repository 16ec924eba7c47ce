package grouplock

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"vrrpd/election"
)

func tidied(t *testing.T, dir string, want ...string) {
	t.Helper()
	if err := Tidy(dir); err != nil {
		t.Error(err)
	}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("files: %v, want %v", got, want)
	}
}

// The file of a group goes when none of its processes is left, alive or to be
// cleaned up after.
func TestTidy(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	b := joined(t, dir, "g", "b", 2)
	c := joined(t, dir, "h", "c", 1)
	tidied(t, dir, "a.member", "b.member", "c.member", "g.group", "h.group")
	b.kill()
	c.kill()
	tidied(t, dir, "a.member", "b.member", "c.member", "g.group", "h.group")
	for _, instance := range []string{"b", "c"} {
		corpse, err := TakeOver(dir, instance)
		if err != nil {
			t.Fatal(err)
		}
		tidied(t, dir, slices.DeleteFunc([]string{"a.member", "b.member", "c.member", "g.group", "h.group"}, func(name string) bool {
			return instance == "c" && name == "b.member" // its lock is held
		})...)
		if err := corpse.Done(); err != nil {
			t.Error(err)
		}
	}
	tidied(t, dir, "a.member", "g.group")
	if err := a.Leave(); err != nil {
		t.Error(err)
	}
	tidied(t, dir)
}

// What a process leaves that dies while it makes its files.
func TestTidyHalfMade(t *testing.T) {
	dir := runDir(t)
	for name, size := range map[string]int64{"a.member": 0, "b.member": 8 * recHeaderWords, "g.group": 0, "h.group": groupBytes} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o640)
		if err == nil {
			err = f.Truncate(size)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tidied(t, dir)
}

// The operator's wish outlives all processes.
func TestTidyKeepsWishes(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 1))
	a.Wish(a.Wishes(), election.Wishes{Hold: true})
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	tidied(t, dir, "g.group")
}

// Whoever tidies keeps nobody from starting, and takes nothing from anybody.
func TestTidyAndJoinDoNotRace(t *testing.T) {
	dir := runDir(t)
	var joins, tidies sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		tidies.Go(func() {
			for !stop.Load() {
				if err := Tidy(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, instance := range []string{"a", "b"} {
		joins.Go(func() {
			for range 100 {
				g, err := Join(testConfig(dir, "g", instance, 2))
				if err != nil {
					t.Error(err)
					return
				}
				for _, name := range []string{instance + memberSuffix, "g" + groupSuffix} {
					if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
						t.Errorf("while it is used: %v", err)
					}
				}
				if err := g.Leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	joins.Wait()
	stop.Store(true)
	tidies.Wait()
	tidied(t, dir)
}
