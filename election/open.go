package election

import "time"

// Open when the old master is silent. Who preempts is not told by a silence of
// three intervals that the old master has gone: its timer does not depend on the
// old master's last advert, and if that machine hangs in this very moment, its
// lease has still to end. So a preemptor advertises behind closed guards and asks
// the LAN who answers for the virtual address. A healthy master leaves at our first
// advert, and one of ours says farewell; 50 ms and five probes without an answer, or the
// end of a lease counted from its last advert, open the guards of all members together.

const (
	openFirst  = int64(time.Millisecond) // it is time for a farewell
	openStep   = int64(5 * time.Millisecond)
	openProbes = 5
	// openSilence is how long nobody must have answered. A machine whose processes hang
	// because it is overloaded answers late: 10 ms after the question were seen with seven
	// busy threads for each processor, and then for several questions at once.
	openSilence = int64(50 * time.Millisecond)
	// openPatience is after how many questions the old master counts as one that
	// hangs; from then on a question comes every fiftieth of an interval.
	openPatience = 20
)

// shut decides, on entering MASTER, whether the guards stay closed for now. Who
// finds LINGER has been told thereby that every LAN is silent: see decideMaster.
func (m *Machine) shut(w Word) {
	if m.shutEpoch == w.Epoch() {
		return // a member that joins
	}
	m.shutEpoch = 0
	if !m.opensLate(w) {
		return
	}
	m.shutEpoch = w.Epoch()
	for i := range m.own {
		f, v := &m.own[i], &m.vr[i]
		if v.serving {
			// It has slept through the end of an earlier MASTER.
			m.do(Action{Kind: DoCloseGuard, VR: i})
		}
		f.Probes, f.AnsAt, f.Quiet = 0, 0, 0
		v.probeAt, v.openBy, v.asked = m.now+openFirst, f.InferiorAt+m.leaseSpan(), 0
		// Where no inferior master was heard nobody has served for a master-down
		// interval; and unicast peers cannot be asked.
		if f.InferiorAt == 0 || f.P0At != 0 || f.NoAsk != 0 {
			f.Quiet = w.Epoch()
		}
		m.bidden(i)
	}
}

// open asks, and opens the guards once the old master is silent on every LAN.
func (m *Machine) open() {
	if m.shutEpoch == 0 || m.seen.State() != Master {
		return
	}
	for i := range m.own {
		f, v := &m.own[i], &m.vr[i]
		if at := f.InferiorAt; at != 0 && at <= m.since+min(askGrace, m.interval()/2) {
			// Its last advert was under way when we entered. One that goes on does
			// not hear us, and waiting for it would leave the other LANs dark.
			v.openBy = max(v.openBy, at+m.leaseSpan())
		}
		l := m.spokesman(i)
		switch {
		case f.Joining == 1 || f.Quiet == m.shutEpoch:
		case l != i && m.own[l].Quiet == m.shutEpoch:
			f.Quiet = m.shutEpoch
			m.ring = true
		case l != i && m.now < v.openBy:
			v.probeAt = m.vr[l].probeAt
		case f.Probes >= openProbes && m.now >= m.openAt(f):
			f.Quiet, v.found = m.shutEpoch, m.shutEpoch
			m.ring = true
		case m.now >= v.openBy:
			f.Quiet = m.shutEpoch
			m.ring = true
		case m.now >= v.probeAt:
			m.do(Action{Kind: DoProbe, VR: i})
			f.Probes++
			v.probeAt = m.now + openStep
			if v.asked++; v.asked > openPatience {
				v.probeAt = m.now + max(openStep, m.interval()/50)
			}
		}
	}
	ready := m.quiet()
	for i := range m.own {
		ready = ready && (!m.vr[i].serving || m.own[i].SentAt >= m.since || m.vr[i].failSince != 0)
	}
	if !ready {
		return // a LAN is not silent, or our own adverts are still to be sent
	}
	m.shutEpoch = 0
	for i := range m.own {
		// A member whose advert cannot be sent is opened by the one that can.
		if m.vr[i].serving && m.own[i].SentAt >= m.since {
			m.do(Action{Kind: DoRenew, VR: i, Until: m.own[i].LeaseAt})
		}
	}
	for i := range m.vr {
		if m.vr[i].serving && m.vr[i].retiring.since == 0 {
			m.do(Action{Kind: DoAnnounce, VR: i})
		}
	}
	m.do(Action{Kind: DoHook, VR: -1, Up: true, Reason: m.seen.Reason(), To: Master})
}

// openAt is when the master that we have preempted counts as gone on the member's LAN if
// no more answers come.
func (m *Machine) openAt(f *Facts) Time { return max(m.since, f.AnsAt) + openSilence }

// quiet reports that the guards of the machine are open, or may be: the master
// that it has preempted was found silent on every LAN, if there was any.
func (m *Machine) quiet() bool {
	if !m.opensLate(m.seen) {
		return true
	}
	quiet, epoch := true, m.seen.Epoch()
	m.each(func(f *Facts) { quiet = quiet && (f.Joining == 1 || f.Quiet == epoch) })
	return quiet
}

// opensLate: a MASTER that begins behind closed guards.
func (m *Machine) opensLate(w Word) bool {
	return w.State() == Master && w.Reason() == Preempted && m.cfg.Guard && !m.off(RuleOpenLate)
}

// openDue is when open has something to do, if nothing happens before.
func (m *Machine) openDue(soon func(Time)) {
	if m.shutEpoch == 0 {
		return
	}
	for i := range m.own {
		if f, v := &m.own[i], &m.vr[i]; f.Joining == 0 && f.Quiet != m.shutEpoch {
			soon(min(v.probeAt, v.openBy))
			soon(m.openAt(f))
		}
	}
}
