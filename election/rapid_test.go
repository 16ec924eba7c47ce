package election

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Two machines, two LANs, a perfect network, and everything that can happen to
// machines: the properties that must hold whatever the order. A failure prints
// the scenario and a seed that replays it.

// world is the two machines. What one says on a LAN the other hears after
// flight, if both links are up.
type world struct {
	*lab
	t        *rapid.T
	nodes    [2]*node
	story    []string
	together [2]Time // by LAN: since when both machines serve it
}

// node is one machine.
type node struct {
	w         *world
	id        int
	shared    *shared
	processes int
	router    [2]Router
	last      [2]byte // source address on each LAN
	mac       MAC
	host      [2]*proc // the process on each LAN
	link      [2]bool
	guard     [2]Time // until when the guard lets the LAN's frames pass
	halfSince Time    // since when one LAN is served and the other is not
}

const (
	flight   = 200 * time.Microsecond
	bellTime = 300 * time.Microsecond
	// A machine hears the other, and its second process hears of that.
	overlapLimit = int64(2*flight + 2*bellTime)
	halfLimit    = 20 * ms
)

func newWorld(t *rapid.T) *world {
	w := &world{t: t}
	w.lab = newLab(reporter{t, w})
	w.bell, w.wire, w.check = bellTime, w.carry, w.invariants
	version := rapid.SampledFrom([]uint8{2, 3}).Draw(t, "version")
	interval := time.Second
	if version == 3 {
		interval = rapid.SampledFrom([]time.Duration{time.Second, 100 * time.Millisecond}).Draw(t, "interval")
	}
	swapped := rapid.Bool().Draw(t, "addresses the other way round on B")
	for i := range w.nodes {
		n := &node{w: w, id: i, mac: MAC{2, 0, 0, 0, 0, byte(1 + i)}, link: [2]bool{true, true}}
		n.processes = rapid.IntRange(1, 2).Draw(t, "processes")
		priority := rapid.SampledFrom([]uint8{100, 100, 150, 254, 255}).Draw(t, "priority")
		preempt := rapid.SampledFrom([]bool{true, true, false}).Draw(t, "preempt")
		for lan := range 2 {
			n.last[lan] = byte(10 + i)
			if lan == B && swapped {
				n.last[lan] = byte(20 - i)
			}
			n.router[lan] = Router{
				Family: 4, VRID: uint8(51 + lan), Version: version, Priority: priority, Interval: interval,
				Preempt: preempt, VIP: addr(lan, 200), Source: addr(lan, n.last[lan]),
			}
		}
		n.shared = &shared{lab: w.lab, want: n.processes}
		w.nodes[i] = n
	}
	return w
}

// reporter adds the story to what a failure says.
type reporter struct {
	*rapid.T
	w *world
}

func (r reporter) Fatalf(format string, args ...any) {
	r.T.Fatalf("%s", fmt.Sprintf(format, args...)+"\n"+r.w.told())
}

func (w *world) told() string {
	var b strings.Builder
	for i, n := range w.nodes {
		fmt.Fprintf(&b, "machine %d: %d processes, priority %d, v%d, %v, preempt %v, addresses %v\n", i, n.processes,
			n.router[0].Priority, n.router[0].Version, n.router[0].Interval, n.router[0].Preempt, n.last)
	}
	b.WriteString(strings.Join(w.story[max(0, len(w.story)-60):], "\n"))
	return b.String()
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%14v ", time.Duration(w.now-epoch))+fmt.Sprintf(format, args...))
}

// boot starts what does not run.
func (n *node) boot() {
	for first := 0; first < n.processes; first++ {
		lans := []int{A, B}
		if n.processes == 2 {
			lans = []int{first}
		}
		if p := n.host[lans[0]]; p != nil && !p.gone {
			continue
		}
		p := &proc{lab: n.w.lab, lans: lans}
		p.seat = n.shared.join(p)
		var routers []Router
		for _, lan := range lans {
			routers = append(routers, n.router[lan])
			n.host[lan], n.guard[lan] = p, 0
			if !n.link[lan] {
				p.inbox = append(p.inbox, Event{Kind: EvFault, VR: len(routers) - 1, Fault: FaultLinkDown, On: true})
			}
		}
		p.m = New(Config{}, p.seat, routers)
		n.w.procs = append(n.w.procs, p)
		p.start()
	}
}

