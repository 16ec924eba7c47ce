package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// echoPort is where the server answers (RFC 862).
const echoPort = 7

// instruments record everything from the moment when they are attached; a
// chapter is cut out of the records afterwards. They sit outside the routers,
// except the two link logs and the watches, which are what atropos --watch uses.
type instruments struct {
	routers [2]*router
	ports   [2][2]*netlab.Sniffer // by router and LAN, at the switch's end
	links   [2]*netlab.LinkLog
	pinger  *netlab.Pinger // nil before startClient
	// bell rings when a process of a router says something.
	bell chan struct{}

	// cut is where the last chapter ended: the next begins there, so that no
	// datagram falls between two.
	cut time.Time

	mu     sync.Mutex
	states []told // guarded by mu
}

// told is one transition as a router's processes told it.
type told struct {
	at               time.Time
	router           int
	from, to, reason string
}

// attach starts the sniffers and link logs.
func attach(l *laboratory) (*instruments, error) {
	in := &instruments{routers: l.routers, bell: make(chan struct{}, 1)}
	for i, r := range l.routers {
		var err error
		if in.links[i], err = r.host.StartLinkLog(); err != nil {
			return nil, err
		}
		for n, cable := range r.cables {
			// What a router sends on LAN A belongs to the client, on LAN B to
			// the server.
			to := plan()[n].address(endHost).Addr()
			in.ports[i][n], err = cable.StartSniffer(netlab.SnifferOptions{
				Match: netlab.Or(netlab.MatchAdverts(), matchUDPTo(to)),
				Limit: 1 << 19, // minutes at 2000 frames a second
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return in, nil
}

// matchUDPTo selects UDP over IPv4 to one address.
func matchUDPTo(to netip.Addr) netlab.Match {
	const dstAt = 14 + 16 // Ethernet, then the destination in the IPv4 header
	ip := to.As4()
	m := netlab.MatchUDP()
	for i := range m {
		m[i] = append(slices.Clone(m[i]), netlab.Field{At: dstAt, Size: 4, Value: binary.BigEndian.Uint32(ip[:])})
	}
	return m
}

// startClient has the client send to the server every millisecond.
func (l *laboratory) startClient() error {
	echo, err := l.server.StartEcho(netip.AddrPortFrom(plan()[1].address(endHost).Addr(), echoPort))
	if err != nil {
		return err
	}
	l.pinger, err = l.client.StartPinger(echo.Addr(), netlab.PingerOptions{Interval: time.Millisecond})
	return err
}

// follow listens to the processes of a router until ctx ends. The run directory
// must exist.
func (in *instruments) follow(ctx context.Context, r *router) error {
	return control.Follow(ctx, r.outside, func(e control.Event) error {
		if e.Kind == control.KindTransition {
			in.mu.Lock()
			in.states = append(in.states, told{e.At.Round(0), r.number, e.From, e.To, e.Reason})
			in.mu.Unlock()
		}
		select {
		case in.bell <- struct{}{}:
		default: // it rings already
		}
		return nil
	})
}

// glance is how often await looks without having been rung for: interfaces
// change a little after the state that they follow.
const glance = 50 * time.Millisecond

// await waits until cond is true, looking whenever a router has said something.
func (in *instruments) await(ctx context.Context, limit time.Duration, cond func(context.Context) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		ok, state := cond(ctx)
		if ok {
			return nil
		}
		select {
		case <-in.bell:
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s: %w", limit, state, ctx.Err())
		}
	}
}

// pass lets time pass, as long as the client needs for it to send and to be
// answered; it does not mind if it is not.
func (in *instruments) pass(ctx context.Context, d time.Duration) error {
	limit, cancel := context.WithTimeout(ctx, d+time.Second)
	defer cancel()
	_ = in.pinger.WaitAnswer(limit, time.Now().Add(d))
	return ctx.Err()
}

// chapter is the beginning of a stretch of the records.
type chapter struct {
	from   time.Time
	frames [2][2]int
	links  [2]int
	states int
	held   [2][2]bool // which router had which address
}

// begin marks the present place in the records.
func (in *instruments) begin() (chapter, error) {
	c := chapter{from: in.cut}
	for i, r := range in.routers {
		var err error
		if c.held[i], err = r.serves(); err != nil {
			return c, err
		}
		c.links[i] = in.links[i].Mark()
		for n, s := range in.ports[i] {
			c.frames[i][n] = s.Mark()
		}
	}
	in.mu.Lock()
	c.states = len(in.states)
	in.mu.Unlock()
	return c, nil
}

// underWay is how long a datagram may be on its way before it counts as lost.
const underWay = 50 * time.Millisecond

// end cuts the chapter out of the records, with zero as the origin of time.
func (in *instruments) end(c chapter, zero time.Time) (observation, error) {
	o := observation{held: c.held}
	in.cut = time.Now().Round(0).Add(-underWay)
	pings := in.pinger.Snapshot().Between(c.from, in.cut)
	o.from, o.to, o.late = c.from.Sub(zero), in.cut.Sub(zero), pings.Stall()
	for _, p := range pings.List {
		o.pings = append(o.pings, ping{sent: p.Sent.Sub(zero), lost: p.Back.IsZero()})
	}
	var carried [2]map[string]int // by LAN: which router carried which datagram
	for n := range carried {
		carried[n] = make(map[string]int)
	}
	for i := range in.routers {
		for n, s := range in.ports[i] {
			if missed, err := s.Dropped(); err != nil || missed > 0 {
				return o, fmt.Errorf("the record of %s on %s has %d holes: %v", in.routers[i].name, plan()[n].name, missed, err)
			}
			for _, f := range s.Frames(c.frames[i][n]) {
				if f.Out {
					continue // not from this router
				}
				if a, ok := f.Advert(); ok {
					o.adverts = append(o.adverts, advert{f.At.Sub(zero), i, n, a.Priority})
				} else if key, ok := datagram(f); ok {
					carried[n][key] = i
				}
			}
		}
	}
	o.links = in.changes(c, zero)
	for key, there := range carried[1] {
		if back, ok := carried[0][key]; ok && back != there {
			o.crossed++
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.states[c.states:] {
		o.states = append(o.states, transition{s.at.Sub(zero), s.router, s.from, s.to, s.reason})
	}
	return o, nil
}

// changes returns those of the interfaces since the chapter began.
func (in *instruments) changes(c chapter, zero time.Time) (list []change) {
	for i, log := range in.links {
		for _, e := range log.Events(c.links[i]) {
			list = append(list, change{e.At.Sub(zero), i, e.Link, e.What, e.Addr})
		}
	}
	return list
}

// held tells who has which address now, from the records alone: asking would
// disturb what is being measured.
func (in *instruments) held(c chapter) [2][2]bool {
	held := c.held
	for _, m := range in.changes(c, c.from) {
		held = m.moves(held)
	}
	return held
}

// datagram returns what identifies one of the client's datagrams on its way
// there and back: its content, which is its number.
func datagram(f netlab.Frame) (string, bool) {
	const payloadAt = 14 + 20 + 8 // Ethernet, IPv4, UDP
	if len(f.Data) <= payloadAt {
		return "", false
	}
	return string(f.Data[payloadAt:]), true
}
