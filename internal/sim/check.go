package sim

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
//	(e) While nothing happens to anybody, no machine makes more than 14
//	    transitions (42 while adverts cannot be sent: that is only known by
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
	calmLimit    = 14
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
	deaf    [][][]int64 // deaf[lan][a][b]: since when b cannot hear a; never: it can
	split   []int64     // by machine: since when it serves some LANs and not others; 0: not
	last    int64       // last verb
	lossy   bool
	hole    int64 // longest hole allowed; never: any
	holeFor int64 // since when
	bound   int64 // of (c)
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
		c.deaf = append(c.deaf, rows)
	}
	c.split = make([]int64, n)
	c.hole = never
	c.bound = 2*w.flight + int64(w.Bell) + 4*int64(w.Jitter) + 100*us
	if !w.Guard {
		c.bound += 3 * ms
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
				deaf := &c.deaf[l.n][a][b]
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
		c.outOfOffice(w, h)
	}
	for a := range w.hosts {
		for b := a + 1; b < len(w.hosts); b++ {
			c.both(w, w.hosts[a], w.hosts[b])
		}
	}
	c.holes(w)
	c.silence(w)
}
