package election

// A program that is replaced while it runs goes on in the middle of everything: what
// the machine knows is saved by the old one and resumed by the new one, who takes no
// first step. What the processes of the machine share is on the board, where it was.

// Saved is a Machine between two Steps. It is plain data, with names that another
// version of the program can find its own in; what that one does not know is lost, and
// what it misses is zero.
type Saved struct {
	Own     []Facts
	Members []SavedMember // in the order of Own

	Seen                  Word
	Since, LastStep       Time
	Before                Word
	BeforeSince           Time
	Expelled              bool
	LastInterval          int64
	Weight                int32
	Weighed, Unfit        bool
	Priority              uint8
	PreemptFrom           Time
	NextAdvert, AskNext   Time
	RivalAt, LastPromoted Time
	Gone                  Reason
	ShutEpoch             uint64
	Hold                  int64
	Faults                []Time // of holdDown.recent
	Served                Time
	MixedAt, PartedAt     Time
	Parted                Reason
	PartedMember          int // index in Members; -1: none
	Conditions            []Reason
	GraceAt, BeatNext     Time
	WokeAt                Time
	Alarmed               bool
}

// SavedMember is the private side of one member.
type SavedMember struct {
	VR                                   int // as events and actions called it
	Added                                Time
	Source                               Addr16
	Serving, Overdue                     bool
	ProbeAt, OpenBy                      Time
	Asked                                int
	Found                                uint64
	Inferiors                            []SavedMaster // the last one first
	MoreInferiors                        Time
	Replied                              Time
	Replies                              int
	LastHeal, TieSince, TieHeard         Time
	Inferior, FailSince, RetryAt, SendAt Time
	Alarms                               []SavedAlarm
}

// SavedMaster is a master of lower priority that was heard.
type SavedMaster struct {
	Source Addr16
	At     Time
}

// SavedAlarm is an alarm about a peer of a member.
type SavedAlarm struct {
	Why   Reason
	On    bool
	Peer  Addr16
	At    Time
	Epoch uint64
}

// Settled reports whether the machine is at rest, so that it can be saved: nothing of a
// change of sides, of a member that leaves, or of a stop is under way.
func (m *Machine) Settled() bool {
	switch m.seen.State() {
	case Master, Backup, Listen, Held:
	default:
		return false
	}
	if !m.started || m.stopping || m.exited || m.resign.pending() || m.shutEpoch != 0 || m.board.Load() != m.seen {
		return false
	}
	for i := range m.vr {
		if v := &m.vr[i]; v.retiring.since != 0 || v.prepared || v.overdue {
			return false
		}
	}
	return true
}

// AdvertiseNow has the next Step send the adverts of a MASTER whether they are due or
// not; the grid stays where it is.
func (m *Machine) AdvertiseNow(now Time) { m.nextAdvert = min(m.nextAdvert, now) }

// NextAdvert is when the adverts of a MASTER are due; of any other machine 0.
func (m *Machine) NextAdvert() Time {
	if m.seen.State() != Master {
		return 0
	}
	return m.nextAdvert
}

// Save returns what Resume goes on with. The machine is settled.
func (m *Machine) Save() Saved {
	s := Saved{
		Own: append([]Facts(nil), m.own...), Members: make([]SavedMember, len(m.vr)),
		Seen: m.seen, Since: m.since, LastStep: m.lastStep, Before: m.before, BeforeSince: m.beforeSince,
		Expelled: m.expelled, LastInterval: m.lastInterval, Weight: m.weight, Weighed: m.weighed, Unfit: m.unfit,
		Priority: m.priority, PreemptFrom: m.preemptFrom, NextAdvert: m.nextAdvert, AskNext: m.askNext,
		RivalAt: m.rivalAt, LastPromoted: m.lastPromoted, Gone: m.gone, ShutEpoch: m.shutEpoch,
		Hold: m.hold.now, Faults: append([]Time(nil), m.hold.recent[:]...), Served: m.hold.served,
		MixedAt: m.mixedAt, PartedAt: m.partedAt, Parted: m.parted, PartedMember: m.partedVR,
		GraceAt: m.graceAt, BeatNext: m.beatNext, WokeAt: m.wokeAt, Alarmed: m.alarmed,
	}
	for i, on := range m.conditions {
		if on {
			s.Conditions = append(s.Conditions, PriorityDiffers+Reason(i))
		}
	}
	for i := range m.vr {
		v := &m.vr[i]
		s.Members[i] = SavedMember{
			VR: v.id, Added: v.added, Source: v.source, Serving: v.serving, Overdue: v.overdue, ProbeAt: v.probeAt, OpenBy: v.openBy,
			Asked: v.asked, Found: v.found, Replied: v.replied, Replies: v.replies, LastHeal: v.lastHeal, TieSince: v.tieSince, TieHeard: v.tieHeard,
			Inferior: v.inferior, FailSince: v.failSince, RetryAt: v.retryAt, SendAt: v.sendFree, MoreInferiors: v.inferiors.more,
		}
		for _, other := range v.inferiors.heard {
			s.Members[i].Inferiors = append(s.Members[i].Inferiors, SavedMaster{other.src, other.at})
		}
		for _, a := range v.peerAlarms {
			if a != (peerAlarm{}) {
				s.Members[i].Alarms = append(s.Members[i].Alarms, SavedAlarm{a.why, a.on, a.peer, a.at, a.epoch})
			}
		}
	}
	return s
}

