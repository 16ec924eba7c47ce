package sim

import (
	"time"

	"vrrpd/election"
)

// The invariants, checked before the clock moves and wherever something happens.
// Bounds follow from the parameters of the scenario; iv is the interval, flight
// the longest time of a frame, bell and jitter the longest times until a process
// runs after a doorbell and after a timer or frame.
//
//	(a) A grouped machine that serves one LAN and not another does so for at most
//	    20 ms (prepare and doorbell), unless the process of the other is stopped:
//	    then until 20 ms after that process's own lease (rule 11), or, if it has
//	    none, after a lease counted from its last heartbeat; in a LINGER until that
//	    ends. If its adverts cannot
//	    be sent that becomes a fault after an interval, at the next of the tries
//	    every iv/8. After the machine slept its processes give each other an
//	    interval.
//	(b) When everything is healed, then after hold-down + down(1) + skew(1) +
//	    linger (skew(1) + 20 ms) + prepare (100 ms) + 2 iv exactly one machine
//	    serves every LAN, and nothing changes any more (settle.go).
//	(c) Two machines that run and hear each other both ways on every LAN do not
//	    both serve one for longer than 2 flights + bell + 4 jitter + 0.1 ms (the
//	    first frame of the newer must arrive and be answered, and the answer be
//	    obeyed) and the overlap of a LINGER (20 ms, 0.1 iv if less; two that linger
//	    at once hear nothing of each other, and end by themselves). A LAN that has
//	    just been healed has an interval more, and so has a machine that was
//	    suspended, because what was sent to it then is lost; against an ungrouped
//	    one, for which every LAN is a reference, the tie rule adds 3 iv.
//	(d) A process that is stopped or dead serves for a lease at most, in LINGER
//	    for 0.1 iv (2 ms for a late step); and who is promoted because a master is
//	    silent (no priority 0), or preempts one, does not meet the lease of one
//	    that hangs.
//	(e) While nothing happens to anybody, no machine makes more than 16
//	    transitions (48 while adverts cannot be sent: that is only known by
//	    trying, after a hold-down that doubles); and none after (b).
//	(f) Adverts come from a MASTER only, but for the one at which a process was
//	    stopped between check and send. Priority 0 does not come from a MASTER, and
//	    at most three times for one resignation (a fault or the end of a LINGER is
//	    another one than its begin); once more if something left late (rule 14).
//	(g) While nobody serves anything, no healthy machine (all processes run, no
//	    fault, no hold, hold-down over) stays silent for longer than down(1) +
//	    skew(1) + 2 iv + 100 ms.
//	(h) No LAN is left unserved for longer than the scenario allows ("hole").
//	(m) Nobody preempts a master that it hears on one LAN while it is deaf to it on
//	    another, where it hears nobody else either, for 60 s.
//	(n) A machine without preemption does not take a LAN from a master, if both
//	    have heard each other for 5 iv; but for what it was about to do when it
//	    was stopped.
//	loop: no process steps for ever, and no deadline lies in the past.

const (
	splitLimit   = 20 * ms
	calmLimit    = 16
	prepareLimit = 100 * ms
	lingerMargin = 20 * ms
	mixedLimit   = 60 * sec
	handOverlap  = 20 * ms
)

// checker is what the invariants remember.
type checker struct {
	// ok[a][b], a < b: since when both machines hear each other on every LAN;
	// never: they do not.
	ok      [][]int64
	heard   [][][]int64 // heard[lan][a][b]: since when b cannot hear a; never: it can
	split   []int64     // by machine: since when it serves some LANs and not others; 0: not
	last    int64       // last verb
	lossy   bool
	hole    int64 // longest hole allowed; never: any
	holeFor int64 // since when
	bound   int64 // of (c)
	loose   bool  // an ungrouped machine takes part
	settled bool
	longest int64 // hole seen since the limit was set
}

