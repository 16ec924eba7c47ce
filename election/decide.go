package election

import "time"

const (
	prepareLimit = int64(100 * time.Millisecond)
	lingerMargin = int64(20 * time.Millisecond)
	handOverlap  = int64(20 * time.Millisecond)
	mixedLimit   = int64(60 * time.Second)
	quietAfter   = int64(10 * time.Millisecond) // priority 0 after a superior advert
	quietHeard   = int64(20 * time.Millisecond)
)

// decide makes every transition that the facts of the machine ask for. Several
// may follow each other (HELD, BACKUP, PREPARE, MASTER); each is one swap of
// the word, lost or won, and obeyed before the next is considered.
func (m *Machine) decide() {
	m.judgeSends()
	for range 8 {
		before := m.seen
		m.obey()
		m.watch()
		m.decideOnce()
		if m.seen == before {
			return
		}
	}
}

func (m *Machine) decideOnce() {
	hard, _ := m.hardFault()
	switch m.seen.State() {
	case Held:
		if hard == NoReason && m.softFault() == NoReason && m.now >= m.holdUntil() && m.allObeyed() {
			m.swap(Backup, Recovered)
		}
	case Backup:
		if m.heldBy(hard) {
			return
		}
		if why := m.promotion(); why != NoReason {
			m.swap(Prepare, why)
		}
	case Prepare:
		switch {
		case m.heldBy(hard):
		case m.vetoed():
			m.swap(Backup, Vetoed)
		case m.suspended:
			m.swap(Listen, Suspended)
		case m.now >= m.since+prepareLimit && !m.allObeyed():
			m.swap(Held, MemberStuck) // we would serve its LAN to nobody
		case !m.cfg.Guard || m.off(RulePrepare) || m.allPrepared() || m.now >= m.since+prepareLimit:
			m.swap(Master, m.entering())
		}
	case Master:
		m.decideMaster(hard)
	case Linger:
		m.decideLinger(hard)
	case Listen:
		switch {
		case m.heldBy(hard):
		case m.suspended && m.since < m.now:
			m.swap(Listen, Suspended) // again
		case m.heardSince(m.since):
			m.swap(Backup, MasterHeard)
		case m.now >= m.listenEnd():
			m.swap(Prepare, MasterTimeout)
		}
	}
}

// entering is the reason with which PREPARE becomes MASTER: a machine that was
// stopped meanwhile may have found an inferior master in its sockets.
func (m *Machine) entering() Reason {
	why := m.seen.Reason()
	m.each(func(f *Facts) {
		if f.Joining == 0 && f.P0At == 0 && f.InferiorAt > m.since {
			why = Preempted
		}
	})
	return why
}

// heldBy takes a machine that does not serve to HELD if it may not be elected.
func (m *Machine) heldBy(hard Reason) bool {
	why := hard
	if why == NoReason {
		why = m.softFault()
	}
	if why == NoReason {
		return false
	}
	m.swap(Held, why)
	return true
}

func (m *Machine) decideMaster(hard Reason) {
	m.open()
	switch {
	case hard != NoReason:
		m.swap(Held, hard)
	case m.expired && m.heard:
		// We slept past our lease, and what waited in the socket says that
		// somebody else has taken over meanwhile.
		m.swap(Backup, LeaseExpired)
	case m.expired && m.suspended:
		m.swap(Listen, Suspended)
	case m.overdueAny():
		m.swap(Listen, LeaseExpired)
	case m.superior.reason != NoReason:
		m.swap(Backup, m.superior.reason)
	case m.expired && !m.quiet():
		m.speakNow()
	case !m.quiet():
		// Nobody serves yet, so there is nothing to hand over: that comes first.
	case m.softFault() != NoReason:
		m.swap(Linger, m.softFault())
	case m.wishes.Soft:
		m.swap(Linger, OperatorBackup)
	case m.expired:
		m.speakNow()
	}
}

// speakNow: the lease has ended and nobody else has spoken; an advert renews it.
func (m *Machine) speakNow() {
	m.expired = false
	for i := range m.own {
		m.own[i].LeaseAt = m.now + m.leaseSpan()
	}
	m.nextAdvert = m.now
}

