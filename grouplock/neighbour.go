package grouplock

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"vrrpd/election"
)

// neighbour is one incarnation of another process of the group.
type neighbour struct {
	instance string
	own      header
	record   *cells // read-only

	// last holds the last complete facts. Loop only (Others).
	last []election.Facts
	// damaged: the record has been cut off; it can never be read again.
	damaged atomic.Bool
	// copied is the record as it was when it was last looked at: what remains of
	// a damaged one.
	copied atomic.Pointer[Member]

	// The rest belongs to Run.
	fd    int // open for reading, to test the lock
	watch int32
	dead  bool
	again time.Time     // when to look again without an event; zero: not
	step  time.Duration // how long after that the next time
}

// present reports that the record is still that of this incarnation, and that
// it has not left.
func (n *neighbour) present() bool {
	return n.record.load(recStart) == uint64(n.own.start) && n.record.load(recState) == recLive
}

// refresh reads the facts and returns how many there are in n.last, and how many
// of them had to be left as they were. Not ok: the record is damaged.
func (n *neighbour) refresh() (count, torn int, ok bool) {
	if n.damaged.Load() {
		return 0, 0, false
	}
	ok = true
	defer armFault().disarm(&ok)
	if !n.present() {
		return 0, 0, ok
	}
	count = max(0, published(n.record, n.own.capacity))
	for i := range count {
		var block factsBlock
		if factsLatch(i).read(n.record, block[:]) {
			*blockOf(&n.last[i]) = block
		} else {
			torn++
		}
	}
	if !n.present() { // a new incarnation was writing over it
		count = 0
	}
	return count, torn, ok
}

// votes reports that the process has a vote.
func (n *neighbour) votes() (yes bool) {
	if n.damaged.Load() {
		return false
	}
	ok := true
	defer armFault().disarm(&ok)
	return n.present() && n.record.load(recPublished) != 0
}

// member copies the record; what is no longer readable is as last seen.
func (n *neighbour) member(s Status) Member {
	if !n.damaged.Load() {
		n.copy()
	}
	m := *n.copied.Load()
	m.Status = s
	return m
}

// copy refreshes n.copied, unless the record is unusable or somebody else's.
func (n *neighbour) copy() {
	var m Member
	err := guarded(func() (err error) {
		m, err = readMember(n.record, n.own, n.instance)
		if !n.present() {
			err = errUnfinished
		}
		return err
	})
	if err == nil {
		n.copied.Store(&m)
	}
}

func sortMembers(list []Member) {
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Instance, b.Instance) })
}

// newRoster sorts the neighbours into those alive, by slot, and those dead.
func newRoster(table map[string]*neighbour) *roster {
	r := &roster{}
	for _, n := range table {
		if n.dead {
			r.dead = append(r.dead, n)
		} else {
			r.live = append(r.live, n)
		}
	}
	bySlot := func(a, b *neighbour) int {
		return cmp.Or(cmp.Compare(a.own.slot, b.own.slot), strings.Compare(a.instance, b.instance))
	}
	slices.SortFunc(r.live, bySlot)
	slices.SortFunc(r.dead, bySlot)
	return r
}
