package election

// some tells which of the things that hardly any member is or has there may be, of a
// machine's own members: what nobody has, a step need not look for a thousand times. Who
// gives a member such a thing says so here, and a look that finds none takes it back.
type some struct {
	joining  bool // Facts.Joining; each step begins with looking, see adoptWishes
	faulty   bool // Facts.Faults
	retiring bool
	failing  bool // failSince, or FaultSend, which only judgeSends gives
	overdue  bool
	reply    bool
	superior bool // in this batch
	alarm    bool // one that is on
}

// anything is of members of whom nothing is known.
var anything = some{
	joining: true, faulty: true, retiring: true, failing: true, overdue: true, reply: true, superior: true, alarm: true,
}

// differ tells what the members of the machine want differently.
type differ struct{ priority, preempt bool }
