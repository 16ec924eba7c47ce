package election

import (
	"slices"
	"time"
)

// obey makes the local members what the word says, whoever changed it. A
// process that slept through some epochs obeys the last one only. It reports
// whether there was anything to obey.
func (m *Machine) obey() bool {
	w := m.board.Load()
	if w == m.seen {
		return false
	}
	old := m.seen
	m.seen = w
	m.before, m.beforeSince = old, m.since
	// Who changed the word knew more than what was read before: with wishes or
	// facts older than the word its transition would be undone at once.
	m.refresh()
	m.expired = false // that was judged by the lease of an earlier epoch
	m.since = m.board.Since()
	if m.since == 0 || m.since > m.now {
		m.since = m.now
	}
	m.expelled = false
	for i := range m.own {
		m.expelled = m.expelled || m.Expelled(&m.own[i])
	}
	if m.expelled {
		m.resign = resign{} // our siblings have resigned for us, and have said more than that
	}
	for i := range m.own {
		m.own[i].Seen = w.Epoch()
	}
	if old.State() != w.State() { // else it is where we left it, whatever has been
		m.reportTransition(old, w)
	}
	switch {
	case w.State().Serving():
		m.enter(old, w)
	case m.servingAny():
		m.leave(w)
		if w.State() == Prepare {
			m.prepare()
		}
	case w.State() == Prepare:
		m.prepare()
	default:
		m.unprepare()
	}
	if old.State() == Init && !w.State().Serving() {
		// What a dead predecessor's on-master command left is undone.
		m.do(Action{Kind: DoHook, VR: -1, Reason: Startup, To: Backup})
	}
	if w.State() == Backup && old.State() == Held {
		m.preemptFrom = m.now + int64(m.cfg.PreemptDelay)
	}
	if w.State() == Held && w.Reason() == MemberStuck && m.graceAt > m.now {
		// It was us who slept: earn the election again.
		for i := range m.own {
			m.own[i].HoldAt = max(m.own[i].HoldAt, m.now+m.hold.now)
		}
	}
	if !w.State().Serving() && w.State() != Held {
		m.join()
	}
	return true
}

func (m *Machine) servingAny() bool {
	for i := range m.vr {
		if m.vr[i].serving {
			return true
		}
	}
	return false
}

// join gives a vote to members that were added while the group was serving.
func (m *Machine) join() {
	for i := range m.own {
		if v := &m.vr[i]; v.retiring.since == 0 && v.added == 0 { // else see joinQuietly
			m.own[i].Joining = 0
		}
	}
}

func (m *Machine) prepare() {
	if !m.cfg.Guard || m.off(RulePrepare) {
		return
	}
	for i := range m.vr {
		if v := &m.vr[i]; m.own[i].Joining == 0 && !v.prepared {
			v.prepared = true
			m.do(Action{Kind: DoPrepare, VR: i})
		}
	}
}

func (m *Machine) unprepare() {
	for i := range m.vr {
		if v := &m.vr[i]; v.prepared {
			v.prepared = false
			m.do(Action{Kind: DoUnprepare, VR: i})
		}
	}
}

// enter: MASTER or LINGER. The adverts of all members first, as one batch
// (their leases open with them), then the interfaces, then the announcements,
// then the command.
func (m *Machine) enter(old, w Word) {
	m.resign = resign{}
	first := !m.servingAny()
	m.shut(w)
	for i := range m.vr {
		f, v := &m.own[i], &m.vr[i]
		if f.Joining == 1 {
			continue
		}
		if !v.serving {
			v.tieSince, v.inferior, v.failSince, v.overdue = 0, 0, 0, false
			// From here on the master is us: its interval is ours, and whoever
			// we preempt has not been heard yet.
			f.Learned, f.InferiorAt = f.Interval, 0
		}
		switch {
		case w.State() == Linger:
			f.LeaseAt = 0 // short leases of its own follow
		case !v.serving || old != w:
			m.leaseUntil(i, m.now+m.leaseSpan()) // for the first advert to be sent
		}
	}
	if w.State() == Master {
		m.adverts()
		m.nextAdvert = m.nextTick()
	}
	// Back from LINGER, or from epochs slept through, nothing was taken down;
	// but the neighbours may have been sent elsewhere meanwhile.
	again := old != w && w.State() == Master
	for i := range m.vr {
		if m.own[i].Joining == 0 && !m.vr[i].serving {
			m.do(Action{Kind: DoPromote, VR: i})
		}
	}
	for i := range m.vr {
		v := &m.vr[i]
		if m.own[i].Joining == 1 {
			continue
		}
		if (again || !v.serving) && m.shutEpoch == 0 {
			m.do(Action{Kind: DoAnnounce, VR: i})
		}
		v.serving, v.prepared = true, false
		m.own[i].P0At = 0
	}
	if first && m.servingAny() {
		m.lastPromoted, m.rivalAt = m.now, m.now
		if m.shutEpoch == 0 {
			m.do(Action{Kind: DoHook, VR: -1, Up: true, Reason: w.Reason(), To: Master})
		}
	}
	switch {
	case w.State() == Linger:
		m.startLinger()
	case first && m.servingAny():
		m.wish(func(w *Wishes) { w.Soft = false })
	}
}

