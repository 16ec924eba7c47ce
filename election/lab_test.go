package election

import (
	"fmt"
	"slices"
	"time"
)

// lab is a laboratory with a clock of its own: processes run when their
// Deadline has come, when somebody rings, or when an event is posted; nothing
// takes time but what a test says.
type lab struct {
	t     tb
	now   Time
	later []timed // by time; equal times keep their order
	procs []*proc
	// wire is told of every action, of an advert when it was really sent; nil:
	// nobody else is on the LANs.
	wire func(p *proc, a *Action)
	// check is called when the processes have come to rest, before time passes.
	check func()
	// bell is how long a ring takes to reach another process of the machine.
	bell time.Duration
	// setUp is how long DoPrepare takes; negative: it never ends.
	setUp time.Duration
}

type timed struct {
	at Time
	do func()
}

const (
	ms    = int64(time.Millisecond)
	epoch = Time(1000 * time.Second) // when a lab begins
)

// tb is what *testing.T and *rapid.T have in common, as far as it is needed.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func newLab(t tb) *lab {
	return &lab{t: t, now: epoch, bell: 300 * time.Microsecond}
}

func (l *lab) after(d time.Duration, do func()) {
	at := l.now + int64(d)
	i := len(l.later)
	for i > 0 && l.later[i-1].at > at {
		i--
	}
	l.later = slices.Insert(l.later, i, timed{at, do})
}

// run lets the time pass until the given point, which is included.
func (l *lab) run(until Time) {
	l.t.Helper()
	if until < l.now {
		l.t.Fatalf("the test goes back in time, by %v", time.Duration(l.now-until))
	}
	for {
		l.settle()
		if l.check != nil {
			l.check()
		}
		next := until + 1
		for _, p := range l.procs {
			if p.running() {
				next = min(next, p.m.Deadline())
			}
		}
		if len(l.later) > 0 {
			next = min(next, l.later[0].at)
		}
		if next > until {
			l.now = until
			return
		}
		if next < l.now {
			l.t.Fatalf("a deadline lies %v in the past", time.Duration(l.now-next))
		}
		l.now = next
		for len(l.later) > 0 && l.later[0].at <= l.now {
			do := l.later[0].do
			l.later = slices.Delete(l.later, 0, 1)
			do()
		}
		for _, p := range l.procs {
			if p.running() && p.m.Deadline() <= l.now {
				p.rung = true
			}
		}
	}
}

// settle steps the processes until nobody has anything left to do at present.
func (l *lab) settle() {
	for n := 0; ; n++ {
		busy := false
		for _, p := range l.procs {
			if p.running() && (p.rung || len(p.inbox) > 0) {
				p.step()
				busy = true
			}
		}
		if !busy {
			return
		}
		if n > 100 {
			l.t.Fatalf("the processes do not come to rest")
		}
	}
}

// proc is one process of a machine, with its loop.
type proc struct {
	lab     *lab
	m       *Machine
	seat    *seat
	lans    []int // the LAN of each member
	inbox   []Event
	rung    bool
	stopped bool // SIGSTOP
	gone    bool // killed, or exited
	mute    bool // its adverts cannot be sent
	// late is how long the process will be stopped between the check of the
	// word and the next send.
	late time.Duration
	acts []Action
	log  []entry
}

// entry is one action as it was carried out.
type entry struct {
	at   Time
	vr   int
	text string
	act  Action
}

// transition reports whether the entry is the report of one.
func (e *entry) transition() bool { return e.act.Kind == DoReport && e.act.From != e.act.To }

// concerns reports whether the entry is about the LAN or the whole machine.
func (p *proc) concerns(e *entry, lan int) bool {
	return e.vr < 0 || e.transition() || p.lan(e.vr) == lan
}

func (p *proc) running() bool { return !p.stopped && !p.gone && p.m != nil }

// lan is where member vr lives, or -1.
func (p *proc) lan(vr int) int {
	if vr < 0 || vr >= len(p.lans) {
		return -1
	}
	return p.lans[vr]
}

