package election

import "time"

const (
	flapAfterPromotion = int64(60 * time.Second)
	flapWindow         = int64(10 * time.Minute)
	flapFaults         = 3
	flapServing        = int64(time.Hour)
	holdLimit          = int64(5 * time.Minute)
)

// holdDown is how long a member that has recovered must wait before the
// machine may be elected again: two intervals, doubled while it flaps.
type holdDown struct {
	now    int64 // present length, ns
	recent [flapFaults]Time
	served Time // a check failed while the machine served, and none has since while it did not; 0: not so
}

// note records a fault and lengthens the hold-down of what flaps: a fault soon
// after a promotion (it appears only under load, or only on the master), more than
// three within ten minutes, or again.
func (h *holdDown) note(now, promoted Time, base int64, again bool) {
	oldest := h.recent[0]
	flaps := again || promoted != 0 && now-promoted < flapAfterPromotion ||
		oldest != 0 && now-oldest < flapWindow
	copy(h.recent[:], h.recent[1:])
	h.recent[flapFaults-1] = now
	if flaps {
		h.now = min(2*max(h.now, base), holdLimit)
	} else {
		h.now = base
	}
}

// holdBase is the hold-down of what does not flap.
func (m *Machine) holdBase() int64 {
	if m.cfg.HoldDown > 0 {
		return int64(m.cfg.HoldDown)
	}
	return 2 * m.interval()
}

// checkAgain records that a check has failed. It reports whether that happens only
// to a MASTER: what recovers as soon as the machine does not serve, and fails again
// when it does, however late, would otherwise move it to and fro for ever.
func (h *holdDown) checkAgain(now Time, serving bool) bool {
	again := serving && h.served != 0 && now-h.served < flapServing
	h.served = 0
	if serving {
		h.served = now
	}
	return again
}

// fault sets or clears a fault of a local member.
func (m *Machine) fault(vr int, bit Fault, on bool) {
	f := &m.own[vr]
	if on == (f.Faults&bit == bit) {
		return
	}
	if on {
		// Several members on one parent fail together; that is one fault.
		if f.Joining == 0 && !m.faulty() {
			again := bit == FaultCheck && m.hold.checkAgain(m.now, m.seen.State().Serving())
			m.hold.note(m.now, m.lastPromoted, m.holdBase(), again)
		}
		f.Faults |= bit
		m.some.faulty = true
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

// voting reports whether any local member has a vote.
func (m *Machine) voting() bool {
	for i := range m.own {
		if m.own[i].Joining == 0 {
			return true
		}
	}
	return false
}

// faulty reports whether any local member that has a vote has a fault.
func (m *Machine) faulty() bool {
	if !m.some.faulty {
		return false
	}
	for i := range m.own {
		if m.own[i].Faults != 0 && m.own[i].Joining == 0 {
			return true
		}
	}
	return false
}

// sent: an advert left the machine. The lease counts from the clock read
// before the send, so that a send that hung cannot lengthen it.
func (m *Machine) sent(i int, e *Event) {
	f, v := &m.own[i], &m.vr[i]
	if m.some.failing {
		v.failSince = 0
	}
	switch {
	case e.Priority == 0:
	case m.seen.State() == Master && v.serving:
		if f.LeaseAt != 0 && e.After > f.LeaseAt {
			v.overdue, m.some.overdue = true, true
		}
		f.SentAt = e.At
		m.leaseUntil(i, e.At+m.leaseSpan())
	case !m.seen.State().Serving() && e.After > m.since:
		// The word changed between the check and the send.
		v.overdue, m.some.overdue = true, true
	}
}

func (m *Machine) sendFailed(vr int) {
	v := &m.vr[vr]
	if m.seen.State() != Master {
		return // a priority 0 that could not be sent says nothing new
	}
	if v.failSince == 0 {
		v.failSince, m.some.failing = m.now, true
	}
	v.retryAt = m.now + m.interval()/8
}

// judgeSends turns adverts that cannot be sent into a fault while the lease
// still runs, so that the machine resigns where it can instead of going dumb.
func (m *Machine) judgeSends() {
	if !m.some.failing {
		return
	}
	m.some.failing = false
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
			held := f.HoldAt
			m.fault(i, FaultSend, false)
			f.HoldAt = max(held, m.now)
		}
		m.some.failing = m.some.failing || v.failSince != 0 || f.Faults&FaultSend != 0
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
	if m.some.faulty {
		m.some.faulty = false
		for i := range m.own {
			r := m.own[i].Faults.Reason()
			m.some.faulty = m.some.faulty || m.own[i].Faults != 0
			if r != NoReason && m.own[i].Joining == 0 {
				return r, i
			}
		}
	}
	for i := range m.others {
		f := &m.others[i]
		if f.Joining == 1 {
			continue // no vote, and nothing that it could take from us
		}
		if r := f.Faults.Reason(); r != NoReason {
			return r, -1
		}
		if m.stuck(f) {
			return MemberStuck, -1
		}
		if f.Interval != m.interval() && m.voting() && !m.off(RuleOneInterval) {
			return IntervalDiffers, -1
		}
	}
	return NoReason, -1
}

// stuck: the process lives, but its loop does not move. It is expelled when its
// lease ends, so that its LAN is not dark while ours is served, soon if it has
// none yet, and at the latest when it has not moved for as long as a lease.
func (m *Machine) stuck(f *Facts) bool {
	return !m.off(RuleExpel) && m.now >= m.graceAt && m.now >= m.stuckAt(f)
}

func (m *Machine) stuckAt(f *Facts) Time { return m.stuckIn(f, m.seen, m.since) }

// stuckIn is stuckAt for a state that the machine has had since then.
func (m *Machine) stuckIn(f *Facts, w Word, since Time) Time {
	t := f.BeatAt + m.leaseSpan() + 1
	if w.State() != Master || f.Joining == 1 {
		return t
	}
	if f.Seen == w.Epoch() && f.LeaseAt != 0 {
		t = min(t, f.LeaseAt)
	}
	if f.SentAt < since {
		// It has not even spoken once: nothing of its LAN is served.
		t = min(t, max(f.BeatAt, since)+max(prepareLimit, m.interval()/4))
	}
	return t
}

// Expelled reports whether the machine is HELD because a process is stuck, and f
// are the facts of one that was so when that was decided: it is the same judgement,
// at the same time, whoever makes it. What others see of a process that is stuck
// it finds itself when it wakes up, before it does anything else.
func (m *Machine) Expelled(f *Facts) bool {
	return m.seen.State() == Held && m.seen.Reason() == MemberStuck && m.since >= m.stuckIn(f, m.before, m.beforeSince)
}

// softFault says why this machine should stop serving as soon as somebody else
// does: a process that leaves, or the operator's hold.
func (m *Machine) softFault() Reason {
	if m.stopping && m.voting() {
		return Stop
	}
	for i := range m.others {
		if m.others[i].Stopping == 1 && m.others[i].Joining == 0 {
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
