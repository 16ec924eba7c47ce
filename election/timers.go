package election

import (
	"math"
	"time"
)

// repliesPerInterval bounds the immediate re-adverts of one router.
const repliesPerInterval = 4

// lease is what an advert of ours opens the guard for; nothing while it stays
// closed.
func (m *Machine) lease() time.Duration {
	if m.shutEpoch != 0 {
		return 0
	}
	return time.Duration(m.leaseSpan())
}

// timers does what time alone asks for: adverts on the grid, retries,
// repeated priority 0, the steps of the linger lease, probes.
func (m *Machine) timers() {
	if m.seen.State() == Linger {
		m.renewLinger() // before anybody is told to take over
	}
	m.resigns()
	switch m.seen.State() {
	case Master:
		if m.now >= m.nextAdvert {
			m.adverts()
			m.nextAdvert = m.nextTick()
		}
		for i := range m.vr {
			if v := &m.vr[i]; v.failSince != 0 && m.now >= v.retryAt && m.own[i].Faults == 0 {
				v.retryAt = m.now + m.interval()/8
				m.do(Action{Kind: DoAdvert, VR: i, Priority: m.priority, Lease: m.lease()})
			}
		}
		m.joinLate()
	}
	m.ask()
	if m.now >= m.beatNext {
		m.beat()
	}
	if m.stopping && !m.servingAny() && m.seen.State() != Prepare && !m.resign.pending() {
		m.exited = true
		m.do(Action{Kind: DoExit, VR: -1})
	}
}

// renewLinger is the next step of the short leases.
func (m *Machine) renewLinger() {
	if m.now < m.linger.renew || m.off(RuleShortLease) {
		return
	}
	end := m.linger.end
	if m.softFault() == NoReason {
		end += m.interval() / 20 // the machine serves on without a successor
	}
	until := min(end, m.now+m.interval()/10)
	for i := range m.vr {
		if m.vr[i].serving {
			m.do(Action{Kind: DoRenew, VR: i, Until: until})
		}
	}
	m.linger.renew = m.now + m.interval()/20
}

// joinLate lets a member that was added while the group serves join it, once it
// has heard nobody for a master-down interval and would not bring the group down.
func (m *Machine) joinLate() {
	for i := range m.others {
		if m.others[i].Interval != m.interval() {
			return
		}
	}
	joined := false
	for i := range m.own {
		if f := &m.own[i]; f.Joining == 1 && f.Faults == 0 && f.silent(m.now) {
			f.Joining, f.Quiet = 0, m.seen.Epoch()
			joined = true
		}
	}
	if joined {
		m.enter(m.seen, m.seen)
	}
}

// resigns sends the priority 0 that is due: of the group, and of members whose
// last advert left when it should not have.
func (m *Machine) resigns() {
	r := &m.resign
	due := false
	for r.pending() && m.now >= r.due[r.next] {
		r.next++ // a loop that was late resigns once
		due = true
	}
	for i := range m.own {
		f, v := &m.own[i], &m.vr[i]
		if v.overdue && m.seen.State() != Master && !m.off(RuleLateZero) {
			v.overdue = false
		} else if !due || !v.resigned || r.quiet && f.HeardAt > r.from {
			continue
		}
		if f.Faults&(FaultLinkDown|FaultParentGone|FaultNoAddress) == 0 {
			m.do(Action{Kind: DoAdvert, VR: i})
		}
	}
}

// replies answers inferior and undecided adverts of this batch, and priority 0,
// with an advert at once: on that LAN and on the reference member's, where ties
// are decided; at most four per interval for each router, or two masters that do
// not understand each other would storm. They may follow each other at once: of
// three machines that boot together, two need an answer in the same millisecond.
// A foreign master may have moved the neighbours' caches, so the addresses are
// announced again.
func (m *Machine) replies() {
	master := m.seen.State() == Master
	if master && m.contested() {
		for i := range m.vr {
			m.vr[i].reply = m.vr[i].reply || m.isReference(&m.own[i])
		}
	}
	for i := range m.vr {
		v := &m.vr[i]
		if v.reply && master && v.serving {
			m.answer(i)
			if m.now-v.lastHeal >= m.interval() && m.own[i].InferiorAt == m.now {
				v.lastHeal = m.now
				m.do(Action{Kind: DoAnnounce, VR: i})
			}
		}
		v.reply = false
	}
}

