package rundir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Private makes the directory its owner's alone to read, too: nobody else can open
// it, and so nobody else can take its lock.
func (d *Dir) Private() error {
	if err := unix.Fchmod(int(d.f.Fd()), 0o700); err != nil {
		return fmt.Errorf("chmod %s: %w", d.path, err)
	}
	return nil
}

// TryLock takes the lock of the directory itself, which needs no file that would be
// left, until Close. It is false if somebody else has the lock.
func (d *Dir) TryLock() (bool, error) {
	for {
		err := unix.Flock(int(d.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("lock %s: %w", d.path, err)
		default:
			return true, nil
		}
	}
}

// Named reports whether the path still leads to the directory. Whoever takes the
// lock must ask: the one before may have removed it.
func (d *Dir) Named() bool {
	var a, b unix.Stat_t
	return unix.Lstat(d.path, &a) == nil && unix.Fstat(int(d.f.Fd()), &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

// RemoveEmpty removes the directory if nothing is in it, which the kernel knows best.
// The caller has the lock and has found the directory Named.
func (d *Dir) RemoveEmpty() error {
	err := unix.Rmdir(d.path)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.path, err)
	}
	return nil
}
