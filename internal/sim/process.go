package sim

import (
	"fmt"
	"net/netip"
	"time"

	"vrrpd/election"
	"vrrpd/grouplock/siblings"
)

// proc is one vrrpd: the loop around an election.Machine.
type proc struct {
	w       *World
	host    *host
	group   *group
	place   int
	name    string
	machine *election.Machine
	routers []election.Router // as it was started with
	lans    []int             // by index of the member

	alive     bool
	holds     int // reasons why it does not run (SIGSTOP, stall, suspend)
	heldAt    int64
	resumedAt int64
	left      bool  // it has ended in order
	endedAt   int64 // when it last ran
	buried    bool  // somebody has cleaned up after it
	realised  election.Word

	// The loop.
	inbox     []election.Event // read from the sockets, or posted
	socket    []election.Event // waits in the kernel
	spareIn   []election.Event
	results   []election.Event
	acts      []election.Action
	pos       int
	checked   bool          // the action at pos has passed its check already
	fresh     bool          // no stall lies between that check and the action
	before    election.Time // the clock that was read for it, or 0
	gone      bool          // its advert has left already
	wakeAt    int64
	lastTurn  election.Time
	steppedAt int64 // when it last decided anything
	slept     int64
	afterStep []func()
	onResume  []func()
	traps     []trap // the next one counts from when the last has sprung

	// The board.
	roster    []*proc
	roll      siblings.Roll
	published []publication
	spare     [][]election.Facts
}

// trap stops the process at one of its next actions.
type trap struct {
	in   int // actions to go
	span int64
	when trapKind
}

// trapKind is where in an advert the process is stopped; in any other action it
// is stopped after the check.
type trapKind uint8

const (
	early trapKind = iota // between the check of the epoch and reading the clock
	late                  // between reading the clock and the send
	sent                  // between the send and opening the lease
)

var trapKinds = map[string]trapKind{"early": early, "late": late, "sent": sent}

// spins is how many steps in a row say that a loop will never end.
const spins = 200

func vip(lan int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + lan)})
}

func (p *proc) stopped() bool { return p.holds > 0 }
func (p *proc) runs() bool    { return p.alive && p.holds == 0 }

// wake has the loop turn at a time, unless it turns before.
func (p *proc) wake(at int64) {
	at = max(at, p.w.now) + p.w.between(0, int64(p.w.Jitter))
	if at < p.wakeAt {
		p.wakeAt = at
		p.w.push(at, event{kind: wakeUp, p: p})
	}
}

func (p *proc) woken(at int64) {
	if at != p.wakeAt || !p.runs() {
		return
	}
	p.wakeAt = never
	p.turn()
}

// receive is a frame, or the answer of the kernel, for this process.
func (p *proc) receive(e election.Event) {
	if p.stopped() || len(p.socket) > 0 {
		// Behind what waits there already.
		if len(p.socket) < 256 {
			p.socket = append(p.socket, e)
		}
		return
	}
	p.inbox = append(p.inbox, e)
	p.wake(p.w.now)
}

// post is an event from inside of the process or from its operator.
func (p *proc) post(e election.Event) {
	p.inbox = append(p.inbox, e)
	p.wake(p.w.now)
}

// hold stops the process.
func (p *proc) hold() {
	if p.holds++; p.holds == 1 {
		p.heldAt = p.w.now
		p.host.moved = p.w.now
	}
}

// release lets it run again, where it was.
func (p *proc) release() {
	if p.holds--; p.holds > 0 || !p.alive {
		return
	}
	w := p.w
	p.host.moved, p.resumedAt = w.now, w.now
	w.logf("%s goes on", p.name)
	todo := p.onResume
	p.onResume = nil
	for _, do := range todo {
		do()
	}
	// The reader comes back to what waits in the sockets some time after the
	// loop does, or before.
	w.after(w.between(0, 200*us), func() {
		if p.runs() && len(p.socket) > 0 {
			p.drain()
			p.wake(w.now)
		}
	})
	p.wakeAt = never
	if p.pos < len(p.acts) {
		p.carryOn()
		if !p.runs() {
			return
		}
	}
	p.wake(w.now) // whoever has rung meanwhile
}

