package lan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
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

// Batch is what one look into the socket brought: adverts, answers or an event.
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
type Sink func(Batch)

// ErrNotRunning says that Drain has looked at nothing, because nobody has said
// yet where to deliver: what waits is still unknown.
var ErrNotRunning = errors.New("nobody is reading")

// receiver reads the socket of a Port. Its fields below sock are guarded by Port.mu.
type receiver struct {
	port *Port
	sock *socket

	ear    *realtime.Ear // nil: nobody listens
	down   bool          // ENETDOWN was met: is the parent gone too?
	said   atomic.Bool   // that is known, and nothing has been heard or sent since
	failed bool          // it has been told that nothing can be read any more
	limit  int           // frames that drain may read
	at     int64         // boottime ns of the last look
	pace   pace
}

func newReceiver(p *Port, sock *socket) *receiver {
	r := &receiver{port: p, sock: sock, pace: newPace(p.cfg.Interval)}
	// No more than the socket can hold has "already arrived": the smallest
	// frame costs the kernel more than 256 bytes of twice the buffer. Without
	// a limit a flood would keep the caller here for ever.
	r.limit = p.cfg.ReceiveBuffer/128 + batchSize
	return r
}

// visit is how long one visit to a socket may last: then whoever reads has other things
// to do before the next one. 500 frames come within it.
const visit = int64(300 * time.Microsecond)

// serve reads what there is, when the bell has told of something or a pause is over.
func (r *receiver) serve() {
	r.port.mu.Lock()
	defer r.port.mu.Unlock()
	if r.port.sink == nil || r.ear == nil {
		return // as of now
	}
	var began int64
	for read := 0; ; {
		n, errno := r.receive()
		read += n
		switch {
		case r.failed:
			_ = r.ear.Leave() // it has nothing to say
			return
		case errno == unix.EAGAIN, errno == 0 && n < batchSize:
			// Something may be left, an error above all; then the bell says so.
			if errno != 0 {
				r.at = boottime()
			}
			if r.pace.flooded(read, r.at) {
				r.ear.Pause(r.at + int64(r.pace.length))
			}
			return
		case began == 0:
			began = r.at
		case r.at-began > visit:
			r.pace.flooded(read, r.at) // the next time, if nothing is left then
			return
		}
	}
}

// drain reads until nothing is left, for the caller of Drain.
func (r *receiver) drain() (frames int) {
	for frames < r.limit {
		n, errno := r.receive()
		frames += n
		if errno == unix.EAGAIN || r.failed {
			break
		}
	}
	return frames
}

// receive takes and delivers one batch. The caller holds mu.
func (r *receiver) receive() (int, unix.Errno) {
	p := r.port
	n, errno := r.sock.receive(p.in)
	switch errno {
	case 0:
		r.said.Store(false)
		b := p.take(n)
		r.at = boottime()
		if len(b.Adverts)+len(b.Answers) > 0 {
			b.At = r.at
			p.sink(b)
		}
	case unix.EAGAIN, unix.EINTR:
	case unix.ENETDOWN:
		r.tellDown()
	default:
		if !r.failed {
			r.failed = true
			p.lost(fmt.Errorf("read from %s: %w", p.cfg.Name, errno))
		}
	}
	return n, errno
}

// tellDown passes on that the parent went down. The socket is told once. The caller
// holds mu.
func (r *receiver) tellDown() {
	r.down = true
	r.said.Store(true)
	if sink := r.port.sink; sink != nil {
		sink(Batch{At: boottime(), Parent: ParentDown})
	}
}

// wentDown is for who sends by the same socket, and is told whenever he tries.
func (r *receiver) wentDown() {
	if r.said.Load() {
		return
	}
	r.port.mu.Lock()
	defer r.port.mu.Unlock()
	r.tellDown()
	r.port.wake() // Run sees to it
}

