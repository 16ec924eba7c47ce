package netlab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// PingerOptions say how a Pinger works.
type PingerOptions struct {
	Interval time.Duration // 0: 1 ms
	// Count ends the run after so many datagrams. 0: 600,000, ten minutes at
	// 1 ms.
	Count int
	// Grace is how long Stop waits for the last answers. 0: 2 s. It is needed
	// in full only if nothing comes back any more.
	Grace time.Duration
	// Echo is the server, if its half of each journey is to be known.
	Echo *UDPEcho
}

// Pinger sends numbered datagrams to a UDPEcho on an exact schedule, and
// records what comes back.
type Pinger struct {
	name string
	opts PingerOptions
	conn *net.UDPConn
	to   netip.AddrPort
	run  uint32
	item *item
	stop chan struct{} // closed by Stop
	sent chan struct{} // closed when nothing more will be sent
	read chan struct{} // closed when the reader has gone

	mu       sync.Mutex
	log      []journey     // guarded by mu
	answers  int           // guarded by mu
	newest   int           // highest number that was answered, -1: none; guarded by mu
	changed  chan struct{} // closed and replaced when somebody waits; guarded by mu
	waiting  int           // guarded by mu
	lastBack bool          // lastNumber has come back; guarded by mu
	lastSent time.Time     // guarded by mu
}

// A last datagram, which is not counted, tells Stop that the way is open: what
// was sent before and has not come back a little later is lost.
const (
	lastNumber   = maxDatagrams
	lastAgain    = 10 * time.Millisecond
	afterTheLast = 100 * time.Millisecond
)

// journey is one datagram: wall clock in ns, 0: never.
type journey struct{ sent, back int64 }

// StartPinger starts to send at once.
func (h *Host) StartPinger(to netip.AddrPort, opts PingerOptions) (*Pinger, error) {
	if opts.Interval == 0 {
		opts.Interval = time.Millisecond
	}
	if opts.Count == 0 {
		opts.Count = 600_000
	}
	if opts.Grace == 0 {
		opts.Grace = 2 * time.Second
	}
	if opts.Interval < 0 || opts.Count < 0 || opts.Count > maxDatagrams {
		return nil, fmt.Errorf("ping %v from %s: bad interval or count: %+v", to, h.name, opts)
	}
	bind := netip.IPv4Unspecified()
	if to.Addr().Is6() {
		bind = netip.IPv6Unspecified()
	}
	conn, err := h.listenUDP(netip.AddrPortFrom(bind, 0))
	if err != nil {
		return nil, fmt.Errorf("ping %v from %s: %w", to, h.name, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ping %v from %s: %w", to, h.name, err), conn.Close())
	}
	p := &Pinger{
		name: h.name, opts: opts, conn: conn, to: to, run: h.lab.runs.Add(1), newest: -1,
		stop: make(chan struct{}), sent: make(chan struct{}), read: make(chan struct{}), changed: make(chan struct{}),
		log: make([]journey, 0, min(opts.Count, 1<<16)),
	}
	address := sockaddr(to)
	p.item = h.inside.push(p.end)
	go p.receive()
	go func() {
		defer close(p.sent)
		buf := make([]byte, datagramLen)
		binary.BigEndian.PutUint32(buf, p.run)
		onSchedule(opts.Interval, p.stop, func(n int) bool {
			binary.BigEndian.PutUint32(buf[4:], uint32(n))
			p.mu.Lock()
			at := now()
			p.log = append(p.log, journey{sent: at.UnixNano()})
			p.lastSent = at
			p.mu.Unlock()
			// An error (no route, interface down, buffer full) is a lost
			// datagram like any other.
			_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), buf, unix.MSG_DONTWAIT, address) })
			return n+1 < opts.Count
		})
	}()
	return p, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func (p *Pinger) receive() {
	defer close(p.read)
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, oobn, _, _, err := p.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != datagramLen || binary.BigEndian.Uint32(buf) != p.run {
			continue
		}
		p.note(int(binary.BigEndian.Uint32(buf[4:])), arrival(oob[:oobn]))
	}
}

func (p *Pinger) note(number int, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case number == lastNumber:
		p.lastBack = true
	case number >= len(p.log) || p.log[number].back != 0:
		return // a duplicate counts once
	default:
		p.log[number].back = at.UnixNano()
		p.answers++
		p.newest = max(p.newest, number)
	}
	if p.waiting > 0 {
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// await waits until cond, which runs under mu, is true.
func (p *Pinger) await(ctx context.Context, cond func() bool) error {
	p.mu.Lock()
	p.waiting++
	defer func() {
		p.waiting--
		p.mu.Unlock()
	}()
	for !cond() {
		changed := p.changed
		p.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		if err != nil && !cond() {
			return err
		}
	}
	return nil
}

// WaitAnswer waits until a datagram that was sent after the given time has been
// answered.
func (p *Pinger) WaitAnswer(ctx context.Context, after time.Time) error {
	err := p.await(ctx, func() bool { return p.newest >= 0 && p.log[p.newest].sent > after.UnixNano() })
	if err != nil {
		return fmt.Errorf("await an answer for %s from %v: %w; %v", p.name, p.to, err, p.Snapshot().Longest(0))
	}
	return nil
}

// Done is closed when the last datagram has been sent.
func (p *Pinger) Done() <-chan struct{} { return p.sent }

// Snapshot returns the measurement so far; the newest datagrams may be still
// under way.
func (p *Pinger) Snapshot() Pings {
	p.mu.Lock()
	log, end := append([]journey(nil), p.log...), p.lastSent
	p.mu.Unlock()
	r := Pings{Interval: p.opts.Interval, End: end.Add(p.opts.Interval), List: make([]Ping, len(log))}
	stamp := func(ns int64) time.Time {
		if ns == 0 {
			return time.Time{}
		}
		return time.Unix(0, ns)
	}
	for i, j := range log {
		r.List[i] = Ping{Sent: stamp(j.sent), Back: stamp(j.back)}
		if p.opts.Echo != nil {
			r.List[i].There = stamp(p.opts.Echo.arrived(p.run, i))
		}
	}
	return r
}

// Stop ends the run, waits for answers under way, and returns the measurement.
func (p *Pinger) Stop() Pings {
	p.halt()
	deadline := time.Now().Add(p.opts.Grace)
	last := binary.BigEndian.AppendUint32(nil, p.run)
	last = binary.BigEndian.AppendUint32(last, lastNumber)
	all := func() bool { return p.answers == len(p.log) }
	for time.Now().Before(deadline) {
		_, _ = p.conn.WriteToUDPAddrPort(last, p.to) // no way there is what the deadline is for
		if p.settled(lastAgain, func() bool { return all() || p.lastBack }) {
			p.settled(afterTheLast, all)
			break
		}
	}
	_ = p.item.Close() // closing a socket does not fail
	return p.Snapshot()
}

// settled waits at most that long for cond, and returns whether it holds.
func (p *Pinger) settled(limit time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return p.await(ctx, cond) == nil
}

func (p *Pinger) halt() {
	p.mu.Lock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.mu.Unlock()
	<-p.sent
}

func (p *Pinger) end() error {
	p.halt()
	err := p.conn.Close()
	<-p.read
	return err
}
