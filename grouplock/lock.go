package grouplock

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// tryLock takes the exclusive flock of an open file; false means that somebody
// else has it.
func tryLock(fd int) (bool, error) {
	for {
		switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, fmt.Errorf("flock: %w", err)
		}
	}
}

// Explicit, because a mapping keeps the open file, and thereby its locks, beyond
// close. Neither call can fail on a file that is open.
func unlock(fd int) {
	unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	unix.Flock(fd, unix.LOCK_UN)
}

// setAlive locks byte 0, the sign that can be tested without being taken.
func setAlive(fd int) error {
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 1}); err != nil {
		return fmt.Errorf("lock byte 0: %w", err)
	}
	return nil
}

// isAlive reports whether the owner of a member file lives. It disturbs nobody.
func isAlive(fd int) (bool, error) {
	l := unix.Flock_t{Type: unix.F_RDLCK, Len: 1}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l); err != nil {
		return false, fmt.Errorf("test lock of byte 0: %w", err)
	}
	return l.Type != unix.F_UNLCK, nil
}

// raise moves a descriptor to a high number. A dying process releases its files
// in descending order of their numbers, and releasing an inotify descriptor or a
// packet socket waits for RCU: behind two sockets and our own doorbell a lock
// was free after 30 ms (p50), in front of them after 0.6 ms. If the limit of open
// files forbids it, the descriptor stays, and survivors notice later.
func raise(fd int) int {
	for _, least := range []int{4000, 1000, 200} {
		if high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least); err == nil {
			unix.Close(fd) // the locks belong to the open file, not to the number
			return high
		}
	}
	return fd
}

// MakeRoom has the kernel make room for high descriptors, which in a process with threads
// waits for a grace period of RCU (14 ms). Join does it if it has not been done; who is
// starting has other things to do meanwhile.
func MakeRoom() {
	if fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		unix.Close(raise(fd))
	}
}

// awaitChange waits until something happens to an open file, or for at most
// limit. It is for a process that is starting or has stopped serving.
func awaitChange(fd int, limit time.Duration) error {
	in, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return inotifyError(err)
	}
	defer unix.Close(in)
	const what = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE_SELF
	if _, err := unix.InotifyAddWatch(in, procPath(fd), what); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	ms := max(1, int(limit.Milliseconds()))
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}}, ms); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}

func inotifyError(err error) error {
	if errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("inotify: %w (raise fs.inotify.max_user_instances)", err)
	}
	return fmt.Errorf("inotify: %w", err)
}

// waitLimit is how long a starting process waits for a cleaner of its own
// instance, and anybody for the group file (docs: group.md, DEAD).
const waitLimit = 2 * time.Second

// retryWait bounds one wait for an event: the lock is dropped just after the
// kernel reports the death of its holder.
const retryWait = 20 * time.Millisecond

// openLocked opens a file of the directory, takes its flock and makes sure that
// the file still has its name. While somebody else holds the lock, busy decides:
// an error ends the wait, nil means to go on waiting, until deadline.
func (d *directory) openLocked(name string, flags int, deadline time.Time, busy func(fd int, expired bool) error) (int, unix.Stat_t, error) {
	for {
		fd, st, err := d.open(name, flags)
		if err != nil {
			return -1, st, err
		}
		got, err := tryLock(fd)
		if err == nil && got && d.names(name, fd) {
			if err = unix.Fstat(fd, &st); err == nil { // as it is under the lock
				return fd, st, nil
			}
		}
		left := time.Until(deadline)
		if err == nil && !got {
			if err = busy(fd, left <= 0); err == nil {
				err = awaitChange(fd, min(left, retryWait))
			}
		}
		unix.Close(fd) // gives the lock of a removed file back
		if err == nil && left < -waitLimit {
			err = errors.New("is removed as fast as it is made")
		}
		if err != nil {
			return -1, st, fmt.Errorf("%s: %w", d.join(name), err)
		}
	}
}
