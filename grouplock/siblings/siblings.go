// Package siblings is what the vrrpd processes of one machine decide about each
// other: how their common history begins, who has a vote, what a death means to
// those who survive, and what they do for a process that is dead or stuck. It is
// pure. Package grouplock knows the files that tell who lives, daemon does what is
// decided here, and internal/sim has it decided for its machines, so that what is
// simulated is what runs.
package siblings

import "vrrpd/election"

// Begin is the word and the wishes with which a process goes on that finds nobody
// else of its group alive, in this boot or at all: HELD, in the epoch after that of
// the word which the others have left. A priority that was set at run time ends
// with those who had it; what the operator wanted of the machine stays.
func Begin(old election.Word, w election.Wishes) (election.Word, election.Wishes) {
	w.Priority = 0
	return old.Next(election.Held, election.Startup), w
}

// Missing is how many processes fewer than wanted take part, counting this one,
// which asks; negative when there are more. siblings are the others that live and
// have published their facts: before that a process has no vote, and nobody must be
// promoted without it.
func Missing(wanted, siblings int) int { return wanted - 1 - siblings }

// Roll is what a process knows of siblings that have died. The zero value is ready
// for use; it is not safe for concurrent use.
type Roll struct{ dead map[string]bool }

// Died notes that a sibling has died and that nobody has cleaned up after it, and
// says what that means for the election. Somebody must bury it.
func (r *Roll) Died(name string) election.Event {
	if r.dead == nil {
		r.dead = map[string]bool{}
	}
	r.dead[name] = true
	return election.Event{Kind: election.EvMemberGone, Reason: election.MemberDead}
}

// Left notes that the record of a sibling has gone; ok: that it has left in order,
// which is news for the election. If it was known to be dead, somebody has buried
// it, and it is still its death that is missed.
func (r *Roll) Left(name string) (e election.Event, ok bool) {
	if r.dead[name] {
		delete(r.dead, name)
		return election.Event{}, false
	}
	return election.Event{Kind: election.EvMemberGone, Reason: election.MemberLeft}, true
}

// Dead are those that have died and have not come back, in no order.
func (r *Roll) Dead() (names []string) {
	for name := range r.dead {
		names = append(names, name)
	}
	return names
}

// Joined notes that a sibling has come, perhaps again.
func (r *Roll) Joined(name string) { delete(r.dead, name) }
