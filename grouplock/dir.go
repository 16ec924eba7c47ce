package grouplock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	memberSuffix = ".member"
	groupSuffix  = ".group"
)

// directory is the run directory, held open: its files are found even after a
// chdir, and even if something else gets its name.
type directory struct {
	f    *os.File
	path string // for messages
	uid  uint32 // owner; files of anybody else are not touched
}

func (d *directory) fd() int      { return int(d.f.Fd()) }
func (d *directory) close() error { return d.f.Close() }

// access is what a run directory is opened for.
type access uint8

const (
	toLook   access = iota // it may belong to somebody else
	toChange               // it must be ours
	toJoin                 // as toChange, and a missing one is made
)

// openDirectory opens the run directory; one that others could change is
// refused.
func openDirectory(path string, what access) (*directory, error) {
	if path == "" {
		return nil, errors.New("run directory: no name")
	}
	path = filepath.Clean(path) // a slash at the end would follow a symlink
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0)
	made := false
	if what == toJoin && errors.Is(err, fs.ErrNotExist) {
		if err = unix.Mkdir(path, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			made = err == nil
			fd, err = unix.Open(path, flags, 0)
		}
	}
	if err != nil {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return nil, fmt.Errorf("run directory %s is a symbolic link: name the directory itself with -f", path)
		}
		return nil, &fs.PathError{Op: "open run directory", Path: path, Err: err}
	}
	d := &directory{f: os.NewFile(uintptr(fd), path), path: path}
	if made {
		err = unix.Fchmod(fd, 0o755) // whatever the umask is
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("run directory %s: %w", path, err)
	case what != toLook && int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("run directory %s belongs to user %d, and this is user %d: name one of your own with -f", path, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		err = fmt.Errorf("run directory %s (mode %#o) is writable by others: chmod 755 it, or name another with -f", path, st.Mode&0o7777)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	d.uid = st.Uid
	return d, nil
}

// open opens a file of the directory and checks that it is a plain one of ours.
// Others' records are opened read-only: closing such a file rings no bell.
func (d *directory) open(name string, flags int) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	// O_NONBLOCK: a FIFO of that name must not stop us.
	fd, err := unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o640)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return -1, st, fmt.Errorf("%s is a symbolic link: remove it", d.join(name))
		}
		return -1, st, &fs.PathError{Op: "open", Path: d.join(name), Err: err}
	}
	if err = unix.Fstat(fd, &st); err == nil {
		switch {
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			err = errors.New("is no plain file: remove it")
		case st.Uid != d.uid:
			err = fmt.Errorf("belongs to user %d: remove it", st.Uid)
		case st.Nlink > 1:
			err = errors.New("has a second name: remove it")
		case st.Mode&0o022 != 0:
			err = fmt.Errorf("(mode %#o) is writable by others: chmod 640 it", st.Mode&0o7777)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, fmt.Errorf("%s %w", d.join(name), err)
	}
	return fd, st, nil
}

// names reports whether name still leads to the open file fd. Whoever takes the
// lock of a file must ask: the previous holder may have removed it.
func (d *directory) names(name string, fd int) bool {
	var a, b unix.Stat_t
	return unix.Fstatat(d.fd(), name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(fd, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

func (d *directory) remove(name string) error {
	if err := unix.Unlinkat(d.fd(), name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "remove", Path: d.join(name), Err: err}
	}
	return nil
}

// instances lists the names of the instances that have a member file, sorted.
func (d *directory) instances() ([]string, error) { return d.list(memberSuffix) }

// list lists the files with a suffix, without it, sorted.
func (d *directory) list(suffix string) ([]string, error) {
	// Its own descriptor: the position in the directory belongs to that.
	fd, err := unix.Openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	files, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
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

func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

// procPath is a path to an open file, for system calls that take only paths.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

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
