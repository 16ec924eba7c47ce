package sim

import "time"

// lastServed is when somebody last served the LAN; now, if somebody does.
func (w *World) lastServed(l int) int64 {
	var last int64
	for _, h := range w.hosts {
		last = max(last, h.ports[l].stopped())
	}
	return last
}

// holes is (h) while a hole is open.
func (c *checker) holes(w *World) {
	if c.hole == never {
		return
	}
	for l := range w.lans {
		c.holed(w, l, w.now-max(w.lastServed(l), c.holeFor))
	}
}

func (c *checker) holed(w *World, l int, d int64) {
	c.longest = max(c.longest, d)
	if d > c.hole {
		w.fail("h", "nobody serves %s for %v, and %v is the limit", w.lans[l].name(), time.Duration(d), time.Duration(c.hole))
	}
}

// served: a port begins to serve. It closes a hole.
func (c *checker) served(w *World, t *port) {
	c.taken(w, t)
	if c.hole == never {
		return
	}
	last := c.holeFor
	for _, h := range w.hosts {
		if u := h.ports[t.lan]; u != t {
			last = max(last, u.stopped())
		} else {
			last = max(last, u.off)
		}
	}
	c.holed(w, t.lan, w.now-last)
}

// silence is (g).
func (c *checker) silence(w *World) {
	limit := w.down(1) + w.skew(1) + 2*w.interval() + prepareLimit
	since := c.last
	if w.now-since <= limit {
		return
	}
	c.dark(w)
	for l := range w.lans {
		since = max(since, w.lastServed(l))
	}
	if w.now-since <= limit {
		return
	}
	for _, h := range w.hosts {
		if h.spec.Ungrouped || !h.runsAll() || w.now-h.moved <= limit || !h.fit() || h.faulty() {
			continue
		}
		if quiet := w.now - max(since, h.moved, h.holdEnd()); quiet > limit {
			w.fail("g", "nobody serves, and %s stays %v for %v", h.name, h.groups[0].word.State(), time.Duration(quiet))
		}
	}
}

// dark is the rest of (g): all machines are well and hear each other, and yet
// one LAN is served by nobody.
func (c *checker) dark(w *World) {
	limit := w.down(1) + w.skew(1) + 2*w.interval() + prepareLimit
	since := c.last
	for a, h := range w.hosts {
		if h.spec.Ungrouped || !h.runsAll() || !h.fit() || h.faulty() || c.lossy {
			return
		}
		since = max(since, h.moved, h.holdEnd())
		for b := a + 1; b < len(w.hosts); b++ {
			if c.ok[a][b] == never {
				return
			}
		}
	}
	for l := range w.lans {
		if quiet := w.now - max(since, w.lastServed(l)); quiet > limit {
			w.fail("g", "all is well, and nobody serves %s for %v", w.lans[l].name(), time.Duration(quiet))
		}
	}
}

// fit: nothing keeps the machine from being elected but time.
func (h *host) fit() bool {
	if h.spec.Uneven && len(h.procs) > 1 {
		return false // it is held, for ever
	}
	for _, t := range h.ports {
		if !t.link || t.mute || t.unfit {
			return false
		}
	}
	for _, g := range h.groups {
		if g.wishes.Hold {
			return false
		}
	}
	return true
}

// holdEnd is when the last hold-down of the machine's members ends.
func (h *host) holdEnd() int64 {
	var t int64
	for _, p := range h.procs {
		if p == nil || !p.alive {
			continue
		}
		for i := range p.lans {
			if at := p.machine.Facts(i).HoldAt; at > 0 {
				t = max(t, h.global(at))
			}
		}
	}
	return t
}
