package election

// Rules is a set of rules of the election. Only internal/sim names any: it
// switches off one at a time in Config.Without and must find out what goes wrong
// then; a rule whose absence nobody notices is not proved by a simulator that
// finds nothing. The numbers are those of docs/election.md.
type Rules uint32

const (
	RuleTieReference Rules = 1 << iota // 1: a tie is decided on the reference member
	RuleTiePersists                    // 1: elsewhere it counts if it persists
	RuleRepeatZero                     // 3: priority 0 is repeated
	RuleKeepAsking                     // 3: an answer does not end the question
	RulePrepare                        // 4: interfaces are set up before the first advert
	RuleShortLease                     // 5: LINGER serves under short leases
	RuleMixedView                      // 6: a half-seen world vetoes preemption
	RuleOneInterval                    // 7: the processes of a machine have one interval
	RuleRightAnswer                    // 8: only the right MAC is an answer
	RulePatience                       // 9: five unanswered questions, 5 ms
	RuleLease                          // 10: a lease ends before a peer's patience
	RuleExpel                          // 11: a stuck sibling is expelled
	RuleLateZero                       // 14: priority 0 follows an advert that left late
	RuleLinger                         // make before break
	RuleAsk                            // ask before take
	RuleZeroAligned                    // repeated priority 0 do not move the take-over
	RuleOpenLate                       // 12: a preemptor opens when the old master is silent
	RuleWake                           // who wakes after its lease asks who serves now
)

// off reports that a rule is switched off, which it never is in the product.
func (m *Machine) off(r Rules) bool { return m.cfg.Without&r != 0 }
