package election

import "time"

const prepareLimit = int64(100 * time.Millisecond)

// decide makes every transition that the facts of the machine ask for. Several
// may follow each other (HELD, BACKUP, PREPARE, MASTER); each is one swap of
// the word, lost or won, and obeyed before the next is considered.
func (m *Machine) decide() {
	m.judgeSends()
	for range 8 {
		before := m.seen
		m.obey()
		m.watchMembers()
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
		case m.wokeAt > m.since && !m.allLooked(m.wokeAt):
			// The whole machine has stood still, perhaps. Another one may have taken over
			// meanwhile, which our siblings have still to read.
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
		m.leaseUntil(i, m.now+m.leaseSpan())
	}
	m.nextAdvert = m.now
}

// overdueAny: an advert of ours has left after the lease that it should have
// renewed. It claims what may be somebody else's by now.
func (m *Machine) overdueAny() bool {
	if !m.some.overdue || m.off(RuleLateZero) {
		return false
	}
	for i := range m.vr {
		if m.vr[i].overdue {
			return true
		}
	}
	m.some.overdue = false
	return false
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
