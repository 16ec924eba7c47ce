// Package pidfd tells of the end of a process (pidfd_open(2)). Who waits for it keeps no
// thread: a thousand commands of a change of sides are a thousand descriptors of the
// runtime's poller, and not a thousand threads that it keeps for good.
package pidfd

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a process as long as the descriptor is open: its number may be another's by
// then.
type Process struct {
	file *os.File
	raw  syscall.RawConn
}

// Open finds a process by its number. unix.ESRCH: there is none, or it is a thread's;
// unix.ENOSYS: a kernel before 5.3, which is also the first that tells of the end.
func Open(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.EINVAL {
		err = unix.ESRCH // a thread's number, or nonsense
	}
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make pidfd non-blocking: %w", err)
	}
	p := &Process{file: os.NewFile(uintptr(fd), "pidfd")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// Wait returns when the process has ended, whether or not it has been reaped; an error is
// that Close came first, or that this kernel's pidfds cannot be waited for.
func (p *Process) Wait() error {
	return p.raw.Read(func(fd uintptr) bool { return readable(int(fd)) })
}

// Over reports whether it has ended.
func (p *Process) Over() bool {
	over := true
	if err := p.raw.Control(func(fd uintptr) { over = readable(int(fd)) }); err != nil {
		return true
	}
	return over
}

// Close lets go of it, and ends Wait.
func (p *Process) Close() error { return p.file.Close() }

func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}
