package election

// Time is a point on CLOCK_BOOTTIME in nanoseconds. Zero means "never".
type Time = int64

// State is the state of the whole machine.
type State uint8

const (
	// Init is the state before the first member of the machine has joined.
	Init State = iota
	// Held is BACKUP that may not be elected: a fault, a missing member, the
	// operator's wish or the hold-down after one of them.
	Held
	// Backup listens to a master and waits for its silence.
	Backup
	// Prepare sets everything up behind closed guards; nothing answers yet.
	Prepare
	// Master serves the virtual addresses on every LAN of the group.
	Master
	// Linger has resigned (priority 0) and serves until a successor is heard.
	Linger
	// Listen has lost its lease in a suspend and finds out who serves now.
	Listen
)

var stateNames = [...]string{"INIT", "HELD", "BACKUP", "PREPARE", "MASTER", "LINGER", "LISTEN"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "UNKNOWN"
}

// Serving reports whether a machine in this state answers for the addresses.
func (s State) Serving() bool { return s == Master || s == Linger }

// Outward is the state as RFC 8347 and scripts know it: MASTER or BACKUP while
// the daemon takes part in the election, INIT before it does.
func (s State) Outward() State {
	switch s {
	case Master, Linger:
		return Master
	case Init:
		return Init
	default:
		return Backup
	}
}

// Word is the machine's state as one value that a compare-and-swap can change:
// bits 0-7 the State, 8-15 the Reason of the last transition, 16-23 the slot of
// the process that made it (set and used by the Board), 24-63 the epoch, which
// grows by one with every transition. The zero Word is Init in epoch 0.
type Word uint64

// MakeWord builds a Word with slot 0.
func MakeWord(epoch uint64, s State, r Reason) Word {
	return Word(epoch<<24 | uint64(r)<<8 | uint64(s))
}

// State is the machine's state.
func (w Word) State() State { return State(w) }

// Reason is why the machine entered the state.
func (w Word) Reason() Reason { return Reason(w >> 8) }

// Slot is the process that made the transition, meaningful to the Board only.
func (w Word) Slot() uint8 { return uint8(w >> 16) }

// WithSlot is the same word, made by the given process.
func (w Word) WithSlot(slot uint8) Word { return w&^(0xff<<16) | Word(slot)<<16 }

// Epoch counts the transitions of the machine since its run directory was made.
func (w Word) Epoch() uint64 { return uint64(w) >> 24 }

// Next is the word of the following epoch.
func (w Word) Next(s State, r Reason) Word { return MakeWord(w.Epoch()+1, s, r) }
