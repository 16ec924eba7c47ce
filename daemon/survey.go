package daemon

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/vrrp"
)

// surveyPiece is how many routers the loop takes notes of at a time. In between it does
// whatever is due, so that an advert is never late by more than a piece takes (some
// tens of microseconds), however many routers there are and whoever asks.
const surveyPiece = 32

// survey is what the loop notes for a status: what only it knows, in room that it has been
// given. It makes nothing itself. Who makes garbage has to help with the collecting of it,
// and a real-time thread would wait there, without ever sleeping, for a thread that it keeps
// from its processor: adverts were late by 200 ms. What people and programs read is made of
// the notes by who has asked (status.go).
type survey struct {
	d     *Daemon
	goOn  errand        // takes the next piece, and comes again; made by who asks
	taken chan struct{} // closed: the notes are complete, and the loop has forgotten them
	begun bool

	list   []*router // those that notes are taken of
	roster uint64    // Daemon.roster when it began
	view   election.View

	machine machineNotes
	parents []parentNotes
	routers []routerNotes // in the order of list
}

// routerNotes are of one virtual router.
type routerNotes struct {
	cfg    *config.Router
	parent *parent
	family vrrp.Family
	vmac   [6]byte
	vips   []netip.Addr
	auth   vrrp.AuthConfig
	form   vrrp.ChecksumForm

	guard     *lease.Guard  // nil: there has been none
	remaining time.Duration // of the lease; 0: closed
	timers    struct{ masterDown, skew time.Duration }
	source    netip.Addr // of our own adverts
	stateful

	masters, repaired uint64
	sent              sentCounters
	own               vrrp.Counters
	received          receivedCounters
	beside            beside
}

// stateful is what changes with the machine's state.
type stateful struct {
	joining  bool
	accepted netip.Addr // source of the advert that was accepted last
}

// parentNotes are of one parent interface with virtual routers.
type parentNotes struct {
	parent  *parent
	name    string
	unknown vrrp.Counters // packets that no virtual router of ours is meant by
	port    lan.Counters
}

// machineNotes are of the machine.
type machineNotes struct {
	at         int64     // boottime ns
	wall       time.Time // the same
	started    time.Time
	configured uint8
	peer       netip.Addr
	monitor    int
	locked     bool
	faults     []faultNote
	alarms     []control.Alarm
	oddities   []oddityNote
	hooks      []control.HookResult
	history    []control.Transition
	counts     []control.TransitionCount
	health     *health.Set
	checks     []config.HealthCheck
	holding    bool // a check does
}

// faultNote is why one virtual router cannot serve.
type faultNote struct {
	cfg    *config.Router
	why    election.Reason
	detail string
	err    error // instead of detail
}

// notebooks are lists of routerNotes, to be used again.
var notebooks sync.Pool

// room is how much of each other there is.
type room struct{ parents, faults, alarms, oddities, hooks, history, counts int }

// newSurvey has room for as much as there was of the last time, and some more.
func (d *Daemon) newSurvey(last room) *survey {
	const more = 4
	y := &survey{d: d, taken: make(chan struct{})}
	y.goOn.what = y.piece
	if used, ok := notebooks.Get().(*[]routerNotes); ok {
		y.routers = (*used)[:0]
	}
	y.routers = slices.Grow(y.routers, int(d.enlisted.Load()))
	y.parents = make([]parentNotes, 0, last.parents+more)
	m := &y.machine
	m.faults = make([]faultNote, 0, last.faults+more)
	m.alarms = make([]control.Alarm, 0, last.alarms+more)
	m.oddities = make([]oddityNote, 0, last.oddities+more)
	m.hooks = make([]control.HookResult, 0, last.hooks+more)
	m.history = make([]control.Transition, 0, last.history+more)
	m.counts = make([]control.TransitionCount, 0, last.counts+more)
	return y
}

// isTaken reports whether the notes are complete.
func (y *survey) isTaken() bool {
	select {
	case <-y.taken:
		return true
	default:
		return false
	}
}

// room is what a survey has used.
func (y *survey) room() room {
	m := &y.machine
	return room{
		len(y.parents), len(m.faults), len(m.alarms), len(m.oddities), len(m.hooks), len(m.history), len(m.counts),
	}
}