// take sorts the first n frames of the buffer: adverts, and answers to our questions.
func (p *Port) take(n int) Batch {
	p.adverts, p.answers = p.adverts[:0], p.answers[:0]
	for i := range n {
		frame := p.in.frame(i)
		drop := DropTruncated
		switch {
		case len(frame) < ethernetSize:
		case isAnswer(frame):
			var a Answer
			if a, drop = ParseAnswer(frame); drop == Delivered {
				p.answers = append(p.answers, a)
			}
		default:
			var a Received
			if a, drop = ParseAdvert(frame, p.toOne(familyOf(frame))); drop == Delivered {
				p.adverts = append(p.adverts, a)
			}
		}
		if drop != Delivered {
			p.count.dropped[drop].Add(1)
		}
	}
	p.count.adverts.Add(uint64(len(p.adverts)))
	p.count.answers.Add(uint64(len(p.answers)))
	return Batch{Adverts: p.adverts, Answers: p.answers}
}

// Listen has whoever waits at bell read, when that serves, and deliver to sink. lost is
// told, once, that the socket has failed, from which nothing comes any more; it must not
// call the Port. Of a parent that is gone nothing is told but that it is down.
// Listen, Leave and the bell belong to one goroutine.
func (p *Port) Listen(bell *realtime.Bell, sink Sink, lost func(error)) error {
	if p.closed.Load() {
		return fmt.Errorf("read from %s: %w", p.cfg.Name, net.ErrClosed)
	}
	p.mu.Lock()
	busy := p.sink != nil
	if !busy {
		p.sink, p.lost = sink, lost
	}
	p.mu.Unlock()
	if busy {
		return fmt.Errorf("read from %s: another Run is reading", p.cfg.Name)
	}
	p.bell.Store(bell)
	r := p.receiver
	ear, err := r.sock.listen(bell, r.serve)
	if err != nil {
		p.Leave()
		return fmt.Errorf("read from %s: %w", p.cfg.Name, err)
	}
	p.mu.Lock()
	r.ear, r.failed = ear, false
	p.mu.Unlock()
	return nil
}

// Leave ends what Listen has begun: nothing is delivered once it returns. What arrives
// from then on waits. It comes before Close.
func (p *Port) Leave() {
	p.bell.Store(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.receiver; r.ear != nil {
		_ = r.ear.Leave() // its socket is closed
		r.ear = nil
	}
	p.sink = nil
}

// wake has whoever listens look around.
func (p *Port) wake() {
	if bell := p.bell.Load(); bell != nil {
		bell.Ring()
	}
}

// Run is Listen for who has no other things to wait for. It reads and delivers to sink
// until ctx ends or Close is called (nil), or the parent is gone (errors.Is unix.ENODEV)
// or a socket fails. After ctx has ended it may be called again; what arrived in between
// has waited. Only one Run at a time.
func (p *Port) Run(ctx context.Context, sink Sink) error {
	bell, err := realtime.NewBell(false)
	if err != nil {
		return fmt.Errorf("read from %s: %w", p.cfg.Name, err)
	}
	defer bell.Close()
	var failed error // guarded by mu
	if err := p.Listen(bell, sink, func(err error) {
		failed = err
		bell.Ring() // it may be Drain that has met it
	}); err != nil {
		return err
	}
	defer p.Leave()
	defer context.AfterFunc(ctx, bell.Ring)()
	r := p.receiver
	for ctx.Err() == nil && !p.closed.Load() {
		bell.Wait(math.MaxInt64)
		bell.Serve()
		p.mu.Lock()
		down, err := r.down, failed
		r.down = false
		p.mu.Unlock()
		switch {
		case p.closed.Load():
			return nil
		case err != nil:
			return err
		case down && r.gone():
			p.mu.Lock()
			p.sink(Batch{At: boottime(), Parent: ParentGone})
			p.mu.Unlock()
			return fmt.Errorf("read from %s: %w", p.cfg.Name, unix.ENODEV)
		}
	}
	return nil
}

// gone reports whether the parent that has just gone down is being deleted.
// The kernel says ENETDOWN first and unbinds the socket a little later, within
// the same hold of its RTNL lock. Joining a group once more needs that lock
// and so waits until the matter is settled; therefore mu is not held here.
func (r *receiver) gone() bool {
	_ = r.join(groupOf(r.port.cfg.Families[0]))
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
	frames = p.receiver.drain()
	if p.receiver.down {
		p.wake() // Run sees to it
	}
	return frames, nil
}

// boottime is CLOCK_BOOTTIME in nanoseconds: the clock of package election.
func boottime() int64 { return realtime.Boottime() }
