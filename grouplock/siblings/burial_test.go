package siblings

import (
	"slices"
	"testing"
	"time"

	"vrrpd/election"
)

const interval = time.Second

// words are those of a resignation after a fault.
var words = []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond}

// scene is a machine that has become HELD, by the process in slot 2, and a sibling
// that was in a state, and was last seen to turn so long before.
func scene(why election.Reason, state election.State, before time.Duration) (Sibling, Machine) {
	const since = election.Time(100 * time.Second)
	return Sibling{
			Realised: election.MakeWord(4, state, election.NoReason),
			Facts:    []election.Facts{{Interval: int64(interval), BeatAt: since - int64(before)}},
		}, Machine{
			Word:     election.MakeWord(5, election.Held, why).WithSlot(2),
			Since:    since,
			Interval: interval,
		}
}

func said(t *testing.T, what string, got []time.Duration, want bool) {
	t.Helper()
	if want && !slices.Equal(got, words) || !want && len(got) > 0 {
		t.Errorf("%s: priority 0 at %v; that it is said: %v", what, got, want)
	}
}

func TestBury(t *testing.T) {
	for state := election.Init; state <= election.Listen; state++ {
		dead, m := scene(election.MemberDead, state, 0)
		said(t, "a dead one that was "+state.String(), Bury(dead, m).Words, state.Serving())
		dead, m = scene(election.MemberDead, state, 2*interval)
		said(t, "one that did not turn before it died", Bury(dead, m).Words, state.Serving())
		dead, m = scene(election.MemberStuck, state, 2*interval)
		said(t, "one that was expelled before it died", Bury(dead, m).Words, false)
		dead, m = scene(election.MemberStuck, state, 0)
		said(t, "one that dies after another was expelled", Bury(dead, m).Words, state.Serving())
		dead.Facts = nil
		said(t, "one without facts", Bury(dead, m).Words, state.Serving())
	}
}

func TestExpel(t *testing.T) {
	for state := election.Init; state <= election.Listen; state++ {
		for from := election.Init; from <= election.Listen; from++ {
			s, m := scene(election.MemberStuck, state, interval)
			b, ok := Expel(s, from, m, 2)
			if !ok {
				t.Errorf("one that is %v and stuck is not expelled from a machine that was %v", state, from)
			}
			said(t, state.String()+" of a machine that was "+from.String(), b.Words, state.Serving() && from.Serving())
			if b, ok = Expel(s, from, m, 1); !ok {
				t.Error("who has not made the transition does not expel")
			}
			said(t, "by another survivor", b.Words, false)
		}
	}
	for _, c := range []struct {
		name   string
		why    election.Reason
		before time.Duration
		facts  int
	}{
		{"one that turns", election.MemberStuck, interval - 1, 1},
		{"one without facts", election.MemberStuck, 2 * interval, 0},
		{"another reason", election.LinkDown, 2 * interval, 1},
	} {
		s, m := scene(c.why, election.Master, c.before)
		s.Facts = s.Facts[:c.facts]
		if b, ok := Expel(s, election.Master, m, 2); ok || len(b.Words) > 0 {
			t.Errorf("%s is expelled", c.name)
		}
	}
}

func TestHolds(t *testing.T) {
	dead, m := scene(election.MemberDead, election.Master, 0)
	b := Bury(dead, m)
	if !b.Holds(m.Word) || b.Holds(m.Word.Next(election.Backup, election.Recovered)) {
		t.Error("the words are for the epoch in which it was buried, and for that alone")
	}
}
