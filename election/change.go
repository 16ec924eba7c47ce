package election

import (
	"math"
	"slices"
)

// The members of a machine may change while it is at work. A router that is added
// has no vote until it has listened for a master-down interval, and one that is
// removed hands over by itself: neither moves the machine.

// retiring is a member that is to leave; the zero value is one that is not.
type retiring struct {
	since Time
	end   Time    // nobody came
	renew Time    // next step of the short lease
	due   [3]Time // priority 0
	next  int     // index into due
}

// configure sets what the configuration says.
func (f *Facts) configure(r Router) {
	f.VIP, f.Interval, f.Family, f.VRID = AddrFrom(r.VIP), int64(r.Interval), r.Family, r.VRID
	f.Version, f.Priority, f.Preempt, f.NoAsk = r.Version, r.Priority, flag(r.Preempt), int64(flag(r.NoAsk))
	f.Learned = f.Interval
}

// index is where the member is of which events say VR; -1: there is none.
func (m *Machine) index(vr int) int {
	if vr < 0 || vr >= len(m.slots) {
		return -1
	}
	return m.slots[vr]
}

// Place is where the facts of member vr are among those that are published; -1: it is
// not there.
func (m *Machine) Place(vr int) int { return m.index(vr) }

// number notes where each member is, and with whom it shares a LAN.
func (m *Machine) number() {
	for i := range m.slots {
		m.slots[i] = -1
	}
	heads := make(map[int]int)
	for i := range m.vr {
		v := &m.vr[i]
		for len(m.slots) <= v.id {
			m.slots = append(m.slots, -1)
		}
		m.slots[v.id] = i
		head, known := heads[v.lan]
		if !known {
			head, heads[v.lan] = i, i
		}
		v.lanHead = head
	}
}

// Add adds a member, of which events and actions will say vr: a number that no member
// has. It has no vote for a master-down interval, then joins if its LAN is silent, or
// follows the master that it has heard. On a machine that serves it stays out as long
// as another master is heard there (StaysOut), and with a fault until that has gone.
// Its faults follow as events. Step must be called next.
func (m *Machine) Add(now Time, vr int, r Router) {
	f := Facts{Joining: 1, BeatAt: now, Seen: m.seen.Epoch(), Stopping: flag(m.stopping)}
	f.configure(r)
	if m.unfit {
		f.Faults, m.some.faulty = FaultCheck, true
	}
	m.some.joining, m.some.changed = true, true
	f.DownAt = now + f.down(m.priority)
	m.own = append(m.own, f)
	m.vr = append(m.vr, member{id: vr, rest: &rest{lan: r.LAN, source: AddrFrom(r.Source), added: now}})
	m.number()
}

// Update changes what the configuration says of a member; its family, VRID and LAN
// stay. An interval that changes is that of the whole group: its members are updated
// together. Step must be called next.
func (m *Machine) Update(now Time, vr int, r Router) {
	i := m.index(vr)
	if i < 0 {
		return
	}
	f := &m.own[i]
	slower := int64(r.Interval) != f.Interval
	learned := f.Learned
	f.configure(r)
	m.some.changed = true
	if !slower {
		f.Learned = learned
		return
	}
	// The peers may still have the old interval: nobody is given up sooner, and an
	// advert at once tells them of the new one.
	f.DownAt = max(f.DownAt, now+f.down(m.priority))
	m.nextAdvert = now
}

// Configure changes what concerns the machine as a whole.
func (m *Machine) Configure(cfg Config) { m.cfg = cfg }

// Retire has a member leave: priority 0, short leases until a successor is heard or
// the slowest must have spoken, then DoGone. Step must be called next.
func (m *Machine) Retire(now Time, vr int) {
	i := m.index(vr)
	if i < 0 || m.vr[i].retiring.since != 0 {
		return
	}
	f, v := &m.own[i], &m.vr[i]
	iv := m.interval()
	v.retiring = retiring{
		since: now, end: now + iv/20 + f.skew(1) + lingerMargin, renew: now,
		due: [3]Time{now, now + iv/20, now + iv/5},
	}
	f.Joining, f.LeaseAt, v.failSince = 1, 0, 0
	m.some.joining, m.some.retiring = true, true
}

