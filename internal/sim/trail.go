package sim

import (
	"time"

	"vrrpd/election"
)

// trail is what the checker remembers of a group's transitions.
type trail struct {
	count    int             // transitions since the last verb
	reason   election.Reason // why it became MASTER
	changed  int64           // when the word last changed
	master   int64           // when it did
	entered  int64           // when it last became BACKUP or LINGER
	linger   int64           // when it last became LINGER
	lingered int64           // when that ended
	zeros    []int           // by LAN: priority 0 since the last advert
	late     bool            // that advert left when it should not have (rule 14)
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
		tr.reason = word.Reason()
	case election.Master:
		tr.master = w.now
	case election.Linger:
		tr.entered, tr.linger = w.now, w.now
	case election.Backup:
		tr.entered = w.now
	}
}

// sent is (f).
func (c *checker) sent(w *World, p *proc, lan int, priority uint8) {
	tr := &p.group.trail
	if priority > 0 {
		p.host.ports[lan].spoke = w.now
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