func (w *world) nodeOf(p *proc) *node {
	if slices.Contains(w.nodes[0].shared.seats, p.seat) {
		return w.nodes[0]
	}
	return w.nodes[1]
}

// post has an event reach the process on a LAN of the machine, now.
func (n *node) post(lan int, e Event) {
	if p := n.host[lan]; p != nil {
		e.VR = slices.Index(p.lans, lan)
		p.post(e)
	}
}

// carry is the network, the guards, and what can be seen from outside.
func (w *world) carry(p *proc, a *Action) {
	n, lan := w.nodeOf(p), p.lan(a.VR)
	switch a.Kind {
	case DoAdvert:
		if a.Priority != 0 {
			n.guard[lan] = w.now + int64(a.Lease)
		}
		n.say(lan, a.Priority)
	case DoRenew:
		n.guard[lan] = a.Until
	case DoCloseGuard:
		n.guard[lan] = 0
	case DoReport:
		if a.From != a.To {
			w.tell("machine %d: %v", n.id, text(a))
		} else {
			w.tell("machine %d, LAN %c: %v", n.id, 'A'+lan, text(a))
		}
	case DoProbe:
		other := w.nodes[1-n.id]
		w.after(2*flight, func() {
			if n.link[lan] && other.link[lan] && other.serves(lan) {
				n.post(lan, Event{Kind: EvAnswer, MAC: vmac(lan)})
			}
		})
	}
}

// say sends an advert of the machine, by whatever hand.
func (n *node) say(lan int, priority uint8) {
	other := n.w.nodes[1-n.id]
	if !n.link[lan] {
		return
	}
	n.w.after(flight, func() {
		if n.link[lan] && other.link[lan] {
			other.post(lan, Event{
				Kind: EvAdvert, Addr: addr(lan, n.last[lan]), MAC: n.mac, Priority: priority, Interval: n.router[lan].Interval,
			})
		}
	})
}

func (n *node) serves(lan int) bool { return n.w.now < n.guard[lan] }

// kill is SIGKILL; a survivor cleans up as soon as it knows.
func (n *node) kill(lan int) {
	p := n.host[lan]
	if p == nil || p.gone {
		return
	}
	p.gone = true
	p.seat.leave(MemberDead)
	if other := n.host[1-lan]; n.processes == 2 && other != nil && other.running() {
		n.w.after(bellTime, func() {
			if n.serves(lan) {
				n.guard[lan] = 0
				for _, d := range []time.Duration{0, 50, 10} {
					if d > 0 {
						d = n.router[lan].Interval / d
					}
					n.w.after(d, func() { n.say(lan, 0) })
				}
			}
		})
	}
}

func (n *node) setLink(lan int, up bool) {
	if n.link[lan] == up {
		return
	}
	n.link[lan] = up
	n.post(lan, Event{Kind: EvFault, Fault: FaultLinkDown, On: !up})
}

// stalled reports whether a process of the machine is stopped or missing.
func (n *node) stalled() bool {
	for _, p := range n.host {
		if p == nil || p.stopped || p.gone {
			return true
		}
	}
	return false
}

func (n *node) awaken() {
	for _, p := range n.host {
		if p != nil && p.stopped {
			p.stopped, p.rung = false, true
		}
	}
}

// invariants are checked whenever the processes have come to rest.
func (w *world) invariants() {
	for lan := range 2 {
		both := w.nodes[0].serves(lan) && w.nodes[1].serves(lan)
		for _, n := range w.nodes {
			both = both && n.link[lan] && !n.stalled() // they hear each other
		}
		switch {
		case !both:
			w.together[lan] = 0
		case w.together[lan] == 0:
			w.together[lan] = w.now
		case w.now-w.together[lan] > overlapLimit:
			w.lab.t.Fatalf("both machines have served LAN %c for %v", 'A'+lan, time.Duration(w.now-w.together[lan]))
		}
	}
	for _, n := range w.nodes {
		limit := halfLimit
		if n.stalled() {
			// Until it is expelled; and who is stalled while the others leave
			// keeps its lease to the end.
			limit = 2 * int64(n.router[A].Interval)
		}
		switch {
		case n.serves(A) == n.serves(B):
			n.halfSince = 0
		case n.halfSince == 0:
			n.halfSince = w.now
		case w.now-n.halfSince > limit:
			w.lab.t.Fatalf("machine %d has served one LAN only for %v", n.id, time.Duration(w.now-n.halfSince))
		}
	}
}

