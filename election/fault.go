package election

import "time"

const (
	flapAfterPromotion = int64(60 * time.Second)
	flapWindow         = int64(10 * time.Minute)
	flapFaults         = 3
	holdLimit          = int64(5 * time.Minute)
)

// holdDown is how long a member that has recovered must wait before the
// machine may be elected again: two intervals, doubled while it flaps.
type holdDown struct {
	now    int64 // present length, ns
	recent [flapFaults]Time
}

// note records a fault and lengthens the hold-down of what flaps: a fault soon
// after a promotion (it appears only under load, or only on the master), or
// more than three within ten minutes.
func (h *holdDown) note(now, promoted Time, base int64) {
	oldest := h.recent[0]
	flaps := promoted != 0 && now-promoted < flapAfterPromotion ||
		oldest != 0 && now-oldest < flapWindow
	copy(h.recent[:], h.recent[1:])
	h.recent[flapFaults-1] = now
	if flaps {
		h.now = min(2*max(h.now, base), holdLimit)
	} else {
		h.now = base
	}
}

// fault sets or clears a fault of a local member.
func (m *Machine) fault(vr int, bit Fault, on bool) {
	f := &m.own[vr]
	if on == (f.Faults&bit == bit) {
		return
	}
	if on {
		if f.Faults == 0 {
			m.hold.note(m.now, m.lastPromoted, 2*m.interval())
		}
		f.Faults |= bit
		m.ring = true
		return
	}
	f.Faults &^= bit
	// The hold-down and the master-down timer run in parallel: after both we
	// have listened long enough to know who serves.
	f.HoldAt = max(f.HoldAt, m.now+m.hold.now)
	if bit != FaultSend {
		f.DownAt = max(f.DownAt, m.now+f.down(m.priority))
		f.P0At = 0
	}
	m.ring = true
}

// sent: an advert left the machine. The lease counts from the clock read
// before the send, so that a send that hung cannot lengthen it.
func (m *Machine) sent(e *Event) {
	f, v := &m.own[e.VR], &m.vr[e.VR]
	v.failSince = 0
	if e.Priority == 0 || m.seen.State() != Master || !v.serving {
		return
	}
	previous := f.LeaseAt
	f.SentAt, f.LeaseAt = e.At, e.At+m.leaseSpan()
	if previous != 0 && e.After > previous {
		// We were stopped between the check and the send: what has just left
		// claims what may be somebody else's by now.
		m.do(Action{Kind: DoAdvert, VR: e.VR})
		m.swap(Listen, LeaseExpired)
	}
}

func (m *Machine) sendFailed(vr int) {
	v := &m.vr[vr]
	if m.seen.State() != Master {
		return // a priority 0 that could not be sent says nothing new
	}
	if v.failSince == 0 {
		v.failSince = m.now
	}
	v.retryAt = m.now + m.interval()/8
}

// judgeSends turns adverts that cannot be sent into a fault while the lease
// still runs, so that the machine resigns where it can instead of going dumb.
func (m *Machine) judgeSends() {
	for i := range m.own {
		f, v := &m.own[i], &m.vr[i]
		if v.failSince != 0 && f.Faults&FaultSend == 0 &&
			(m.now >= v.failSince+m.interval() || f.LeaseAt != 0 && m.now >= f.LeaseAt-m.interval()/4) {
			m.fault(i, FaultSend, true)
			v.failSince = 0
			v.sendFree = m.now + m.hold.now
		}
		// Whether sending works again is only known by trying: the fault goes
		// after a hold-down, which doubles while this repeats.
		if f.Faults&FaultSend != 0 && m.now >= v.sendFree {
			m.fault(i, FaultSend, false)
			f.HoldAt = m.now
		}
	}
}

// hardFault says why this machine must not serve at this moment, and which
// local member it concerns (-1: none of ours). Operator and stop are not hard:
// they may linger.
func (m *Machine) hardFault() (Reason, int) {
	if m.board.Missing() > 0 {
		if m.gone != NoReason {
			return m.gone, -1
		}
		return MemberMissing, -1
	}
	m.gone = NoReason
	for i := range m.own {
		if r := m.own[i].Faults.Reason(); r != NoReason {
			return r, i
		}
	}
	for i := range m.others {
		f := &m.others[i]
		if r := f.Faults.Reason(); r != NoReason {
			return r, -1
		}
		if m.stuck(f) {
			return MemberStuck, -1
		}
		if f.Interval != m.interval() {
			return IntervalDiffers, -1
		}
	}
	return NoReason, -1
}

// stuck: the process lives, but its loop has not moved for as long as a lease.
func (m *Machine) stuck(f *Facts) bool {
	return m.now >= m.graceAt && m.now > f.BeatAt+m.leaseSpan()
}

// softFault says why this machine should stop serving as soon as somebody else
// does: a process that leaves, or the operator's hold.
func (m *Machine) softFault() Reason {
	for i := range m.own {
		if m.own[i].Stopping == 1 {
			return Stop
		}
	}
	for i := range m.others {
		if m.others[i].Stopping == 1 {
			return MemberLeft
		}
	}
	if m.wishes.Hold {
		return OperatorHold
	}
	return NoReason
}

// holdUntil is when the last hold-down of the machine's members ends.
func (m *Machine) holdUntil() Time {
	var t Time
	for i := range m.own {
		t = max(t, m.own[i].HoldAt)
	}
	for i := range m.others {
		t = max(t, m.others[i].HoldAt)
	}
	return t
}