func (p *proc) drain() {
	p.inbox = append(p.inbox, p.socket...)
	p.socket = p.socket[:0]
}

// turn is one turn of the daemon's loop.
func (p *proc) turn() {
	p.acts, p.pos = p.acts[:0], 0
	p.step(true)
	p.carryOn()
}

// carryOn carries out what the last step asked for and steps with the results
// until nothing is left, or until the process stops.
func (p *proc) carryOn() {
	for n := 0; ; n++ {
		if !p.carryOut() {
			return // stopped in the middle
		}
		for len(p.afterStep) > 0 {
			do := p.afterStep[0]
			p.afterStep = p.afterStep[1:]
			do()
		}
		if !p.alive {
			return
		}
		if len(p.results) == 0 {
			break
		}
		if n > spins {
			p.w.fail("loop", "%s steps for ever", p.name)
			return
		}
		p.step(false)
	}
	p.realise(func(election.State) bool { return true })
	due := p.machine.Deadline()
	if due <= p.lastTurn {
		p.w.fail("loop", "%s: the deadline after a step lies %v in the past", p.name, time.Duration(p.lastTurn-due))
	}
	if due < 1<<61 {
		p.wake(p.host.global(due))
	}
}

// step steps the machine. Who comes late sees first what waited in the sockets,
// and learns whether the machine slept.
func (p *proc) step(first bool) {
	w, now := p.w, p.host.clock()
	late := now-p.lastTurn >= w.interval()
	p.lastTurn, p.steppedAt = now, w.now
	if late && (first || !w.Loop.DrainOnce) && !w.Loop.NoDrain {
		p.drain()
	}
	if late && p.host.slept-p.slept > w.interval() {
		p.slept = p.host.slept
		p.results = append(p.results, election.Event{Kind: election.EvSuspended})
	}
	// Results of earlier actions come before what has arrived since.
	events := append(p.results, p.inbox...)
	p.results, p.inbox, p.spareIn = p.spareIn[:0], p.inbox[:0], events
	w.steps++
	if w.replaced != nil {
		p.machine = w.replaced(p)
	}
	p.acts, p.pos = p.machine.Step(now, events, p.acts[:0]), 0
	p.realise(election.State.Serving)
}

// realise notes for whoever may have to clean up after this process whether it
// serves: that it does before its first advert, that it does not after the last.
func (p *proc) realise(may func(election.State) bool) {
	if w := p.group.word; may(w.State()) && w == p.machine.View().Word {
		p.realised = w
	}
}

// passed reports that the machine has changed since the action was decided.
func (p *proc) passed(a *election.Action) bool {
	return p.group.word.Epoch() != a.Epoch && !p.w.Loop.NoFence
}

// carryOut does the actions from p.pos on; false: the process was stopped.
func (p *proc) carryOut() bool {
	for p.pos < len(p.acts) {
		a := &p.acts[p.pos]
		if !p.checked {
			switch a.Kind {
			case election.DoAdvert, election.DoRenew, election.DoPrepare, election.DoPromote, election.DoAnnounce, election.DoProbe:
				if p.passed(a) {
					p.pos++
					continue
				}
			}
			p.checked = true
			p.before = 0
			if len(p.traps) > 0 {
				t := &p.traps[0]
				if t.in--; t.in <= 0 {
					if t.when != early {
						p.before = p.host.clock()
					}
					if t.when == sent && a.Kind == election.DoAdvert && !p.portOf(a).mute {
						p.transmit(p.portOf(a).lan, a.Priority)
						p.gone = true
					}
					p.traps = p.traps[1:]
					p.stop(t.span, "stalls at "+describe(a))
					return false
				}
			}
			p.fresh = true
		} else {
			p.fresh = false
		}
		p.checked = false
		p.pos++
		p.do(a)
		if !p.alive {
			return true
		}
	}
	return true
}

// stop holds the process for a while.
func (p *proc) stop(d int64, what string) {
	p.w.logf("%s %s", p.name, what)
	p.hold()
	p.w.after(d, p.release)
}

