package sim

import (
	"slices"
	"time"

	"vrrpd/election"
)

// settle is (b) and the end of (e): everything is healed, everybody runs, and
// after the bound one machine serves everything, and goes on doing so.
func (w *World) settle() {
	for _, h := range w.hosts {
		for _, p := range h.procs {
			if p != nil {
				p.traps = nil
			}
		}
	}
	// Whoever is stopped or asleep comes back by itself.
	for w.failure == nil && !w.allResumed() && w.queue.len() > 0 {
		w.run(w.queue.next())
	}
	if w.failure != nil {
		return
	}
	w.run(w.now + ms) // what was asked of the processes reaches them
	w.healAll()
	begin := w.now
	w.run(begin + 10*ms)
	bound := w.down(1) + w.skew(1) + w.skew(1) + lingerMargin + w.interval()
	if slices.ContainsFunc(w.hosts, func(h *host) bool { return h.spec.Ungrouped }) {
		// One that is no group wins a tie on one LAN and loses it on another; who leaves
		// because of it leaves a LAN to nobody, for as long as that takes to notice.
		bound += w.down(1)
	}
	longest := 5*int64(time.Minute) + sec + 3*bound // a restart takes its time, and clocks drift
	for w.failure == nil && w.now-begin <= longest {
		end := begin
		for _, h := range w.hosts {
			end = max(end, h.holdEnd())
			if h.faulty() {
				end = max(end, w.now) // a send fault is only known to be gone by trying
			}
		}
		if w.now >= end+bound {
			break
		}
		w.run(end + bound)
	}
	if w.failure != nil {
		return
	}
	if w.now-begin > longest {
		w.fail("b", "it took %v until the last hold-down was over, and no hold-down is longer than 5 min", time.Duration(w.now-begin))
	}
	w.oneServes(w.now - begin)
	w.checker.settled = true
	w.run(w.now + w.down(1) + 2*w.interval())
}

func (w *World) allResumed() bool {
	for _, h := range w.hosts {
		if h.asleep || h.frozen {
			return false
		}
		for _, p := range h.procs {
			if p != nil && p.alive && p.stopped() {
				return false
			}
		}
	}
	return true
}

// faulty: a member of the machine still believes in a fault.
func (h *host) faulty() bool {
	for _, p := range h.procs {
		if p == nil || !p.alive {
			continue
		}
		for i := range p.lans {
			if p.machine.Facts(i).Faults != 0 {
				return true
			}
		}
	}
	return false
}

// healAll puts everything right: LANs, ports, processes, operators.
func (w *World) healAll() {
	w.logf("everything is healed")
	for _, l := range w.lans {
		l.heal()
	}
	for _, h := range w.hosts {
		for _, t := range h.ports {
			t.blocked = false
			t.setMute(false)
			t.setLink(true)
			t.setFit(true)
			t.weigh(0)
		}
		for i, p := range h.procs {
			switch {
			case p == nil || !p.alive:
				h.start(i)
			case p.machine.Facts(0).Stopping == 1:
				// It leaves, and comes back when it has left.
				w.restart(h, i)
			}
		}
		for _, g := range h.groups {
			if list := g.processes(); len(list) > 0 && g.wishes.Hold {
				list[0].post(election.Event{Kind: election.EvRelease})
			}
		}
	}
	w.checker.disturbed(w)
}

// restart starts a process as soon as it has exited.
func (w *World) restart(h *host, place int) {
	w.after(w.interval()/10, func() {
		if p := h.procs[place]; p.alive {
			w.restart(h, place)
			return
		}
		h.start(place)
		w.checker.disturbed(w)
	})
}

// oneServes is (b).
func (w *World) oneServes(after int64) {
	var one *host
	for l := range w.lans {
		var serves *host
		for _, h := range w.hosts {
			if !h.ports[l].serving() {
				continue
			}
			if serves != nil {
				w.fail("b", "%s and %s serve %s, %v after all was healed", serves.name, h.name, w.lans[l].name(), time.Duration(after))
				return
			}
			serves = h
		}
		if serves == nil {
			w.fail("b", "nobody serves %s, %v after all was healed", w.lans[l].name(), time.Duration(after))
			return
		}
		if one != nil && serves != one && !serves.spec.Ungrouped && !one.spec.Ungrouped {
			w.fail("b", "%s serves %s and %s serves another LAN, %v after all was healed", serves.name, w.lans[l].name(), one.name, time.Duration(after))
			return
		}
		one = serves
	}
}
