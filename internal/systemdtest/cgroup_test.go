package systemdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// Systemd cannot boot without a control group that is its own. The containers
// see version 2 only, as on a machine of today, whatever this machine itself has
// mounted.

var groupsMade atomic.Int32

// mountFS returns a mount of a file system that is nowhere in the tree of files,
// and lives as long as the descriptor.
func mountFS(kind string) (*os.File, error) {
	fsfd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", kind, err)
	}
	defer unix.Close(fsfd)
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return nil, fmt.Errorf("create %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", kind, err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}

func mountable(kind string) error {
	f, err := mountFS(kind)
	if err != nil {
		return err
	}
	return f.Close()
}

// groups is the tree of control groups, as far as this process may see it.
func groups() (*os.Root, error) {
	f, err := mountFS("cgroup2")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// newGroup makes the control group of a site and returns its name. It is removed
// after everything that is cleaned up before, so make it first.
func newGroup(t *testing.T) string {
	t.Helper()
	tree, err := groups()
	check(t, err)
	name := fmt.Sprintf("%s%d-%d", ours, os.Getpid(), groupsMade.Add(1))
	t.Cleanup(func() {
		defer tree.Close()
		// The processes have been killed, but a group is empty only when the
		// last of them has been buried.
		netlab.Eventually(t, patience, func() (bool, string) {
			err := removeGroup(tree, name)
			return err == nil, fmt.Sprint(err)
		})
	})
	check(t, tree.Mkdir(name, 0o755))
	return name
}

// removeGroup removes a control group with those below it. Processes inside are
// killed.
func removeGroup(tree *os.Root, name string) error {
	if f, err := tree.OpenFile(path.Join(name, "cgroup.kill"), os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString("1") // since Linux 5.14; the namespaces do it anyway
		f.Close()
	}
	var dirs []string
	err := fs.WalkDir(tree.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		if e := tree.Remove(dirs[i]); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// removeStaleGroups removes the control groups of test processes that were killed.
func removeStaleGroups() error {
	tree, err := groups()
	if err != nil {
		return err
	}
	defer tree.Close()
	entries, err := fs.ReadDir(tree.FS(), ".")
	for _, e := range entries {
		if abandoned(e.Name()) {
			err = errors.Join(err, removeGroup(tree, e.Name()))
		}
	}
	return err
}
