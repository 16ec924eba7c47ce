package election

// repliesPerInterval bounds the immediate re-adverts of one router.
const repliesPerInterval = 4

// replies answers inferior and undecided adverts of this batch, and priority 0,
// with an advert at once: on that LAN and on the reference member's, where ties
// are decided; at most four per interval for each router, or two masters that do
// not understand each other would storm. They may follow each other at once: of
// three machines that boot together, two need an answer in the same millisecond.
// A foreign master may have moved the neighbours' caches, so the addresses are
// announced again.
func (m *Machine) replies() {
	master := m.seen.State() == Master
	if master && m.contested() {
		if i := m.reference(); i >= 0 {
			m.vr[i].reply, m.some.reply = true, true
		}
	}
	if !m.some.reply {
		return
	}
	m.some.reply = false
	for i := range m.vr {
		v := &m.vr[i]
		if v.reply && master && v.serving {
			m.answer(i)
			if m.now-v.lastHeal >= m.interval() && m.own[i].InferiorAt == m.now {
				v.lastHeal = m.now
				m.do(Action{Kind: DoAnnounce, VR: i})
			}
		}
		v.reply = false
	}
}

// contested: another master was heard on any LAN of the machine, in this batch
// or, by a sibling, since we last looked.
func (m *Machine) contested() bool {
	contested := false
	if m.some.reply {
		for i := range m.vr {
			contested = contested || m.vr[i].reply && m.vr[i].serving
		}
	}
	for i := range m.others {
		if at := m.others[i].InferiorAt; at > m.rivalAt && m.now-at < m.interval()/4 {
			m.rivalAt = at
			contested = true
		}
	}
	return contested
}

func (m *Machine) answer(vr int) {
	v := &m.vr[vr]
	if v.replies == 0 || m.now-v.replied >= m.interval() {
		v.replied, v.replies = m.now, 0
	}
	if v.replies++; v.replies <= repliesPerInterval {
		m.do(Action{Kind: DoAdvert, VR: vr, Priority: m.priority, Lease: m.lease()})
	}
}