// overdueAny: an advert of ours has left after the lease that it should have
// renewed. It claims what may be somebody else's by now.
func (m *Machine) overdueAny() bool {
	for i := range m.vr {
		if m.vr[i].overdue && !m.off(RuleLateZero) {
			return true
		}
	}
	return false
}

func (m *Machine) decideLinger(hard Reason) {
	after := m.softFault()
	over := m.now >= m.linger.end
	came := m.succeeded() || over && m.linger.heard != 0
	switch {
	case hard != NoReason:
		m.swap(Held, hard)
	case came && after != NoReason:
		m.swap(Held, Successor)
	case came:
		m.swap(Backup, Successor)
	case m.suspended && after != NoReason:
		m.swap(Held, Suspended)
	case m.suspended:
		// The successor's first adverts were lost on a machine that slept.
		m.swap(Listen, Suspended)
	case !over || !m.allLooked(m.linger.end):
		// Or a sibling that has slept has the successor's adverts still to read.
	case after != NoReason:
		m.swap(Held, NoSuccessor)
	default:
		// --backup, and nobody is there to serve instead: serve on.
		m.wish(func(w *Wishes) { w.Soft = false })
		m.swap(Master, NoSuccessor)
	}
}

// succeeded reports that a successor has taken over: it was heard on every LAN,
// or on the first one a moment ago. Its processes speak one after the other, and
// what is not yet served there is served here; but a machine that speaks on one
// LAN only must not keep us for ever.
func (m *Machine) succeeded() bool {
	if m.linger.heard == 0 && m.superior.reason != NoReason {
		// Heard in this batch, before the operator's wish.
		m.successor = verdict{m.superior.vr, Successor, m.superior.peer}
		m.linger.heard = m.now
	}
	everywhere := true
	m.each(func(f *Facts) {
		switch {
		case f.Joining == 1:
		case f.HeardAt < m.since:
			everywhere = false
		case m.linger.heard == 0 || f.HeardAt < m.linger.heard:
			m.linger.heard = f.HeardAt
		}
	})
	return m.linger.heard != 0 && (everywhere || m.now >= m.linger.heard+m.overlap())
}

// overlap bounds how long we serve on after the successor was first heard.
func (m *Machine) overlap() int64 { return min(handOverlap, m.interval()/10) }

// promotion returns why this machine must take over now, or NoReason.
func (m *Machine) promotion() Reason {
	voters, zero, inferior := 0, 0, 0
	silent, looked := true, true
	m.each(func(f *Facts) {
		if f.Joining == 1 {
			return
		}
		voters++
		silent = silent && f.silent(m.now) && m.now >= m.respected(f) && f.listened()
		looked = looked && f.BeatAt >= m.since
		if f.P0At != 0 {
			zero++
		}
		if f.P0At == 0 && f.InferiorAt != 0 && m.now-f.InferiorAt <= f.down(1) {
			inferior++
		}
	})
	switch {
	case voters == 0:
		return NoReason
	case !looked && m.seen.Reason() != Recovered:
		return NoReason // we are BACKUP because somebody has heard a master: older facts say nothing
	case silent && !m.mixed():
		switch {
		case zero == voters:
			return MasterResigned
		case inferior > 0:
			return Preempted
		}
		return MasterTimeout
	case m.allUnanswered():
		if zero == voters {
			return MasterResigned // nobody had to be asked
		}
		return Unanswered
	}
	return NoReason
}

// respected is until when the inferior master of a LAN must be left alone. A
// master that was heard while we meant to preempt it has not restarted the
// timer; if we may not preempt any more (--backup) or not yet (preempt-delay
// after HELD), it counts as if it had.
func (m *Machine) respected(f *Facts) Time {
	if f.InferiorAt == 0 || f.P0At != 0 || m.preempting() {
		return 0
	}
	return f.InferiorAt + f.down(m.priority)
}

// mixed: one LAN hears a master that we would preempt, another hears nobody.
// A port blocked by spanning tree looks like that, and taking over would cut
// off the LAN behind it; so this vetoes preemption, for a limited time.
func (m *Machine) mixed() bool {
	if m.mixedAt == 0 || m.seen.State() != Backup || m.off(RuleMixedView) {
		return false
	}
	return m.cfg.MixedLimit < 0 || m.now < m.mixedUntil()
}

func (m *Machine) mixedUntil() Time {
	if m.cfg.MixedLimit > 0 {
		return m.mixedAt + int64(m.cfg.MixedLimit)
	}
	return m.mixedAt + mixedLimit
}

