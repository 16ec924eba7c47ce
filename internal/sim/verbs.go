package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vrrpd/election"
)

// Verb is one thing that somebody does to the world. Machines are r1, r2, ...,
// their processes r1.0, r1.1, ..., LANs A, B, ...; times are the world's.
//
//	start r1 | start r1.0         boot the machine's processes, or one
//	kill r1 | kill r1.0           SIGKILL
//	stop r1 | stop r1.0           SIGTERM
//	pause r1.0 2s                 SIGSTOP, and SIGCONT after the time
//	stall r1.0 3 2s early         stop at the third next action, for the time:
//	                              after the check of the epoch; late: after the
//	                              clock was read, too; sent: after the advert has
//	                              left, too; several in a row count one after the
//	                              other
//	suspend r1 5s                 the machine sleeps; its boottime goes on
//	freeze r1 5s                  a virtual machine is paused with its clock
//	link r1 A down|up             the cable
//	block r1 A on|off             no frame passes, the carrier stays
//	mute r1 A on|off              adverts cannot be sent
//	check r1 A fail|ok            a configured check
//	weigh r1 A -20                what a check of that LAN's process adds to the priority
//	partition A r1|r2,r3          frames do not cross, either way
//	partition A r1>r2             frames of r1 do not reach r2
//	join A                        the LAN is whole again, and loses nothing
//	loss A 0.2                    of the frames, for each receiver
//	dup A 0.1                     arrive twice
//	proxyarp A on|off             a host answers every question
//	dropzero A 2 | dropzero A 1,3 exactly these of the next priority 0 are lost
//	backup r1, hold r1, release r1, priority r1 150
//	hole 700ms | hole off         how long a LAN may be unserved from now on
//	settle                        everything is healed; then invariant (b)
//
// What a story promises (see testdata/README.md) must be true when it is said:
//
//	serves AB r2 | serves A nobody    who serves these LANs; one: one and the same
//	                                  machine, whichever
//	expect r1 HELD link-down          a machine's state, and why it has it
//	warned r2 peer-deaf               that alarm was raised since the last verb
type Verb struct {
	Name string
	Args []string
}

func (v Verb) String() string { return strings.Join(append([]string{v.Name}, v.Args...), " ") }

// kinds of arguments.
const (
	aMachine = 'm'
	aProcess = 'p' // or a machine: all of its processes
	aLAN     = 'l'
	aSwitch  = 's'
	aNumber  = 'n'
	aShare   = 'f'
	aTime    = 't'
	aSides   = 'x'
	aWord    = 'w'
)

var grammar = map[string]string{
	"serves": "ww", "expect": "mww", "warned": "mw",
	"start": "p", "kill": "p", "stop": "p", "pause": "pt", "stall": "pntw",
	"suspend": "mt", "freeze": "mt", "link": "mlw", "block": "mls", "mute": "mls", "check": "mlw", "weigh": "mln",
	"partition": "lx", "join": "l", "loss": "lf", "dup": "lf", "proxyarp": "ls", "dropzero": "lw",
	"backup": "m", "hold": "m", "release": "m", "priority": "mn", "hole": "w", "settle": "",
}

