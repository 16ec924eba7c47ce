package sim

import (
	"cmp"
	"slices"
	"strings"
)

// turn is a port that has begun or ceased to serve.
type turn struct {
	at   int64
	host int
	lan  int
	on   bool
}

// look must follow everything that happens: what has changed is told.
func (s *story) look() {
	var changes []turn
	for _, h := range s.w.hosts {
		t := &s.hosts[h.n]
		for _, p := range h.ports {
			on, was := p.serving(), t.serves[p.lan]
			again := on && was && p.from != t.from[p.lan]
			if was && (!on || again) {
				at := p.off
				if !on {
					at = p.stopped() // a lease may have ended some time ago
				}
				changes = append(changes, turn{at, h.n, p.lan, false})
			}
			if on && (!was || again) {
				changes = append(changes, turn{p.from, h.n, p.lan, true})
			}
			t.serves[p.lan], t.from[p.lan] = on, p.from
		}
		s.processes(h, t)
	}
	if s.changing && s.w.now-s.changed > calm {
		s.tellServing()
	}
	slices.SortStableFunc(changes, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	for _, c := range changes {
		if s.changing && c.at-s.changed > calm {
			s.tellServing()
		}
		s.apply(c)
	}
}

// processes tells who has left and who runs again.
func (s *story) processes(h *host, t *teller) {
	halted := h.asleep || h.frozen
	for i, p := range h.procs {
		if p == nil {
			continue
		}
		halted = halted || p.alive && p.stopped()
		left := !p.alive && p.left
		if left && !t.left[i] {
			_, place, _ := strings.Cut(p.name, ".")
			s.say(s.w.now, h.name, "%s", strings.TrimLeft(place+" exits", " "))
		}
		t.left[i] = left
	}
	if t.halted && !halted {
		s.say(s.w.now, h.name, "runs again")
	}
	t.halted = halted
}

// apply enters a change into the account of its LAN.
func (s *story) apply(c turn) {
	l, bit := &s.lans[c.lan], uint64(1)<<c.host
	before := l.count()
	if c.on {
		l.by |= bit
	} else {
		l.by &^= bit
	}
	switch after := l.count(); {
	case before == 0 && after == 1:
		l.hole = max(l.hole, c.at-l.empty)
	case before == 1 && after == 0:
		l.empty = c.at
	case before == 1 && after == 2:
		l.shared = c.at
	case before == 2 && after == 1:
		l.both += c.at - l.shared
	}
	s.changing, s.changed = true, max(s.changed, c.at)
}

func (l *served) count() int {
	n := 0
	for by := l.by; by > 0; by &= by - 1 {
		n++
	}
	return n
}

// tellServing tells who serves what, if that has changed.
func (s *story) tellServing() {
	if !s.changing {
		return
	}
	s.changing = false
	var parts []string
	news := false
	for i := range s.lans {
		l := &s.lans[i]
		text := s.w.lans[i].name() + ": " + s.by(l.by)
		var notes []string
		if l.hole > 0 {
			notes = append(notes, "nobody for "+span(l.hole))
		}
		if l.both > 0 {
			notes = append(notes, "both for "+span(l.both))
		}
		if len(notes) > 0 {
			text += " (" + strings.Join(notes, ", ") + ")"
		}
		news = news || len(notes) > 0 || l.by != s.told[i]
		l.hole, l.both, s.told[i] = 0, 0, l.by
		parts = append(parts, text)
	}
	if news {
		s.say(s.changed, "", "serving %s", strings.Join(parts, ", "))
	}
}

// by names machines.
func (s *story) by(set uint64) string {
	return s.w.listed(func(h *host) bool { return set>>h.n&1 == 1 })
}

// servers are the machines that serve a LAN now.
func (w *World) servers(lan int) string {
	return w.listed(func(h *host) bool { return h.ports[lan].serving() })
}

func (w *World) listed(which func(*host) bool) string {
	var names []string
	for _, h := range w.hosts {
		if which(h) {
			names = append(names, h.name)
		}
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ",")
}
