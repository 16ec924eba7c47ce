package election

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
