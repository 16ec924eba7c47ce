package sim

import (
	"slices"

	"vrrpd/election"
	"vrrpd/grouplock/siblings"
)

// kill ends a process at once: the kernel closes its files, and the others of
// its group learn of it a little later.
func (h *host) kill(p *proc) {
	if !p.alive {
		return
	}
	h.w.logf("%s is killed", p.name)
	p.dies(election.MemberDead)
}

// dies takes a process out of its group, dead or left in order.
func (p *proc) dies(why election.Reason) {
	w := p.w
	p.alive, p.left, p.endedAt = false, why == election.MemberLeft, w.now
	p.buried = p.left // it has done that itself
	if p.stopped() {
		p.endedAt = p.heldAt
	}
	p.host.moved = w.now
	for _, q := range p.group.processes() {
		q := q
		w.after(w.between(200*us, ms), func() { q.misses(p) })
	}
}

// misses is a doorbell: a sibling has gone. Whether it has died is seen from what
// is left of it.
func (q *proc) misses(p *proc) {
	if !q.alive {
		return
	}
	if q.stopped() {
		q.onResume = append(q.onResume, func() { q.misses(p) })
		return
	}
	i := slices.Index(q.roster, p)
	if i >= 0 {
		q.roster = slices.Delete(q.roster, i, i+1)
	}
	if p.buried {
		if e, ok := q.roll.Left(p.name); ok && i >= 0 {
			q.inbox = append(q.inbox, e)
		}
	} else {
		q.inbox = append(q.inbox, q.roll.Died(p.name))
		q.afterStep = append(q.afterStep, func() { q.bury(p) })
	}
	q.wake(q.w.now)
}

// bury cleans up after a dead sibling, unless somebody has: what it cannot say
// any more is said, and its interfaces go.
func (q *proc) bury(p *proc) {
	if p.buried {
		return
	}
	p.buried = true
	q.w.logf("%s cleans up after %s", q.name, p.name)
	q.endService(p, siblings.Bury(q.remains(p), q.knows()))
	for _, r := range q.group.processes() {
		if r != q {
			r := r
			q.w.after(q.w.bell(), func() { r.misses(p) })
		}
	}
}

// expel ends the service of siblings that live and do not move.
func (q *proc) expel(from election.State) {
	w := q.w
	for _, p := range q.roster {
		if burial, ok := siblings.Expel(q.remains(p), from, q.knows(), q.slot()); ok && p.alive {
			w.logf("%s expels %s", q.name, p.name)
			q.endService(p, burial)
		}
	}
}

// remains are what is known of a sibling that is dead or stuck.
func (q *proc) remains(p *proc) siblings.Sibling {
	s := siblings.Sibling{Realised: p.realised}
	facts := p.latest()
	for i := range facts {
		s.Expelled = s.Expelled || q.machine.Expelled(&facts[i])
	}
	return s
}

func (q *proc) knows() siblings.Machine {
	return siblings.Machine{Word: q.group.word, Interval: q.w.Interval}
}

// endService silences the ports of a sibling that cannot do so itself, and says
// what it cannot say.
func (q *proc) endService(p *proc, burial siblings.Burial) {
	w := q.w
	for _, l := range p.lans {
		if t := q.host.ports[l]; t.owner == p {
			t.guard = 0
			t.takeDown()
		}
	}
	if len(burial.Words) > 0 {
		for _, l := range p.lans {
			q.group.trail.zeros[l] = 0 // another resignation than its own
		}
	}
	for i, after := range burial.Words {
		if i > 0 && w.Without&election.RuleRepeatZero != 0 {
			break
		}
		say := func() {
			if !q.alive || q.stopped() || i > 0 && !burial.Holds(q.group.word) {
				return
			}
			for _, l := range p.lans {
				q.transmit(l, 0)
			}
		}
		if after == 0 {
			say()
		} else {
			w.after(int64(after), say)
		}
	}
}
