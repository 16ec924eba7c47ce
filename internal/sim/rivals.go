package sim

import (
	"time"

	"vrrpd/election"
)

// both is (c), and the second half of (d).
func (c *checker) both(w *World, a, b *host) {
	for l := range w.lans {
		s, t := a.ports[l], b.ports[l]
		if !s.was || !t.was {
			continue
		}
		from, until := max(s.from, t.from), min(w.now, s.until, t.until)
		since := c.ok[a.n][b.n]
		if until-from <= c.bound || since == never {
			continue
		}
		if !a.runsAll() || !b.runsAll() {
			c.hung(w, s, t, until)
			continue
		}
		healed := since + w.interval() + w.interval()/1000
		if since == 0 {
			healed = 0
		}
		from = max(from, healed, a.moved, b.moved)
		for i, h := range [...]*host{a, b} {
			for _, g := range h.groups {
				end := g.trail.lingered
				if o := [...]*host{b, a}[i]; !o.lingered() { // else neither spoke until then
					end = min(end, from+min(handOverlap, w.interval()/10))
				}
				from = max(from, end)
			}
			if woke := max(h.thawed, h.woke); woke > 0 {
				from = max(from, woke+w.interval())
			}
		}
		bound := c.bound
		if a.groups[0].word.State() == election.Linger && b.groups[0].word.State() == election.Linger {
			continue // neither speaks any more; both end
		}
		if a.lingered() || b.lingered() {
			bound += min(handOverlap, w.interval()/10)
		}
		if a.spec.Ungrouped || b.spec.Ungrouped {
			bound += 3 * w.interval()
		}
		if until-from > bound {
			w.fail("c", "%s and %s both serve %s for %v", a.name, b.name, w.lans[l].name(), time.Duration(until-from))
		}
	}
}

// lingered: the machine is in a LINGER, or was a moment ago.
func (h *host) lingered() bool {
	for _, g := range h.groups {
		if g.word.State() == election.Linger {
			return true
		}
		if at := g.trail.lingered; at > 0 && h.w.now-at <= 2*lingerMargin {
			return true
		}
	}
	return false
}

// hung: the newer of the two has been promoted while the older one hangs on its
// last lease.
func (c *checker) hung(w *World, s, t *port, until int64) {
	older, newer := s, t
	if s.from > t.from {
		older, newer = t, s
	}
	p := older.owner
	if !w.Guard || p == nil || p.runs() || !newer.owner.runs() || c.lossy || newer.host.spec.Ungrouped || older.host.spec.Ungrouped {
		return
	}
	g := newer.owner.group
	if newer.from-older.from < 4*w.interval() {
		return // both were promoted at once; or a clock stood still (rule 13)
	}
	if newer.from == newer.host.thawed {
		return // no promotion, the same
	}
	if woke := max(newer.host.thawed, newer.host.woke); woke > 0 && newer.from-woke < w.down(1) && w.interval() < 100*ms {
		// An advert came while it was suspended, and of one that is lost a lease of three
		// intervals knows nothing.
		return
	}
	switch g.trail.reason {
	case election.MasterTimeout, election.Preempted, election.Unanswered:
	default:
		return // somebody has resigned
	}
	if c.ok[min(s.host.n, t.host.n)][max(s.host.n, t.host.n)] > older.from {
		return
	}
	if d := until - newer.from; d > c.bound {
		w.fail("d", "%s was promoted and %s still serves %s for %v", newer.host.name, p.name, w.lans[s.lan].name(), time.Duration(d))
	}
}

// taken is (n).
func (c *checker) taken(w *World, t *port) {
	h, long := t.host, 5*w.interval()
	if !h.spec.NoPreempt || c.lossy || !t.owner.runs() || t.owner.steppedAt < t.owner.resumedAt || h.thawed > 0 && w.now-h.thawed < long ||
		t.owner.group.word.State() != election.Master && t.owner.group.trail.changed < w.now {
		return
	}
	for _, o := range w.hosts {
		u := o.ports[t.lan]
		since := c.ok[min(h.n, o.n)][max(h.n, o.n)]
		if o == h || !u.serving() || w.now-u.from < long || since == never || w.now-since < long || w.now-max(o.moved, o.thawed) < long || !o.runsAll() {
			continue
		}
		if g := u.owner.group; g.word.State() == election.Master && w.now-g.trail.lingered > long && h.spec.Priority != 255 && !h.raised && !o.raised {
			w.fail("n", "%s takes %s from %s, and does not preempt", h.name, w.lans[t.lan].name(), o.name)
		}
	}
}

// promoted is (m).
func (c *checker) promoted(w *World, g *group, why election.Reason) {
	h := g.host
	if h.spec.Ungrouped || why != election.Preempted && why != election.MasterTimeout || c.lossy {
		return
	}
	established := func(t int64) bool { return t != never && w.now-t > 5*w.interval()+w.skew(1) }
	if !h.runsAll() || w.now-h.moved < 3*w.interval() || w.now-h.lastResumed() < w.down(1)+2*ms {
		// Nor who has just woken: how old the adverts are that waited in the
		// socket, nobody knows.
		return
	}
	for _, o := range w.hosts {
		if o == h || o.spec.Ungrouped || !o.runsAll() || o.groups[0].word.State() != election.Master {
			continue
		}
		hears, deaf := false, false
		for l := range w.lans {
			t := o.ports[l]
			if !t.serving() || !established(t.from) {
				continue
			}
			since := c.deaf[l][o.n][h.n]
			hears = hears || since == never && w.now-c.last > 3*w.interval()
			fresh := w.now-max(since, t.from, g.trail.entered) <= mixedLimit
			deaf = deaf || established(since) && fresh && !c.hearsAnybody(w, l, h)
		}
		if hears && deaf {
			w.fail("m", "%s takes over (%v) from %s, which it hears on one LAN and not on another", h.name, why, o.name)
		}
	}
}

// lastResumed is when a process of the machine, or the machine, last went on
// after a stop.
func (h *host) lastResumed() int64 {
	last := max(h.woke, h.thawed)
	for _, p := range h.procs {
		if p != nil {
			last = max(last, p.resumedAt)
		}
	}
	return last
}

// hearsAnybody: somebody serves the LAN whom the machine can hear there, or is about to:
// who has preempted speaks behind closed guards.
func (c *checker) hearsAnybody(w *World, l int, h *host) bool {
	for _, o := range w.hosts {
		speaks := func(t *port) bool {
			return t.serving() || t.owner != nil && t.owner.group.word.State() == election.Master
		}
		if o != h && speaks(o.ports[l]) && c.deaf[l][o.n][h.n] == never {
			return true
		}
	}
	return false
}