// piece takes notes of the next routers, and of the machine with the last ones. It runs on
// the loop, which comes back to it after whatever is due. A state that has changed
// meanwhile is put into the earlier notes; if virtual routers came or went, it begins anew.
func (y *survey) piece() {
	if d := y.d; !y.begun {
		y.begun = true
		d.surveys++
	}
	if !y.next(surveyPiece) {
		y.d.inbox.run(&y.goOn)
		return
	}
	y.d.surveys--
	close(y.taken)
}

// next takes notes of the next n routers and reports whether that was all.
func (y *survey) next(n int) (whole bool) {
	d := y.d
	if y.list == nil || y.roster != d.roster {
		y.list, y.roster = d.routers, d.roster // a list is never changed in place
		y.routers = slices.Grow(y.routers[:0], len(y.list))
		y.view = d.machine.View()
	}
	done := len(y.routers)
	for _, r := range y.list[done:min(done+n, len(y.list))] {
		y.routers = y.routers[:len(y.routers)+1]
		y.routers[len(y.routers)-1].take(d, r)
	}
	if len(y.routers) < len(y.list) {
		return false
	}
	if v := d.machine.View(); v != y.view {
		y.view = v
		for i, r := range y.list {
			y.routers[i].stateful = d.stateful(r)
		}
	}
	for _, p := range d.parents {
		if len(p.routers) > 0 {
			y.parents = append(y.parents, p.notes())
		}
	}
	y.machine.take(d)
	return true
}

// take notes down what is known of a router.
func (n *routerNotes) take(d *Daemon, r *router) {
	p := r.parent
	n.cfg, n.parent, n.family, n.vmac, n.vips = r.cfg, p, r.rules.Family, r.vmac, r.vips
	n.auth, n.form = r.auth.config, r.checksumForm()
	n.guard, n.remaining, n.source = r.guard, 0, r.source
	if left := r.until - boottime(); r.guard != nil && r.until != 0 && r.guarded() && left > 0 {
		n.remaining = time.Duration(left)
	}
	n.timers.masterDown, n.timers.skew = d.machine.MasterDown(r.vr), d.machine.Skew(r.vr)
	n.stateful = d.stateful(r)
	n.masters, n.repaired, n.sent = r.masters, r.repaired, r.sent
	p.mu.Lock()
	n.own, n.received, n.beside = r.counters, r.received, r.beside
	p.mu.Unlock()
}

func (d *Daemon) stateful(r *router) stateful {
	return stateful{joining: d.machine.Added(r.vr), accepted: d.machine.Facts(r.vr).AccSrc.Addr()}
}

func (p *parent) notes() parentNotes {
	n := parentNotes{parent: p, name: p.name}
	p.mu.Lock()
	n.unknown = p.counters
	p.mu.Unlock()
	if p.port != nil {
		n.port = p.port.Counters()
	}
	return n
}

// take notes down what is known of the machine.
func (n *machineNotes) take(d *Daemon) {
	n.at, n.wall, n.started = boottime(), time.Now(), d.started
	n.peer, n.monitor, n.locked = d.lastPeer, d.cfg.Monitor, d.cfg.LockMemory
	n.configured = d.first().cfg.Priority
	n.faults = n.faults[:0]
	for _, r := range d.routers {
		n.configured = min(n.configured, r.cfg.Priority)
		why := d.machine.Facts(r.vr).Faults.Reason()
		if why == election.NoReason || why == election.CheckFailed {
			continue
		}
		f := faultNote{cfg: r.cfg, why: why, detail: r.detail}
		if why == election.SendFailed {
			f.err = d.lastSendError
		}
		n.faults = append(n.faults, f)
	}
	n.alarms, n.oddities = append(n.alarms[:0], d.alarms...), n.oddities[:0]
	for _, p := range d.parents {
		n.oddities = p.appendOddities(n.oddities)
	}
	n.hooks = n.hooks[:0]
	for _, h := range d.hookLog {
		n.hooks = append(n.hooks, *h)
	}
	n.history = append(n.history[:0], d.history...)
	n.counts = append(n.counts[:0], d.counts...)
	n.health, n.checks, n.holding = d.health, d.cfg.Checks, d.checkSum.Hold
}
