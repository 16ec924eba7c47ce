package daemon

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// kind is what notes about several sources have in common.
type kind struct {
	what oddity
	vrid uint8
}

const (
	// namedLimit is how many sources of a kind are told of one by one. Whoever
	// forges their addresses fills a journal otherwise, and who reads it in the
	// night needs the first of them and how many there are.
	namedLimit = 2
	// sourcesLimit is how many sources of a kind are told apart, and remembered.
	sourcesLimit = 32
	// listedLimit is how many of the others are listed by their address.
	listedLimit = 3
)

// crowd is all that is known of one kind. Under parent.mu.
type crowd struct {
	sources int  // in parent.noted
	named   int  // of them, that last and are told of by themselves
	more    bool // there were others, which are not
	told    bool // people know of those without a name, in this state of the machine
	begun   bool // told that they last, and not yet that it is over
	last    others
}

// crowd returns that of a kind. Called under mu.
func (p *parent) crowd(k kind) *crowd {
	c := p.crowds[k]
	if c == nil {
		c = &crowd{}
		p.crowds[k] = c
	}
	return c
}

// begins: a source's oddity lasts from now on. One that has had a name keeps it.
func (c *crowd) begins(s *sighting) {
	s.named = s.named || c.named < namedLimit
	if s.named {
		c.named++
	}
}

// ends: it is over.
func (c *crowd) ends(s *sighting) {
	if s.named {
		c.named--
	}
}

// others are the sources of a kind that last and are told of together.
type others struct {
	router  *router
	sources []netip.Addr
	more    bool
	since   time.Time
	count   uint64
	like    words // those of one that has a name
}

// others collects them. Called under mu.
func (p *parent) others(k kind) others {
	o := collect(k, maps.All(p.noted))
	o.more = p.crowd(k).more
	return o
}

// collect has all but whether there are more.
func collect(k kind, noted iter.Seq2[note, *sighting]) (o others) {
	for n, s := range noted {
		switch {
		case n.kind() != k:
		case s.named:
			o.like = s.words
		case s.active:
			if o.router == nil || s.since.Before(o.since) {
				o.router, o.since = s.router, s.since
			}
			o.sources = append(o.sources, n.src)
			o.count += s.count
			if o.like == (words{}) {
				o.like = s.words
			}
		}
	}
	slices.SortFunc(o.sources, netip.Addr.Compare)
	return o
}

func (o others) words() words {
	var list []string
	for _, a := range o.sources[:min(len(o.sources), listedLimit)] {
		list = append(list, a.String())
	}
	number, verb := fmt.Sprintf("%d other sources", len(o.sources)), "do"
	if o.more {
		number = "more than " + number
	} else if len(o.sources) == 1 {
		number, verb = "1 other source", "does"
	}
	if len(o.sources) > listedLimit {
		list = append(list, "...")
	}
	return words{fmt.Sprintf("%s (%s) %s the same: %s", number, strings.Join(list, ", "), verb, o.like.what), o.like.do}
}