// contested: another master was heard on any LAN of the machine, in this batch
// or, by a sibling, since we last looked.
func (m *Machine) contested() bool {
	contested := false
	for i := range m.vr {
		contested = contested || m.vr[i].reply && m.vr[i].serving
	}
	for i := range m.others {
		if at := m.others[i].InferiorAt; at > m.rivalAt && m.now-at < m.interval()/4 {
			m.rivalAt = at
			contested = true
		}
	}
	return contested
}

func (m *Machine) answer(vr int) {
	v := &m.vr[vr]
	if v.replies == 0 || m.now-v.replied >= m.interval() {
		v.replied, v.replies = m.now, 0
	}
	if v.replies++; v.replies <= repliesPerInterval {
		m.do(Action{Kind: DoAdvert, VR: vr, Priority: m.priority, Lease: m.lease()})
	}
}

// Deadline is when Step must be called again if nothing happens before. It is
// later than the last Step, and math.MaxInt64 when nothing is to be done ever.
func (m *Machine) Deadline() Time {
	if !m.started || m.exited {
		return math.MaxInt64
	}
	t := min(m.beatNext, m.resign.at())
	soon := func(at Time) {
		if at > m.now && at < t {
			t = at
		}
	}
	for i := range m.own {
		if f, v := &m.own[i], &m.vr[i]; f.Faults&FaultSend != 0 {
			soon(v.sendFree)
		} else if v.failSince != 0 && m.seen.State() == Master {
			soon(v.retryAt)
		}
	}
	for i := range m.others {
		soon(max(m.stuckAt(&m.others[i]), m.graceAt))
	}
	switch m.seen.State() {
	case Held:
		soon(m.holdUntil())
	case Backup:
		t = min(t, m.promotionDue())
		if m.askNext != 0 {
			soon(m.askNext)
		}
	case Prepare:
		soon(m.since + prepareLimit)
	case Master:
		t = min(t, m.nextAdvert)
		m.openDue(soon)
		for i := range m.own {
			if f := &m.own[i]; f.Joining == 1 {
				soon(f.DownAt)
			}
		}
	case Linger:
		soon(m.linger.end)
		soon(m.linger.renew)
		if m.linger.heard != 0 {
			soon(m.linger.heard + m.overlap())
		}
	case Listen:
		t = min(t, m.listenEnd())
	}
	if m.partedAt != 0 && m.parted == NoReason {
		soon(m.partedAt + m.own[0].down(m.priority))
	}
	return t
}

// promotionDue is the earliest time at which promotion could become due as the
// facts stand; what makes it earlier rings.
func (m *Machine) promotionDue() Time {
	var all Time
	next := Time(math.MaxInt64)
	m.each(func(f *Facts) {
		if f.Joining == 1 {
			return
		}
		at := f.DownAt
		all = max(all, at, m.respected(f))
		// A member that falls silent alone may begin a mixed view.
		if at > m.now {
			next = min(next, at)
		}
		if f.InferiorAt != 0 {
			if gone := f.InferiorAt + f.down(1) + 1; gone > m.now {
				next = min(next, gone)
			}
		}
	})
	if m.mixedAt != 0 && m.cfg.MixedLimit >= 0 && m.mixedUntil() > m.now {
		next = min(next, m.mixedUntil())
	}
	if m.preemptFrom > m.now {
		next = min(next, m.preemptFrom)
	}
	if t0 := m.askFrom(); t0 != 0 {
		if due := t0 + m.askWindow(); due > m.now {
			next = min(next, due)
		}
	}
	if all > m.now {
		next = min(next, all)
	}
	return next
}
