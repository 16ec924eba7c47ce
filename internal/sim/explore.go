package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A bounded exhaustive exploration of small worlds. Where a random scenario
// chooses, an exploration takes every choice: each event of an alphabet, at each
// moment at which it could make a difference, up to a number of events.
//
// The moments are not a list of times. The world is played on without a further
// event, and each thing that then happens by itself (the word of a group changes,
// a port begins or ceases to serve, an advert is sent, a process goes or comes
// back; in a full exploration also: priority 0 is said) gives two of them: just
// before, and just after, while the rest of the world has not noticed yet. In
// between nothing happens but heartbeats and adverts that are like the ones
// before, so that one moment in the middle of an interval stands for the rest.
// Which events are possible is read from the world itself at that moment, so that
// no sequence contains one that does nothing.
//
// Every sequence ends with settle, so that (b) and (e) are asked of each. One
// that is a prefix of another is explored for itself.
//
// Two events at the same instant on different objects are taken in one order
// only: no time passes between them, so that the other order differs in nothing
// but the random numbers drawn. Nothing else is left out: states are not
// compared, because a world's future lies in its queue and in what the real
// elections keep to themselves, and a hash over less than that would leave out
// too much. Nor are machines or LANs exchanged for each other: addresses and the
// reference member make them different.

// Space is what is explored.
type Space struct {
	// Root is what happens before the first event. An exploration starts when
	// its script has been played.
	Root Scenario
	// Depth is the largest number of events.
	Depth int
	// Full: every event, else those of the core; and the moments at which
	// priority 0 is said.
	Full bool
	// Steady: the first event comes after this time, in an undisturbed world in
	// which one interval is like another: just before an advert, just after it,
	// or in the middle. 0: it comes at any moment after the root's script.
	Steady time.Duration
}

// Found is a sequence of events that violates an invariant.
type Found struct {
	Scenario  Scenario
	Violation *Violation
}

// Exploration counts what has been explored.
type Exploration struct {
	Sequences int // of events, each played to its end
	Worlds    int // played, including those that only find out what is possible
	Steps     int // of the elections in them
	Found     []Found
}

// Add makes e the sum of both.
func (e *Exploration) Add(f Exploration) {
	e.Sequences += f.Sequences
	e.Worlds += f.Worlds
	e.Steps += f.Steps
	e.Found = append(e.Found, f.Found...)
}

// choice is one event at one moment.
type choice struct {
	at     time.Duration
	events []Timed // an event may be made of several verbs
	object string  // what it happens to; "": to everything
}

// commutes: two events at the same instant may change places. What happens to a
// machine may matter to its ports.
func (c *choice) commutes(d *choice) bool {
	return !strings.HasPrefix(c.object, d.object) && !strings.HasPrefix(d.object, c.object)
}

const (
	// "Just before" is longer than the jitter of a wake-up, "just after" shorter
	// than it takes another process to learn of it.
	justBefore = 300 * time.Microsecond
	justAfter  = 20 * time.Microsecond
	// foresight is how far the world is played on to find the moments.
	foresight = 9 // intervals
	// mostChanges bounds the moments: after so many things that happen by
	// themselves the rest is left to a longer exploration.
	mostChanges = 12
)

// First returns the choices for the first event, each of which can be explored
// by itself.
func (s *Space) First() []choice {
	return s.choices(s.Root.Script, nil, &Exploration{})
}

// From explores every sequence that begins with a choice.
func (s *Space) From(c choice) Exploration {
	var e Exploration
	s.explore(s.Root.Script, c, 1, &e)
	return e
}

func (s *Space) explore(script []Timed, c choice, depth int, e *Exploration) {
	script = extend(script, c.events)
	e.Sequences++
	w := s.world(script, Timed{script[len(script)-1].At, Verb{Name: "settle"}})
	v := w.Play()
	e.Worlds++
	e.Steps += w.steps
	if v != nil {
		e.Found = append(e.Found, Found{w.Scenario, v})
		return
	}
	if depth == s.Depth {
		return
	}
	for _, next := range s.choices(script, &c, e) {
		s.explore(script, next, depth+1, e)
	}
}

