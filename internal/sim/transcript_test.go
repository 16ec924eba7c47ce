package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"vrrpd/election"
)

var updateFlag = flag.Bool("update", false, "write what happens into the transcripts; a broken promise still fails")

// transcriptSeeds is under how many other seeds a story's promises must hold:
// what it shows must not be luck.
const transcriptSeeds = 200

// block is a part of a transcript: comments and commands, and what happens then.
type block struct {
	text   []string
	output []string
	told   bool // the reader is shown what happens
}

// blocks reads a transcript; testdata/README.md has the format.
func blocks(text string) []block {
	var list []block
	var b *block
	output := false
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case l == "":
			b, output = nil, false
			continue
		case b == nil:
			list = append(list, block{})
			b = &list[len(list)-1]
		}
		switch {
		case output:
			b.output = append(b.output, l)
		case l == "----":
			output, b.told = true, true
		default:
			b.text = append(b.text, l)
		}
	}
	return list
}

// ordered: what a block tells, it tells from the last verb on; so time passes
// after its verbs, not between them.
func (b *block) ordered() error {
	passed := false
	for _, l := range b.text {
		words := command(l)
		switch {
		case len(words) == 0:
		case words[0] == "advance":
			passed = true
		case passed && known(words[0]) && words[0] != "hole" && !promises(words[0]):
			return fmt.Errorf("%s: who does something after time has passed begins a new block", l)
		}
	}
	return nil
}

func known(verb string) bool {
	_, ok := grammar[verb]
	return ok
}

func command(l string) []string {
	l, _, _ = strings.Cut(l, "#")
	return strings.Fields(l)
}

func promises(verb string) bool { return verb == "serves" || verb == "expect" || verb == "warned" }

// script is a transcript without what happens: Parse reads it.
func script(list []block) string {
	var b strings.Builder
	for _, k := range list {
		for _, l := range k.text {
			fmt.Fprintln(&b, l)
		}
	}
	return b.String()
}

// perform plays a scenario block by block and fills in what happens. When the
// story is over everything is healed and must settle.
func perform(s Scenario, list []block) *Violation {
	w := New(s)
	tale := w.tell()
	var at time.Duration
	next := 0
	for i := range list {
		b := &list[i]
		for _, l := range b.text {
			words := command(l)
			switch {
			case w.failure != nil || len(words) == 0:
			case words[0] == "advance":
				d, _ := time.ParseDuration(words[1])
				at += d
				w.run(int64(at))
			case known(words[0]):
				w.obey(s.Script[next].Verb)
				next++
			}
		}
		if b.output = tale.read(); len(b.output) == 0 {
			b.output = []string{"nothing happens"}
		}
		if w.failure != nil {
			return w.failure
		}
	}
	w.obey(Verb{"hole", []string{"off"}})
	w.obey(Verb{"settle", nil})
	return w.failure
}

func format(list []block) string {
	var parts []string
	for _, b := range list {
		lines := b.text
		if b.told {
			lines = append(append(lines[:len(lines):len(lines)], "----"), b.output...)
		}
		parts = append(parts, strings.Join(lines, "\n"))
	}
	return strings.Join(parts, "\n\n") + "\n"
}

// TestTranscripts plays the stories in testdata. What happens must be what is
// written there, to the letter, and what a story promises must be true, under
// its own seed and under others.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			s, list := readTranscript(t, file)
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if v := perform(s, list); v != nil {
				t.Fatalf("%v\n%s", v, format(list))
			}
			got := []byte(format(list))
			if d := diff.Diff(file, want, "what happens", got); d != nil {
				if !*updateFlag {
					t.Fatalf("%s(go test ./internal/sim -run TestTranscripts -update writes it)", d)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			promised := false
			for _, x := range s.Script {
				promised = promised || promises(x.Verb.Name)
			}
			if !promised {
				t.Errorf("the story promises nothing (serves, expect, warned)")
			}
			for seed := uint64(1000); seed < 1000+transcriptSeeds; seed++ {
				s.Seed = seed
				if v := perform(s, list); v != nil {
					t.Fatalf("under seed %d: %v\n%s", seed, v, format(list))
				}
			}
		})
	}
}

