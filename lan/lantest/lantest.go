// Package lantest is a LAN in memory, for tests of what is built on package
// lan: its Ports have the methods of lan.Port, lose nothing unless told to, and
// need neither root nor a kernel. It blocks on channels only, so that a whole
// LAN may live in a testing/synctest bubble.
//
// What a frame goes through is what package lan does with it, by the same
// functions: what a Port's kernel filter refuses is not delivered, what its
// parser refuses is counted.
package lantest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"vrrpd/lan"
)

// LAN connects ports like a switch without memory: every frame goes to every
// other port.
type LAN struct {
	now func() int64

	mu    sync.Mutex
	ports []*Port
	pass  func(from, to string, frame []byte) bool
	tap   func(from string, frame []byte)
}

// New returns a LAN without ports. now stamps the batches: CLOCK_BOOTTIME in
// nanoseconds, or what stands for it in the test.
func New(now func() int64) *LAN { return &LAN{now: now} }

// Pass decides about every single delivery from now on: false loses the frame
// on its way to that port. nil loses nothing. It is called under the LAN's
// lock: it must not call the LAN or its ports.
func (l *LAN) Pass(pass func(from, to string, frame []byte) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass = pass
}

// Tap shows every frame that a port has sent, with the rules of Pass. The
// frame is valid during the call only.
func (l *LAN) Tap(tap func(from string, frame []byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tap = tap
}

// Port is one machine's end of the LAN. Its methods Send, Run, Drain, Counters
// and Close are those of lan.Port in every word; the others are the test's.
type Port struct {
	lan  *LAN
	name string
	// bell has room for one: the queue is not empty, or state has changed.
	bell chan struct{}

	// Guarded by lan.mu.
	queue   []item
	state   portState
	ended   bool // the parent went while it was up: Run is told, and returns
	sendErr error
	claims  map[netip.Addr][6]byte
	count   lan.Counters

	// reading guards sink; whoever holds it delivers.
	reading sync.Mutex
	sink    lan.Sink
}

type portState uint8

const (
	up portState = iota
	down
	gone
	closed
)

// item is a frame, or an event of the parent.
type item struct {
	frame  []byte
	parent lan.ParentEvent
}

// Open adds a port whose parent is up.
func (l *LAN) Open(name string) *Port {
	p := &Port{lan: l, name: name, bell: make(chan struct{}, 1), claims: make(map[netip.Addr][6]byte)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ports = append(l.ports, p)
	return p
}

// Send is lan.Port.Send.
func (p *Port) Send(frames [][]byte) (sent int, err error) {
	l := p.lan
	l.mu.Lock()
	defer l.mu.Unlock()
	err = p.sendErr
	switch p.state {
	case down:
		err = unix.ENETDOWN
	case gone:
		err = unix.ENXIO
	case closed:
		err = net.ErrClosed
	}
	if err != nil && len(frames) > 0 {
		p.count.Unsent += uint64(len(frames))
		return 0, fmt.Errorf("send %d of %d frames to %s: %w", len(frames), len(frames), p.name, err)
	}
	for _, f := range frames {
		p.count.Sent++
		l.forward(p, slices.Clone(f))
	}
	return len(frames), nil
}

// forward gives frame, which it keeps, to every other port. The caller holds mu.
func (l *LAN) forward(from *Port, frame []byte) {
	if l.tap != nil {
		l.tap(from.name, frame)
	}
	for _, to := range l.ports {
		if to == from || to.state != up || l.pass != nil && !l.pass(from.name, to.name, frame) {
			continue
		}
		if ip, ok := asksFor(frame); ok {
			if mac, ok := to.claims[ip]; ok {
				if ip.Is6() {
					l.forward(to, lan.AppendAnnouncement(nil, mac, ip, true))
				} else {
					l.forward(to, lan.AppendGratuitousARP(nil, mac, ip, true))
				}
			}
		}
		if wanted(frame) {
			to.put(item{frame: frame})
		}
	}
}

// wanted stands for the kernel's filters.
func wanted(frame []byte) bool {
	if len(frame) < 34 {
		return false
	}
	if ipv6(frame) {
		neighbour := frame[20] == 58 && frame[54] == 136
		return neighbour || netip.AddrFrom16([16]byte(frame[38:54])) == lan.Group6()
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		return (frame[23] == lan.ProtocolVRRP || frame[23] == lan.ProtocolAH) && [4]byte(frame[30:34]) == lan.Group4().As4()
	case 0x0806:
		return binary.BigEndian.Uint16(frame[20:]) == 2
	}
	return false
}

// ipv6 reports whether a frame has an IPv6 packet with something in it.
func ipv6(frame []byte) bool {
	return len(frame) > 54 && binary.BigEndian.Uint16(frame[12:]) == 0x86dd
}

// asksFor is the address that an ARP request or a neighbour solicitation asks for.
func asksFor(frame []byte) (netip.Addr, bool) {
	if ipv6(frame) {
		if len(frame) < lan.NeighbourSize || frame[20] != 58 || frame[54] != 135 {
			return netip.Addr{}, false
		}
		return netip.AddrFrom16([16]byte(frame[62:78])), true
	}
	if len(frame) < lan.ARPSize || binary.BigEndian.Uint16(frame[12:]) != 0x0806 || binary.BigEndian.Uint16(frame[20:]) != 1 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(frame[38:42])), true
}

// put queues an item. The caller holds mu.
func (p *Port) put(it item) {
	p.queue = append(p.queue, it)
	select {
	case p.bell <- struct{}{}:
	default: // it rings already
	}
}

// Run is lan.Port.Run.
func (p *Port) Run(ctx context.Context, sink lan.Sink) error {
	p.lan.mu.Lock()
	isClosed := p.state == closed
	p.lan.mu.Unlock()
	if isClosed {
		return fmt.Errorf("read from %s: %w", p.name, net.ErrClosed)
	}
	p.reading.Lock()
	busy := p.sink != nil
	if !busy {
		p.sink = sink
	}
	p.reading.Unlock()
	if busy {
		return fmt.Errorf("read from %s: another Run is reading", p.name)
	}
	defer func() {
		p.reading.Lock()
		p.sink = nil
		p.reading.Unlock()
	}()
	for {
		p.reading.Lock()
		_, state, ended := p.deliver()
		p.reading.Unlock()
		switch {
		case state == closed:
			return nil
		case ended:
			return fmt.Errorf("read adverts from %s: %w", p.name, unix.ENODEV)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.bell:
		}
	}
}

// Drain is lan.Port.Drain.
func (p *Port) Drain() (frames int, err error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if p.sink == nil {
		p.lan.mu.Lock()
		defer p.lan.mu.Unlock()
		if p.state == closed {
			return 0, fmt.Errorf("drain %s: %w", p.name, net.ErrClosed)
		}
		return 0, fmt.Errorf("drain %s: %w", p.name, lan.ErrNotRunning)
	}
	frames, state, ended := p.deliver()
	if state == closed {
		return 0, fmt.Errorf("drain %s: %w", p.name, net.ErrClosed)
	}
	if ended {
		p.lan.mu.Lock()
		p.put(item{}) // Run has to see it too
		p.lan.mu.Unlock()
	}
	return frames, nil
}

// deliver hands what is queued to the sink. The caller holds reading.
func (p *Port) deliver() (frames int, state portState, ended bool) {
	p.lan.mu.Lock()
	queue := p.queue
	p.queue = nil
	state, ended = p.state, p.ended
	p.lan.mu.Unlock()
	if state == closed {
		return 0, state, ended
	}
	var b lan.Batch
	flush := func() {
		if len(b.Adverts)+len(b.Answers) > 0 || b.Parent != lan.ParentNone {
			b.At = p.lan.now()
			p.sink(b)
		}
		// Whoever has kept the batch finds that it was not his to keep.
		for i := range b.Adverts {
			for j := range b.Adverts[i].Payload {
				b.Adverts[i].Payload[j] = 0xdb
			}
		}
		b = lan.Batch{}
	}
	for _, it := range queue {
		switch {
		case it.parent != lan.ParentNone:
			flush()
			b.Parent = it.parent
			flush()
			continue
		case it.frame == nil:
			continue
		}
		frames++
		frame := slices.Clone(it.frame) // shared with the other ports
		if frame[13] == 0x06 || ipv6(frame) && frame[20] == 58 {
			if len(b.Adverts) > 0 {
				flush()
			}
			a, drop := lan.ParseAnswer(frame)
			if p.counted(drop, func(c *lan.Counters) { c.Answers++ }) {
				b.Answers = append(b.Answers, a)
			}
			continue
		}
		if len(b.Answers) > 0 {
			flush()
		}
		a, drop := lan.ParseAdvert(frame, false)
		if p.counted(drop, func(c *lan.Counters) { c.Adverts++ }) {
			b.Adverts = append(b.Adverts, a)
		}
	}
	flush()
	return frames, state, ended
}

func (p *Port) counted(drop lan.Drop, delivered func(*lan.Counters)) bool {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	if drop != lan.Delivered {
		p.count.Dropped[drop]++
		return false
	}
	delivered(&p.count)
	return true
}

// Counters is lan.Port.Counters.
func (p *Port) Counters() lan.Counters {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	return p.count
}

// Close is lan.Port.Close.
func (p *Port) Close() error {
	p.set(closed)
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	p.lan.ports = slices.DeleteFunc(p.lan.ports, func(q *Port) bool { return q == p })
	return nil
}

// Down sets the parent down: what arrives is lost, Send says ENETDOWN.
func (p *Port) Down() { p.set(down) }

// Up sets the parent up again after Down.
func (p *Port) Up() { p.set(up) }

// Delete removes the parent for good: Send says ENXIO. As with the real one,
// Run is told only if the parent was up.
func (p *Port) Delete() { p.set(gone) }

// set changes the state; from gone and closed there is no way back.
func (p *Port) set(s portState) {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	if p.state == s || p.state >= gone && s < p.state {
		return
	}
	if p.state == up && s != closed {
		p.put(item{parent: lan.ParentDown})
		if s == gone {
			p.put(item{parent: lan.ParentGone})
			p.ended = true
		}
	}
	p.state = s
	p.put(item{}) // wakes Run
}

// FailSends makes Send fail with err; nil lets it work again. A parent that is
// not up has its own error.
func (p *Port) FailSends(err error) {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	p.sendErr = err
}

// Claim makes the port answer ARP requests and neighbour solicitations for ip with mac, as the kernel of a
// machine that has the address does; Unclaim ends it. The answers go to all.
func (p *Port) Claim(ip netip.Addr, mac [6]byte) {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	p.claims[ip] = mac
}

// Unclaim ends Claim.
func (p *Port) Unclaim(ip netip.Addr) {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	delete(p.claims, ip)
}

// Inject makes the port receive a frame as if it came from the LAN.
func (p *Port) Inject(frame []byte) error {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	if p.state != up {
		return errors.New("inject: the port is not up")
	}
	if wanted(frame) {
		p.put(item{frame: slices.Clone(frame)})
	}
	return nil
}
