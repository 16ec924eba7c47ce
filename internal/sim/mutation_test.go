package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"vrrpd/election"
)

// mutationSeeds is within how many seeds the absence of a rule must be noticed.
const mutationSeeds = 2000

// mutation switches one rule off.
type mutation struct {
	name  string
	rule  string // number in group.md
	apply func(*Scenario)
}

func without(r election.Rules) func(*Scenario) { return func(s *Scenario) { s.Without = r } }

// seen are the rules whose absence the invariants notice. These are not noticed
// within mutationSeeds random seeds so far, because what they guard against has to
// be forced: the compare-and-swap of the word (2), the epoch compared before each
// action (2, 11), an answer that does not end the question (3), the mixed view (6),
// the clock read before the send (10), draining (13), priority 0 after a late
// advert (14), the random wait after a lost tie (1), aligned repetitions of
// priority 0, LISTEN.
var seen = []mutation{
	{"a tie is decided on the reference LAN only", "1", without(election.RuleTieReference)},
	{"a tie elsewhere counts if it persists", "1", without(election.RuleTiePersists)},
	{"priority 0 is repeated", "3", without(election.RuleRepeatZero)},
	{"prepare behind the closed guard", "4", without(election.RulePrepare)},
	{"linger under short leases", "5", without(election.RuleShortLease)},
	{"only the right answer counts", "8", without(election.RuleRightAnswer)},
	{"five unanswered questions", "9", without(election.RulePatience)},
	{"a lease of two intervals", "10", without(election.RuleLease)},
	{"a stuck sibling is expelled", "11", without(election.RuleExpel)},
}

// TestMutations switches every rule off in turn.
func TestMutations(t *testing.T) {
	for _, m := range seen {
		t.Run(m.name, func(t *testing.T) {
			seed, v := hunt(m, mutationSeeds)
			if v == nil {
				t.Fatalf("rule %s switched off, and %d seeds notice nothing", m.rule, mutationSeeds)
			}
			t.Logf("rule %s: seed %d: %v", m.rule, seed, v)
		})
	}
}

// hunt returns a seed that notices the mutation, and what it notices.
func hunt(m mutation, seeds int) (found uint64, v *Violation) {
	var next atomic.Uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1)
				mu.Lock()
				done := v != nil
				mu.Unlock()
				if done || seed > uint64(seeds) {
					return
				}
				s := Generate(seed)
				m.apply(&s)
				if u := New(s).Play(); u != nil {
					mu.Lock()
					found, v = seed, u
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return found, v
}
