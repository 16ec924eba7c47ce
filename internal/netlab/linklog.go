package netlab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Change says what happened to an interface; the words are for people too.
type Change string

const (
	LinkAdded   Change = "appeared"
	LinkGone    Change = "is gone"
	LinkUp      Change = "set up"
	LinkDown    Change = "set down"
	CarrierOn   Change = "has carrier"
	CarrierLost Change = "lost its carrier"
	AddrAdded   Change = "got address"
	AddrGone    Change = "lost address"
)

// LinkEvent is one change of an interface, as the kernel told it.
type LinkEvent struct {
	N    int // its number in the log, from 0
	At   time.Time
	Link string
	What Change
	Addr netip.Prefix // of the two address changes
}

func (e LinkEvent) String() string {
	if e.Addr.IsValid() {
		return fmt.Sprintf("%s %s %v", e.Link, e.What, e.Addr)
	}
	return fmt.Sprintf("%s %s", e.Link, e.What)
}

// LinkLog records when interfaces and addresses of a host change. Its times are
// those at which this process was woken, a fraction of a millisecond after the
// fact on an idle machine.
type LinkLog struct {
	host *Host
	conn *mdnetlink.Conn
	item *item
	done chan struct{}

	links  map[uint32]seenLink // the reader's own
	events *journal[LinkEvent]
}

type seenLink struct {
	name  string
	flags uint32
}

// StartLinkLog starts to record; what exists already is not reported.
func (h *Host) StartLinkLog() (*LinkLog, error) {
	conn, err := h.subscribe()
	if err != nil {
		return nil, err
	}
	// Thousands of events may wait until they are read: a storm is recorded, too.
	if err := conn.SetReadBuffer(64 << 20); err != nil {
		return nil, errors.Join(fmt.Errorf("record the links of %s: %w", h.name, err), conn.Close())
	}
	l := &LinkLog{host: h, conn: conn, done: make(chan struct{}), events: newJournal[LinkEvent](), links: make(map[uint32]seenLink)}
	present, err := h.nl.LinkList()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("list links of %s: %w", h.name, err), conn.Close())
	}
	for _, p := range present {
		a := p.Attrs()
		l.links[uint32(a.Index)] = seenLink{a.Name, a.RawFlags}
	}
	l.item = h.inside.push(l.end)
	go l.run()
	return l, nil
}

func (l *LinkLog) run() {
	defer close(l.done)
	for {
		messages, err := l.conn.Receive()
		at := now()
		if err != nil {
			l.events.end(err)
			return
		}
		for _, m := range messages {
			for _, e := range l.decode(m) {
				l.events.add(math.MaxInt, func(number int) LinkEvent {
					e.N, e.At = number, at
					return e
				})
			}
		}
	}
}

func (l *LinkLog) decode(m mdnetlink.Message) []LinkEvent {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		var msg rtnetlink.LinkMessage
		if msg.UnmarshalBinary(m.Data) != nil || msg.Attributes == nil {
			return nil
		}
		return l.link(msg, m.Header.Type == unix.RTM_DELLINK)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		var msg rtnetlink.AddressMessage
		if msg.UnmarshalBinary(m.Data) != nil || msg.Attributes == nil {
			return nil
		}
		addr, ok := netip.AddrFromSlice(msg.Attributes.Address)
		if local, isLocal := netip.AddrFromSlice(msg.Attributes.Local); isLocal {
			addr, ok = local, true
		}
		if !ok {
			return nil
		}
		e := LinkEvent{Link: l.links[msg.Index].name, What: AddrAdded, Addr: netip.PrefixFrom(addr.Unmap(), int(msg.PrefixLength))}
		if m.Header.Type == unix.RTM_DELADDR {
			e.What = AddrGone
		}
		return []LinkEvent{e}
	}
	return nil
}

func (l *LinkLog) link(msg rtnetlink.LinkMessage, gone bool) []LinkEvent {
	name := msg.Attributes.Name
	if gone {
		delete(l.links, msg.Index)
		return []LinkEvent{{Link: name, What: LinkGone}}
	}
	before, known := l.links[msg.Index]
	l.links[msg.Index] = seenLink{name, msg.Flags}
	var out []LinkEvent
	if !known {
		out = append(out, LinkEvent{Link: name, What: LinkAdded})
	}
	for _, f := range []struct {
		flag    uint32
		on, off Change
	}{{unix.IFF_UP, LinkUp, LinkDown}, {unix.IFF_LOWER_UP, CarrierOn, CarrierLost}} {
		switch was, is := before.flags&f.flag != 0, msg.Flags&f.flag != 0; {
		case is && !was:
			out = append(out, LinkEvent{Link: name, What: f.on})
		case was && !is:
			out = append(out, LinkEvent{Link: name, What: f.off})
		}
	}
	return out
}

// Mark returns the number that the next event will get.
func (l *LinkLog) Mark() int { return l.events.mark() }

// Events returns the events from number mark on.
func (l *LinkLog) Events(mark int) []LinkEvent { return l.events.from(mark) }

// WaitFrom returns the first event from number mark on, past or to come, that
// fulfils cond.
func (l *LinkLog) WaitFrom(ctx context.Context, mark int, cond func(LinkEvent) bool) (LinkEvent, error) {
	e, err := l.events.wait(ctx, mark, cond)
	if err != nil {
		return LinkEvent{}, fmt.Errorf("await a link event of %s; there were %v: %w", l.host.name, l.Events(mark), err)
	}
	return e, nil
}

// Close ends the record, which stays readable.
func (l *LinkLog) Close() error { return l.item.Close() }

func (l *LinkLog) end() error {
	err := l.conn.Close()
	<-l.done
	return err
}

// past is a deadline that ends a blocking read at once.
func past() time.Time { return time.Unix(1, 0) }
