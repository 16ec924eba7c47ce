package control

import (
	"context"
)

// Source is the daemon as the server sees it. Both methods are called from many
// goroutines at once.
type Source interface {
	// Status returns how things are, or were when the loop last told of it: it must not
	// wait for that for long. A loop that is stuck is just what somebody may be asking about.
	Status() Status
	// Command carries out a wish and returns when its outcome is known. The
	// Result says what happened, also when the wish was refused; the error is
	// for a command that was not carried out at all. When ctx ends (the caller
	// went away) the command itself goes on, only the waiting ends.
	Command(ctx context.Context, c Command) (Result, error)
}

// Verb is what an operator may ask for.
type Verb string

const (
	Backup   Verb = "backup"   // the machine goes BACKUP now and does not preempt
	Hold     Verb = "hold"     // it does not serve at all, until released
	Release  Verb = "release"  // forget Backup and Hold
	Reduce   Verb = "reduce"   // priority -10, or the -z value
	Increase Verb = "increase" // priority +10, or the -x value
	Reload   Verb = "reload"   // read the configuration, and what it refers to, again
	Reexec   Verb = "reexec"   // go on as the program that is installed now
)

// Verbs lists every verb.
func Verbs() []Verb { return []Verb{Backup, Hold, Release, Reduce, Increase, Reload, Reexec} }

// repeatable says that doing it twice is doing it once.
func (v Verb) repeatable() bool { return v != Reduce && v != Increase && v != Reexec }

// Command is a wish and who has it, as the kernel says.
type Command struct {
	Verb Verb
	UID  uint32
	PID  int32
	// Caller is the connection that Answer is to be written to when Command does not
	// return, because this program is not there any more (Reexec). It stays the
	// server's.
	Caller int
}

// Result is the outcome of a command, as one sentence for people. Done false
// means refused or failed, and the message says why.
type Result struct {
	Done    bool   `json:"done"`
	Message string `json:"message"`
}
