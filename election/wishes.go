package election

import "slices"

// wants is what members want of their machine.
type wants struct {
	lowest, highest uint8 // priorities
	preempt, not    bool  // somebody wants preemption, somebody does not
	weight          int   // of the checks
}

func (w *wants) add(members []Facts) {
	for i := range members {
		f := &members[i]
		w.lowest, w.highest = min(w.lowest, f.Priority), max(w.highest, f.Priority)
		w.preempt, w.not = w.preempt || f.Preempt == 1, w.not || f.Preempt != 1
		w.weight += int(f.Weight)
	}
}

// differ tells what the members of the machine want differently.
type differ struct{ priority, preempt bool }

// adoptWishes reads what the group wants: the operator's wishes, the priority
// (the minimum of the members unless one was set at run time, and the weights of
// the checks of all processes) and preemption.
func (m *Machine) adoptWishes() {
	m.wishes = m.board.Wishes()
	m.weigh()
	if m.some.joining {
		m.some.joining = slices.ContainsFunc(m.own, func(f Facts) bool { return f.Joining == 1 })
	}
	if m.some.changed {
		m.some.changed = false
		m.want = wants{lowest: 255}
		m.want.add(m.own)
	}
	all := m.want
	all.add(m.others)
	m.differ = differ{priority: all.lowest < all.highest, preempt: all.preempt && all.not}
	p, pre := all.lowest, !all.not
	if m.wishes.Priority != 0 {
		p = m.wishes.Priority
	}
	m.base = p
	p = weighted(p, all.weight)
	// An effective priority that changes while a master-down timer runs moves
	// its end by the difference of the skew times.
	if m.priority != 0 && p != m.priority {
		for i := range m.own {
			f := &m.own[i]
			f.DownAt += f.skew(p) - f.skew(m.priority)
		}
	}
	m.priority = p
	m.preempt = pre || p == 255
}

// wish changes the operator's wishes, whatever other processes do meanwhile.
func (m *Machine) wish(change func(*Wishes)) {
	for range 64 {
		old := m.board.Wishes()
		w := old
		change(&w)
		if w == old || m.board.Wish(old, w) {
			break
		}
	}
	m.adoptWishes()
	m.ring = true
}