// portOf is the port that the action is about, or nil.
func (p *proc) portOf(a *election.Action) *port {
	if a.VR < 0 || a.VR >= len(p.lans) {
		return nil
	}
	return p.host.ports[p.lans[a.VR]]
}

func (p *proc) do(a *election.Action) {
	w, t := p.w, p.portOf(a)
	switch a.Kind {
	case election.DoAdvert:
		before := p.before
		if before == 0 {
			before = p.host.clock()
		}
		gone := p.gone
		p.gone = false
		if t.mute && !gone {
			p.results = append(p.results, election.Event{Kind: election.EvSendFailed, VR: a.VR, Priority: a.Priority})
			return
		}
		if w.Loop.ClockAfter {
			before = p.host.clock()
		}
		if !gone {
			p.transmit(t.lan, a.Priority)
		}
		if a.Lease > 0 && w.Guard {
			t.open(before + int64(a.Lease))
		}
		p.results = append(p.results, election.Event{
			Kind: election.EvSent, VR: a.VR, Priority: a.Priority, At: before, After: p.host.clock(),
		})
	case election.DoRenew:
		t.open(a.Until)
	case election.DoCloseGuard:
		t.open(0)
	case election.DoPrepare:
		vr, epoch := a.VR, a.Epoch
		t.open(0)
		t.setUp(w.setUpTime(), func() {
			p.post(election.Event{Kind: election.EvPrepared, VR: vr, Epoch: epoch})
		})
	case election.DoPromote:
		if !t.up {
			t.setUp(w.setUpTime(), nil)
		}
	case election.DoUnprepare, election.DoDemote:
		t.takeDown()
	case election.DoAnnounceOwn:
		w.send(p.host, frame{kind: farewell, lan: t.lan, addr: w.address(p.host.n, t.lan)})
	case election.DoProbe:
		w.send(p.host, frame{kind: question, lan: t.lan})
	case election.DoReport:
		p.report(a)
		if a.To == election.Held && a.From != a.To && a.Reason == election.MemberStuck {
			from := a.From
			p.afterStep = append(p.afterStep, func() { p.expel(from) })
		}
	case election.DoExit:
		w.logf("%s exits", p.name)
		for _, l := range p.lans {
			p.host.ports[l].takeDown()
		}
		p.dies(election.MemberLeft)
	}
}

// setUpTime is how long an interface takes to come up with its addresses.
func (w *World) setUpTime() int64 { return w.between(100*us, 3*ms) }

// transmit sends an advert on a LAN.
func (p *proc) transmit(lan int, priority uint8) {
	w := p.w
	if w.trace != nil {
		w.logf("%s advertises %d on %s", p.host.name, priority, w.lans[lan].name())
	}
	w.checker.sent(w, p, lan, priority)
	w.send(p.host, frame{kind: advert, lan: lan, priority: priority, mac: vmac(lan), addr: w.address(p.host.n, lan)})
}

func (p *proc) report(a *election.Action) {
	p.w.story.report(p, a)
	if p.w.trace == nil || a.From != a.To {
		return // transitions are logged where the word changes
	}
	about := ""
	if a.VR >= 0 {
		about = " on " + p.w.lans[p.lans[a.VR]].name()
	}
	if a.On {
		p.w.logf("%s alarms %v%s", p.name, a.Reason, about)
	} else {
		p.w.logf("%s reports %v%s", p.name, a.Reason, about)
	}
}

func describe(a *election.Action) string {
	switch a.Kind {
	case election.DoAdvert:
		return fmt.Sprintf("advert %d", a.Priority)
	}
	names := map[election.ActionKind]string{
		election.DoRenew: "renew", election.DoCloseGuard: "close", election.DoPrepare: "prepare",
		election.DoUnprepare: "unprepare", election.DoPromote: "promote", election.DoDemote: "demote",
		election.DoAnnounce: "announce", election.DoAnnounceOwn: "announce own", election.DoProbe: "probe",
		election.DoHook: "hook", election.DoReport: "report", election.DoExit: "exit",
	}
	return names[a.Kind]
}