func readTranscript(t *testing.T, file string) (Scenario, []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list := blocks(string(text))
	for i := range list {
		if err := list[i].ordered(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	s, err := Parse(script(list))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s, list
}

// needs are the rules that a story would be another one without. Random seeds
// notice them as well (mutation_test.go); here what a rule is for is forced.
var needs = []struct {
	story string
	what  string
	apply func(*Scenario)
}{
	{"swapped-addresses", "a tie is decided on the reference LAN only", without(election.RuleTieReference)},
	{"swapped-addresses", "a tie elsewhere counts if it persists", without(election.RuleTiePersists)},
	{"planned-stop", "priority 0 is repeated", without(election.RuleRepeatZero)},
	{"planned-stop", "prepare behind the closed guard", without(election.RulePrepare)},
	{"killed-while-leaving", "linger under short leases", without(election.RuleShortLease)},
	{"stp-delay", "a mixed view vetoes preemption", without(election.RuleMixedView)},
	{"proxy-arp", "only the right answer counts", without(election.RuleRightAnswer)},
	{"crash", "a lease of two intervals", without(election.RuleLease)},
	{"one-of-two-hangs", "a stuck sibling is expelled", without(election.RuleExpel)},
	{"preempted-while-hanging", "a preemptor opens when the old master is silent", without(election.RuleOpenLate)},
	{"suspend", "who wakes after its lease listens first", without(election.RuleWake)},
	{"hang", "who is late reads its sockets first", func(s *Scenario) { s.Loop.NoDrain = true }},
}

// TestTranscriptsNeedRules: promises that hold whatever the election does would
// promise nothing.
func TestTranscriptsNeedRules(t *testing.T) {
	for _, n := range needs {
		t.Run(n.story+"/"+n.what, func(t *testing.T) {
			t.Parallel()
			s, list := readTranscript(t, filepath.Join("testdata", n.story+".txt"))
			n.apply(&s)
			for s.Seed = 1; s.Seed <= 50; s.Seed++ {
				if v := perform(s, list); v != nil {
					t.Logf("seed %d: %v", s.Seed, v)
					return
				}
			}
			t.Errorf("the story does not notice that the rule is missing")
		})
	}
}

// TestBrokenPromises: what a story promises is checked.
func TestBrokenPromises(t *testing.T) {
	const boot = "machine priority=200\nmachine priority=100\nstart r1\nstart r2\nadvance 10s\n"
	for _, c := range []struct{ text, want string }{
		{"serves AB r1", ""},
		{"serves AB one", ""},
		{"expect r1 MASTER master-timeout", ""},
		{"serves AB r2", "it is r1 on A"},
		{"serves A nobody", "it is r1 on A"},
		{"serves AC r1", "there is no LAN C"},
		{"expect r2 MASTER master-timeout", "it is BACKUP recovered"},
		{"expect r1 MASTER preempted", "it is MASTER master-timeout"},
		{"expect r3 MASTER preempted", "there is no such machine"},
		{"warned r2 partition", "not since somebody last did something"},
		{"kill r1\nadvance 2s\nserves A one", "it is nobody on A"},
		{"partition A r1|r2\npartition B r1|r2\nadvance 10s\nserves B one", "it is r1,r2 on B"},
		{"block r1 A on\nadvance 30s\nwarned r2 partition\nwarned r1 partition", "warned r1 partition: not since"},
		{"block r1 A on\nadvance 30s\nblock r1 A off\nadvance 1s\nwarned r2 partition", "warned r2 partition: not since"},
	} {
		s, err := Parse(boot + c.text)
		if err != nil {
			t.Fatal(err)
		}
		w := New(s)
		w.tell()
		v := w.Play()
		switch {
		case c.want == "" && v != nil:
			t.Errorf("%s: %v", c.text, v)
		case c.want != "" && (v == nil || !strings.Contains(v.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.text, v, c.want)
		}
	}
}