// extend adds events to a script; what is to happen later stays later.
func extend(script, events []Timed) []Timed {
	all := append(slices.Clone(script), events...)
	slices.SortStableFunc(all, func(a, b Timed) int { return int(a.At - b.At) })
	return all
}

func (s *Space) world(script []Timed, more ...Timed) *World {
	c := s.Root
	c.Script = append(slices.Clone(script), more...)
	return New(c)
}

// choices plays a script and then on, and returns what could happen next.
func (s *Space) choices(script []Timed, last *choice, e *Exploration) []choice {
	begin := script[len(script)-1].At
	if last != nil {
		begin = last.at
	} else {
		begin = max(begin, s.Steady)
	}
	moments := s.moments(script, begin, last == nil && s.Steady > 0, e)
	var list []choice
	w := s.world(nil)
	e.Worlds++
	done := 0
	for _, at := range moments {
		for done < len(script) && script[done].At <= at {
			w.run(int64(script[done].At))
			w.obey(script[done].Verb)
			done++
		}
		if w.run(int64(at)); w.failure != nil {
			break // the sequence so far is a violation, and known as one
		}
		for _, ev := range w.alphabet(s.Full, script) {
			c := choice{at: at, object: ev.object, events: ev.at(at, w.Interval)}
			if last != nil && at == last.at && c.commutes(last) && c.object < last.object {
				continue // the other order is explored
			}
			list = append(list, c)
		}
	}
	e.Steps += w.steps
	return list
}

// moments are the times from begin on at which an event may make a difference.
func (s *Space) moments(script []Timed, begin time.Duration, steady bool, e *Exploration) []time.Duration {
	w := s.world(nil)
	e.Worlds++
	done := 0
	due := func(until time.Duration) (verb bool) {
		for ; done < len(script) && script[done].At <= until; done++ {
			w.run(int64(script[done].At))
			w.obey(script[done].Verb)
			verb = true
		}
		return verb
	}
	due(begin)
	w.run(int64(begin))
	moments := []time.Duration{begin, begin + justBefore}
	if steady {
		moments = nil
	}
	add := func(at time.Duration) {
		if at > begin && !slices.ContainsFunc(moments, func(m time.Duration) bool { return (m - at).Abs() < 15*time.Microsecond }) {
			moments = append(moments, at)
		}
	}
	state, adverts := w.outline(s.Full)
	changes, spoke := 0, false
	for changes < mostChanges && w.failure == nil && w.queue.len() > 0 {
		at := w.queue.next()
		if at > int64(begin)+foresight*w.interval() {
			break
		}
		verb := false
		if done < len(script) && int64(script[done].At) < at {
			at = int64(script[done].At)
			verb = due(script[done].At)
		} else {
			w.one()
		}
		now, sent := w.outline(s.Full)
		switch {
		case (now != state || verb) && !steady:
			changes++
			add(time.Duration(at) - justBefore)
			add(time.Duration(at) + justAfter)
		case sent != adverts && !spoke:
			// An advert of the first period; the next ones are like it.
			spoke = true
			add(time.Duration(at) - justBefore)
			add(time.Duration(at) + justAfter)
			add(time.Duration(at) + w.Interval/2)
		}
		state, adverts = now, sent
	}
	e.Steps += w.steps
	slices.Sort(moments)
	return moments
}

// outline is what an observer would notice of the world, and a number that
// changes with every advert.
func (w *World) outline(full bool) (state uint64, adverts int64) {
	for _, h := range w.hosts {
		for _, g := range h.groups {
			state = mix(state ^ uint64(g.word))
			for _, n := range g.trail.zeros {
				if full {
					state = mix(state ^ uint64(n)) // priority 0 that has been said
				}
			}
		}
		for _, t := range h.ports {
			if t.serving() {
				state = mix(state ^ 1)
			}
			state = mix(state ^ 2)
		}
		for _, p := range h.procs {
			if p != nil && p.runs() {
				state = mix(state ^ 3)
				for i := range p.lans {
					adverts += p.machine.Facts(i).SentAt
				}
			}
			state = mix(state ^ 4)
		}
	}
	return state, adverts
}

// possibility is an event that is possible in a world.
type possibility struct {
	object string
	verbs  []string
	// later is a verb that ends it by itself, an interval later.
	later string
}

