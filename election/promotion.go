package election

import "math"

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
		if f.underdog(m.now) {
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
