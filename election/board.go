package election

// Wishes are the operator's, shared by all processes of the machine.
type Wishes struct {
	// Soft (atropos --backup): do not preempt, until promoted or released.
	Soft bool
	// Hold (atropos --hold): do not serve at all, until released.
	Hold bool
	// Priority set at run time, 1..255; 0: the members' configured minimum.
	Priority uint8
}

// Board is what the processes of one machine share: the Word, the Facts of
// every member, and the operator's Wishes. It is memory, not I/O: no method
// blocks. A Machine calls it only from within Step and Deadline.
type Board interface {
	// Load returns the present word.
	Load() Word
	// Since returns when the present word was set, or 0 if that is unknown.
	Since() Time
	// Swap replaces old by new, stamped with the time at, and rings the other
	// processes; false means that the word was no longer old.
	Swap(old, new Word, at Time) bool
	// Others appends the facts of every member of the other live processes.
	Others(dst []Facts) []Facts
	// Publish makes the facts of this process visible, in the machine's order.
	Publish(own []Facts)
	// Ring wakes the other processes: something changed that may make them act
	// before their own deadline.
	Ring()
	// Missing is how many processes fewer than wanted are alive; negative when
	// there are more.
	Missing() int
	// Wishes returns the operator's wishes.
	Wishes() Wishes
	// Wish replaces the wishes if they are still old, and rings.
	Wish(old, new Wishes) bool
}

// LocalBoard is the Board of a machine whose members all live in one process.
// The zero value is ready for use. It must not be shared between goroutines.
type LocalBoard struct {
	word   Word
	since  Time
	wishes Wishes
}

func (b *LocalBoard) Load() Word                 { return b.word }
func (b *LocalBoard) Since() Time                { return b.since }
func (b *LocalBoard) Others(dst []Facts) []Facts { return dst }
func (b *LocalBoard) Publish([]Facts)            {}
func (b *LocalBoard) Ring()                      {}
func (b *LocalBoard) Missing() int               { return 0 }
func (b *LocalBoard) Wishes() Wishes             { return b.wishes }

func (b *LocalBoard) Swap(old, new Word, at Time) bool {
	if b.word != old {
		return false
	}
	b.word, b.since = new, at
	return true
}

func (b *LocalBoard) Wish(old, new Wishes) bool {
	if b.wishes != old {
		return false
	}
	b.wishes = new
	return true
}
