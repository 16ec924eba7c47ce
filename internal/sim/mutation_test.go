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

// seen are the rules whose absence the invariants notice.
var seen = []mutation{
	{"a tie is decided on the reference LAN only", "1", without(election.RuleTieReference)},
	{"a tie elsewhere counts if it persists", "1", without(election.RuleTiePersists)},
	{"the epoch is compared before each action", "2, 11", func(s *Scenario) { s.Loop.NoFence = true }},
	{"priority 0 is repeated", "3", without(election.RuleRepeatZero)},
	{"an answer does not end the question", "3", without(election.RuleKeepAsking)},
	{"prepare behind the closed guard", "4", without(election.RulePrepare)},
	{"linger under short leases", "5", without(election.RuleShortLease)},
	{"a half-seen world vetoes preemption", "6", without(election.RuleMixedView)},
	{"the processes of a machine have one interval", "7", without(election.RuleOneInterval)},
	{"only the right answer counts", "8", without(election.RuleRightAnswer)},
	{"patience of a question", "9", without(election.RulePatience)},
	{"a lease of two intervals", "10", without(election.RuleLease)},
	{"the lease counts from the clock before the send", "10", func(s *Scenario) { s.Loop.ClockAfter = true }},
	{"a stuck sibling is expelled", "11", without(election.RuleExpel)},
	{"a preemptor opens when the old master is silent", "12", without(election.RuleOpenLate)},
	{"the sockets are drained first", "13", func(s *Scenario) { s.Loop.NoDrain = true }},
	{"drained before every step, not once per turn", "13", func(s *Scenario) { s.Loop.DrainOnce = true }},
	{"priority 0 after an advert that left late", "14", without(election.RuleLateZero)},
	{"make before break", "LINGER", without(election.RuleLinger)},
	{"ask before take", "ASK", without(election.RuleAsk)},
	{"who wakes after its lease asks who serves", "WAKE", without(election.RuleWake)},
	{"repeated priority 0 do not move the take-over", "RX", without(election.RuleZeroAligned)},
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
