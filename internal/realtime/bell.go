package realtime

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bell wakes a thread that waits in the kernel: an eventfd. Anybody may ring it, one
// waits. What is rung while nobody waits ends the next waiting at once.
type Bell struct {
	mu sync.RWMutex // keeps fd from being closed while somebody rings
	fd int          // -1: closed

	// Arguments of calls, which would be allocated otherwise. Of who waits.
	fds     [2]unix.PollFd
	timeout unix.Timespec
	count   [8]byte
}

// one is the number that an eventfd is to add, eight bytes of it; any but 0 will do.
var one = [8]byte{1, 1, 1, 1, 1, 1, 1, 1}

// NewBell makes a bell; Close it.
func NewBell() (*Bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &Bell{fd: fd}, nil
}

// Ring never blocks, and does nothing once the bell is closed.
func (b *Bell) Ring() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.fd < 0 {
		return
	}
	// EAGAIN: it has been rung 2^64 times, so it rings.
	_, _ = unix.Write(b.fd, one[:])
}

// Wait returns when the bell has been rung (true), when a descriptor is readable, or after
// a time; sometimes earlier, like every waiting in the kernel. A descriptor of -1 is none,
// a negative time is no limit. It blocks the thread, and does not allocate.
func (b *Bell) Wait(fd int, limit time.Duration) (rang bool) {
	if !b.poll(fd, limit) {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, err := unix.Read(b.fd, b.count[:])
	return err == nil
}

// Pause waits for a time, or until the bell is rung, which the next Wait is told.
func (b *Bell) Pause(length time.Duration) { b.poll(-1, length) }

func (b *Bell) poll(fd int, limit time.Duration) (rang bool) {
	b.mu.RLock()
	b.fds = [2]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}, {Fd: int32(fd), Events: unix.POLLIN}}
	b.mu.RUnlock()
	var timeout *unix.Timespec
	if limit >= 0 {
		b.timeout = unix.NsecToTimespec(int64(limit))
		timeout = &b.timeout
	}
	// EINTR: the caller looks around and waits again.
	n, err := unix.Ppoll(b.fds[:], timeout, nil)
	return err == nil && n > 0 && b.fds[0].Revents != 0
}

// Close gives the descriptor back. Nobody may wait any more.
func (b *Bell) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd >= 0 {
		unix.Close(b.fd)
		b.fd = -1
	}
}
