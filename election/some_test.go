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
	want := wants{lowest: 255}
	want.add(m.own)
	look("changed", want != m.want, m.some.changed)
	for i := range m.vr {
		f, v := &m.own[i], &m.vr[i]
		look("joining", f.Joining == 1, m.some.joining)
		look("leased", f.LeaseAt != 0 && f.LeaseAt < m.leased, false)
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

// What the configuration says of a member now, the machine goes by.
func TestUpdateChangesWhatTheMachineWants(t *testing.T) {
	r := Router{Family: 4, VRID: 51, Version: 3, Priority: 100, Preempt: true, Interval: 1e9}
	other := r
	other.VRID, other.Priority = 52, 200
	m := New(Config{}, new(LocalBoard), []Router{r, other})
	m.Start(epoch, nil)
	expect := func(what string, m *Machine, priority uint8, preempt bool) {
		t.Helper()
		if v := m.View(); v.Priority != priority || v.Preempt != preempt {
			t.Errorf("%s: priority %d, preempt %v; want %d, %v", what, v.Priority, v.Preempt, priority, preempt)
		}
	}
	expect("at first", m, 100, true)
	r.Priority, r.Preempt = 150, false
	m.Update(epoch+ms, 0, r)
	m.Step(epoch+2*ms, nil, nil)
	expect("with a higher one", m, 150, false)

	routers := []Router{r, other}
	resumed := Resume(Config{}, new(LocalBoard), m.Save(), func(s SavedMember) (int, Router) { return s.VR, routers[s.VR] })
	expect("resumed", resumed, 150, false)
}

// An advert that could not be sent is forgotten when one could.
func TestSentEndsWhatHasFailed(t *testing.T) {
	m := New(Config{}, new(LocalBoard), []Router{{Family: 4, VRID: 51, Version: 3, Priority: 100, Interval: 1e9}})
	now := epoch
	m.Start(now, nil)
	for m.View().Word.State() != Master {
		now = m.Deadline()
		m.Step(now, nil, nil)
	}
	m.Step(now+ms, []Event{{Kind: EvSendFailed}}, nil)
	m.Step(now+2*ms, []Event{{Kind: EvSent, Priority: 100, At: now + 2*ms, After: now + 2*ms}}, nil)
	for range 3 {
		now = now + 1e9
		m.Step(now, []Event{{Kind: EvSent, Priority: 100, At: now, After: now}}, nil)
	}
	if f := m.Facts(0).Faults; f != 0 {
		t.Errorf("faults %b", f)
	}
}
