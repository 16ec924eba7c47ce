package grouplock

import (
	"errors"
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
)

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
