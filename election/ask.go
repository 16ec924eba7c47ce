package election

import "time"

// Ask before take: a master that resigns on one LAN of the group takes its
// whole machine with it (a cable pulled elsewhere), but where its link is gone
// it cannot say so. Instead of waiting for those master-down timers we ask the
// other LANs who serves the virtual address; silence means nobody does.

const (
	askSteps    = 10
	askPatience = 5 // probes that must stay unanswered, for askMinWin at least
	askGrace    = int64(10 * time.Millisecond)
	askMinWin   = int64(5 * time.Millisecond)
)

// grace is how long we wait for the priority 0 of the other LANs, which were
// sent in the same tick.
func (m *Machine) grace() int64 { return min(askGrace, m.interval()/10) }

// askFrom is when the present question began: the first honoured priority 0
// that no advert accepted later (on any LAN) has answered. 0: nothing to ask.
func (m *Machine) askFrom() Time {
	var accepted, t0 Time
	if m.off(RuleAsk) {
		return 0
	}
	resigned := false
	m.each(func(f *Facts) {
		accepted = max(accepted, f.AccAt)
		resigned = resigned || f.P0At != 0
	})
	if !resigned {
		return 0
	}
	g := m.grace()
	m.each(func(f *Facts) {
		if f.P0At != 0 && f.P0At+g >= accepted && (t0 == 0 || f.P0At < t0) {
			t0 = f.P0At
		}
	})
	return t0
}

// askWindow is how long the question stays open: the largest skew time, so that
// of several backups the one with the highest priority finishes asking first;
// and long enough for an answer after the grace.
func (m *Machine) askWindow() int64 {
	w := m.grace() + askMinWin
	if m.off(RulePatience) {
		w = 0
	}
	m.each(func(f *Facts) { w = max(w, f.skew(m.priority)) })
	return w
}

// unanswered reports that the question which began at t0 has gone without an
// answer on the member's LAN for long enough: so many probes in a row, and not so
// much time, because the facts of a sibling may be milliseconds old.
func (m *Machine) unanswered(f *Facts, t0 Time, step int64) bool {
	patience := max(askPatience, 1+askMinWin/step)
	if m.off(RulePatience) {
		patience = 1
	}
	return f.NoAsk == 0 && f.AskFrom == t0 && f.Probes >= patience &&
		!(f.AnsAt != 0 && m.off(RuleKeepAsking))
}

// allUnanswered: every LAN has resigned or stays silent.
func (m *Machine) allUnanswered() bool {
	t0 := m.askFrom()
	if t0 == 0 {
		return false
	}
	win := m.askWindow()
	all := m.now >= t0+win
	m.each(func(f *Facts) {
		all = all && (f.Joining == 1 || f.P0At != 0 || m.unanswered(f, t0, win/askSteps))
	})
	return all
}

// ask sends the probes that are due for the local members.
func (m *Machine) ask() {
	m.askNext = 0
	if m.seen.State() != Backup {
		return
	}
	t0 := m.askFrom()
	if t0 == 0 {
		return
	}
	step := m.askWindow() / askSteps
	for i := range m.own {
		f, v := &m.own[i], &m.vr[i]
		if f.P0At != 0 || f.NoAsk != 0 {
			continue
		}
		if f.AskFrom != t0 {
			f.AskFrom, f.Probes, f.AnsAt = t0, 0, 0
			v.probeAt = t0 + m.grace()
		}
		if l := m.spokesman(i); l != i {
			f.Probes, f.AnsAt, v.probeAt = m.own[l].Probes, m.own[l].AnsAt, m.vr[l].probeAt
			continue
		}
		if m.now >= v.probeAt {
			m.do(Action{Kind: DoProbe, VR: i})
			f.Probes++
			// A loop that was late, or that may ask only now that it is no
			// longer held, asks once and not once for every step missed: an
			// answer takes its time.
			if v.probeAt += step; v.probeAt <= m.now {
				v.probeAt = m.now + step
			}
		}
		if m.askNext == 0 || v.probeAt < m.askNext {
			m.askNext = v.probeAt
		}
	}
}

// spokesman is the member that is asked about for member i: the first on its LAN
// that follows the same master and has to be asked about. A machine with hundreds of
// virtual routers on one LAN asks one question; routers whose masters are different
// machines are different questions.
func (m *Machine) spokesman(i int) int {
	f, v := &m.own[i], &m.vr[i]
	if v.lan == 0 {
		return i
	}
	for j := v.lanHead; j < i; j++ {
		if m.shutEpoch != 0 && m.own[j].Quiet == m.shutEpoch && m.vr[j].found != m.shutEpoch {
			continue // nobody was asked, or has answered for long enough: see open
		}
		if g := &m.own[j]; m.vr[j].lan == v.lan && g.P0At == 0 && g.NoAsk == 0 && g.Joining == f.Joining && g.AccSrc == f.AccSrc {
			return j
		}
	}
	return i
}
