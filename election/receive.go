package election

// vmac is the virtual MAC address of a member (RFC 9568 section 7.3).
func (f *Facts) vmac() MAC {
	last := byte(1)
	if f.Family == 6 {
		last = 2
	}
	return MAC{0, 0, 0x5e, 0, last, f.VRID}
}

// apply turns one event into facts. Nothing is decided here: a decision needs
// the whole batch.
func (m *Machine) apply(e *Event) {
	switch e.Kind {
	case EvAdvert, EvAnswer, EvFarewell, EvFault, EvSource, EvSent, EvSendFailed, EvPrepared:
		if i := m.index(e.VR); i >= 0 {
			m.applyTo(i, e)
		}
	case EvMemberGone:
		m.gone = e.Reason
	case EvSuspended:
		m.suspended = true
		m.awake()
	case EvBackup:
		m.wish(func(w *Wishes) { w.Soft = true })
	case EvHold:
		m.wish(func(w *Wishes) { w.Hold = true })
	case EvRelease:
		m.wish(func(w *Wishes) { w.Soft, w.Hold = false, false })
	case EvPriority:
		m.wish(func(w *Wishes) { w.Priority = e.Priority })
	case EvChecks:
		m.checked(e.Weight, e.On)
	case EvStop:
		m.stopping = true
		for i := range m.own {
			m.own[i].Stopping = 1
		}
		m.ring = true
	}
}

// applyTo is apply for what concerns one member, the one with index i.
func (m *Machine) applyTo(i int, e *Event) {
	f, v := &m.own[i], &m.vr[i]
	switch e.Kind {
	case EvAdvert:
		m.receive(i, e)
	case EvAnswer:
		// Proxy-ARP hosts answer for anything: only the virtual MAC, or the MAC
		// from which the master's adverts came, is an answer.
		if e.MAC == f.vmac() || (e.MAC != MAC{} && e.MAC == f.AccMAC) || m.off(RuleRightAnswer) {
			f.AnsAt, f.Probes = m.now, 0
			m.ring = true
		}
	case EvFarewell:
		m.farewell(i, AddrFrom(e.Addr))
	case EvFault:
		m.fault(i, e.Fault, e.On)
	case EvSource:
		v.source = AddrFrom(e.Addr)
	case EvSent:
		m.sent(i, e)
	case EvSendFailed:
		m.sendFailed(i)
	case EvPrepared:
		f.Prepared = e.Epoch
		m.ring = true
	}
}

// awake: while the machine slept nothing was heard, and what that seems to say
// about the other masters is not true. Listen for as long as after a start: a
// master that hangs just then has a lease that must end first.
func (m *Machine) awake() {
	for i := range m.own {
		f := &m.own[i]
		f.DownAt = max(f.DownAt, m.now+f.down(m.priority))
		f.P0At = 0
	}
	m.resign = resign{} // of before the sleep
}

// receive applies one advert: the rows of RFC 3768 and RFC 9568 section 6.4,
// widened by group.md for the states of ours.
func (m *Machine) receive(i int, e *Event) {
	f, v := &m.own[i], &m.vr[i]
	src := AddrFrom(e.Addr)
	mine := src == v.source && src != Addr16{}
	st := m.seen.State()
	if st.Serving() && f.Joining == 1 {
		st = Backup // what the group does is not yet this member's business
	}
	if mine {
		m.alarm(i, OwnAddressHeard, src)
		if st.Serving() || e.Priority == 0 {
			return // an echo of ours, or a thief of our address: never a reason to yield
		}
	}
	if e.Priority == 0 {
		m.receiveZero(i, st, src)
		return
	}
	f.HeardAt = m.now
	m.heard = m.heard || f.Joining == 0
	if v.added != 0 && f.Joining == 1 && m.seen.State() == Master && v.retiring.since == 0 && m.now >= v.added+f.down(m.priority) {
		m.alarm(i, StaysOut, src)
	}
	switch st {
	case Master:
		m.receiveAsMaster(i, e, src)
	case Linger:
		m.accept(i, e, src)
		if m.successor.reason == NoReason {
			m.successor = verdict{i, Successor, src}
			m.ring = true // the other LANs' processes wait for each other
		}
	case Listen:
		m.accept(i, e, src)
	default:
		if e.Priority >= m.priority || !m.preempting() {
			m.accept(i, e, src)
		} else {
			// The timer runs on: we take over when it fires. A lower advert
			// must not restart it (RFC 9568 section 6.4.2).
			if f.InferiorAt == 0 {
				m.ring = true
			}
			if f.P0At != 0 && (m.now > f.P0At+m.grace() || m.wokeAt == m.now) {
				// Somebody serves after all. Who has slept does not know how long the two
				// were apart.
				f.P0At = 0
			}
			m.inferior(i, src)
			f.AccMAC, f.AccSrc = e.MAC, src
		}
	}
}

