package sim

import (
	"vrrpd/election"
	"vrrpd/grouplock/siblings"
)

// A proc is the election.Board of its own machine: the word and the wishes are
// the group's; what the others publish becomes visible a little later if the
// scenario says so. In real memory a store is visible at once, but a process may
// be stopped between reading its siblings' facts and acting on them, and that
// looks the same.

var _ election.Board = (*proc)(nil)

// publication is the facts of a process from a point in time on.
type publication struct {
	from  int64
	facts []election.Facts
}

// Load returns the group's word.
func (p *proc) Load() election.Word { return p.group.word }

// Since returns when that was set.
func (p *proc) Since() election.Time { return p.group.since }

// slot is the process's number in its group.
func (p *proc) slot() uint8 { return uint8(p.place + 1) }

// Swap changes the word if it is still old.
func (p *proc) Swap(old, new election.Word, at election.Time) bool {
	g := p.group
	if g.word != old {
		return false
	}
	new = new.WithSlot(p.slot())
	before := g.word
	g.word, g.since = new, at
	g.transition(p, before, new)
	p.Ring()
	return true
}

// Others appends what the siblings that this process knows of have published.
func (p *proc) Others(dst []election.Facts) []election.Facts {
	for _, q := range p.roster {
		dst = append(dst, q.visible()...)
	}
	return dst
}

// visible is what siblings see of the process at this moment.
func (p *proc) visible() []election.Facts {
	n := 0
	for n+1 < len(p.published) && p.published[n+1].from <= p.w.now {
		n++
	}
	if n > 0 {
		// What nobody can see any more is used again.
		old := p.published[0]
		copy(p.published, p.published[n:])
		p.published = p.published[:len(p.published)-n]
		p.spare = append(p.spare, old.facts)
	}
	if len(p.published) == 0 || p.published[0].from > p.w.now {
		return nil
	}
	return p.published[0].facts
}

// latest is what the process has published last: memory is never late for who
// reads it now.
func (p *proc) latest() []election.Facts {
	if n := len(p.published); n > 0 {
		return p.published[n-1].facts
	}
	return nil
}

// Publish shows the facts to the siblings.
func (p *proc) Publish(own []election.Facts) {
	if len(p.group.places) == 1 {
		return
	}
	first := len(p.published) == 0
	at := p.w.now
	if p.w.Facts > 0 && !first {
		at += p.w.between(200*us, max(201*us, int64(p.w.Facts)))
		at = max(at, p.published[len(p.published)-1].from)
	}
	if !first {
		last := &p.published[len(p.published)-1]
		if same(last.facts, own) {
			return
		}
		if last.from == at {
			copy(last.facts, own)
			return
		}
	}
	var room []election.Facts
	if n := len(p.spare); n > 0 {
		room = p.spare[n-1]
		p.spare = p.spare[:n-1]
	}
	p.published = append(p.published, publication{at, append(room[:0], own...)})
	p.visible()
	if first {
		p.Ring()
	}
}

func same(a, b []election.Facts) bool {
	for i := range b {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// bell is how long a doorbell takes.
func (w *World) bell() int64 { return w.between(50*us, max(51*us, int64(w.Bell))) }

// Ring wakes the siblings; and again when they see the facts that it was about.
func (p *proc) Ring() {
	w := p.w
	for _, place := range p.group.places {
		q := p.host.procs[place]
		if q == nil || q == p || !q.alive {
			continue
		}
		q.ringAt(w.now + w.bell())
		if n := len(p.published); n > 0 && p.published[n-1].from > w.now {
			q.ringAt(p.published[n-1].from + w.bell())
		}
	}
}

// ringAt is a doorbell on its way: what the process does until then does not
// silence it.
func (p *proc) ringAt(at int64) { p.w.push(at, event{kind: doorbell, p: p}) }

// Missing is how many processes are wanted and not seen alive.
func (p *proc) Missing() int {
	others := 0
	for _, q := range p.roster {
		if len(q.published) > 0 {
			others++
		}
	}
	return siblings.Missing(len(p.group.places), others)
}

// Wishes returns the operator's wishes.
func (p *proc) Wishes() election.Wishes { return p.group.wishes }

// Wish replaces the wishes if they are still old.
func (p *proc) Wish(old, new election.Wishes) bool {
	if p.group.wishes != old {
		return false
	}
	p.group.wishes = new
	p.Ring()
	return true
}
