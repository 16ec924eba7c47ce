package realtime

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Ear is a descriptor that is waited for at a Bell. It belongs to who waits there.
type Ear struct {
	bell   *Bell
	fd     int
	number int32 // in bell.ears; -1: it has left
	read   func()
	ready  bool  // it is in bell.ready
	until  int64 // boottime ns: it pauses; 0: it does not
}

// Listen has Serve call read as long as there is something to read from fd, which must
// not wait; an error is something, too. Who reads less than everything is called again.
func (b *Bell) Listen(fd int, read func()) (*Ear, error) {
	n := slices.Index(b.ears, nil)
	if n < 0 {
		n = len(b.ears)
		b.ears = append(b.ears, nil)
	}
	if err := b.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, int32(n)); err != nil {
		return nil, err
	}
	e := &Ear{bell: b, fd: fd, number: int32(n), read: read}
	b.ears[n] = e
	return e, nil
}

// Serve calls whoever has something to read, in the order in which that was found.
func (b *Bell) Serve() {
	for i := 0; i < len(b.ready); i++ {
		e := b.ready[i]
		e.ready = false
		if e.number >= 0 {
			e.read()
		}
	}
	clear(b.ready)
	b.ready = b.ready[:0]
}

// heard: the kernel has something for an ear; nil: it has left since.
func (b *Bell) heard(e *Ear) {
	if e != nil && !e.ready {
		e.ready = true
		b.ready = append(b.ready, e)
	}
}

// deaf is how often an ear is read that cannot hear again after a pause, ns.
const deaf = int64(10 * time.Millisecond)

// Pause has nobody woken by the descriptor, whatever comes, until a time, boottime ns, when
// read is called whether there is something or not.
func (e *Ear) Pause(until int64) {
	if e.until == 0 {
		e.Cover()
		e.bell.waiting = append(e.bell.waiting, e)
	}
	e.until = until
}

// Cover spares the kernel to look whom to wake for each frame that comes to the descriptor,
// or has left by it: 0.1 us each, or more. Uncover must follow before the bell is waited
// at, and before the descriptor is closed.
func (e *Ear) Cover() {
	if e.number >= 0 && e.until == 0 {
		// Not EPOLL_CTL_MOD, with which it would look still.
		_ = e.bell.control(unix.EPOLL_CTL_DEL, e.fd, 0, 0)
	}
}

// Uncover ends that. What has come meanwhile is found by the next waiting, or, if the
// kernel has no memory for that, a little later.
func (e *Ear) Uncover() {
	if e.number >= 0 && e.until == 0 && !e.hear() {
		e.bell.waiting = append(e.bell.waiting, e)
		e.until = Boottime() + deaf
	}
}

// hear has the kernel tell of the descriptor; false: it has no memory, or no room for more
// of the user's.
func (e *Ear) hear() bool {
	return e.bell.control(unix.EPOLL_CTL_ADD, e.fd, unix.EPOLLIN, e.number) == nil
}

// resume ends the pauses that are over.
func (b *Bell) resume(now int64) {
	b.waiting = slices.DeleteFunc(b.waiting, func(e *Ear) bool {
		if e.until > now {
			return false
		}
		b.heard(e)
		if !e.hear() {
			e.until = now + deaf
			return false
		}
		e.until = 0
		return true
	})
}

// Leave ends listening. The descriptor must be open still.
func (e *Ear) Leave() error {
	if e.number < 0 {
		return nil
	}
	e.bell.ears[e.number] = nil
	e.number = -1
	if e.until != 0 {
		e.until = 0
		e.bell.waiting = slices.DeleteFunc(e.bell.waiting, func(x *Ear) bool { return x == e })
		return nil
	}
	return e.bell.control(unix.EPOLL_CTL_DEL, e.fd, 0, 0)
}

func (b *Bell) control(op, fd int, events uint32, number int32) error {
	b.event = unix.EpollEvent{Events: events, Fd: number}
	// Not by way of raw.go: it takes a mutex of the instance's.
	if err := unix.EpollCtl(b.epfd, op, fd, &b.event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}