// receiveZero: the sender resigns.
func (m *Machine) receiveZero(vr int, st State, src Addr16) {
	f := &m.own[vr]
	switch st {
	case Master:
		m.takeBack(vr, src)
		m.vr[vr].reply, m.some.reply = true, true
		return
	case Linger:
		return
	}
	if f.AccSrc != (Addr16{}) && src != f.AccSrc {
		// Somebody else than the master we follow: whoever it was, the master
		// that we know is given the time to speak; and if it hangs just now, its
		// lease has to end.
		f.DownAt = min(f.DownAt, max(m.now+int64(f.master())+f.skew(m.priority), f.AccAt+m.leaseSpan()))
		return
	}
	if f.P0At == 0 {
		f.P0At = m.now
	}
	f.DownAt = m.now + f.skew(m.priority)
	if t0 := m.askFrom(); t0 != 0 && !m.off(RuleZeroAligned) {
		// Several resignations are one: the repetitions of a priority 0 must
		// not push the take-over away.
		f.DownAt = max(m.now, min(f.DownAt, t0+f.skew(m.priority)))
	}
	m.ring = true
}

func (m *Machine) receiveAsMaster(i int, e *Event, src Addr16) {
	f, v := &m.own[i], &m.vr[i]
	switch {
	case e.Priority > m.priority:
		m.yield(i, e, src, SuperiorAdvert)
		return
	case e.Priority == m.priority && src.Compare(v.source) > 0:
		m.alarm(i, SamePriorityPeer, src)
		if m.isReference(f) || m.off(RuleTieReference) {
			m.yield(i, e, src, TieLost)
			return
		}
		// On any other LAN the order of the addresses may be the other way
		// round; both machines would demote each other for ever. A lost tie
		// counts there only if it lasts, that is if the reference member of
		// the peer is deaf or gone.
		if v.tieSince == 0 || m.now-v.tieHeard > 3*m.interval() {
			v.tieSince = m.now
		}
		v.tieHeard = m.now
		if m.now-v.tieSince > m.interval()*3/2 && !m.off(RuleTiePersists) {
			m.yield(i, e, src, TieLost)
			return
		}
	}
	// Inferior or undecided: speak at once, so that it hears us (RFC 9568
	// section 6.4.3; in v2 too), here and where ties are decided.
	if v.inferior == 0 || m.now-f.InferiorAt > 3*m.interval() {
		v.inferior = m.now
	}
	m.inferior(i, src)
	v.reply, m.some.reply = true, true
	m.ring = true
	if m.now-v.inferior > 3*m.interval() {
		m.alarm(i, PeerDeaf, src)
	}
}

// yield remembers the most superior master of the batch.
func (m *Machine) yield(i int, e *Event, src Addr16, why Reason) {
	m.accept(i, e, src)
	m.vr[i].superior, m.some.superior = verdict{i, why, src}, true
	m.findSuperior()
}

func (m *Machine) findSuperior() {
	m.superior = verdict{}
	for i := range m.vr {
		if s := m.vr[i].superior; s.reason == SuperiorAdvert || m.superior.reason == NoReason {
			m.superior = s
		}
	}
}

// takeBack: a superior master that resigns in the same batch has spoken by
// mistake, an advert that left late (rule 14). Who yielded to it would wait for
// somebody who has gone.
func (m *Machine) takeBack(vr int, src Addr16) {
	if s := &m.vr[vr].superior; s.reason != NoReason && s.peer == src {
		*s = verdict{}
		m.findSuperior()
	}
}

// accept follows the sender as the master of this LAN.
func (m *Machine) accept(i int, e *Event, src Addr16) {
	f := &m.own[i]
	if f.Version == 3 && e.Interval > 0 {
		f.Learned = int64(e.Interval)
	}
	f.AccAt, f.AccSrc, f.AccMAC = m.now, src, e.MAC
	f.P0At, f.InferiorAt = 0, 0
	f.DownAt = m.now + f.down(m.priority)
}

// isReference reports whether f is the lowest member of the machine.
func (m *Machine) isReference(f *Facts) bool {
	i := m.reference()
	return i >= 0 && f == &m.own[i]
}

// reference is the local member that is the lowest of the machine; -1: it is another
// process's.
func (m *Machine) reference() int {
	lowest := -1
	for i := range m.own {
		if g := &m.own[i]; g.Joining == 0 && (lowest < 0 || g.before(&m.own[lowest])) {
			lowest = i
		}
	}
	if lowest < 0 {
		return -1
	}
	for i := range m.others {
		if g := &m.others[i]; g.Joining == 0 && g.before(&m.own[lowest]) {
			return -1
		}
	}
	return lowest
}
