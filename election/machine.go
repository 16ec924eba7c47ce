package election

import (
	"math"
	"net/netip"
	"time"
)

// Router is the fixed part of one local member: what the configuration says of
// one virtual router.
type Router struct {
	Family   uint8 // 4 or 6
	VRID     uint8 // 1..255
	Version  uint8 // 2 or 3
	Priority uint8 // 1..255; 255: owner, merely the highest priority
	Interval time.Duration
	Preempt  bool
	VIP      netip.Addr // first virtual address
	Source   netip.Addr // own primary address; invalid: not known yet
	NoAsk    bool       // unicast peers: nobody to ask
	// LAN tells which members of this process stand on one parent: of those that
	// follow the same master one is asked about for all. 0: on one of its own.
	LAN int
}

// Config is what concerns the machine rather than one member. The zero value
// is the default.
type Config struct {
	// Guard: a lease guards the interfaces, so that PREPARE may set them up
	// before the first advert.
	Guard bool
	// PreemptDelay after HELD before a master of lower priority is replaced.
	PreemptDelay time.Duration
	// LeaseIntervals is the length of the lease in advertisement intervals;
	// 0: two, or three below 100 ms.
	LeaseIntervals int
	// HoldDown is how long a member that has recovered must wait before the machine
	// may be elected again; 0: two intervals.
	HoldDown time.Duration
	// MixedLimit bounds how long a mixed view vetoes preemption; 0: 60 s,
	// negative: for ever.
	MixedLimit time.Duration
	// Without switches rules off, for internal/sim alone: see Rules.
	Without Rules
}

// Machine is the part of one process in the election of its machine: its own
// members, and the group's verdict over the facts of all of them. It is not
// safe for concurrent use; the daemon's loop owns it.
type Machine struct {
	cfg    Config
	board  Board
	own    []Facts  // facts of the local members, published after every Step
	vr     []member // what nobody else needs to know of them
	slots  []int    // where in own and vr each VR of events and actions is; -1: nowhere
	others []Facts  // scratch: facts of the other processes, re-read every round

	seen     Word // the word as obeyed
	since    Time
	now      Time
	lastStep Time
	wokeAt   Time // the last step that came late
	acts     []Action
	first    int // of this step in acts

	wishes      Wishes
	weight      int32 // of this process's checks
	weighed     bool  // that is in the facts of a member
	unfit       bool  // these hold the machine
	base        uint8 // priority of the group without weights
	priority    uint8 // effective priority of the group
	preempt     bool  // all members want preemption
	preemptFrom Time

	before       Word // what seen was before, and since when
	beforeSince  Time
	expelled     bool  // seen is that which we were expelled by
	lastInterval int64 // ns, of the time when there was a member

	nextAdvert Time   // MASTER: the grid
	resign     resign // priority 0 still to be repeated
	linger     linger
	askNext    Time // next probe
	rivalAt    Time // last advert of a sibling's inferior master that was answered
	gone       Reason
	expired    bool // MASTER: the loop came back after the lease
	suspended  bool
	some       some
	want       wants   // what our own members want
	differ     differ  // as adoptWishes has found
	superior   verdict // found in this batch, judged after it
	successor  verdict
	shutEpoch  uint64 // MASTER behind closed guards since this epoch; 0: not (see open)
	heard      bool   // any advert of priority > 0 in this batch

	hold         holdDown
	leased       Time // none of our leases ends before; 0: not known, math.MaxInt64: there is none
	mixedAt      Time
	partedAt     Time
	parted       Reason
	partedVR     int                                        // the member that it was reported about, or -1
	conditions   [TooManyMembers - PriorityDiffers + 1]bool // reported and not over: see condition
	graceAt      Time                                       // others' heartbeats are not judged before
	lastPromoted Time
	beatNext     Time
	alarmed      bool // an alarm about a peer is on
	stopping     bool
	exited       bool
	ring         bool
	started      bool
}

// member is the private side of one local member: what each advert needs, so that it is
// in few lines of the processor's cache of a thousand members, and the rest.
type member struct {
	id        int  // VR of events and actions
	failSince Time // adverts fail since
	serving   bool // DoPromote was given
	prepared  bool // DoPrepare was given
	overdue   bool // an advert left after the lease: priority 0 must follow
	resigned  bool // served when the priority 0 that is pending was decided
	reply     bool // re-advert wanted after this batch
	*rest          // never nil
}

