package sim

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"vrrpd/election"
)

// story tells what happens in a world as its users see it: who is MASTER and
// why, who resigns, who asks whom, who serves which LAN, and how long nobody
// does. The trace has every frame; a story has what somebody would tell
// somebody else. The transcripts in testdata are made of it.
//
// It only looks. A world without a story has nil, on which done, transition and
// report do nothing; the two that are called all the time are not called then.
type story struct {
	w     *World
	since int64 // when somebody last did something; times are told from there
	lines []*line
	hosts []teller // by machine
	lans  []served // by LAN

	// A hand-over changes who serves in several small steps. They are told
	// as one, when nothing has changed for a while.
	changing bool
	changed  int64
	told     []uint64 // by LAN: who served it when that was last told

	alarms map[alarm]bool // raised since somebody last did something
}

// calm is how long who serves must not change before it is told.
const calm = 5 * ms

// line is one of the story. Its text may grow until the story is read.
type line struct {
	at    int64
	who   string
	text  string
	asked *burst // questions; those of several LANs may become one line
}

// teller is what the story remembers of one machine.
type teller struct {
	serves   []bool // by LAN
	from     []int64
	halted   bool // a process of it is stopped
	left     []bool
	groups   []groupTeller
	question []*burst // by LAN
}

// groupTeller is what it remembers of one group of a machine.
type groupTeller struct {
	last    *line // the last transition, which a report may still explain
	word    election.Word
	prepare *line // PREPARE is told only if nothing comes of it
	from    election.State
	zero    burst
	first   burst
}

// burst is a number of like frames that are told in one line.
type burst struct {
	line     *line
	epoch    uint64
	lans     []int
	each     []int // frames, by LAN
	from, to int64
	count    int // the largest of them
	answers  map[string]int
}

// served is what the story remembers of one LAN.
type served struct {
	by     uint64 // a bit for each machine
	empty  int64  // since when nobody serves it
	shared int64  // since when more than one does
	hole   int64  // longest hole that has closed in this change
	both   int64  // how long more than one has served it, in this change
}

type alarm struct {
	host   int
	reason election.Reason
}

// tell begins a story; the world must be new.
func (w *World) tell() *story {
	s := &story{w: w, lans: make([]served, len(w.lans)), told: make([]uint64, len(w.lans)), alarms: map[alarm]bool{}}
	for _, h := range w.hosts {
		s.hosts = append(s.hosts, teller{
			serves: make([]bool, len(w.lans)), from: make([]int64, len(w.lans)),
			left: make([]bool, len(h.procs)), groups: make([]groupTeller, len(h.groups)),
			question: make([]*burst, len(w.lans)),
		})
	}
	w.story = s
	return s
}

func (s *story) say(at int64, who, format string, args ...any) *line {
	l := &line{at: at, who: who, text: fmt.Sprintf(format, args...)}
	s.lines = append(s.lines, l)
	return l
}

// read returns what has been told since the last time, in the order in which it
// happened.
func (s *story) read() []string {
	s.tellServing()
	slices.SortStableFunc(s.lines, func(a, b *line) int { return cmp.Compare(a.at, b.at) })
	s.gather()
	width := 0
	for _, h := range s.w.hosts {
		width = max(width, len(h.name))
		if h.spec.Ungrouped {
			width = max(width, len(h.name)+2)
		}
	}
	var out []string
	for _, l := range s.lines {
		out = append(out, strings.TrimRight(fmt.Sprintf("%9s  %-*s  %s", "+"+span(l.at-s.since), width, l.who, l.text), " "))
	}
	s.lines = nil
	for i := range s.hosts {
		t := &s.hosts[i]
		for k := range t.groups {
			g := &t.groups[k]
			g.last, g.prepare, g.zero.line = nil, nil, nil
		}
		clear(t.question)
	}
	return out
}

// done: somebody has done something.
func (s *story) done() {
	if s == nil {
		return
	}
	s.since = s.w.now
	clear(s.alarms)
	s.look()
}

// span is a time as people say it.
func span(d int64) string {
	switch {
	case d < 10*ms:
		return fmt.Sprintf("%.1fms", float64(d)/float64(ms))
	case d < sec:
		return fmt.Sprintf("%dms", (d+ms/2)/ms)
	}
	return fmt.Sprintf("%.3fs", float64(d)/float64(sec))
}

// transition: the machine has a new state. That it prepares is of interest
// only when it does not become MASTER.
func (s *story) transition(g *group, old, word election.Word) {
	if s == nil {
		return
	}
	t, from := s.group(g), old.State()
	switch {
	case word.State() == election.Prepare:
		t.prepare, t.from = &line{at: s.w.now, who: g.called()}, from
	case from == election.Prepare:
		if word.State() == election.Master {
			from = t.from
		} else if t.prepare != nil {
			t.prepare.text = fmt.Sprintf("%v > PREPARE (%v)", t.from, old.Reason())
			s.lines = append(s.lines, t.prepare)
		}
		fallthrough
	default:
		t.prepare = nil
		t.last, t.word = s.say(s.w.now, g.called(), "%v > %v (%v)", from, word.State(), word.Reason()), word
	}
}

func (s *story) group(g *group) *groupTeller {
	return &s.hosts[g.host.n].groups[slices.Index(g.host.groups, g)]
}