// Resume goes on with what another program has saved, instead of New and Start; Step
// comes next. find says what the configuration has of a saved member, and how events
// and actions call it from here on. It panics on nothing that Saved can contain.
func Resume(cfg Config, board Board, s Saved, find func(SavedMember) (vr int, r Router)) *Machine {
	n := min(len(s.Own), len(s.Members))
	m := &Machine{
		cfg: cfg, board: board, own: append([]Facts(nil), s.Own[:n]...), vr: newMembers(n), started: true,
		seen: s.Seen, since: s.Since, lastStep: s.LastStep, before: s.Before, beforeSince: s.BeforeSince,
		expelled: s.Expelled, lastInterval: s.LastInterval, weight: s.Weight, weighed: s.Weighed, unfit: s.Unfit,
		priority: s.Priority, preemptFrom: s.PreemptFrom, nextAdvert: s.NextAdvert, askNext: s.AskNext,
		rivalAt: s.RivalAt, lastPromoted: s.LastPromoted, gone: s.Gone, shutEpoch: s.ShutEpoch,
		some:    some{changed: true, joining: true, faulty: true, retiring: true, failing: true, overdue: true, reply: true, superior: true, alarm: true},
		hold:    holdDown{now: s.Hold, served: s.Served},
		mixedAt: s.MixedAt, partedAt: s.PartedAt, parted: s.Parted, partedVR: s.PartedMember,
		graceAt: s.GraceAt, beatNext: s.BeatNext, wokeAt: s.WokeAt, alarmed: s.Alarmed, now: s.LastStep,
	}
	copy(m.hold.recent[:], s.Faults)
	if m.partedVR >= n {
		m.partedVR = -1
	}
	for _, r := range s.Conditions {
		if i := int(r) - int(PriorityDiffers); i >= 0 && i < len(m.conditions) {
			m.conditions[i] = true
		}
	}
	for i := range m.vr {
		from, v := &s.Members[i], &m.vr[i]
		vr, r := find(*from)
		learned := m.own[i].Learned
		m.own[i].configure(r)
		m.own[i].Learned = learned
		v.id, v.lan, v.source = vr, r.LAN, from.Source
		v.added, v.serving, v.overdue, v.probeAt, v.openBy, v.asked = from.Added, from.Serving, from.Overdue, from.ProbeAt, from.OpenBy, from.Asked
		v.found = from.Found
		v.inferiors.more = from.MoreInferiors
		for n, other := range from.Inferiors[:min(len(from.Inferiors), len(v.inferiors.heard))] {
			v.inferiors.heard[n] = inferiorMaster{other.Source, other.At}
		}
		v.replied, v.replies, v.lastHeal = from.Replied, from.Replies, from.LastHeal
		v.tieSince, v.tieHeard, v.inferior = from.TieSince, from.TieHeard, from.Inferior
		v.failSince, v.retryAt, v.sendFree = from.FailSince, from.RetryAt, from.SendAt
		if len(from.Alarms) > 0 {
			v.peerAlarms = make([]peerAlarm, peersAlarmed)
		}
		for n, a := range from.Alarms[:min(len(from.Alarms), peersAlarmed)] {
			v.peerAlarms[n] = peerAlarm{a.Why, a.On, a.Peer, a.At, a.Epoch}
		}
	}
	m.number()
	m.refresh()
	return m
}