func parseVerb(words []string) (Verb, error) {
	v := Verb{words[0], words[1:]}
	want, known := grammar[v.Name]
	if !known {
		return v, fmt.Errorf("no such verb")
	}
	if len(v.Args) != len(want) {
		return v, fmt.Errorf("%d arguments are wanted", len(want))
	}
	for i, kind := range want {
		a := v.Args[i]
		var err error
		switch kind {
		case aMachine, aProcess:
			if len(a) < 2 || a[0] != 'r' {
				err = fmt.Errorf("%s is no machine", a)
			}
		case aLAN:
			if len(a) != 1 || a[0] < 'A' || a[0] > 'I' {
				err = fmt.Errorf("%s is no LAN", a)
			}
		case aNumber:
			_, err = strconv.Atoi(a)
		case aShare:
			_, err = strconv.ParseFloat(a, 64)
		case aTime:
			_, err = time.ParseDuration(a)
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

// obey does what the verb says. What cannot be done at present (a dead process
// is killed, a machine does not exist) is nothing.
func (w *World) obey(v Verb) {
	w.logf("--- %s", v)
	if w.promise(v) {
		return
	}
	want := grammar[v.Name]
	var (
		h     *host
		procs []*proc
		place = -1
		l     *lan
		t     *port
		n     int
		share float64
		d     int64
		word  string
	)
	for i, kind := range want {
		a := v.Args[i]
		switch kind {
		case aMachine, aProcess:
			name, at, one := strings.Cut(a[1:], ".")
			k, err := strconv.Atoi(name)
			if err != nil || k < 1 || k > len(w.hosts) {
				return
			}
			h = w.hosts[k-1]
			if one {
				if place, err = strconv.Atoi(at); err != nil || place >= len(h.procs) {
					return
				}
			}
			for k, p := range h.procs {
				if p != nil && p.alive && (place < 0 || k == place) {
					procs = append(procs, p)
				}
			}
		case aLAN:
			k := int(a[0] - 'A')
			if k >= len(w.lans) {
				return
			}
			l = w.lans[k]
			if h != nil {
				t = h.ports[k]
			}
		case aNumber:
			n, _ = strconv.Atoi(a)
		case aShare:
			share, _ = strconv.ParseFloat(a, 64)
		case aTime:
			dd, _ := time.ParseDuration(a)
			d = int64(dd)
		default:
			word = a
		}
	}
	switch v.Name {
	case "start":
		for i := range h.procs {
			if place < 0 || i == place {
				h.start(i)
			}
		}
	case "kill":
		for _, p := range procs {
			h.kill(p)
		}
	case "stop":
		for _, p := range procs {
			p.post(election.Event{Kind: election.EvStop})
		}
	case "pause":
		for _, p := range procs {
			p.stop(d, "is stopped")
		}
	case "stall":
		for _, p := range procs {
			p.traps = append(p.traps, trap{n, d, trapKinds[word]})
		}
	case "suspend":
		h.suspend(d)
	case "freeze":
		h.freeze(d)
	case "link":
		t.setLink(word == "up")
	case "block":
		t.blocked = word == "on"
	case "mute":
		t.setMute(word == "on")
	case "check":
		t.setFit(word == "ok")
	case "weigh":
		t.weigh(n)
	case "partition":
		w.partition(l, word)
	case "join":
		l.heal()
	case "loss":
		l.loss = share
	case "dup":
		l.dup = share
	case "proxyarp":
		l.proxy = word == "on"
	case "dropzero":
		l.drop, l.zeros = nil, 0
		for _, a := range strings.Split(word, ",") {
			if k, err := strconv.Atoi(a); err == nil {
				l.drop = append(l.drop, k)
			}
		}
	case "backup":
		w.operator(h, election.Event{Kind: election.EvBackup})
	case "hold":
		w.operator(h, election.Event{Kind: election.EvHold})
	case "release":
		w.operator(h, election.Event{Kind: election.EvRelease})
	case "priority":
		h.raised = true
		w.operator(h, election.Event{Kind: election.EvPriority, Priority: uint8(n)})
	case "hole":
		w.checker.hole, w.checker.holeFor, w.checker.longest = never, w.now, 0
		if limit, err := time.ParseDuration(word); err == nil {
			w.checker.hole = int64(limit)
		}
		return // nothing happens to anybody
	case "settle":
		w.settle()
		return
	}
	w.checker.disturbed(w)
	w.story.done()
}

// operator reaches the first process of every group of the machine that runs.
func (w *World) operator(h *host, e election.Event) {
	for _, g := range h.groups {
		for _, p := range g.processes() {
			if p.runs() {
				p.post(e)
				break
			}
		}
	}
}

// setLink changes the carrier; the process learns of it a little later.
func (t *port) setLink(up bool) {
	if t.link == up {
		return
	}
	t.link = up
	t.mark()
	t.tell(election.FaultLinkDown, func() bool { return !t.link })
}

// setMute breaks and repairs the sending of adverts; only trying tells.
func (t *port) setMute(mute bool) {
	if t.mute != mute {
		t.mute, t.mutedAt = mute, t.w.now
	}
}

// setFit is what a check of the member says.
func (t *port) setFit(fit bool) {
	if t.unfit == !fit {
		return
	}
	t.unfit = !fit
	t.tellChecks()
}

// weigh is what the checks of the member add to the priority.
func (t *port) weigh(weight int) {
	if t.weight == weight {
		return
	}
	t.weight = weight
	t.tellChecks()
}

// tellChecks has the process of the port know what its checks say.
func (t *port) tellChecks() {
	w := t.w
	w.after(w.between(300*us, 700*us), func() {
		if p := t.owner; p != nil && p.alive {
			p.receive(p.checks())
		}
	})
}

// checks is what those of the process come to.
func (p *proc) checks() election.Event {
	e := election.Event{Kind: election.EvChecks}
	for _, l := range p.lans {
		e.Weight += p.host.ports[l].weight
		e.On = e.On || p.host.ports[l].unfit
	}
	return e
}

// tell has the process of the port know, 0.3 to 0.7 ms later, what is true then.
func (t *port) tell(bit election.Fault, state func() bool) {
	w := t.w
	w.after(w.between(300*us, 700*us), func() {
		if p := t.owner; p != nil && p.alive {
			p.receive(election.Event{Kind: election.EvFault, VR: t.vr, Fault: bit, On: state()})
		}
	})
}

// partition cuts a LAN: "r1|r2,r3" into sides, "r1>r2" one way.
func (w *World) partition(l *lan, how string) {
	sides := func(text string) []int {
		var list []int
		for _, name := range strings.Split(text, ",") {
			if k, err := strconv.Atoi(strings.TrimPrefix(name, "r")); err == nil && k >= 1 && k <= len(w.hosts) {
				list = append(list, k-1)
			}
		}
		return list
	}
	if from, to, one := strings.Cut(how, ">"); one {
		for _, a := range sides(from) {
			for _, b := range sides(to) {
				l.reach[a][b] = a == b
			}
		}
		return
	}
	parts := strings.Split(how, "|")
	side := make([]int, len(w.hosts))
	for i, part := range parts {
		for _, k := range sides(part) {
			side[k] = i
		}
	}
	for a := range w.hosts {
		for b := range w.hosts {
			l.reach[a][b] = side[a] == side[b]
		}
	}
}

// pinned verbs make a scenario what it is: shrinking keeps them.
func (v Verb) pinned(script []Timed) bool {
	switch v.Name {
	case "settle", "hole":
		return true
	case "start":
		// A limit on holes means something only while a successor exists.
		return slices.ContainsFunc(script, func(t Timed) bool { return t.Verb.Name == "hole" })
	}
	return false
}
