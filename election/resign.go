package election

import (
	"math"
	"time"
)

const (
	quietAfter = int64(10 * time.Millisecond) // priority 0 after a superior advert
	quietHeard = int64(20 * time.Millisecond)
)

// ResignTimes are when priority 0 is said after a fault, counted from the
// transition: at once, and again after 2 % and 10 % of an interval, because one
// lost frame would cost the peers a master-down interval.
func ResignTimes(interval time.Duration) [3]time.Duration {
	return [3]time.Duration{0, interval / 50, interval / 10}
}

// resign is a priority 0 that is still to be sent, or to be sent again, because
// one lost frame would cost the peers a master-down interval.
type resign struct {
	due   [3]Time
	next  int // index into due
	count int
	quiet bool // only on LANs where nobody was heard since from
	from  Time
}

func (r *resign) pending() bool { return r.next < r.count }

func (r *resign) at() Time {
	if !r.pending() {
		return math.MaxInt64
	}
	return r.due[r.next]
}

// resigning has those members resign that serve now.
func (m *Machine) resigning(r resign) {
	if m.off(RuleRepeatZero) {
		r.count = 1
	}
	m.resign = r
	for i := range m.vr {
		m.vr[i].resigned = m.vr[i].serving
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
	if !due && !m.some.overdue {
		return
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

// overslept: the lease of a serving member ended before this step.
func (m *Machine) overslept() bool {
	for i := range m.vr {
		if at := m.own[i].LeaseAt; m.vr[i].serving && at != 0 && m.now >= at {
			return true
		}
	}
	return false
}

// lastSent is when this process last sent an advert.
func (m *Machine) lastSent() Time {
	var t Time
	for i := range m.own {
		t = max(t, m.own[i].SentAt)
	}
	return t
}
