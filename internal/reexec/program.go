package reexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Program is the path by which this program was started, as far as that is known, so
// that whatever lies there later is the program to go on as. It must be called early:
// name is the program's own argument 0, which may be relative.
//
// A package manager puts another file in the place of the running one, which then has no
// name any more; and a name may be a link that is turned to another version. Both are
// found by the name that was used, not by the file that runs. So it is that name, or what
// it is found as in PATH, if that leads to this file; else (in the background, say, where
// the working directory is another one) what the kernel says.
func Program(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			candidates = append(candidates, filepath.Join(dir, name))
		}
	}
	for _, c := range candidates {
		if path, err := filepath.Abs(c); err == nil && runs(path) {
			return path, nil
		}
	}
	return self, nil
}

// runs reports whether a path leads to the program that runs.
func runs(path string) bool {
	var named, running unix.Stat_t
	return unix.Stat(path, &named) == nil && unix.Stat("/proc/self/exe", &running) == nil &&
		named.Dev == running.Dev && named.Ino == running.Ino
}

// identity is what tells one content of a path from another.
type identity struct {
	dev, ino uint64
	size     int64
	ctime    unix.Timespec
}

// check says what is wrong with a program that is to be run, in words for whoever has
// installed it. Nobody but root or this user may be able to change it.
func check(path string) (identity, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("there is no %s any more: install vrrpd there, or restart it from where it is", path)
	case err != nil:
		err = fmt.Errorf("stat %s: %w", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%s is no program", path)
	case unix.Access(path, unix.X_OK) != nil:
		err = fmt.Errorf("%s is not executable", path)
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		err = fmt.Errorf("%s belongs to user %d, who can change it; chown it to root", path, st.Uid)
	case st.Mode&0o022 != 0:
		err = fmt.Errorf("others may write to %s (mode %04o); chmod it to 0755", path, st.Mode&0o7777)
	}
	return identity{st.Dev, st.Ino, st.Size, st.Ctim}, err
}
