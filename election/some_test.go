package election

import "testing"

// overlooked names what a member has and some does not tell; the laboratory looks after each
// step.
func (m *Machine) overlooked() (what []string) {
	look := func(name string, has, told bool) {
		if has && !told {
			what = append(what, name)
		}
	}
	for i := range m.vr {
		f, v := &m.own[i], &m.vr[i]
		look("joining", f.Joining == 1, m.some.joining)
		look("faulty", f.Faults != 0, m.some.faulty)
		look("retiring", v.retiring.since != 0, m.some.retiring)
		look("failing", v.failSince != 0 || f.Faults&FaultSend != 0, m.some.failing)
		look("overdue", v.overdue, m.some.overdue)
		look("reply", v.reply, m.some.reply)
		look("superior", v.superior != verdict{}, m.some.superior)
		for _, a := range v.peerAlarms {
			look("alarm", a.on, m.some.alarm)
		}
	}
	return what
}

// What is added to a machine without members is held by the checks like any other.
func TestFirstMemberWhileACheckHolds(t *testing.T) {
	m := New(Config{}, new(LocalBoard), nil)
	now := epoch
	step := func(events ...Event) {
		now += ms
		m.Step(now, events, nil)
	}
	m.Start(now, nil)
	step(Event{Kind: EvChecks, On: true})
	m.Add(now, 0, Router{Family: 4, VRID: 51, Version: 3, Priority: 100, Interval: 1e9})
	step()
	if what := m.overlooked(); len(what) > 0 {
		t.Errorf("some does not tell of members that are %v", what)
	}
	if m.own[0].Faults != FaultCheck {
		t.Errorf("faults %b", m.own[0].Faults)
	}
}
