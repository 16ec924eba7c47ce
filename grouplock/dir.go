package grouplock

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

const (
	memberSuffix = ".member"
	groupSuffix  = ".group"
)

// directory is the run directory, held open: its files are found even after a
// chdir, and even if something else gets its name.
type directory struct{ *rundir.Dir }

func (d *directory) close() error { return d.Close() }

// openDirectory opens the run directory; one that others could change is
// refused.
func openDirectory(path string, what rundir.Access) (*directory, error) {
	d, err := rundir.Open(path, what)
	if err != nil {
		return nil, err
	}
	return &directory{d}, nil
}

// open opens a file of the directory and checks that it is a plain one of ours.
// Others' records are opened read-only: closing such a file rings no bell.
func (d *directory) open(name string, flags int) (int, unix.Stat_t, error) {
	return d.Descriptor(name, flags, 0o640)
}

// names reports whether name still leads to the open file fd. Whoever takes the
// lock of a file must ask: the previous holder may have removed it.
func (d *directory) names(name string, fd int) bool {
	var a, b unix.Stat_t
	return unix.Fstatat(d.Fd(), name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(fd, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

func (d *directory) remove(name string) error { return d.Remove(name) }

// instances lists the names of the instances that have a member file, sorted.
func (d *directory) instances() ([]string, error) { return d.list(memberSuffix) }

// list lists the files with a suffix, without it, sorted.
func (d *directory) list(suffix string) ([]string, error) {
	files, err := d.Names()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range files {
		if stem, ok := strings.CutSuffix(name, suffix); ok && checkName("file", stem) == nil {
			list = append(list, stem)
		}
	}
	slices.Sort(list)
	return list, nil
}

func (d *directory) join(name string) string { return d.Path(name) }

// procPath is a path to an open file, for system calls that take only paths.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// erase makes a file, or all of it that there is, read as zeros, without blocks. False: this
// file system cannot.
func erase(fd int) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size == 0 {
		return err == nil
	}
	return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, st.Size) == nil
}

// lengthen makes the file at least size bytes long, and what is new a hole.
func lengthen(fd, size int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size >= int64(size) {
		return err
	}
	return unix.Ftruncate(fd, int64(size))
}

// allocate makes the file at least size bytes long, with its blocks: a store
// into a hole of a full file system kills the process. It never shrinks a file.
func allocate(fd, size int) error {
	err := unix.Fallocate(fd, 0, 0, int64(size))
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Size < int64(size) {
		_, err = unix.Pwrite(fd, make([]byte, int64(size)-st.Size), st.Size)
		return err
	}
	return nil
}
