package election

import "time"

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

// condition reports what is watched all the time: once when it begins, and once
// when it has gone.
func (m *Machine) condition(why Reason, on bool) {
	at := &m.conditions[why-PriorityDiffers]
	if *at != on {
		*at = on
		m.report(0, why, Addr16{}, on)
	}
}

// alarm reports what a peer does, once per peer and epoch while it lasts; it is
// over when it has not been seen for a while (calm).
func (m *Machine) alarm(vr int, why Reason, peer Addr16) {
	v := &m.vr[vr]
	if v.peerAlarms == nil {
		v.peerAlarms = make([]peerAlarm, peersAlarmed)
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
		a.on, a.epoch, m.some.alarm = true, m.seen.Epoch(), true
		m.report(vr, why, peer, true)
	}
}

// calm ends the alarms about peers that have not been seen for a while. That a
// peer has our priority is no trouble, and has no end worth telling.
func (m *Machine) calm() {
	m.alarmed = false
	if !m.some.alarm {
		return
	}
	for i := range m.vr {
		for k := range m.vr[i].peerAlarms {
			a := &m.vr[i].peerAlarms[k]
			if !a.on || m.now-a.at <= max(calmAfter, m.own[i].down(1)) {
				m.alarmed = m.alarmed || a.on
				continue
			}
			a.on = false
			if a.why != SamePriorityPeer {
				m.report(i, a.why, a.peer, false)
			}
		}
	}
	m.some.alarm = m.alarmed
}
