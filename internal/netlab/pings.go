package netlab

import (
	"slices"
	"strings"
	"time"
)

// Ping is one datagram of a Pinger.
type Ping struct {
	Sent  time.Time
	There time.Time // at the server; zero: never, or there was no Echo to ask
	Back  time.Time // zero: never
}

// Pings is what a Pinger measured.
type Pings struct {
	Interval time.Duration
	List     []Ping // in the order of sending
	End      time.Time
}

// Unanswered tells whether the ping was not answered, or not within patience
// after it was sent; patience 0: whenever.
func (p Ping) Unanswered(patience time.Duration) bool {
	return p.Back.IsZero() || patience > 0 && p.Back.Sub(p.Sent) > patience
}

// Outages returns the stretches without an answer within patience (0: without
// any answer at all).
func (r Pings) Outages(patience time.Duration) []Outage {
	return outages(len(r.List),
		func(i int) time.Time { return r.List[i].Sent }, r.End,
		func(i int) bool { return r.List[i].Unanswered(patience) })
}

// Longest returns the longest of Outages.
func (r Pings) Longest(patience time.Duration) Outage { return longest(r.Outages(patience)) }

// Lost returns how many pings were never answered.
func (r Pings) Lost() int {
	n := 0
	for _, p := range r.List {
		if p.Back.IsZero() {
			n++
		}
	}
	return n
}

// Between returns the pings sent from one time to another.
func (r Pings) Between(from, to time.Time) Pings {
	inside := slices.DeleteFunc(slices.Clone(r.List), func(p Ping) bool { return p.Sent.Before(from) || !p.Sent.Before(to) })
	if to.Before(r.End) {
		r.End = to
	}
	r.List = inside
	return r
}

// Stall returns by how much the sender itself was late at worst: the longest
// gap between two pings beyond the interval. It is the noise of the machine,
// not of what was measured.
func (r Pings) Stall() time.Duration {
	return stall(len(r.List), func(i int) time.Time { return r.List[i].Sent }, r.Interval)
}

// Strip draws the stretch of time as one character for each cell: '=' all
// answered, '-' some, '.' none, ' ' nothing sent. Patience is that of Outages.
func (r Pings) Strip(of Span, cell, patience time.Duration) string {
	var b strings.Builder
	at := 0
	for from := of.From; from.Before(of.To); from = from.Add(cell) {
		sent, good := 0, 0
		for ; at < len(r.List) && r.List[at].Sent.Before(from.Add(cell)); at++ {
			if r.List[at].Sent.Before(from) {
				continue
			}
			sent++
			if !r.List[at].Unanswered(patience) {
				good++
			}
		}
		switch {
		case sent == 0:
			b.WriteByte(' ')
		case good == sent:
			b.WriteByte('=')
		case good > 0:
			b.WriteByte('-')
		default:
			b.WriteByte('.')
		}
	}
	return b.String()
}
