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
			return // that ends soon, and the successor has been called
		}
		for _, q := range h.procs {
			if q != nil {
				begin = max(begin, q.resumedAt+w.interval()) // who slept gives the others an interval
			}
		}
		if other.stopped() <= p.heldAt || p.heldAt <= g.trail.master {
			begin = max(begin, max(p.heldAt, h.thawed)+w.leaseSpan()+w.leaseSpan()/1000)
		}
	}
	switch {
	case other.mute:
		begin = max(begin, other.mutedAt) + w.interval()*9/8
	case other.mutedAt > 0:
		begin = max(begin, max(other.mutedAt, h.thawed)+w.interval()/8)
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
