package sim

import (
	"fmt"
	"slices"

	"vrrpd/election"
	"vrrpd/grouplock/siblings"
)

// host is one machine: a clock, ports, and the processes on it.
type host struct {
	w    *World
	n    int
	name string
	spec Machine

	// The clock (CLOCK_BOOTTIME): base at the global time since, drifting.
	base  election.Time
	since int64
	slept int64 // ns spent in suspends; CLOCK_MONOTONIC lacks them

	asleep bool // suspended
	frozen bool // a paused virtual machine: its clock stands still

	ports  []*port
	groups []*group // one, or one per LAN for an ungrouped machine
	procs  []*proc  // by place; a process that has died stays until restarted

	raised bool  // the operator has set a priority
	thawed int64 // when a freeze last ended
	woke   int64 // when a suspend last ended
	moved  int64 // when a process or the machine itself last came or went
}

// group is what the processes that share one state share.
type group struct {
	host   *host
	word   election.Word
	since  election.Time
	wishes election.Wishes
	places []int // of its processes
	lans   []int
	trail  trail
}

func (w *World) newHost(n int) *host {
	spec := w.Machines[n]
	h := &host{w: w, n: n, name: fmt.Sprintf("r%d", n+1), spec: spec, base: int64(spec.Clock)}
	for l := range w.LANs {
		h.ports = append(h.ports, &port{w: w, host: h, lan: l, link: true})
	}
	places := min(max(spec.Procs, 1), w.LANs)
	if spec.Ungrouped {
		places = w.LANs
	}
	h.procs = make([]*proc, places)
	if !spec.Ungrouped {
		h.groups = []*group{{host: h}}
	}
	for i := range places {
		if spec.Ungrouped {
			h.groups = append(h.groups, &group{host: h})
		}
		g := h.groups[len(h.groups)-1]
		g.places = append(g.places, i)
	}
	for l := range w.LANs {
		g := h.groups[0]
		if spec.Ungrouped {
			g = h.groups[l]
		}
		g.lans = append(g.lans, l)
	}
	for _, g := range h.groups {
		g.trail.zeros = make([]int, w.LANs)
	}
	return h
}

// lansOf are the LANs of the process at a place: every LAN belongs to one.
func (h *host) lansOf(place int) []int {
	var lans []int
	for l := range h.w.LANs {
		if l%len(h.procs) == place {
			lans = append(lans, l)
		}
	}
	return lans
}

// groupOf is the group of the process at a place.
func (h *host) groupOf(place int) *group {
	for _, g := range h.groups {
		if slices.Contains(g.places, place) {
			return g
		}
	}
	return nil
}

// local is the machine's clock at a global time.
func (h *host) local(t int64) election.Time {
	if h.frozen {
		return h.base
	}
	return h.localRunning(t)
}

func (h *host) localRunning(t int64) election.Time {
	d := t - h.since
	return h.base + d + d/1e6*h.spec.Drift + d%1e6*h.spec.Drift/1e6
}

// clock is the machine's clock now.
func (h *host) clock() election.Time { return h.local(h.w.now) }

// global is the first moment at which the machine's clock shows l; for one that
// lies before the clock was last set, that moment.
func (h *host) global(l election.Time) int64 {
	switch {
	case l > 1<<61:
		return never
	case l <= h.base:
		return h.since
	}
	d := l - h.base
	t := h.since + d - d*h.spec.Drift/(1e6+h.spec.Drift)
	for h.localRunning(t) < l {
		t++
	}
	for h.localRunning(t-1) >= l {
		t--
	}
	return t
}

func (h *host) mark() {
	for _, t := range h.ports {
		t.mark()
	}
}

// start brings a process to life, unless it lives.
func (h *host) start(place int) {
	if p := h.procs[place]; p != nil && p.alive || h.asleep || h.frozen {
		return
	}
	w, g := h.w, h.groupOf(place)
	p := &proc{w: w, host: h, group: g, place: place, alive: true, name: h.name, wakeAt: never}
	if len(h.procs) > 1 {
		p.name = fmt.Sprintf("%s.%d", h.name, place)
	}
	if old := h.procs[place]; old != nil {
		old.buried = true // what it left is made right below
	}
	h.moved = w.now
	w.logf("%s starts", p.name)
	var routers []election.Router
	interval := w.Interval
	if h.spec.Uneven && place == len(h.procs)-1 {
		interval *= 10
	}
	for i, l := range h.lansOf(place) {
		p.lans = append(p.lans, l)
		t := h.ports[l]
		t.owner, t.vr, t.guard = p, i, 0
		t.takeDown()
		routers = append(routers, election.Router{
			Family: 4, VRID: vrid(l), Version: w.Version, Priority: h.spec.Priority,
			Interval: interval, Preempt: !h.spec.NoPreempt, Source: w.address(h.n, l), VIP: vip(l),
		})
		for _, bit := range t.faults() {
			p.inbox = append(p.inbox, election.Event{Kind: election.EvFault, VR: i, Fault: bit, On: true})
		}
	}
	h.procs[place] = p
	if e := p.checks(); e.On || e.Weight != 0 {
		p.inbox = append(p.inbox, e)
	}
	alone := true
	for _, q := range g.processes() {
		if q == p {
			continue
		}
		alone = false
		p.roster = append(p.roster, q)
		q := q
		w.after(w.bell(), func() {
			if p.alive && q.alive {
				q.roster = append(q.roster, p)
				q.roll.Joined(p.name)
				q.wake(w.now)
			}
		})
	}
	if alone {
		old := g.word
		g.word, g.wishes = siblings.Begin(old, g.wishes)
		g.since = h.clock()
		g.transition(p, old, g.word)
	}
	p.routers = routers
	p.machine = election.New(election.Config{Guard: w.Guard, Without: w.Without}, p, routers)
	p.lastTurn = h.clock()
	p.slept = h.slept
	p.acts = p.machine.Start(p.lastTurn, p.acts[:0])
	p.pos = 0
	p.carryOn()
}

// faults are those that a process finds at its port when it starts.
func (t *port) faults() []election.Fault {
	var list []election.Fault
	if !t.link {
		list = append(list, election.FaultLinkDown)
	}
	return list
}

// processes are those of the group that are alive.
func (g *group) processes() []*proc {
	var list []*proc
	for _, place := range g.places {
		if p := g.host.procs[place]; p != nil && p.alive {
			list = append(list, p)
		}
	}
	return list
}

// suspend stops the machine; its boottime goes on, and what is sent to it is lost.
func (h *host) suspend(d int64) { h.halt(d, &h.asleep, "suspended") }

// freeze stops a virtual machine with its clock.
func (h *host) freeze(d int64) { h.halt(d, &h.frozen, "frozen") }

func (h *host) halt(d int64, how *bool, word string) {
	if h.asleep || h.frozen {
		return
	}
	w := h.w
	w.logf("%s is %s", h.name, word)
	h.base, h.since = h.clock(), w.now
	*how = true
	h.moved = w.now
	h.mark()
	var held []*proc
	for _, p := range h.procs {
		if p != nil && p.alive {
			p.hold()
			held = append(held, p)
		}
	}
	w.after(d, func() {
		if how == &h.asleep {
			h.slept += d
			h.base = h.clock()
			h.woke = w.now
		} else {
			h.thawed = w.now
		}
		*how = false
		h.since = w.now
		h.moved = w.now
		w.logf("%s wakes", h.name)
		h.mark()
		for _, p := range held {
			p.release()
		}
	})
}
