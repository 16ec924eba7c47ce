package sim

import (
	"slices"
	"strings"
	"testing"

	"vrrpd/election"
)

// trace plays a scenario and returns everything that it told.
func trace(s Scenario) ([]string, *Violation) {
	var lines []string
	w := New(s)
	w.trace = func(line string) { lines = append(lines, line) }
	v := w.Play()
	return lines, v
}

// A seed is a scenario, and a scenario is one run: what failed can be played again,
// from the seed and from the text.
func TestReplay(t *testing.T) {
	for seed := uint64(1); seed <= 200; seed++ {
		s := Generate(seed)
		first, _ := trace(s)
		again, _ := trace(Generate(seed))
		if !slices.Equal(first, again) {
			t.Fatalf("seed %d: two runs differ", seed)
		}
		read, err := Parse(s.String())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if text, _ := trace(read); !slices.Equal(first, text) {
			t.Fatalf("seed %d: its text is another scenario", seed)
		}
	}
}

// What a seed finds is shrunk to a script that still finds it: shorter, plainer,
// and the same when it is read from its text.
func TestShrink(t *testing.T) {
	for _, c := range []struct {
		without election.Rules
		verbs   int
	}{{election.RuleTieReference, 8}, {election.RuleLease, 5}, {election.RuleRightAnswer, 8}} {
		seed, v := hunt(mutation{apply: without(c.without)}, mutationSeeds)
		if v == nil {
			t.Fatalf("rule %b: nothing found", c.without)
		}
		s := Generate(seed)
		s.Without = c.without
		small, u := Shrink(s, v)
		if u == nil || u.Rule != v.Rule {
			t.Fatalf("seed %d: %v was shrunk to %v", seed, v, u)
		}
		if len(small.Script) > c.verbs || len(small.Script) > len(s.Script) {
			t.Errorf("seed %d: %d verbs of %d are left, want %d at most:\n%v", seed, len(small.Script), len(s.Script), c.verbs, small)
		}
		read, err := Parse(small.String())
		if err != nil {
			t.Fatal(err)
		}
		read.Without = c.without
		if w := New(read).Play(); w == nil || *w != *u {
			t.Errorf("seed %d: the text of the small script finds %v, want %v", seed, w, u)
		}
	}
}

// Time that passes after the last verb is played, too.
func TestTrailingAdvance(t *testing.T) {
	s, err := Parse("machine priority=100\nstart r1\nadvance 10s\n")
	if err != nil {
		t.Fatal(err)
	}
	lines, v := trace(s)
	if v != nil {
		t.Fatal(v)
	}
	if !strings.Contains(strings.Join(lines, "\n"), "r1 serves A") {
		t.Errorf("nobody serves after ten seconds:\n%s", strings.Join(lines, "\n"))
	}
	if !strings.HasSuffix(s.String(), "advance 10s\n") {
		t.Errorf("the text does not say how long it goes on:\n%v", s)
	}
}
