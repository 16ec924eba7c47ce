package main

import (
	"net/netip"
	"slices"
	"time"

	"vrrpd/internal/netlab"
)

// observation is one chapter of the records, with all times counted from the
// event. Routers and LANs are numbered from 0; what is drawn from it is pure.
type observation struct {
	from, to time.Duration
	held     [2][2]bool // which router had the address of which LAN at from
	adverts  []advert
	links    []change
	states   []transition
	pings    []ping // in the order of sending
	// crossed is how many datagrams went through one router on their way there
	// and through the other on their way back.
	crossed int
	// late is by how much the client was late to send at worst: the noise of
	// the machine that the demo runs on.
	late time.Duration
}

// advert was sent by a router, as its switch port saw.
type advert struct {
	at          time.Duration
	router, lan int
	priority    uint8
}

// change of an interface on a router.
type change struct {
	at     time.Duration
	router int
	link   string
	what   netlab.Change
	addr   netip.Prefix
}

// transition of a machine, as its processes told it.
type transition struct {
	at               time.Duration
	router           int
	from, to, reason string
}

// ping is one datagram of the client.
type ping struct {
	sent time.Duration
	lost bool
}

// verdict is what a chapter comes to.
type verdict struct {
	sent, lost int
	gap        time.Duration // the longest stretch without an answer
	first      time.Duration // when it began
	split      time.Duration // the two addresses were at different machines
	crossed    int
}

func (o observation) verdict() verdict {
	v := verdict{sent: len(o.pings), crossed: o.crossed}
	began := time.Duration(-1)
	open := false
	end := func(at time.Duration) {
		if gap := at - began; open && gap > v.gap {
			v.gap, v.first = gap, began
		}
		open = false
	}
	for _, p := range o.pings {
		switch {
		case !p.lost:
			end(p.sent)
		case !open:
			began, open = p.sent, true
		}
		if p.lost {
			v.lost++
		}
	}
	end(o.to)
	o.tenure(func(from, to time.Duration, held [2][2]bool) {
		if split(held) {
			v.split += to - from
		}
	})
	return v
}

// split: each address is at one machine, and not at the same. While both
// machines have an address, as for a moment in a planned hand-over, hosts go to
// whoever announced it last, and that is told by the datagrams.
func split(held [2][2]bool) bool {
	return held[0][0] && !held[1][0] && !held[0][1] && held[1][1] ||
		held[1][0] && !held[0][0] && !held[1][1] && held[0][1]
}

// tenure calls f for each stretch of time during which the same routers had the
// same addresses.
func (o observation) tenure(f func(from, to time.Duration, held [2][2]bool)) {
	moves := slices.Clone(o.links)
	slices.SortStableFunc(moves, func(a, b change) int { return int(a.at - b.at) })
	held, since := o.held, o.from
	for _, m := range moves {
		if m.at < o.from || m.at > o.to {
			continue
		}
		if next := m.moves(held); next != held {
			f(since, m.at, held)
			held, since = next, m.at
		}
	}
	f(since, o.to, held)
}

// moves returns who has which address after the change.
func (c change) moves(held [2][2]bool) [2][2]bool {
	for n, lan := range plan() {
		switch {
		case c.link != lan.vmac():
		case c.what == netlab.LinkGone, c.what == netlab.AddrGone && c.addr.Addr() == lan.vip:
			held[c.router][n] = false
		case c.what == netlab.AddrAdded && c.addr.Addr() == lan.vip:
			held[c.router][n] = true
		}
	}
	return held
}
