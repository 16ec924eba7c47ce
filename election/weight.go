package election

// maxPriority is the highest that is no owner's.
const maxPriority = 254

// checked takes what the checks of this process say.
func (m *Machine) checked(weight int, hold bool) {
	m.weight, m.unfit = int32(max(-maxPriority, min(weight, maxPriority))), hold
	for i := range m.own {
		m.fault(i, FaultCheck, hold)
	}
	m.adoptWishes()
	m.ring = true
}

// weigh has the first member with a vote say what the checks of this process add to
// the group's priority. One that has no vote yet moves nothing.
func (m *Machine) weigh() {
	if m.weight == 0 && !m.weighed {
		return // as in most machines, all the time
	}
	m.weighed = m.weight != 0
	said := false
	for i := range m.own {
		f, says := &m.own[i], int32(0)
		if f.Joining == 0 && !said {
			says, said = m.weight, true
		}
		if f.Weight != says {
			f.Weight, m.some.changed = says, true
		}
	}
}

// weighted is the priority p with the sum of the weights of all processes: never 0,
// which would mean that the machine resigns, and never the owner's unless it is that.
func weighted(p uint8, weight int) uint8 {
	return uint8(max(1, min(int(p)+weight, max(int(p), maxPriority))))
}