// rest is what a member has that no advert needs.
type rest struct {
	source     Addr16 // own primary address
	added      Time   // when it was added to a machine at work; 0: was there from the start
	lan        int    // Router.LAN
	lanHead    int    // index of the first member on the same LAN
	retiring   retiring
	probeAt    Time   // next question may be asked
	openBy     Time   // the lease of the master that we preempt has ended: see open
	asked      int    // questions of open
	found      uint64 // epoch in which nobody answered, so that the LAN's other members need not ask
	replied    Time   // immediate re-adverts are counted from here
	replies    int
	lastHeal   Time    // re-announcement
	superior   verdict // this member's in this batch
	tieSince   Time
	tieHeard   Time
	inferior   Time      // since when an inferior master goes on (MASTER)
	inferiors  inferiors // masters that we would preempt
	retryAt    Time
	sendFree   Time        // when a send fault is given another try
	peerAlarms []peerAlarm // peersAlarmed of them; nil: there was none
}

// verdict is a router that makes us leave, and why.
type verdict struct {
	vr     int
	reason Reason // NoReason: none
	peer   Addr16
}

// New builds a Machine over its local members. It starts nothing; Start does.
func New(cfg Config, board Board, routers []Router) *Machine {
	m := &Machine{cfg: cfg, board: board}
	m.own = make([]Facts, len(routers))
	m.vr = newMembers(len(routers))
	for i, r := range routers {
		m.own[i].configure(r)
		m.vr[i].id, m.vr[i].lan, m.vr[i].source = i, r.LAN, AddrFrom(r.Source)
	}
	m.some.changed = true
	m.number()
	return m
}

