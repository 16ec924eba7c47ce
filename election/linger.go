package election

import "time"

const (
	lingerMargin = int64(20 * time.Millisecond)
	handOverlap  = int64(20 * time.Millisecond)
)

// linger is the resigned master that still serves.
type linger struct {
	from  Time // when it began
	heard Time // the successor was first heard, on any LAN; 0: not yet
	end   Time // nobody came
	renew Time // next step of the short lease
}

// startLinger: resign, at 0, 0.05 and 0.2 intervals, and go on serving under
// short leases until the slowest successor must have spoken, even if it has not
// heard the first priority 0.
func (m *Machine) startLinger() {
	iv := m.interval()
	var skew int64
	m.each(func(f *Facts) { skew = max(skew, f.skew(1)) })
	m.successor = verdict{}
	m.linger = linger{from: m.since, end: m.since + iv/20 + skew + lingerMargin, renew: m.now}
	if m.off(RuleLinger) {
		m.linger.end = m.since
	}
	m.resigning(resign{due: [3]Time{m.now, m.now + iv/20, m.now + iv/5}, count: 3})
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

// allLooked: every process has read its sockets since t.
func (m *Machine) allLooked(t Time) bool {
	all := true
	m.each(func(f *Facts) { all = all && f.BeatAt >= t })
	return all
}
