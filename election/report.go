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

// peerAlarm is an alarm about one peer of one member.
type peerAlarm struct {
	why   Reason
	on    bool
	peer  Addr16
	at    Time   // when it was seen last
	epoch uint64 // in which it was reported last
}

const (
	// peersAlarmed is how many of them a member keeps apart. More than these at
	// once are a storm of forged adverts, of which people have been told.
	peersAlarmed = 4
	// calmAfter is how long, at least, what an alarm is about must not be seen
	// any more before the alarm is over.
	calmAfter = int64(3 * time.Second)
)

// alarm reports a condition once per peer and epoch while it lasts, and once
// when it has gone. One without a peer is watched all the time; one about a peer
// is over when it has not been seen for a while (calm).
func (m *Machine) alarm(vr int, why Reason, on bool, peer Addr16) {
	v := &m.vr[vr]
	if peer == (Addr16{}) {
		if k := int(why - PeerDeaf); v.alarmOn[k] != on {
			v.alarmOn[k] = on
			m.report(vr, why, peer, on)
		}
		return
	}
	var a *peerAlarm
	for i := range v.peerAlarms {
		switch p := &v.peerAlarms[i]; {
		case p.why == why && p.peer == peer:
			a = p
		case !p.on && (a == nil || (a.why != why || a.peer != peer) && p.at < a.at):
			a = p
		}
	}
	if a == nil {
		return
	}
	if a.why != why || a.peer != peer {
		*a = peerAlarm{why: why, peer: peer}
	}
	a.at = m.now
	if !a.on || a.epoch != m.seen.Epoch() {
		a.on, a.epoch = true, m.seen.Epoch()
		m.report(vr, why, peer, true)
	}
}

// calm ends the alarms about peers that have not been seen for a while. That a
// peer has our priority is no trouble, and has no end worth telling.
func (m *Machine) calm() {
	for i := range m.vr {
		for k := range m.vr[i].peerAlarms {
			a := &m.vr[i].peerAlarms[k]
			if !a.on || m.now-a.at <= max(calmAfter, m.own[i].down(1)) {
				continue
			}
			a.on = false
			if a.why != SamePriorityPeer {
				m.report(i, a.why, a.peer, false)
			}
		}
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
