package lan

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

// Batch is what one look into the socket brought: adverts and answers.
type Batch struct {
	// At is CLOCK_BOOTTIME in nanoseconds, read once after the frames were:
	// never before one of them arrived, but later by what they waited.
	At      int64
	Adverts []Received
	Answers []Answer
}

// Sink takes a batch. Its slices, and what they point to, belong to the Port
// and are valid until the Sink returns. Calls never overlap.
//
// A Sink must not wait for a goroutine that calls Drain, and must not call
// Drain itself: both would wait for the reader that is waiting for the Sink.
type Sink func(Batch)

// errNobody says that Drain has looked at nothing, because nobody has said
// yet where to deliver: what waits is still unknown.
var errNobody = errors.New("nobody is reading")

// receiver reads the socket of a Port. Its fields below sock are guarded by Port.mu.
type receiver struct {
	port *Port
	sock *socket

	ear    *realtime.Ear // nil: nobody listens
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
		b := p.take(n)
		r.at = boottime()
		if len(b.Adverts)+len(b.Answers) > 0 {
			b.At = r.at
			p.sink(b)
		}
	case unix.EAGAIN, unix.EINTR:
	case unix.ENETDOWN:
		// Said once when the parent goes down. Package rtnl tells of that, and of one that is
		// gone; when it is up again frames come as before.
	default:
		if !r.failed {
			r.failed = true
			p.lost(fmt.Errorf("read from %s: %w", p.cfg.Name, errno))
		}
	}
	return n, errno
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
// call the Port. Of a parent that is down or gone package rtnl tells, not this.
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
		return fmt.Errorf("read from %s: somebody else is reading", p.cfg.Name)
	}
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.receiver; r.ear != nil {
		_ = r.ear.Leave() // its socket is closed
		r.ear = nil
	}
	p.sink = nil
}

// Drain reads everything that has already arrived, without waiting, and
// delivers it to Listen's sink from the caller's goroutine before it returns: an
// owner that was stalled learns what it missed before it decides. It returns
// the number of frames read. An error means that nothing was looked at: nobody
// listens, or net.ErrClosed.
func (p *Port) Drain() (frames int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return 0, fmt.Errorf("drain %s: %w", p.cfg.Name, net.ErrClosed)
	}
	if p.sink == nil {
		return 0, fmt.Errorf("drain %s: %w", p.cfg.Name, errNobody)
	}
	return p.receiver.drain(), nil
}

// boottime is CLOCK_BOOTTIME in nanoseconds: the clock of package election.
func boottime() int64 { return realtime.Boottime() }
