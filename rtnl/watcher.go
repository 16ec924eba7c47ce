package rtnl

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// defaultReceiveBuffer holds some 2,000 link events. It is a limit, not an
	// allocation: the kernel takes memory for what is queued.
	defaultReceiveBuffer = 4 << 20

	// batchMax is how many datagrams are taken in before the changes are
	// handed out, so that a storm cannot withhold a carrier loss.
	batchMax = 64

	// syncTries is how often a dump is repeated because events arrived while
	// it was taken; syncPause is how long after that the next attempt waits
	// for the storm to end.
	syncTries = 6
	syncPause = 20 * time.Millisecond
)

// Config configures a Watcher. The zero value is the default.
type Config struct {
	// NetNS is a file descriptor of the network namespace to watch; zero means
	// the one of the thread that calls Open.
	NetNS int
	// ReceiveBuffer is the size of the event socket's buffer in bytes; zero
	// means 4 MiB. The kernel counts its own overhead into it.
	ReceiveBuffer int
	// Known is what the caller knows already: the first call of deliver then carries
	// what has changed since.
	Known Known
}

// Known is the state of a network namespace as somebody has seen it.
type Known struct {
	Links []Link
	Addrs []Addr // of each interface in the kernel's order
}

// Watcher follows the links and addresses of one network namespace.
type Watcher struct {
	events *socket // subscribed; read by Run alone
	query  *socket // dumps and re-reads; used by Run alone
	ioctl  int     // datagram socket of the same namespace, for flags under RCU

	// dump reads everything: query.everything, save in tests.
	dump func() (dump, error)

	// Owned by Run.
	table     *table
	notes     []note       // decoded, not yet applied
	unsettled bool         // the last dump may have missed something
	uppers    map[int]bool // links under one that had an event, value unused
	stopping  func() bool  // the context is done

	received, overruns, dumps atomic.Uint64
}

// Counters tells how a Watcher fares.
type Counters struct {
	Events   uint64 // messages about links and addresses that were decoded
	Overruns uint64 // times that the kernel dropped events for want of buffer
	Dumps    uint64 // complete dumps taken
}

// Open subscribes to link, IPv4 and IPv6 address events and starts nothing.
func Open(c Config) (*Watcher, error) {
	events, err := dial(c.NetNS)
	if err != nil {
		return nil, err
	}
	w := &Watcher{events: events, ioctl: -1, table: newTable(), uppers: make(map[int]bool)}
	w.table.know(c.Known)
	size := c.ReceiveBuffer
	if size == 0 {
		size = defaultReceiveBuffer
	}
	if err := events.conn.SetReadBuffer(size); err != nil {
		return nil, errors.Join(fmt.Errorf("set netlink receive buffer to %d: %w", size, err), w.Close())
	}
	for _, group := range [...]uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
		if err := events.conn.JoinGroup(group); err != nil {
			return nil, errors.Join(fmt.Errorf("join netlink group %d: %w", group, err), w.Close())
		}
	}
	if w.query, err = dial(c.NetNS); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	w.dump = w.query.everything
	if w.ioctl, err = ioctlSocket(c.NetNS); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close releases the sockets of a Watcher whose Run has returned, or was never
// called.
func (w *Watcher) Close() error {
	err := w.events.Close()
	if w.query != nil {
		err = errors.Join(err, w.query.Close())
	}
	if w.ioctl >= 0 {
		err = errors.Join(err, unix.Close(w.ioctl))
		w.ioctl = -1
	}
	return err
}

// Counters may be called from any goroutine.
func (w *Watcher) Counters() Counters {
	return Counters{Events: w.received.Load(), Overruns: w.overruns.Load(), Dumps: w.dumps.Load()}
}

