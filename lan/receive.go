package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ParentEvent is what a socket itself learns of its parent. Package rtnl tells
// more and is the one to believe; this one comes in order with the frames.
type ParentEvent uint8

const (
	ParentNone ParentEvent = iota
	// ParentDown: the parent went down (ENETDOWN). Reading goes on, and frames
	// come again when it is up; that it is up is not told.
	ParentDown
	// ParentGone: the parent was deleted, or moved to another namespace. It
	// follows a ParentDown, and Run returns. A parent that is deleted while it
	// is down is not told: then Send says unix.ENXIO.
	ParentGone
)

var parentWords = [...]string{ParentNone: "none", ParentDown: "down", ParentGone: "gone"}

func (e ParentEvent) String() string {
	if int(e) < len(parentWords) {
		return parentWords[e]
	}
	return "unknown"
}

// Batch is what one look into one socket brought: adverts, answers or an event.
type Batch struct {
	// At is CLOCK_BOOTTIME in nanoseconds, read once after the frames were:
	// never before one of them arrived, but later by what they waited.
	At      int64
	Adverts []Received
	Answers []Answer
	Parent  ParentEvent
}

// Sink takes a batch. Its slices, and what they point to, belong to the Port
// and are valid until the Sink returns. Calls never overlap.
//
// A Sink must not wait for a goroutine that calls Drain, and must not call
// Drain itself: both would wait for the reader that is waiting for the Sink.
// Append to a queue without limit and ring its owner.
type Sink func(Batch)

// ErrNotRunning says that Drain has looked at nothing, because no Run has said
// yet where to deliver: what waits is still unknown.
var ErrNotRunning = errors.New("nobody is reading")

// past is a deadline that ends waiting at once.
var past = time.Unix(1, 0)

// receiver reads one socket. Its fields below sock are guarded by Port.mu.
type receiver struct {
	port *Port
	name string
	sock *socket
	// group is what the socket is a member of at layer 2; invalid: nothing.
	group netip.Addr

	// take turns the first n frames of the buffer into a batch.
	take func(n int) Batch
	// wait reads until nothing is left; false makes the poller wait for more.
	wait func(epfd uintptr) bool

	down    bool       // ENETDOWN was met: is the parent gone too?
	failed  unix.Errno // ended wait or drain, if it is not EAGAIN or ENETDOWN
	drained int        // frames that drain has read
	limit   int        // frames that drain may read

	// Of run and wait, which are one goroutine.
	pace    pace
	reading int // frames since the poller was last asked
}

func newReceiver(p *Port, name string, sock *socket, take func(n int) Batch, group netip.Addr) *receiver {
	r := &receiver{port: p, name: name, sock: sock, take: take, group: group, pace: newPace(p.cfg.Interval)}
	// No more than the socket can hold has "already arrived": the smallest
	// frame costs the kernel more than 256 bytes of twice the buffer. Without
	// a limit a flood would keep the caller here for ever.
	r.limit = p.cfg.ReceiveBuffer/128 + batchSize
	r.wait = func(epfd uintptr) bool {
		sock.disarm(epfd)
		for !p.stopping.Load() && !p.closed.Load() {
			p.mu.Lock()
			n, errno := r.receive()
			p.mu.Unlock()
			r.reading += n
			switch errno {
			case 0, unix.EINTR:
			case unix.EAGAIN:
				if r.pace.flooded(r.reading, boottime()) {
					r.reading = 0
					return true // to pause
				}
				r.reading = 0
				// Only EAGAIN proves that there is nothing, not a batch that
				// was not full: the poller tells of changes, and an error that
				// ended the batch early is none.
				return sock.arm(epfd) != nil // closed
			default:
				return true
			}
		}
		return true
	}
	return r
}

// drain reads until nothing is left, for the caller of Drain.
func (r *receiver) drain() {
	for r.drained < r.limit {
		n, errno := r.receive()
		r.drained += n
		if errno == unix.EAGAIN || r.failed != 0 {
			return
		}
	}
}

// receive takes and delivers one batch. The caller holds mu.
func (r *receiver) receive() (int, unix.Errno) {
	p := r.port
	n, errno := r.sock.receive(p.in)
	switch errno {
	case 0:
		if b := r.take(n); len(b.Adverts)+len(b.Answers) > 0 {
			b.At = boottime()
			p.sink(b)
		}
	case unix.EAGAIN, unix.EINTR:
	case unix.ENETDOWN:
		r.tellDown()
	default:
		r.failed = errno
	}
	return n, errno
}

// tellDown passes on that the parent went down. Every socket is told once; the one
// of the adverts says so. The caller holds mu.
func (r *receiver) tellDown() {
	p := r.port
	if r != p.receivers[0] {
		return
	}
	r.down = true
	if p.sink != nil {
		p.sink(Batch{At: boottime(), Parent: ParentDown})
	}
}

// wentDown is for who sends by the receiver's socket, and has been told.
func (r *receiver) wentDown() {
	r.port.mu.Lock()
	defer r.port.mu.Unlock()
	r.tellDown()
	r.wake() // Run sees to it
}

func (p *Port) takeAdverts(n int) Batch {
	p.adverts = p.adverts[:0]
	for i := range n {
		a, drop := ParseAdvert(p.in.frame(i), p.toOne(4))
		if drop != Delivered {
			p.count.dropped[drop].Add(1)
			continue
		}
		p.adverts = append(p.adverts, a)
	}
	p.count.adverts.Add(uint64(len(p.adverts)))
	return Batch{Adverts: p.adverts}
}