func (ev *possibility) at(at, interval time.Duration) []Timed {
	var list []Timed
	for _, text := range ev.verbs {
		words := strings.Fields(text)
		list = append(list, Timed{at, Verb{words[0], words[1:]}})
	}
	if ev.later != "" {
		words := strings.Fields(ev.later)
		list = append(list, Timed{at + interval, Verb{words[0], words[1:]}})
	}
	return list
}

// alphabet is what could happen to the world at this moment.
func (w *World) alphabet(full bool, script []Timed) []possibility {
	var list []possibility
	add := func(object, format string, args ...any) {
		list = append(list, possibility{object: object, verbs: []string{fmt.Sprintf(format, args...)}})
	}
	toggle := func(object string, is bool, off, on string) {
		if is {
			on = off
		}
		add(object, "%s", on)
	}
	lease := time.Duration(w.leaseSpan()) + w.Interval*3/10
	down := time.Duration(w.down(1)) + w.Interval*3/10
	for _, h := range w.hosts {
		for _, t := range h.ports {
			l := w.lans[t.lan].name()
			name := h.name + l
			toggle(name, t.link, "link "+h.name+" "+l+" down", "link "+h.name+" "+l+" up")
			toggle(name, t.blocked, "block "+h.name+" "+l+" off", "block "+h.name+" "+l+" on")
			if full {
				toggle(name, t.mute, "mute "+h.name+" "+l+" off", "mute "+h.name+" "+l+" on")
				toggle(name, t.unfit, "check "+h.name+" "+l+" ok", "check "+h.name+" "+l+" fail")
			}
		}
	}
	for _, h := range w.hosts {
		name := func(place int) string {
			if len(h.procs) == 1 {
				return h.name
			}
			return fmt.Sprintf("%s.%d", h.name, place)
		}
		running := false
		for i, p := range h.procs {
			one := name(i)
			if p == nil || !p.alive {
				add(h.name, "start %s", one)
				continue
			}
			add(h.name, "kill %s", one)
			if p.stopped() {
				continue
			}
			running = true
			add(h.name, "pause %s %v", one, lease)
			if p.machine.Facts(0).Stopping == 0 {
				add(h.name, "stop %s", one)
			}
			if full {
				add(h.name, "pause %s %v", one, down)
				add(h.name, "stall %s 1 %v early", one, lease)
				add(h.name, "stall %s 1 %v late", one, lease)
			}
		}
		if !running {
			continue
		}
		wishes := h.groups[0].wishes
		toggle(h.name, wishes.Hold || wishes.Soft, "release "+h.name, "hold "+h.name)
		if !wishes.Soft && !wishes.Hold {
			add(h.name, "backup %s", h.name)
		}
		if full {
			if len(h.procs) > 1 {
				add(h.name, "kill %s", h.name)
				add(h.name, "pause %s %v", h.name, lease)
			}
			add(h.name, "suspend %s %v", h.name, lease)
			add(h.name, "freeze %s %v", h.name, lease)
		}
	}
	// All LANs at once: two machines that do not hear each other, and then do.
	whole := true
	all := possibility{}
	for _, l := range w.lans {
		whole = whole && l.reach[0][1] && l.reach[1][0]
	}
	for _, l := range w.lans {
		if whole {
			all.verbs = append(all.verbs, "partition "+l.name()+" r1|r2")
		} else {
			all.verbs = append(all.verbs, "join "+l.name())
		}
	}
	list = append(list, all)
	for _, l := range w.lans {
		name := l.name()
		if !l.reach[0][1] || !l.reach[1][0] {
			add(name, "join %s", name)
			continue
		}
		add(name, "partition %s r1|r2", name)
		add(name, "partition %s r1>r2", name)
		add(name, "partition %s r2>r1", name)
		for i, h := range w.hosts {
			if h.ports[l.n].serving() {
				list = append(list, possibility{object: name,
					verbs: []string{fmt.Sprintf("partition %s r%d>r%d", name, i+1, 2-i)}, later: "join " + name})
			}
		}
		if !slices.ContainsFunc(script, func(t Timed) bool { return t.Verb.Name == "dropzero" && t.Verb.Args[0] == name }) {
			add(name, "dropzero %s 1", name)
		}
	}
	return list
}
