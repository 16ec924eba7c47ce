// Package rundir reads and writes files of the run directory, where every vrrpd
// of a machine leaves what a later one, or root, believes: what sysctls were,
// which process is whose. So nothing here follows a symbolic link, and nothing is
// believed that another user could have written: a directory that is not this
// user's, or that others may write to, is refused with what to do; so is a file
// that is not a plain one of the directory's owner.
//
// Directories are held open and files found from there: whoever renames a path
// in between leads nobody astray.
package rundir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	dirFlags  = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fileFlags = unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK // no FIFO stops us

	// writableByOthers are the mode bits that must not be set.
	writableByOthers = 0o022
)

// Access is what a directory is opened for.
type Access uint8

const (
	ToLook   Access = iota // it may be another user's
	ToChange               // it must be this user's
	ToMake                 // as ToChange, and a missing one is made; the one that it lies in must exist
)

// Dir is an open directory that its owner alone may write.
type Dir struct {
	f    *os.File
	path string // for messages
	uid  uint32
}

// Open opens a directory.
func Open(path string, what Access) (*Dir, error) {
	if path == "" {
		return nil, errors.New("directory without a name")
	}
	path = filepath.Clean(path) // a slash at the end would follow a link
	return open(unix.AT_FDCWD, path, path, what)
}

// Sub opens a directory within d, which is made if it is missing.
func (d *Dir) Sub(name string) (*Dir, error) {
	return open(d.Fd(), name, filepath.Join(d.path, name), ToMake)
}

func open(at int, name, path string, what Access) (*Dir, error) {
	fd, err := unix.Openat(at, name, dirFlags, 0)
	made := false
	if what == ToMake && errors.Is(err, fs.ErrNotExist) {
		if err = unix.Mkdirat(at, name, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			made = err == nil
			fd, err = unix.Openat(at, name, dirFlags, 0)
		}
	}
	if err != nil {
		var st unix.Stat_t
		if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return nil, fmt.Errorf("directory %s is a symbolic link: remove it, or name the directory itself with -f", path)
		}
		return nil, &fs.PathError{Op: "open directory", Path: path, Err: err}
	}
	d := &Dir{f: os.NewFile(uintptr(fd), path), path: path}
	if made {
		err = unix.Fchmod(fd, 0o755) // whatever the umask is
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("directory %s: %w", path, err)
	case what != ToLook && int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("directory %s belongs to user %d, and this is user %d: remove it, or name another run directory with -f",
			path, st.Uid, os.Geteuid())
	case st.Mode&writableByOthers != 0:
		err = fmt.Errorf("directory %s (mode %#o) is writable by others: chmod 755 it, or name another run directory with -f",
			path, st.Mode&0o7777)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	d.uid = st.Uid
	return d, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.f.Close() }

// Fd is its descriptor, which lives as long as d.
func (d *Dir) Fd() int { return int(d.f.Fd()) }

// Path is the path of a file, for messages.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// File opens a file of the directory; perm is for one that is made.
func (d *Dir) File(name string, flags int, perm uint32) (*os.File, error) {
	fd, _, err := d.Descriptor(name, flags, perm)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), d.Path(name)), nil
}

// Descriptor is File for those who lock or map it, with what was found out about it.
func (d *Dir) Descriptor(name string, flags int, perm uint32) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := unix.Openat(d.Fd(), name, flags|fileFlags, perm)
	if errors.Is(err, unix.ELOOP) {
		return -1, st, fmt.Errorf("%s is a symbolic link: remove it", d.Path(name))
	}
	if err != nil {
		return -1, st, &fs.PathError{Op: "open", Path: d.Path(name), Err: err}
	}
	if err = unix.Fstat(fd, &st); err == nil {
		switch {
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			err = errors.New("is no plain file: remove it")
		case st.Uid != d.uid:
			err = fmt.Errorf("belongs to user %d: remove it", st.Uid)
		case st.Nlink > 1:
			err = errors.New("has a second name: remove it")
		case st.Mode&writableByOthers != 0:
			err = fmt.Errorf("(mode %#o) is writable by others: chmod go-w it", st.Mode&0o7777)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, fmt.Errorf("%s %w", d.Path(name), err)
	}
	return fd, st, nil
}

// Read returns the content of a file; one longer than limit is refused. The
// error is fs.ErrNotExist if there is none.
func (d *Dir) Read(name string, limit int) ([]byte, error) {
	f, err := d.File(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("read %s: longer than %d bytes, so none of ours: remove it", f.Name(), limit)
	}
	return b, err
}

// Replace writes a file as a whole: whoever reads it finds the old content or
// the new one. What has the name may be anything but a directory; it goes.
func (d *Dir) Replace(name string, content []byte) error {
	next := name + ".new"
	if err := d.Remove(next); err != nil {
		return err
	}
	f, err := d.File(next, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(d.Fd(), next, d.Fd(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.Path(name), err)
	}
	return nil
}

// Remove removes a file; that there is none is no error.
func (d *Dir) Remove(name string) error {
	if err := unix.Unlinkat(d.Fd(), name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "remove", Path: d.Path(name), Err: err}
	}
	return nil
}

// Names are the names of what is in the directory.
func (d *Dir) Names() ([]string, error) {
	// Its own descriptor: the position in the directory belongs to that.
	fd, err := unix.Openat(d.Fd(), ".", dirFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	return names, nil
}
