package election

// some tells which rare things at least one of the machine's own members may have or be; a
// step does not look at a thousand members for the others. Who gives a member such a thing
// says so here, and a look that finds none takes it back.
type some struct {
	joining  bool // Facts.Joining
	faulty   bool // Facts.Faults
	retiring bool
	failing  bool // failSince, or FaultSend, which only judgeSends gives
	overdue  bool
	reply    bool
	superior bool // in this batch
	alarm    bool // one that is on
	// changed: been configured anew, said another weight, or gone. The next look at what
	// they want takes it back.
	changed bool
}
