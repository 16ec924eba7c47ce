package main

import (
	"fmt"
	"strings"
	"time"
)

const (
	barWidth = 60 // characters at most
	leadIn   = 5  // characters before the event, about
	perTick  = 10 // characters between two labels of the scale
)

const legend = "1, 2, *: address at r1, r2, both; -: nowhere; . delivered, # lost"

// bars draws three lanes over one scale: which router has the address on each
// LAN, and what became of the client's datagrams.
func (o observation) bars(p paint) string {
	s := o.scale()
	n := s.cells()
	lanes := [2][]byte{[]byte(strings.Repeat("-", n)), []byte(strings.Repeat("-", n))}
	o.tenure(func(from, to time.Duration, held [2][2]bool) {
		for i := range n {
			if mid := s.at(i) + s.cell/2; mid < from || mid >= to {
				continue
			}
			for lan := range lanes {
				lanes[lan][i] = holder(held[0][lan], held[1][lan])
			}
		}
	})
	var b strings.Builder
	for i, lan := range plan() {
		fmt.Fprintf(&b, "  %-9s%s\n", lan.name, p.cells(string(lanes[i])))
	}
	fmt.Fprintf(&b, "  %-9s%s\n", "client", p.cells(o.deliveries(s)))
	fmt.Fprintf(&b, "  %-9s%s\n", "", s.ticks())
	fmt.Fprintf(&b, "  %-9s%s\n", "", p.do(dim, legend))
	return b.String()
}

func holder(r1, r2 bool) byte {
	switch {
	case r1 && r2:
		return '*'
	case r1:
		return '1'
	case r2:
		return '2'
	}
	return '-'
}

// deliveries draws the datagrams: '.' all delivered, '+' some lost, '#' all
// lost, ' ' none sent.
func (o observation) deliveries(s scale) string {
	var b strings.Builder
	at := 0
	for i := range s.cells() {
		for at < len(o.pings) && o.pings[at].sent < s.at(i) {
			at++
		}
		sent, lost := 0, 0
		for ; at < len(o.pings) && o.pings[at].sent < s.at(i+1); at++ {
			sent++
			if o.pings[at].lost {
				lost++
			}
		}
		switch {
		case sent == 0:
			b.WriteByte(' ')
		case lost == 0:
			b.WriteByte('.')
		case lost < sent:
			b.WriteByte('+')
		default:
			b.WriteByte('#')
		}
	}
	return b.String()
}

// scale maps time to characters. The event is at the beginning of a character.
type scale struct {
	from, to time.Duration // multiples of cell
	cell     time.Duration
}

// scale chooses a round number of milliseconds for each character, so that what
// happened fits, with some time before and after it.
func (o observation) scale() scale {
	span := max(o.happening(), 20*time.Millisecond)
	var s scale
	for _, step := range []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
		s.cell = time.Duration(step) * time.Millisecond
		if int(span/s.cell) <= barWidth-3*leadIn {
			break
		}
	}
	s.from = max(-leadIn*s.cell, o.from.Truncate(s.cell))
	s.to = min(span.Truncate(s.cell)+2*leadIn*s.cell, (o.to + s.cell - 1).Truncate(s.cell))
	return s
}

func (s scale) cells() int             { return max(0, int((s.to-s.from)/s.cell)) }
func (s scale) at(i int) time.Duration { return s.from + time.Duration(i)*s.cell }

// ticks labels round numbers of milliseconds; 0 is the event.
func (s scale) ticks() string {
	var b strings.Builder
	for t := time.Duration(0); t < s.to; t += perTick * s.cell {
		at := int((t - s.from) / s.cell)
		fmt.Fprintf(&b, "%*s|%d", at-b.Len(), "", t/time.Millisecond)
	}
	return b.String() + " ms"
}
