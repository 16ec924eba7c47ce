package realtime

import (
	"encoding/binary"
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
}

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
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
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
	var count [8]byte
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, err := unix.Read(b.fd, count[:])
	return err == nil
}

// Pause waits for a time, or until the bell is rung, which the next Wait is told.
func (b *Bell) Pause(length time.Duration) { b.poll(-1, length) }

func (b *Bell) poll(fd int, limit time.Duration) (rang bool) {
	b.mu.RLock()
	fds := [2]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}, {Fd: int32(fd), Events: unix.POLLIN}}
	b.mu.RUnlock()
	var timeout *unix.Timespec
	if limit >= 0 {
		ts := unix.NsecToTimespec(int64(limit))
		timeout = &ts
	}
	// EINTR: the caller looks around and waits again.
	n, err := unix.Ppoll(fds[:], timeout, nil)
	return err == nil && n > 0 && fds[0].Revents != 0
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