// adverts sends one advert for every member that has a vote.
func (m *Machine) adverts() {
	a := Action{Kind: DoAdvert, Priority: m.priority, Lease: m.lease(), Epoch: m.seen.Epoch()}
	for i := range m.own {
		if m.own[i].Joining == 0 {
			a.VR = m.vr[i].id
			m.acts = append(m.acts, a)
		}
	}
}

// takeBackServing withdraws what this step has asked for to serve: the word has
// moved on before anything was done, and these actions would carry its epoch.
func (m *Machine) takeBackServing() {
	kept := slices.DeleteFunc(m.acts[m.first:], func(a Action) bool {
		switch a.Kind {
		case DoAdvert:
			return a.Priority > 0
		case DoHook:
			return a.Up
		}
		return a.Kind == DoRenew || a.Kind == DoPromote || a.Kind == DoAnnounce
	})
	m.acts = m.acts[:m.first+len(kept)]
}

// leave: the guards first, then (where it helps) priority 0, then the
// addresses, the machine's own announcements, and the command.
func (m *Machine) leave(w Word) {
	iv := m.interval()
	m.shutEpoch = 0
	m.takeBackServing()
	late := m.overslept()
	for i := range m.vr {
		if m.vr[i].serving || m.vr[i].prepared {
			m.own[i].LeaseAt = 0
			m.do(Action{Kind: DoCloseGuard, VR: i})
		}
	}
	switch w.Reason() {
	case SuperiorAdvert, TieLost, Successor, LeaseExpired, Suspended:
		// Somebody took over, heard on one LAN at least. Where he was not
		// heard, his adverts may be lost, or he is not there: then those who
		// listen should not wait for us.
		from := m.now + quietAfter - quietHeard
		if w.Reason() == Successor {
			from = min(from, m.linger.from) // he was, but before he spoke elsewhere
		}
		m.resigning(resign{due: [3]Time{m.now + quietAfter}, count: 1, quiet: true, from: from})
	case NoSuccessor, Stop, OperatorHold:
		m.resigning(resign{due: [3]Time{m.now}, count: 1})
	default:
		if m.expelled {
			break
		}
		var due [3]Time
		for i, after := range ResignTimes(time.Duration(iv)) {
			due[i] = m.now + int64(after)
		}
		m.resigning(resign{due: due, count: 3})
	}
	if late && !m.resign.quiet {
		// What waits in the sockets is read before anybody is told to take over:
		// where a master speaks by now it is too late to resign.
		m.resign.quiet, m.resign.from = true, m.lastSent()
	} else {
		m.resigns()
	}
	for i := range m.vr {
		if v := &m.vr[i]; v.serving || v.prepared {
			v.serving, v.prepared, v.failSince = false, false, 0
			m.do(Action{Kind: DoDemote, VR: i})
		}
	}
	for i := range m.own {
		f := &m.own[i]
		f.DownAt, f.P0At, f.InferiorAt = m.now+f.down(m.priority), 0, 0
		f.AskFrom, f.Probes, f.AnsAt = 0, 0, 0
		m.do(Action{Kind: DoAnnounceOwn, VR: i})
	}
	m.do(Action{Kind: DoHook, VR: -1, Reason: w.Reason(), To: w.State().Outward()})
}