func (p *proc) post(e ...Event) {
	if !p.gone {
		p.inbox = append(p.inbox, e...)
	}
}

func (p *proc) start() { p.carryOut(p.m.Start(p.lab.now, p.acts[:0])) }

func (p *proc) step() {
	events := p.inbox
	p.inbox, p.rung = nil, false
	acts := p.m.Step(p.lab.now, events, p.acts[:0])
	if what := p.m.overlooked(); len(what) > 0 {
		p.lab.t.Errorf("some does not tell of members that are %v", what)
	}
	p.carryOut(acts)
}

// carryOut does what the daemon does with actions, and checks what holds for
// every step.
func (p *proc) carryOut(acts []Action) {
	t, l := p.lab.t, p.lab
	word := p.seat.Load()
	if d := p.m.Deadline(); d <= l.now {
		t.Fatalf("the deadline after a step lies %v in the past: the loop would spin", time.Duration(l.now-d))
	}
	if why, _ := p.m.hardFault(); why != NoReason && p.m.seen.State().Serving() {
		t.Fatalf("%v serves in spite of %v", p.m.seen.State(), why)
	}
	if err := inOrder(acts); err != nil {
		t.Fatalf("order of actions: %v", err)
	}
	for i := range acts {
		a := acts[i]
		if a.Kind != DoReport && a.Epoch != word.Epoch() {
			t.Fatalf("%s carries epoch %d, the word is of epoch %d", text(&a), a.Epoch, word.Epoch())
		}
		p.log = append(p.log, entry{l.now, a.VR, text(&a), a})
		switch a.Kind {
		case DoAdvert:
			p.send(&a)
		case DoPrepare:
			if l.setUp >= 0 {
				l.after(l.setUp, func() { p.post(Event{Kind: EvPrepared, VR: a.VR, Epoch: a.Epoch}) })
			}
		case DoExit:
			p.gone = true
			p.seat.leave(MemberLeft)
		}
		if l.wire != nil && a.Kind != DoAdvert {
			l.wire(p, &a)
		}
	}
	p.acts = acts[:0]
}

func (p *proc) send(a *Action) {
	l, vr, prio := p.lab, a.VR, a.Priority
	switch {
	case p.mute:
		p.post(Event{Kind: EvSendFailed, VR: vr, Priority: prio})
	case p.late > 0 && prio > 0:
		before := l.now
		p.stopped = true
		l.after(p.late, func() {
			p.stopped = false
			p.inbox = slices.Insert(p.inbox, 0, Event{Kind: EvSent, VR: vr, Priority: prio, At: before, After: l.now})
			if l.wire != nil {
				l.wire(p, a)
			}
		})
		p.late = 0
	default:
		p.post(Event{Kind: EvSent, VR: vr, Priority: prio, At: l.now, After: l.now})
		if l.wire != nil {
			l.wire(p, a)
		}
	}
}

// text is an action as the tests write it.
func text(a *Action) string {
	switch a.Kind {
	case DoAdvert:
		if a.Priority == 0 {
			return "resign"
		}
		return fmt.Sprintf("advert %d", a.Priority)
	case DoHook:
		if a.Up {
			return "hook up " + a.Reason.String()
		}
		return "hook down " + a.Reason.String()
	case DoReport:
		switch {
		case a.From != a.To:
			return fmt.Sprintf("%v>%v %v", a.From, a.To, a.Reason)
		case a.On:
			return "alarm " + a.Reason.String()
		}
		return "over " + a.Reason.String()
	}
	return map[ActionKind]string{
		DoRenew: "renew", DoCloseGuard: "close", DoPrepare: "prepare", DoUnprepare: "unprepare",
		DoPromote: "promote", DoDemote: "demote", DoAnnounce: "announce", DoAnnounceOwn: "own",
		DoProbe: "probe", DoExit: "exit", DoGone: "gone",
	}[a.Kind]
}