// retire goes on with what Retire has begun.
func (m *Machine) retire() {
	if !m.some.retiring {
		return
	}
	m.some.retiring = false
	gone := false
	for i := len(m.vr) - 1; i >= 0; i-- {
		v := &m.vr[i]
		if v.retiring.since == 0 {
			continue
		}
		if v.serving && !m.handedOver(i) {
			m.some.retiring = true
			continue
		}
		if v.serving {
			m.do(Action{Kind: DoCloseGuard, VR: i})
			m.do(Action{Kind: DoDemote, VR: i})
		} else if v.prepared {
			m.do(Action{Kind: DoUnprepare, VR: i})
		}
		m.do(Action{Kind: DoGone, VR: i})
		m.remove(i)
		gone = true
	}
	if gone {
		m.number()
		m.ring = true
	}
}

// handedOver is one step of the hand-over of a member that serves; it reports whether
// that is over.
func (m *Machine) handedOver(i int) bool {
	f, r := &m.own[i], &m.vr[i].retiring
	if f.HeardAt > r.since || m.now >= r.end {
		return true
	}
	if r.next < len(r.due) && m.now >= r.due[r.next] {
		for r.next < len(r.due) && m.now >= r.due[r.next] {
			r.next++ // a loop that was late resigns once
		}
		if f.Faults&(FaultLinkDown|FaultParentGone|FaultNoAddress) == 0 {
			m.do(Action{Kind: DoAdvert, VR: i})
		}
	}
	if m.now >= r.renew {
		r.renew = m.now + m.interval()/20
		if m.shutEpoch == 0 && m.seen.State().Serving() {
			m.do(Action{Kind: DoRenew, VR: i, Until: min(r.end, m.now+m.interval()/10)})
		}
	}
	return false
}

// remove takes the member out; the last one takes its place.
func (m *Machine) remove(i int) {
	last := len(m.own) - 1
	moved := func(vr *int) {
		switch *vr {
		case i:
			*vr = -1
		case last:
			*vr = i
		}
	}
	moved(&m.partedVR)
	moved(&m.superior.vr)
	moved(&m.successor.vr)
	m.interval() // remembers that of the last one
	m.own[i], m.vr[i] = m.own[last], m.vr[last]
	m.vr[last] = member{}
	m.some.changed = true
	m.own, m.vr = slices.Delete(m.own, last, last+1), m.vr[:last]
}

func (m *Machine) retireDue() Time {
	t := Time(math.MaxInt64)
	if !m.some.retiring {
		return t
	}
	for i := range m.vr {
		r := &m.vr[i].retiring
		if r.since == 0 {
			continue
		}
		t = min(t, max(m.lastStep+1, min(r.renew, r.end)))
		if r.next < len(r.due) {
			t = min(t, r.due[r.next])
		}
	}
	return t
}

// joinQuietly gives a vote to members that were added while the machine does not
// serve: when they have followed a master, or listened for as long as one that starts.
func (m *Machine) joinQuietly() {
	if !m.some.joining {
		return
	}
	for i := range m.own {
		f, v := &m.own[i], &m.vr[i]
		if f.Joining == 1 && v.retiring.since == 0 && f.Faults == 0 && (f.AccAt != 0 || m.now >= v.added+f.down(m.priority)) {
			f.Joining, v.added = 0, 0
		}
	}
}

func (m *Machine) joinDue(soon func(Time)) {
	if !m.some.joining {
		return
	}
	for i := range m.own {
		if f, v := &m.own[i], &m.vr[i]; f.Joining == 1 && v.added != 0 {
			soon(v.added + f.down(m.priority))
		}
	}
}
