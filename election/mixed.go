package election

import "time"

const mixedLimit = int64(60 * time.Second)

// mixed: one LAN hears a master that we would preempt, another hears nobody.
// A port blocked by spanning tree looks like that, and taking over would cut
// off the LAN behind it; so this vetoes preemption, for a limited time.
func (m *Machine) mixed() bool {
	if m.mixedAt == 0 || m.seen.State() != Backup || m.off(RuleMixedView) {
		return false
	}
	return m.cfg.MixedLimit < 0 || m.now < m.mixedUntil()
}

func (m *Machine) mixedUntil() Time {
	if m.cfg.MixedLimit > 0 {
		return m.mixedAt + int64(m.cfg.MixedLimit)
	}
	return m.mixedAt + mixedLimit
}

// watchMembers raises the alarms about members that want different things.
func (m *Machine) watchMembers() {
	if len(m.own) == 0 {
		return
	}
	m.condition(PriorityDiffers, m.differ.priority)
	m.condition(PreemptDiffers, m.differ.preempt)
	m.condition(TooManyMembers, m.board.Missing() < 0)
}

// watch keeps track of views that contradict each other: since when the view is
// mixed, and since when the machine sees a partition (a LAN of the group silent,
// another with a master). The latter is reported after a master-down interval;
// nothing is done about it.
func (m *Machine) watch() {
	var inferior, nobody, silent, master bool
	backup := m.seen.State() == Backup
	held := false // for a time only: what is wrong with a member is no partition
	if m.seen.State() == Held {
		hard, _ := m.hardFault()
		held = hard == NoReason
	}
	if backup || held { // else nothing comes of it
		m.each(func(f *Facts) {
			if f.Joining == 1 {
				return
			}
			underdog, deaf := f.underdog(m.now), f.Deaf(m.now)
			inferior = inferior || underdog
			nobody = nobody || deaf && !underdog
			silent = silent || deaf && f.Faults == 0 && m.now >= f.DownAt
			master = master || f.AccAt != 0 && m.now < f.DownAt && m.now-f.AccAt <= f.down(1)
		})
	}
	switch mixed := backup && m.preempting() && inferior && nobody; {
	case !mixed:
		m.mixedAt = 0
	case m.mixedAt == 0:
		m.mixedAt = m.now
	}
	what := NoReason
	switch {
	case silent && inferior:
		what = MixedView
	case silent && master:
		what = Partition
	}
	switch {
	case what == NoReason:
		m.partedAt = 0
	case m.partedAt == 0:
		m.partedAt = m.now
	}
	if what == NoReason && m.parted != NoReason {
		m.parted = NoReason
		m.report(m.partedVR, PartitionOver, Addr16{}, false)
	}
	if what != NoReason && what != m.parted && m.now-m.partedAt >= m.longestDown() {
		m.parted, m.partedVR = what, m.silentMember()
		m.report(m.partedVR, what, Addr16{}, true)
	}
}

// longestDown is the longest master-down interval of the members with a vote.
func (m *Machine) longestDown() (down int64) {
	m.each(func(f *Facts) {
		if f.Joining == 0 {
			down = max(down, f.down(m.priority))
		}
	})
	return down
}

// silentMember is the first local member whose LAN hears nobody, or -1.
func (m *Machine) silentMember() int {
	for i := range m.own {
		if f := &m.own[i]; f.Joining == 0 && m.now >= f.DownAt && f.Deaf(m.now) {
			return i
		}
	}
	return -1
}
