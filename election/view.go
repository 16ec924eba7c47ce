package election

import "time"

// View is the machine as it stands, for status displays.
type View struct {
	Word     Word
	Since    Time
	Priority uint8 // effective
	Base     uint8 // without the weights of checks
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
		Word: m.seen, Since: m.since, Priority: m.priority, Base: m.base, Preempt: m.preempt,
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

// RestsOnSilence reports that the next Step, once Deadline has come, may take over
// because nobody was heard. Its caller looks first for what waits unread: a silence is
// one of the LAN, and not of a reader that has not had the processor.
func (m *Machine) RestsOnSilence() bool {
	return m.seen.State() != Master || m.shutEpoch != 0
}

// Facts returns the facts of local member vr, to be read only; of one that has gone
// the zero Facts.
func (m *Machine) Facts(vr int) *Facts {
	if i := m.index(vr); i >= 0 {
		return &m.own[i]
	}
	return new(Facts)
}

// Added reports that local member vr was added while the machine was at work and has
// no vote yet.
func (m *Machine) Added(vr int) bool {
	i := m.index(vr)
	return i >= 0 && m.own[i].Joining == 1 && m.vr[i].retiring.since == 0
}

// Skew is member vr's present skew time.
func (m *Machine) Skew(vr int) time.Duration {
	return time.Duration(m.Facts(vr).skew(m.priority))
}

// MasterDown is member vr's present master-down interval.
func (m *Machine) MasterDown(vr int) time.Duration {
	return time.Duration(m.Facts(vr).down(m.priority))
}
