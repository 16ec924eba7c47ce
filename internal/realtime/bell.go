package realtime

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bell is where one goroutine waits for all that concerns it: for others to ring, for a
// time, for descriptors. Anybody may ring; everything else belongs to who waits. What is
// rung while nobody waits ends the next waiting at once.
//
// The three are one epoll instance: whatever happens, one thread wakes up, once. Where it
// waits is the runtime's poller, or the kernel, for a thread that must not be woken by
// others (see the package). Waiting in the kernel has a price: the thread keeps a
// processor of the runtime's, whose monitor then looks every 20 us whether it may be
// taken away, some sixty times until it is; that is ten times of what waking up costs. For
// the same reason all calls here that cannot wait are not announced to the runtime
// (raw.go): one that is announced wakes the monitor.
type Bell struct {
	onThread bool

	poll *os.File        // the epoll instance, for the runtime's poller
	raw  syscall.RawConn // of poll
	epfd int
	// clock is a timer descriptor of CLOCK_BOOTTIME; set is what it was set to, 0: it has
	// to be set.
	clock int
	set   int64

	state atomic.Int32 // awake, asleep, rung
	mu    sync.RWMutex // keeps hammer from being closed while somebody rings
	// hammer is an eventfd; -1: closed.
	hammer int

	ears    []*Ear // by number; nil: it has left
	ready   []*Ear // to be served
	waiting []*Ear // those that pause
	called  bool   // see Called

	// Arguments of calls, which would be allocated otherwise.
	try    func(epfd uintptr) bool
	events [16]unix.EpollEvent
	found  int
	looked int64
	count  [8]byte
	timer  unix.ItimerSpec
	event  unix.EpollEvent
}

// States of who waits.
const (
	awake int32 = iota
	asleep
	rung
)

// Numbers of what is no Ear.
const (
	ofHammer int32 = -1
	ofClock  int32 = -2
)

// NewBell makes a bell; Close it. onThread: who waits has a thread for itself, which waits
// in the kernel.
func NewBell(onThread bool) (b *Bell, err error) {
	b = &Bell{onThread: onThread, epfd: -1, clock: -1, hammer: -1}
	if b.hammer, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), b.Close())
	}
	if b.clock, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("timerfd_create: %w", err), b.Close())
	}
	if b.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll_create: %w", err), b.Close())
	}
	for fd, number := range map[int]int32{b.hammer: ofHammer, b.clock: ofClock} {
		if err := b.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, number); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	b.try = func(epfd uintptr) bool {
		b.looked = Boottime()
		b.found = poll(epfd, b.events[:])
		return b.found != 0
	}
	if onThread {
		return b, nil
	}
	if err := unix.SetNonblock(b.epfd, true); err != nil { // or the runtime would not wait for it
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), b.Close())
	}
	b.poll = os.NewFile(uintptr(b.epfd), "epoll")
	if b.raw, err = b.poll.SyscallConn(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Ring never blocks, and does nothing once the bell is closed.
func (b *Bell) Ring() {
	if b.state.Swap(rung) != asleep {
		return // it will look around before it sleeps
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.hammer >= 0 {
		write(b.hammer, &one)
	}
}

// one is the number that an eventfd is to add, eight bytes of it; any but 0 will do.
var one = [8]byte{1, 1, 1, 1, 1, 1, 1, 1}

// Quiet is for who waits, and is about to look around: what was rung so far need not end
// the next waiting.
func (b *Bell) Quiet() { b.state.CompareAndSwap(rung, awake) }

// Wait returns when the bell has been rung, when there is something to Serve, or at a time
// of CLOCK_BOOTTIME, ns; sometimes earlier, like every waiting in the kernel. A time that
// has passed only looks; math.MaxInt64 is no limit. looked, of the same clock, is no later
// than the last look for what is to be served. It does not allocate.
func (b *Bell) Wait(until int64) (looked int64) {
	for _, e := range b.waiting {
		until = min(until, e.until)
	}
	b.called = !b.state.CompareAndSwap(awake, asleep)
	if b.called || until <= Boottime() {
		b.try(uintptr(b.epfd))
	} else if b.setClock(until); b.onThread {
		wait(b.epfd, b.events[:1])
		b.try(uintptr(b.epfd))
	} else if b.raw.Read(b.try) != nil {
		b.found = 0 // closed
	}
	b.state.Store(awake)
	for _, e := range b.events[:b.found] {
		switch e.Fd {
		case ofHammer:
			b.called = true
			read(b.hammer, &b.count)
		case ofClock:
			b.set = 0
		default:
			b.heard(b.ears[e.Fd])
		}
	}
	if len(b.waiting) > 0 {
		b.resume(b.looked)
	}
	return b.looked
}

// Called reports that somebody had rung when the last waiting began, or did meanwhile.
func (b *Bell) Called() bool { return b.called }

// setClock has the clock's descriptor readable from a time on, and not before.
func (b *Bell) setClock(until int64) {
	if until == b.set {
		return
	}
	b.set = until
	b.timer.Value = unix.Timespec{} // never
	if until < math.MaxInt64 {
		b.timer.Value = unix.NsecToTimespec(until)
	}
	setTimer(b.clock, &b.timer)
}

// Close gives the descriptors back. Nobody may wait any more.
func (b *Bell) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	if b.poll != nil {
		errs = append(errs, b.poll.Close())
		b.poll, b.epfd = nil, -1
	}
	for _, fd := range []*int{&b.epfd, &b.clock, &b.hammer} {
		if *fd >= 0 {
			errs = append(errs, os.NewSyscallError("close", unix.Close(*fd)))
		}
		*fd = -1
	}
	return errors.Join(errs...)
}