func (c *checker) init(w *World) {
	n := len(w.hosts)
	c.ok = make([][]int64, n)
	for i := range c.ok {
		c.ok[i] = make([]int64, n)
	}
	for range w.lans {
		rows := make([][]int64, n)
		for i := range rows {
			rows[i] = make([]int64, n)
			for j := range rows[i] {
				rows[i][j] = never
			}
		}
		c.heard = append(c.heard, rows)
	}
	c.split = make([]int64, n)
	c.hole = never
	c.bound = 2*w.flight + int64(w.Bell) + 4*int64(w.Jitter) + 100*us
	if !w.Guard {
		c.bound += 3 * ms
	}
	for _, m := range w.Machines {
		c.loose = c.loose || m.Ungrouped
	}
}

// disturbed must follow every verb: what the network lets through may be
// another thing now, and a pattern of faults begins.
func (c *checker) disturbed(w *World) {
	c.last = w.now
	c.lossy = false
	for _, l := range w.lans {
		c.lossy = c.lossy || l.loss > 0
		for a := range w.hosts {
			for b := range w.hosts {
				deaf := &c.heard[l.n][a][b]
				switch {
				case a == b:
				case w.hears(l, a, b):
					*deaf = never
				case *deaf == never:
					*deaf = w.now
				}
			}
		}
	}
	for a := range w.hosts {
		for b := a + 1; b < len(w.hosts); b++ {
			good := true
			for _, l := range w.lans {
				good = good && l.loss == 0 && w.hears(l, a, b) && w.hears(l, b, a) &&
					!w.hosts[a].ports[l.n].mute && !w.hosts[b].ports[l.n].mute
			}
			switch {
			case !good:
				c.ok[a][b] = never
			case c.ok[a][b] == never:
				c.ok[a][b] = w.now
			}
		}
	}
	for _, h := range w.hosts {
		for _, g := range h.groups {
			g.trail.count = 0
		}
	}
}

// hears: frames of machine a reach machine b on the LAN.
func (w *World) hears(l *lan, a, b int) bool {
	from, to := w.hosts[a].ports[l.n], w.hosts[b].ports[l.n]
	return l.reach[a][b] && from.link && to.link && !from.blocked && !to.blocked
}

// runsAll: every process that the machine should have runs.
func (h *host) runsAll() bool {
	for _, p := range h.procs {
		if p == nil || !p.runs() {
			return false
		}
	}
	return true
}

