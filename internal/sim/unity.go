package sim

import (
	"time"

	"vrrpd/election"
)

// wholeMachine is (a).
func (c *checker) wholeMachine(w *World, h *host) {
	var some, other *port
	from, off := int64(never), int64(never)
	for _, t := range h.ports {
		if t.owner == nil {
			continue
		}
		if t.serving() {
			// What a stopped process serves nobody can end but its lease; one
			// that has died serves until it is buried.
			if t.owner.alive && t.owner.stopped() {
				continue
			}
			if !t.owner.alive && (!w.Guard || len(t.owner.group.processes()) == 0) {
				continue
			}
			some, from = t, min(from, t.from)
		} else if t.link || t.owner.runs() {
			if s := t.stopped(); s < off {
				other, off = t, s
			}
		}
	}
	if some == nil || other == nil {
		c.split[h.n] = 0
		return
	}
	if c.split[h.n] == 0 {
		c.split[h.n] = max(from, off)
	}
	// Whatever was split, a transition is obeyed by one process after the other.
	begin := max(c.split[h.n], other.stopped(), h.moved, h.groups[0].trail.changed)
	if p := other.owner; p.alive && p.stopped() {
		begin = max(begin, p.heldAt)
		g := p.group
		if g.word.State() == election.Linger {
			// The successor has been called. Until it comes it is better that one
			// LAN is served than none.
			begin = max(begin, g.trail.linger+w.interval()/10+w.skew(1)+lingerMargin)
			if !w.Guard {
				begin = max(begin, p.heldAt+w.leaseSpan()) // until it is expelled
			}
		}
		for _, q := range h.procs {
			if q != nil {
				// Who slept gives the others an interval from when it first looks.
				begin = max(begin, q.resumedAt+w.interval()+int64(w.Jitter))
			}
		}
		// Back from a LINGER it may serve a moment longer by the short lease of that.
		silent := other.spoke < g.trail.master
		if other.stopped() <= p.heldAt || p.heldAt <= g.trail.master || silent {
			span := w.leaseSpan()
			if silent {
				span = min(span, max(prepareLimit, w.interval()/4)) // not even once
			}
			begin = max(begin, max(p.heldAt, h.thawed, g.trail.master)+span+span/1000)
		}
	}
	switch {
	case other.mute:
		begin = max(begin, other.mutedAt) + w.interval()*9/8
	case other.mutedAt > 0:
		begin = max(begin, max(other.mutedAt, h.thawed, other.owner.resumedAt)+w.interval()/8)
	}
	running := false
	for _, p := range h.procs {
		running = running || p != nil && p.runs()
	}
	if running && w.now-begin > splitLimit {
		w.fail("a", "%s serves %s and not %s for %v", h.name, w.lans[some.lan].name(), w.lans[other.lan].name(), time.Duration(w.now-begin))
	}
}

// afterLease is the first half of (d).
func (c *checker) afterLease(w *World, h *host) {
	if !w.Guard {
		return
	}
	for _, t := range h.ports {
		p := t.owner
		if p == nil || p.runs() || !t.was {
			continue
		}
		end := p.heldAt
		if !p.alive {
			end = p.endedAt
		}
		if h.frozen || h.thawed >= end {
			continue // its clock stood still meanwhile
		}
		last := min(w.now, t.until)
		limit := w.leaseSpan() + w.leaseSpan()/1000 + 100*us
		g := p.group
		if g.word.State() == election.Linger && end-max(g.trail.entered, p.resumedAt) > w.interval()/20+2*ms {
			limit = w.interval()/10 + 2*ms
		}
		if last > end+limit {
			w.fail("d", "%s serves %s %v after it ceased to run", p.name, w.lans[t.lan].name(), time.Duration(last-end))
		}
	}
}

// outOfOffice is (k).
func (c *checker) outOfOffice(w *World, h *host) {
	limit := int64(w.Bell) + 3*int64(w.Jitter) + 200*us
	for _, t := range h.ports {
		p := t.owner
		if p == nil || !p.runs() || !t.serving() || p.group.word.State().Serving() {
			continue
		}
		if begin := max(p.group.trail.changed, p.resumedAt, h.woke, h.thawed); w.now-begin > limit {
			w.fail("k", "%s is %v and serves %s for %v", p.name, p.group.word.State(), w.lans[t.lan].name(), time.Duration(w.now-begin))
		}
	}
}
