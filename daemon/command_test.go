package daemon

import (
	"testing"

	"vrrpd/control"
	"vrrpd/election"
)

// What an operator is told of his hand-over.
func TestOutcome(t *testing.T) {
	word := func(epoch uint64, s election.State, r election.Reason) election.View {
		return election.View{Word: election.MakeWord(epoch, s, r)}
	}
	for _, c := range []struct {
		name        string
		verb        control.Verb
		view        election.View
		known, done bool
	}{
		{"asked while MASTER, not obeyed yet", control.Backup, word(5, election.Master, election.MasterTimeout), false, false},
		{"lingering", control.Backup, word(6, election.Linger, election.OperatorBackup), false, false},
		{"the successor was heard", control.Backup, word(7, election.Backup, election.Successor), true, true},
		{"nobody came: it serves on", control.Backup, word(7, election.Master, election.NoSuccessor), true, false},
		{"nobody came, held all the same", control.Hold, word(7, election.Held, election.NoSuccessor), true, true},
		{"a cable was pulled meanwhile", control.Backup, word(7, election.Held, election.LinkDown), true, true},
		{"asked while BACKUP", control.Backup, word(5, election.Backup, election.Recovered), true, true},
		{"asked while BACKUP to hold", control.Hold, word(6, election.Held, election.OperatorHold), true, true},
	} {
		r, known := outcome(waiter{verb: c.verb, epoch: 5}, c.view)
		if known != c.known || known && r.Done != c.done {
			t.Errorf("%s: known %v, done %v (%q); want %v, %v", c.name, known, r.Done, r.Message, c.known, c.done)
		}
		if known && r.Message == "" {
			t.Errorf("%s: no message", c.name)
		}
	}
}