// happen does one random thing to one machine.
func (w *world) happen() {
	n := w.nodes[rapid.IntRange(0, 1).Draw(w.t, "machine")]
	lan := rapid.IntRange(0, 1).Draw(w.t, "LAN")
	what := rapid.SampledFrom([]string{
		"link down", "link up", "link down", "link up", "kill", "boot", "stall", "awaken",
		"backup", "hold", "release", "stop", "priority", "nothing",
	}).Draw(w.t, "what")
	w.tell("machine %d, LAN %c: %s", n.id, 'A'+lan, what)
	switch what {
	case "link down", "link up":
		n.setLink(lan, what == "link up")
	case "kill":
		n.kill(lan)
	case "boot":
		n.boot()
	case "stall":
		if !n.stalled() { // one fault at a time
			n.host[lan].stopped = true
		}
	case "awaken":
		n.awaken()
	case "backup":
		n.post(lan, Event{Kind: EvBackup})
	case "hold":
		n.post(lan, Event{Kind: EvHold})
	case "release":
		n.post(lan, Event{Kind: EvRelease})
	case "stop":
		n.post(lan, Event{Kind: EvStop})
	case "priority":
		p := rapid.SampledFrom([]uint8{90, 100, 200}).Draw(w.t, "priority")
		n.post(lan, Event{Kind: EvPriority, Priority: p})
	}
}

// pass lets a random time pass, often one that makes things coincide.
func (w *world) pass() {
	d := rapid.SampledFrom([]time.Duration{
		0, 0, 100 * time.Microsecond, 500 * time.Microsecond, 10 * time.Millisecond, 100 * time.Millisecond,
		609375 * time.Microsecond, time.Second, 2 * time.Second, 3 * time.Second, 8 * time.Second, 70 * time.Second,
	}).Draw(w.t, "pass")
	w.run(w.now + int64(d))
}

// heal undoes all that can be undone.
func (w *world) heal() {
	w.tell("everything is healed")
	for _, n := range w.nodes {
		n.awaken()
		for lan := range 2 {
			n.setLink(lan, true)
		}
	}
	w.run(w.now + 3*int64(time.Second)) // whoever is about to exit has gone
	for _, n := range w.nodes {
		n.boot()
		n.post(A, Event{Kind: EvRelease})
	}
	w.settle()
}

// holdOver is when the machine may be elected.
func (n *node) holdOver() Time {
	t := n.w.now
	for _, p := range n.host {
		t = max(t, p.m.holdUntil())
	}
	return t
}

func (w *world) serving() (both []int) {
	for _, n := range w.nodes {
		if n.serves(A) && n.serves(B) {
			both = append(both, n.id)
		}
	}
	return both
}

func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.nodes[0].boot()
		w.pass()
		w.nodes[1].boot()
		w.pass()
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			w.happen()
			w.pass()
		}
		w.heal()

		iv := int64(w.nodes[0].router[A].Interval)
		down := int64(MasterDownInterval(w.nodes[0].router[A].Version, 1, time.Duration(iv)))
		linger := down - 2*iv
		w.run(min(w.nodes[0].holdOver(), w.nodes[1].holdOver()) + down + linger + iv)
		if len(w.serving()) == 0 {
			w.lab.t.Fatalf("nobody serves after down + hold-down + linger + interval")
		}
		// Later, the better one may have preempted; then nothing moves any more.
		w.run(max(w.nodes[0].holdOver(), w.nodes[1].holdOver()) + int64(time.Minute) + 3*down)
		words := [2]Word{w.nodes[0].shared.word, w.nodes[1].shared.word}
		w.run(w.now + int64(5*time.Minute))
		if s := w.serving(); len(s) != 1 {
			w.lab.t.Fatalf("machines %v serve a healed network", s)
		}
		for i, n := range w.nodes {
			if n.shared.word != words[i] {
				w.lab.t.Fatalf("machine %d does not come to rest", i)
			}
		}
	})
}