func newMembers(n int) []member {
	all, rests := make([]member, n), make([]rest, n)
	for i := range all {
		all[i].rest = &rests[i]
	}
	return all
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// Start takes the first step (the Startup event of RFC 9568 section 6.4.1,
// which for us leads to BACKUP by way of a hold-down, owner or not). The
// members' faults known at start should follow in the next Step.
func (m *Machine) Start(now Time, acts []Action) []Action {
	m.started = true
	m.now, m.acts = now, acts
	m.refresh()
	iv := m.interval()
	m.hold.now = m.holdBase()
	running := m.begin()
	for i := range m.own {
		f := &m.own[i]
		f.DownAt = now + f.down(m.priority)
		f.HoldAt = now + m.hold.now
		f.BeatAt = now
		f.Joining = flag(running.Serving() || running == Prepare)
		m.some.joining = m.some.joining || f.Joining == 1
	}
	m.beatNext = now + iv/2
	m.lastStep = now
	m.board.Publish(m.own)
	m.board.Ring()
	return m.Step(now, nil, m.acts)
}

// begin makes the word fit the arrival of this process, and returns the state
// that it arrives in. Nothing has begun yet: HELD. Or the group wants as many
// processes as there are with this one: then it was incomplete until now, even
// if it was for too short a time for the others to notice, and is held as well.
// Only who is added to a complete group finds it at work.
func (m *Machine) begin() State {
	for range 64 {
		w := m.board.Load()
		why := Startup
		switch s := w.State(); {
		case s == Held, s != Init && m.board.Missing() < 0:
			return s
		case s != Init:
			why = MemberMissing
		}
		if m.board.Swap(w, w.Next(Held, why), m.now) {
			return Held
		}
	}
	return m.board.Load().State()
}

// Step applies the events, which must have arrived no later than now, as one
// batch, decides, and appends what is to be done to acts. Call it when
// something happened, when Deadline has passed, or when the board was rung.
// Zero allocations in steady state, provided acts has capacity.
func (m *Machine) Step(now Time, events []Event, acts []Action) []Action {
	if !m.started || m.exited {
		return acts
	}
	m.now, m.acts = now, acts
	m.superior = verdict{}
	if m.some.superior {
		m.some.superior = false
		for i := range m.vr {
			m.vr[i].superior = verdict{}
		}
	}
	m.heard, m.expired, m.suspended = false, false, false
	m.first = len(acts)
	m.late()
	if !m.obey() {
		m.refresh()
	}
	for i := range events {
		m.apply(&events[i])
	}
	m.beat()
	m.board.Publish(m.own)
	m.decide()
	m.replies()
	m.timers()
	m.calm()
	m.board.Publish(m.own)
	if m.ring {
		m.ring = false
		m.board.Ring()
	}
	acts, m.acts = m.acts, nil
	// A step may make several transitions; what the earlier ones ask for must
	// not look outdated to the caller because of the later ones.
	for i := m.first; i < len(acts); i++ {
		if acts[i].Kind != DoReport { // which tells of its own transition
			acts[i].Epoch = m.seen.Epoch()
		}
	}
	return acts
}

// late judges how late this step comes: a loop that slept through its lease
// must not go on as if nothing had happened, and one that slept at all must not
// take the others' old heartbeats for death.
func (m *Machine) late() {
	iv := m.interval()
	if m.now-m.lastStep > iv {
		m.graceAt, m.wokeAt = m.now+iv, m.now
		m.ring = m.ring || m.seen.State() == Prepare // others may wait for us to have looked
	}
	m.lastStep = m.now
	if m.seen.State() != Master || m.now < m.leased {
		return
	}
	m.leased = math.MaxInt64
	for i := range m.own {
		f := &m.own[i]
		if f.LeaseAt == 0 {
			continue
		}
		m.leased = min(m.leased, f.LeaseAt)
		if m.now >= f.LeaseAt && m.vr[i].serving && !m.off(RuleWake) {
			m.expired = true
		}
	}
}

// leaseUntil gives a member until the time t to serve.
func (m *Machine) leaseUntil(i int, t Time) {
	m.own[i].LeaseAt = t
	m.leased = min(m.leased, t)
}

// nextTick is the next point of the grid on which the group's adverts lie.
func (m *Machine) nextTick() Time {
	iv := m.interval()
	return m.since + ((m.now-m.since)/iv+1)*iv
}

// beat is the heartbeat that the other processes of the machine judge us by; every step
// is one. Who is alone has nobody to beat for, but for one that may join just now: then
// the next advert, sent or heard, comes first. While something is wrong with a peer, that
// it is over is to be noticed in time.
func (m *Machine) beat() {
	first := func(f *Facts, t Time) bool { return f.BeatAt < t && t <= m.now }
	for i := range m.own {
		f := &m.own[i]
		if first(f, f.DownAt) || m.seen.State() == Linger && first(f, m.linger.end) {
			m.ring = true // others wait for this: see listened, allLooked
		}
		f.BeatAt = m.now
	}
	m.beatNext = m.now + m.interval()/2
	if len(m.others) == 0 && !m.alarmed {
		m.beatNext = m.now + m.interval()*5/4
	}
}

// refresh reads again what the processes of the machine share.
func (m *Machine) refresh() {
	m.others = m.board.Others(m.others[:0])
	m.adoptWishes()
}

// each visits the facts of every member of the machine, own ones first.
func (m *Machine) each(visit func(*Facts)) {
	for i := range m.own {
		visit(&m.own[i])
	}
	for i := range m.others {
		visit(&m.others[i])
	}
}

// preempting reports whether a master of lower priority is to be replaced now.
func (m *Machine) preempting() bool {
	return m.preempt && !m.wishes.Soft && m.now >= m.preemptFrom
}

// interval is the advertisement interval of the group, in ns.
func (m *Machine) interval() int64 {
	if len(m.own) > 0 {
		m.lastInterval = m.own[0].Interval
	}
	return m.lastInterval
}

// LeaseIntervals is the length of a lease in advertisement intervals, as configured; 0: two,
// or three where intervals are so short that stalls are normal.
func LeaseIntervals(configured int, interval time.Duration) int {
	switch {
	case configured != 0:
		return configured
	case interval < 100*time.Millisecond:
		return 3
	}
	return 2
}

// leaseSpan is how long one advert that was really sent lets us serve, in ns:
// shorter than any peer's master-down interval, so that a dead master is silent
// before a new one speaks.
func (m *Machine) leaseSpan() int64 {
	n := int64(LeaseIntervals(m.cfg.LeaseIntervals, time.Duration(m.interval())))
	if m.off(RuleLease) {
		n += 2
	}
	return n * m.interval()
}

// do asks for an action; its VR is an index here.
func (m *Machine) do(a Action) {
	a.Epoch = m.seen.Epoch()
	if a.VR >= 0 && a.VR < len(m.vr) {
		a.VR = m.vr[a.VR].id
	} else {
		a.VR = -1
	}
	m.acts = append(m.acts, a)
}

// swap tries the transition and, if this process wins it, obeys it at once.
func (m *Machine) swap(s State, r Reason) bool {
	won := m.board.Swap(m.seen, m.seen.Next(s, r), m.now)
	m.obey()
	return won
}
