package daemon

import (
	"sync/atomic"

	"vrrpd/election"
	"vrrpd/internal/realtime"
)

// inbox is where others post for the loop, and the loop what it has heard. It has no
// limit and never blocks; what a flood of adverts could make of that is prevented by folding
// adverts that say the same into one, because facts are level-triggered.
type inbox struct {
	// bell is where the loop waits; nil: not yet.
	bell atomic.Pointer[realtime.Bell]

	calls   pile[func()]
	errands pile[func()]
	events  []election.Event // the loop's own
}

// foldDepth is how far back an equal advert is looked for.
const foldDepth = 8

// post keeps events for the next step, in order. It is for the loop.
func (b *inbox) post(events ...election.Event) {
	if len(events) == 0 {
		return
	}
	for i := range events {
		if e := &events[i]; e.Kind != election.EvAdvert || !b.folded(e) {
			b.events = append(b.events, *e)
		}
	}
	b.ring()
}

// folded reports whether the same advert is waiting already, with nothing of
// another kind behind it.
func (b *inbox) folded(e *election.Event) bool {
	for i, n := len(b.events)-1, 0; i >= 0 && n < foldDepth; i, n = i-1, n+1 {
		if b.events[i].Kind != election.EvAdvert {
			return false
		}
		if b.events[i] == *e {
			return true
		}
		if b.events[i].VR == e.VR && b.events[i].Addr == e.Addr {
			return false // the same router has said something else since
		}
	}
	return false
}

// call has the loop run f, before the events that wait. It is for any goroutine.
func (b *inbox) call(f func()) {
	b.calls.put(f)
	b.ring()
}

// errand has the loop run f when it comes to it, without asking the election, which looks
// at every virtual router each time: it has nothing to be told by f. What was called before
// is run before. It is for any goroutine.
func (b *inbox) errand(f func()) { b.run(&errand{what: f}) }

// errand is a function, and the room for it in the pile.
type errand = layer[func()]

// run is errand for who has the room, and may have it again when the function is run.
func (b *inbox) run(e *errand) {
	b.errands.lay(e)
	b.ring()
}

// news reports that something waits for the election.
func (b *inbox) news() bool { return len(b.events) > 0 || !b.calls.empty() }

// empty reports that nothing waits. It is for the loop, or while that stands still.
func (b *inbox) empty() bool { return !b.news() && b.errands.empty() }

func (b *inbox) ring() {
	if bell := b.bell.Load(); bell != nil {
		bell.Ring()
	}
}

// take moves what waits for the election into the loop's own slices and returns them.
func (b *inbox) take(events []election.Event, calls []func()) ([]election.Event, []func()) {
	if bell := b.bell.Load(); bell != nil {
		bell.Quiet()
	}
	events = append(events, b.events...)
	b.events = b.events[:0]
	return events, b.calls.take(calls)
}

// shrink lets go of the room that a flood of events needed.
func (b *inbox) shrink() {
	if len(b.events) == 0 {
		b.events = nil
	}
}