// Run delivers changes until ctx is done (it returns nil then) or the kernel
// cannot be asked any more. The first call of deliver carries the whole initial
// state, less what is Known, each later one a non-empty batch in the order of the events; the slice
// belongs to deliver. It is called from Run's goroutine, which reads no events
// meanwhile. Run must be called once only.
func (w *Watcher) Run(ctx context.Context, deliver func([]Change)) error {
	w.stopping = func() bool { return ctx.Err() != nil }
	release := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		_ = w.events.conn.SetReadDeadline(past)
		_ = w.query.conn.SetReadDeadline(past)
	})
	defer release()

	changes, err := w.resync(nil)
	if err == nil {
		deliver(changes)
		for err == nil {
			if changes, err = w.next(); len(changes) > 0 {
				deliver(changes)
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watch links: %w", err)
}

// next waits for events and returns what they change, which may be nothing.
func (w *Watcher) next() ([]Change, error) {
	var pause time.Duration
	if w.unsettled {
		pause = syncPause
	}
	if err := w.arm(pause); err != nil {
		return nil, err
	}
	lost, err := w.collect(true)
	if timedOut(err) && w.unsettled && !w.stopping() {
		return w.resync(nil)
	}
	if err != nil {
		return nil, err
	}
	changes := w.take(nil)
	if lost {
		return w.resync(changes)
	}
	return w.lookBelow(changes)
}

// arm limits the next reads of events to d from now, or not at all when d is
// zero, and notices that Run is to end: whoever cancels sets the deadline to
// the past after the check here, or is seen by it.
func (w *Watcher) arm(d time.Duration) error {
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	if err := w.events.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	if w.stopping() {
		return context.Canceled
	}
	return nil
}

// collect decodes what the event socket holds into w.notes, at most batchMax
// datagrams. With wait it blocks for the first one. lost says that the kernel
// dropped events; the connection stays usable.
func (w *Watcher) collect(wait bool) (lost bool, err error) {
	for i := range batchMax {
		err := w.events.read(wait && i == 0, func(h netlink.Header, body []byte) error {
			n, ok, err := decode(uint16(h.Type), body)
			if err == nil && ok {
				w.received.Add(1)
				w.notes = append(w.notes, n)
			}
			return err
		})
		switch {
		case errors.Is(err, unix.EAGAIN):
			return lost, nil
		case errors.Is(err, unix.ENOBUFS):
			w.overruns.Add(1)
			lost = true
		case errors.Is(err, errTruncated):
			lost = true
		case err != nil:
			return lost, err
		}
	}
	return lost, nil
}

// drain throws away everything that is queued: a dump will say it better. The
// kernel queues nothing new after an overrun until the queue has been emptied.
func (w *Watcher) drain() error {
	for !w.stopping() {
		err := w.events.read(false, func(netlink.Header, []byte) error { return nil })
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.overruns.Add(1)
		case err != nil && !errors.Is(err, errTruncated):
			return err
		}
	}
	return context.Canceled
}

// take applies the collected notes to the table.
func (w *Watcher) take(out []Change) []Change {
	for _, n := range w.notes {
		if n.link.Index > 0 && !n.gone && n.link.Parent > 0 && !n.link.Foreign {
			w.uppers[n.link.Parent] = true
		}
		out = w.table.apply(n, out)
	}
	// A link that spoke for itself in this batch needs no look.
	for _, n := range w.notes {
		delete(w.uppers, n.link.Index)
	}
	w.notes = w.notes[:0]
	return out
}

// resync dumps everything and makes the table equal to it. A dump during which
// events arrived is repeated, because an event older than the dump would
// otherwise undo for an instant what the dump has seen (and an address that
// seems to be gone for an instant is a fault). If that does not end, the last
// dump is taken and its events are applied on top: in the end that is exact. If
// the dump itself was interrupted, what it lacks is kept, and another one is
// taken when the events pause.
func (w *Watcher) resync(out []Change) ([]Change, error) {
	clear(w.uppers)
	for try := 1; ; try++ {
		w.notes = w.notes[:0]
		if err := w.arm(0); err != nil {
			return out, err
		}
		if err := w.drain(); err != nil {
			return out, err
		}
		if err := w.query.limit(answerLimit); err != nil {
			return out, err
		}
		if w.stopping() {
			return out, context.Canceled
		}
		d, err := w.dump()
		interrupted := errors.Is(err, errDumpInterrupted)
		if err != nil && !interrupted {
			return out, err
		}
		w.dumps.Add(1)
		lost, err := w.collect(false)
		if err != nil {
			return out, err
		}
		if (interrupted || lost || len(w.notes) > 0) && try < syncTries {
			continue
		}
		w.unsettled = interrupted || lost
		out = w.table.sync(d, !interrupted, out)
		return w.lookBelow(w.take(out))
	}
}

// lookBelow asks for the present flags of the links under those that had an
// event, and believes bad news at once; good news is read in full.
func (w *Watcher) lookBelow(out []Change) ([]Change, error) {
	for index := range w.uppers {
		delete(w.uppers, index)
		l, known := w.table.links.Get(index)
		if !known {
			continue
		}
		up, running, err := readFlags(w.ioctl, l.Name)
		if err != nil {
			continue // renamed or gone: its own event is on the way
		}
		switch {
		case l.Up && !up, l.Running && !running:
			l.Up, l.Running = l.Up && up, l.Running && running
			out = w.table.setLink(l, out)
		case up && running && !l.Carrier():
			if l, err = w.query.link(index); err == nil {
				out = w.table.setLink(l, out)
			} else if !errors.Is(err, errNoLink) {
				return out, err
			}
		}
	}
	return out, nil
}
