package daemon

import (
	"math"
	"slices"
)

// agenda is what the loop does later, by its own clock: another attempt, priority
// 0 said for a dead sibling. Order is by time.
type agenda struct {
	items []item // from head on
	head  int
}

// maxTime is never.
const maxTime = math.MaxInt64

type item struct {
	at int64 // boottime ns
	do func()
	// idle: the next program puts it on its own agenda; see replace.go.
	idle bool
}

// add puts do on the agenda at the given time.
func (a *agenda) add(at int64, do func()) { a.put(item{at: at, do: do}) }

// idly adds what nothing depends on.
func (a *agenda) idly(at int64, do func()) { a.put(item{at: at, do: do, idle: true}) }

// idle reports that there is nothing else.
func (a *agenda) idle() bool {
	return !slices.ContainsFunc(a.items[a.head:], func(x item) bool { return !x.idle })
}

func (a *agenda) put(x item) {
	if a.head > 0 && len(a.items) == cap(a.items) {
		n := copy(a.items, a.items[a.head:])
		clear(a.items[n:])
		a.items, a.head = a.items[:n], 0
	}
	i, _ := slices.BinarySearchFunc(a.items[a.head:], x.at, func(x item, t int64) int {
		if x.at <= t {
			return -1 // equal times keep their order
		}
		return 1
	})
	a.items = slices.Insert(a.items, a.head+i, x)
}

// next is when the first item is due.
func (a *agenda) next() int64 {
	if a.head == len(a.items) {
		return maxTime
	}
	return a.items[a.head].at
}

// run does what is due.
func (a *agenda) run(now int64) {
	for a.next() <= now {
		do := a.items[a.head].do
		a.items[a.head] = item{}
		if a.head++; a.head == len(a.items) {
			a.items, a.head = a.items[:0], 0
		}
		do()
	}
}
