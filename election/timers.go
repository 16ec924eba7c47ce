package election

import (
	"math"
	"time"
)

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
		m.retrySends()
		m.joinLate()
	case Backup, Listen:
		m.joinQuietly()
	}
	m.retire()
	m.ask()
	if m.now >= m.beatNext {
		m.beat()
	}
	if m.stopping && !m.servingAny() && m.seen.State() != Prepare && !m.resign.pending() {
		m.exited = true
		m.do(Action{Kind: DoExit, VR: -1})
	}
}

// retrySends has adverts sent again whose sending has failed.
func (m *Machine) retrySends() {
	if !m.some.failing {
		return
	}
	for i := range m.vr {
		if v := &m.vr[i]; v.failSince != 0 && m.now >= v.retryAt && m.own[i].Faults == 0 && m.own[i].Joining == 0 {
			v.retryAt = m.now + m.interval()/8
			m.do(Action{Kind: DoAdvert, VR: i, Priority: m.priority, Lease: m.lease()})
		}
	}
}

// joinLate lets a member that was added while the group serves join it, once it
// has heard nobody for a master-down interval and would not bring the group down.
func (m *Machine) joinLate() {
	if !m.some.joining {
		return
	}
	for i := range m.others {
		if m.others[i].Interval != m.interval() {
			return
		}
	}
	joined := false
	for i := range m.own {
		if f := &m.own[i]; f.Joining == 1 && m.vr[i].retiring.since == 0 && f.Faults == 0 && f.silent(m.now) {
			f.Joining, f.Quiet, m.vr[i].added = 0, m.seen.Epoch(), 0
			joined = true
		}
	}
	if joined {
		m.enter(m.seen, m.seen)
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
	if m.some.failing {
		for i := range m.own {
			if f, v := &m.own[i], &m.vr[i]; f.Faults&FaultSend != 0 {
				soon(v.sendFree)
			} else if v.failSince != 0 && m.seen.State() == Master {
				soon(v.retryAt)
			}
		}
	}
	t = min(t, m.retireDue())
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
		m.joinDue(soon)
	case Prepare:
		soon(m.since + prepareLimit)
	case Master:
		t = min(t, m.nextAdvert)
		m.openDue(soon)
		if m.some.joining {
			for i := range m.own {
				if f := &m.own[i]; f.Joining == 1 {
					soon(f.DownAt)
				}
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
		m.joinDue(soon)
	}
	if m.partedAt != 0 && m.parted == NoReason && len(m.own) > 0 {
		soon(m.partedAt + m.own[0].down(m.priority))
	}
	return t
}