func (p *Port) takeAnswers(n int) Batch {
	p.answers = p.answers[:0]
	for i := range n {
		a, drop := ParseAnswer(p.in.frame(i))
		if drop != Delivered {
			p.count.dropped[drop].Add(1)
			continue
		}
		p.answers = append(p.answers, a)
	}
	p.count.answers.Add(uint64(len(p.answers)))
	return Batch{Answers: p.answers}
}

// take6 sorts adverts and answers, which come through one socket: each frame of the
// router's IPv6 traffic is then shown to one filter.
func (p *Port) take6(n int) Batch {
	p.adverts, p.answers = p.adverts[:0], p.answers[:0]
	for i := range n {
		frame := p.in.frame(i)
		if isNeighbour(frame) {
			a, drop := ParseAnswer(frame)
			if drop != Delivered {
				p.count.dropped[drop].Add(1)
				continue
			}
			p.answers = append(p.answers, a)
			continue
		}
		a, drop := ParseAdvert(frame, p.toOne(6))
		if drop != Delivered {
			p.count.dropped[drop].Add(1)
			continue
		}
		p.adverts = append(p.adverts, a)
	}
	p.count.adverts.Add(uint64(len(p.adverts)))
	p.count.answers.Add(uint64(len(p.answers)))
	return Batch{Adverts: p.adverts, Answers: p.answers}
}

// Run reads and delivers to sink until ctx ends or Close is called (nil), or
// the parent is gone (errors.Is unix.ENODEV) or a socket fails. After ctx has
// ended it may be called again; what arrived in between has waited. Only one
// Run at a time.
func (p *Port) Run(ctx context.Context, sink Sink) error {
	if p.closed.Load() {
		return fmt.Errorf("read from %s: %w", p.cfg.Name, net.ErrClosed)
	}
	p.mu.Lock()
	busy := p.sink != nil
	if !busy {
		p.sink = sink
	}
	p.mu.Unlock()
	if busy {
		return fmt.Errorf("read from %s: another Run is reading", p.cfg.Name)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.stopping.Store(false)
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		p.stopping.Store(true)
		for _, r := range p.receivers {
			r.wake()
		}
	})

	errs := make([]error, len(p.receivers))
	var readers sync.WaitGroup
	for i, r := range p.receivers {
		readers.Go(func() {
			errs[i] = r.run(ctx)
			cancel() // one reader alone is of no use
		})
	}
	readers.Wait()
	if !stop() {
		<-woken // or it would stop the next Run
	}
	p.mu.Lock()
	p.sink = nil
	p.mu.Unlock()
	return errors.Join(errs...)
}

// wake makes run look around, also if it begins to wait only now.
func (r *receiver) wake() {
	// It fails on a closed socket only, whose reader is awake already.
	_ = r.sock.setDeadline(past)
}

// run reads until it has to end; nil means that it was asked to.
func (r *receiver) run(ctx context.Context) error {
	p := r.port
	if p.cfg.Thread != nil {
		defer p.cfg.Thread()()
	}
	for {
		err := r.sock.read(r.wait)
		switch {
		case p.closed.Load() || ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Drain has met what it leaves to us, or a former Run's context
			// has. The deadline goes first: one set by ctx from here on stays,
			// one set before is seen in the next line.
			_ = r.sock.setDeadline(time.Time{})
			if ctx.Err() != nil {
				return nil
			}
		case err != nil:
			return fmt.Errorf("read %s from %s: %w", r.name, p.cfg.Name, err)
		}

		switch {
		case !r.pace.busy:
		case r.sock.wake != nil:
			r.sock.wake.Pause(r.pace.length)
		default:
			r.pace.pause(ctx)
		}
		p.mu.Lock()
		down, failed := r.down, r.failed
		r.down, r.failed = false, 0
		p.mu.Unlock()
		switch {
		case failed != 0:
			return fmt.Errorf("read %s from %s: %w", r.name, p.cfg.Name, failed)
		case down && r.gone():
			p.mu.Lock()
			p.sink(Batch{At: boottime(), Parent: ParentGone})
			p.mu.Unlock()
			return fmt.Errorf("read %s from %s: %w", r.name, p.cfg.Name, unix.ENODEV)
		}
	}
}

// gone reports whether the parent that has just gone down is being deleted.
// The kernel says ENETDOWN first and unbinds the socket a little later, within
// the same hold of its RTNL lock. Joining the group once more needs that lock
// and so waits until the matter is settled; therefore mu is not held here.
func (r *receiver) gone() bool {
	_ = r.join()
	index, err := r.sock.boundTo()
	return err == nil && index != r.port.cfg.Index
}

// Drain reads everything that has already arrived, without waiting, and
// delivers it to Run's sink from the caller's goroutine before it returns: an
// owner that was stalled learns what it missed before it decides. It returns
// the number of frames read. ErrNotRunning and net.ErrClosed mean that nothing
// was looked at.
func (p *Port) Drain() (frames int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drain()
}

// drain is Drain for who holds mu.
func (p *Port) drain() (frames int, err error) {
	if p.closed.Load() {
		return 0, fmt.Errorf("drain %s: %w", p.cfg.Name, net.ErrClosed)
	}
	if p.sink == nil {
		return 0, fmt.Errorf("drain %s: %w", p.cfg.Name, ErrNotRunning)
	}
	for _, r := range p.receivers {
		r.drained = 0
		r.drain()
		frames += r.drained
		if r.down || r.failed != 0 {
			r.wake() // Run sees to it
		}
	}
	return frames, nil
}

// boottime is CLOCK_BOOTTIME in nanoseconds: the clock of package election.
func boottime() int64 {
	var ts unix.Timespec
	// It cannot fail: Linux has this clock since 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}
