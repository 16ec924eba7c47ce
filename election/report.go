package election

import "time"

// reportTransition tells people that the machine changed its state.
func (m *Machine) reportTransition(old, w Word) {
	peer := Addr16{}
	vr := -1
	switch {
	case m.superior.reason == w.Reason() && w.Reason() != NoReason:
		vr, peer = m.superior.vr, m.superior.peer
	case m.successor.reason == w.Reason() && w.Reason() != NoReason:
		vr, peer = m.successor.vr, m.successor.peer
	default:
		// Who was followed, or fell silent; or whom a sibling has heard, if the
		// transition is its. Else what a master leaves for is not about any peer.
		if !old.State().Serving() || w.Reason().aboutPeer() {
			peer = m.lastMaster()
		}
		if r, i := m.hardFault(); r == w.Reason() {
			vr = i
		}
	}
	m.do(Action{Kind: DoReport, VR: vr, From: old.State(), To: w.State(), Reason: w.Reason(), Peer: peer.Addr(), Priority: m.priority})
}

// lastMaster is the master that any member of the machine followed last.
func (m *Machine) lastMaster() Addr16 {
	var at Time
	var src Addr16
	m.each(func(f *Facts) {
		if f.AccSrc != (Addr16{}) && (src == Addr16{} || f.AccAt > at) {
			at, src = f.AccAt, f.AccSrc
		}
	})
	return src
}

// aboutPeer: a master leaves for somebody else.
func (r Reason) aboutPeer() bool {
	return r == SuperiorAdvert || r == TieLost || r == Successor || r == LeaseExpired
}

// report tells people something that does not change the state.
func (m *Machine) report(vr int, why Reason, peer Addr16, on bool) {
	s := m.seen.State()
	m.do(Action{Kind: DoReport, VR: vr, From: s, To: s, Reason: why, Peer: peer.Addr(), On: on, Priority: m.priority})
}

// alarm reports a condition once per peer and epoch while it lasts, and once
// when one that is watched all the time (no peer) has gone.
func (m *Machine) alarm(vr int, why Reason, on bool, peer Addr16) {
	v, k := &m.vr[vr], int(why-PeerDeaf)
	if peer == (Addr16{}) {
		if v.alarmOn[k] != on {
			v.alarmOn[k] = on
			m.report(vr, why, peer, on)
		}
		return
	}
	epoch := m.seen.Epoch() + 1 // so that the zero value is no epoch
	if on && (v.alarmEpoch[k] != epoch || v.alarmPeer[k] != peer) {
		v.alarmEpoch[k], v.alarmPeer[k] = epoch, peer
		m.report(vr, why, peer, true)
	}
}

// View is the machine as it stands, for status displays.
type View struct {
	Word     Word
	Since    Time
	Priority uint8 // effective
	Preempt  bool  // as configured
	Wishes   Wishes
	// Holding is why the machine may not be elected now, or NoReason;
	// Recovered stands for the hold-down that is still running.
	Holding   Reason
	HoldUntil Time
	Missing   int    // processes fewer than -M asks for
	Parted    Reason // Partition, MixedView or NoReason
}

// View returns the machine as the last Step left it.
func (m *Machine) View() View {
	v := View{
		Word: m.seen, Since: m.since, Priority: m.priority, Preempt: m.preempt,
		Wishes: m.wishes, Missing: max(0, m.board.Missing()), Parted: m.parted,
	}
	if s := m.seen.State(); s == Held || s == Init {
		v.HoldUntil = m.holdUntil()
		v.Holding, _ = m.hardFault()
		if v.Holding == NoReason {
			v.Holding = m.softFault()
		}
		if v.Holding == NoReason {
			v.Holding = Recovered
		}
	}
	return v
}

// Facts returns the facts of local member vr, to be read only.
func (m *Machine) Facts(vr int) *Facts { return &m.own[vr] }

// Skew is member vr's present skew time.
func (m *Machine) Skew(vr int) time.Duration {
	return time.Duration(m.own[vr].skew(m.priority))
}

// MasterDown is member vr's present master-down interval.
func (m *Machine) MasterDown(vr int) time.Duration {
	return time.Duration(m.own[vr].down(m.priority))
}