// check looks at the whole world as it has been until now.
func (c *checker) check(w *World) {
	for _, h := range w.hosts {
		if !h.spec.Ungrouped {
			c.wholeMachine(w, h)
		}
		c.afterLease(w, h)
	}
	for a := range w.hosts {
		for b := a + 1; b < len(w.hosts); b++ {
			c.both(w, w.hosts[a], w.hosts[b])
		}
	}
	c.holes(w)
	c.silence(w)
}

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
		for _, h := range [...]*host{a, b} {
			for _, g := range h.groups {
				from = max(from, g.trail.lingered)
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
	if !w.Guard || p == nil || p.runs() || !newer.owner.runs() || newer.from-older.from < 4*w.interval() || c.lossy || newer.host.spec.Ungrouped || older.host.spec.Ungrouped {
		return
	}
	g := newer.owner.group
	if g.trail.listened {
		return // for an interval and a skew time only
	}
	if newer.from == newer.host.thawed {
		return // no promotion: its clock stood still (rule 13)
	}
	if g.trail.reason != election.MasterTimeout && g.trail.reason != election.Preempted || c.ok[min(s.host.n, t.host.n)][max(s.host.n, t.host.n)] > older.from {
		return
	}
	if d := until - newer.from; d > c.bound {
		w.fail("d", "%s was promoted and %s still serves %s for %v", newer.host.name, p.name, w.lans[s.lan].name(), time.Duration(d))
	}
}

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

// silence is (g).
func (c *checker) silence(w *World) {
	limit := w.down(1) + w.skew(1) + 2*w.interval() + prepareLimit
	since := c.last
	if w.now-since <= limit {
		return
	}
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

// transition: the word of a group has changed.
func (g *group) transition(p *proc, old, word election.Word) {
	w, tr := p.w, &g.trail
	w.story.transition(g, old, word)
	if w.trace != nil {
		w.logf("%s %v > %v (%v)", p.name, old.State(), word.State(), word.Reason())
	}
	if word.Epoch() != old.Epoch()+1 {
		w.fail("word", "%s: epoch %d follows %d", p.name, word.Epoch(), old.Epoch())
	}
	tr.count++
	tr.changed = w.now
	if old.State() == election.Linger {
		tr.lingered = w.now
	}
	if old.State().Serving() {
		clear(tr.zeros) // another resignation than a LINGER that went before
	}
	limit := calmLimit
	for _, h := range w.hosts {
		for _, t := range h.ports {
			if t.mute {
				limit = 3 * calmLimit // tried again and again, ever more slowly
			}
		}
	}
	switch {
	case tr.count > limit && !w.checker.lossy:
		w.fail("e", "%s makes its %d. transition and nothing has happened for %v", p.name, tr.count, time.Duration(w.now-w.checker.last))
	case w.checker.settled:
		w.fail("e", "%s makes a transition (%v > %v, %v) though all has settled", p.name, old.State(), word.State(), word.Reason())
	}
	switch word.State() {
	case election.Prepare:
		w.checker.promoted(w, g, word.Reason())
		tr.reason, tr.listened = word.Reason(), old.State() == election.Listen
	case election.Master:
		tr.master = w.now
	case election.Linger:
		tr.entered, tr.linger = w.now, w.now
	case election.Backup:
		tr.entered = w.now
	}
}

// promoted is (m).
func (c *checker) promoted(w *World, g *group, why election.Reason) {
	h := g.host
	if h.spec.Ungrouped || why != election.Preempted && why != election.MasterTimeout || c.lossy {
		return
	}
	established := func(t int64) bool { return t != never && w.now-t > 5*w.interval()+w.skew(1) }
	if w.now-g.trail.entered > mixedLimit-5*w.interval() || !h.runsAll() || w.now-h.moved < 3*w.interval() || w.now-h.lastResumed() < w.down(1)+2*ms {
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
			since := c.heard[l][o.n][h.n]
			hears = hears || since == never && w.now-c.last > 3*w.interval()
			deaf = deaf || established(since) && !c.hearsAnybody(w, l, h)
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

// hearsAnybody: somebody serves the LAN whom the machine can hear there.
func (c *checker) hearsAnybody(w *World, l int, h *host) bool {
	for _, o := range w.hosts {
		if o != h && o.ports[l].serving() && c.heard[l][o.n][h.n] == never {
			return true
		}
	}
	return false
}

// sent is (f).
func (c *checker) sent(w *World, p *proc, lan int, priority uint8) {
	tr := &p.group.trail
	if priority > 0 {
		tr.zeros[lan] = 0
		tr.late = p.group.word.State() != election.Master
		if st := p.group.word.State(); st != election.Master && tr.changed < w.now && p.fresh {
			w.fail("f", "%s advertises while it is %v", p.name, st)
		}
		return
	}
	tr.zeros[lan]++
	limit := 3
	tr.late = tr.late || !p.checkedNow()
	if tr.late {
		limit++
	}
	if tr.zeros[lan] > limit {
		w.fail("f", "%s says priority 0 on %s for the %d. time", p.name, w.lans[lan].name(), tr.zeros[lan])
	}
	if st := p.group.word.State(); st == election.Master && p.checkedNow() {
		w.fail("f", "%s says priority 0 while it is MASTER", p.name)
	}
}

// checkedNow: the action that is being carried out was compared with the word
// just now, that is, no stall lies between.
func (p *proc) checkedNow() bool { return p.before == 0 && p.resumedAt != p.w.now }
