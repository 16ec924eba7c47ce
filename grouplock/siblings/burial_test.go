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
// that was in a state.
func scene(state election.State, expelled bool) (Sibling, Machine) {
	return Sibling{Realised: election.MakeWord(4, state, election.NoReason), Expelled: expelled},
		Machine{Word: election.MakeWord(5, election.Held, election.NoReason).WithSlot(2), Interval: interval}
}

func said(t *testing.T, what string, got []time.Duration, want bool) {
	t.Helper()
	if want && !slices.Equal(got, words) || !want && len(got) > 0 {
		t.Errorf("%s: priority 0 at %v; that it is said: %v", what, got, want)
	}
}

func TestBury(t *testing.T) {
	for state := election.Init; state <= election.Listen; state++ {
		dead, m := scene(state, false)
		said(t, "a dead one that was "+state.String(), Bury(dead, m).Words, state.Serving())
		dead, m = scene(state, true)
		said(t, "one that was expelled before it died", Bury(dead, m).Words, false)
	}
}

func TestExpel(t *testing.T) {
	for state := election.Init; state <= election.Listen; state++ {
		for from := election.Init; from <= election.Listen; from++ {
			s, m := scene(state, true)
			b, ok := Expel(s, from, m, 2)
			if !ok {
				t.Errorf("one that is %v and stuck is not expelled from a machine that was %v", state, from)
			}
			said(t, state.String()+" of a machine that was "+from.String(), b.Words, state.Serving() && from.Serving())
			if b, ok = Expel(s, from, m, 1); !ok {
				t.Error("who has not made the transition does not expel")
			}
			said(t, "by another survivor", b.Words, false)
			s, m = scene(state, false)
			if b, ok := Expel(s, from, m, 2); ok || len(b.Words) > 0 {
				t.Error("one that moves is expelled")
			}
		}
	}
}

func TestHolds(t *testing.T) {
	dead, m := scene(election.Master, false)
	b := Bury(dead, m)
	if !b.Holds(m.Word) || b.Holds(m.Word.Next(election.Backup, election.Recovered)) {
		t.Error("the words are for the epoch in which it was buried, and for that alone")
	}
}