// watch raises the alarms about members that want different things, and keeps
// track of views that contradict each other: since when the view
// is mixed, and since when the machine sees a partition (a LAN of the group
// silent, another with a master). The latter is reported after a master-down
// interval; nothing is done about it.
func (m *Machine) watch() {
	var inferior, nobody, silent, master bool
	var differs, preDiffers bool
	var down int64
	m.each(func(f *Facts) {
		differs = differs || f.Priority != m.own[0].Priority
		preDiffers = preDiffers || f.Preempt != m.own[0].Preempt
		if f.Joining == 1 {
			return
		}
		down = max(down, f.down(m.priority))
		window := f.down(1)
		switch {
		case f.P0At == 0 && f.InferiorAt != 0 && m.now-f.InferiorAt <= window:
			inferior = true
		case f.HeardAt == 0 || m.now-f.HeardAt > window:
			nobody = true
		}
		silent = silent || f.Faults == 0 && m.now >= f.DownAt && (f.HeardAt == 0 || m.now-f.HeardAt > window)
		master = master || f.AccAt != 0 && m.now < f.DownAt && m.now-f.AccAt <= window
	})
	m.alarm(0, PriorityDiffers, differs, Addr16{})
	m.alarm(0, PreemptDiffers, preDiffers, Addr16{})
	m.alarm(0, TooManyMembers, m.board.Missing() < 0, Addr16{})
	backup := m.seen.State() == Backup
	switch mixed := backup && m.preempting() && inferior && nobody; {
	case !mixed:
		m.mixedAt = 0
	case m.mixedAt == 0:
		m.mixedAt = m.now
	}
	what := NoReason
	held := false // for a time only: what is wrong with a member is no partition
	if m.seen.State() == Held {
		hard, _ := m.hardFault()
		held = hard == NoReason
	}
	switch waiting := backup || held; {
	case waiting && silent && inferior:
		what = MixedView
	case waiting && silent && master:
		what = Partition
	}
	switch {
	case what == NoReason:
		m.partedAt = 0
	case m.partedAt == 0:
		m.partedAt = m.now
	}
	if what == NoReason && m.parted != NoReason {
		m.parted = NoReason
		m.report(m.partedVR, PartitionOver, Addr16{}, false)
	}
	if what != NoReason && what != m.parted && m.now-m.partedAt >= down {
		m.parted, m.partedVR = what, m.silentMember()
		m.report(m.partedVR, what, Addr16{}, true)
	}
}

// silentMember is the first local member whose LAN hears nobody, or -1.
func (m *Machine) silentMember() int {
	for i := range m.own {
		if f := &m.own[i]; f.Joining == 0 && m.now >= f.DownAt && (f.HeardAt == 0 || m.now-f.HeardAt > f.down(1)) {
			return i
		}
	}
	return -1
}

// vetoed: an acceptable master spoke, on any LAN, after we began to prepare.
func (m *Machine) vetoed() bool {
	veto := false
	m.each(func(f *Facts) { veto = veto || f.AccAt > m.since })
	return veto
}

func (m *Machine) allPrepared() bool {
	all := true
	m.each(func(f *Facts) { all = all && (f.Joining == 1 || f.Prepared == m.seen.Epoch()) })
	return all
}

// allObeyed: every process of the machine knows the present word. One that was
// expelled because it is stuck is so until it has obeyed.
func (m *Machine) allObeyed() bool {
	for i := range m.others {
		if m.others[i].Seen != m.seen.Epoch() {
			return false
		}
	}
	return true
}

// allLooked: every process has read its sockets since t.
func (m *Machine) allLooked(t Time) bool {
	all := true
	m.each(func(f *Facts) { all = all && f.BeatAt >= t })
	return all
}

func (m *Machine) heardSince(t Time) bool {
	heard := false
	m.each(func(f *Facts) { heard = heard || f.HeardAt > t })
	return heard
}

// listenEnd: one interval and the longest skew after we woke up, any master
// would have spoken; and the lease of one that hung just then has ended.
func (m *Machine) listenEnd() Time {
	var skew int64
	m.each(func(f *Facts) { skew = max(skew, f.skew(1)) })
	return m.since + max(m.interval()+skew, m.leaseSpan())
}