// called is the machine's name; of an ungrouped one with the LAN.
func (g *group) called() string {
	if g.host.spec.Ungrouped {
		return g.host.name + " " + g.host.w.lans[g.lans[0]].name()
	}
	return g.host.name
}

// report: a process tells people something. Transitions are told where they
// happen; this says about whom they were.
func (s *story) report(p *proc, a *election.Action) {
	if s == nil {
		return
	}
	about := ""
	if a.VR >= 0 {
		about += " on " + s.w.lans[p.lans[a.VR]].name()
	}
	if name := s.machine(a.Peer); name != "" {
		about += ", peer " + name
	}
	t := s.group(p.group)
	if a.From != a.To {
		if t.last != nil && t.word.State() == a.To && t.word.Reason() == a.Reason {
			head, _, _ := strings.Cut(t.last.text, " (")
			t.last.text = fmt.Sprintf("%s (%v%s)", head, a.Reason, about)
		}
		return
	}
	switch {
	case a.On:
		s.alarms[alarm{p.host.n, a.Reason}] = true
		s.say(s.w.now, p.group.called(), "warns: %v%s", a.Reason, about)
	case a.Reason == election.PartitionOver:
		s.say(s.w.now, p.group.called(), "reports: %v%s", a.Reason, about)
	default:
		s.say(s.w.now, p.group.called(), "reports: no %v%s any more", a.Reason, about)
	}
}

// machine is whose address that is.
func (s *story) machine(a netip.Addr) string {
	for l := range s.w.lans {
		for _, h := range s.w.hosts {
			if a.IsValid() && s.w.address(h.n, l) == a {
				return h.name
			}
		}
	}
	return ""
}

// frame leaves a machine.
func (s *story) frame(h *host, f frame) {
	if !h.ports[f.lan].passes() {
		return
	}
	switch f.kind {
	case question:
		s.asks(h, f.lan)
		if s.w.lans[f.lan].proxy {
			s.answered(h.n, f.lan, "a host answers with its own MAC, which is no answer,")
		}
	case answer:
		s.answered(f.to, f.lan, h.name+" answers")
	case advert:
		g := h.groups[0]
		if h.spec.Ungrouped {
			g = h.groups[f.lan]
		}
		t := s.group(g)
		if f.priority == 0 {
			t.zero.add(s, g, f.lan, "priority 0 on ")
		} else if t.first.epoch != g.word.Epoch() || t.first.each[f.lan] == 0 {
			t.first.add(s, g, f.lan, fmt.Sprintf("first advert, priority %d, on ", f.priority))
		}
	}
}

// add counts a frame of the group into its line, or begins a new one.
func (b *burst) add(s *story, g *group, lan int, text string) {
	now := s.w.now
	if b.line == nil || b.epoch != g.word.Epoch() {
		*b = burst{line: s.say(now, g.called(), ""), epoch: g.word.Epoch(), from: now, each: make([]int, len(s.w.lans))}
	}
	if b.each[lan]++; b.each[lan] > b.count {
		b.count, b.to = b.each[lan], now
	}
	if !slices.Contains(b.lans, lan) {
		b.lans = append(b.lans, lan)
	}
	b.line.text = text + s.names(b.lans)
	if b.count > 1 {
		b.line.text += fmt.Sprintf(", %d times in %s", b.count, span(b.to-b.from))
	}
}

// names of LANs.
func (s *story) names(lans []int) string {
	slices.Sort(lans)
	var names []string
	for _, l := range lans {
		names = append(names, s.w.lans[l].name())
	}
	return strings.Join(names, " and ")
}

// asks: a machine asks a LAN who has the virtual address.
func (s *story) asks(h *host, lan int) {
	b := s.hosts[h.n].question[lan]
	if b == nil || s.w.now-b.to > s.w.interval()/2 {
		b = &burst{from: s.w.now, lans: []int{lan}, answers: map[string]int{}}
		s.say(s.w.now, h.name, "").asked = b
		s.hosts[h.n].question[lan] = b
	}
	b.count++
	b.to = s.w.now
}

func (s *story) answered(asker, lan int, how string) {
	if b := s.hosts[asker].question[lan]; b != nil {
		b.answers[how]++
	}
}

// gather makes one line of questions that a machine has asked several LANs at
// the same time, with the same result, and gives all questions their text.
func (s *story) gather() {
	for i, l := range s.lines {
		if l.asked == nil {
			continue
		}
		for _, k := range s.lines[:i] {
			if k.asked != nil && k.who == l.who && l.at-k.at < ms && k.asked.count == l.asked.count && maps.Equal(k.asked.answers, l.asked.answers) {
				k.asked.lans = append(k.asked.lans, l.asked.lans...)
				k.asked.to = max(k.asked.to, l.asked.to)
				l.asked = nil
				break
			}
		}
	}
	s.lines = slices.DeleteFunc(s.lines, func(l *line) bool { return l.asked == nil && l.text == "" })
	for _, l := range s.lines {
		if l.asked != nil {
			l.text = s.questions(l.asked)
		}
	}
}

func (s *story) questions(b *burst) string {
	text := fmt.Sprintf("asks who has the address on %s, %s", s.names(b.lans), times(b.count))
	if b.count > 1 {
		text += " in " + span(b.to-b.from)
	}
	var how []string
	for answer, n := range b.answers {
		how = append(how, answer+" "+times(n))
	}
	if len(how) == 0 {
		return text + ": nobody answers"
	}
	slices.Sort(how)
	return text + ": " + strings.Join(how, "; ")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
