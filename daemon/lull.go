package daemon

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lullTime is for how long a loop must have nothing to do for a lull, or a quarter of
	// its interval if that is less, which it always has at times. The collector is through
	// with stopping the world, and with the stacks, in half of it.
	lullTime = 8 * time.Millisecond
	// lullPatience is how long somebody who is asked waits for a lull.
	lullPatience = 30 * time.Millisecond
)

// lulls tells when the loops of a process have nothing to do for a while. That is the moment
// for the collector of garbage: it stops the world twice, and each goroutine once to look at
// its stack, and a loop that is stopped at work goes on when a thread of ordinary priority
// has found the time to let it, milliseconds later, be it real-time or not. A loop that
// waits is not stopped.
type lulls struct {
	mu sync.Mutex
	// loops have until when each may be kept from its work, boottime ns; 0: it is at work.
	loops  []*atomic.Int64 // guarded by mu
	turn   chan struct{}   // has room for who makes use of a lull
	wanted atomic.Bool
	rested chan struct{} // has room for one message: a loop rests
}

func newLulls() *lulls {
	return &lulls{turn: make(chan struct{}, 1), rested: make(chan struct{}, 1)}
}

func (l *lulls) join(loop *atomic.Int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loops = append(l.loops, loop)
}

func (l *lulls) leave(loop *atomic.Int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loops = slices.DeleteFunc(l.loops, func(x *atomic.Int64) bool { return x == loop })
}

// rest is called by a loop that has nothing to do before a time, boottime ns, if nothing
// happens.
func (l *lulls) rest(loop *atomic.Int64, until int64, interval time.Duration) {
	loop.Store(until - int64(min(lullTime, interval/4)))
	if l.wanted.Load() {
		select {
		case l.rested <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// now reports whether there is a lull.
func (l *lulls) now() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := boottime()
	return !slices.ContainsFunc(l.loops, func(until *atomic.Int64) bool { return until.Load() < now })
}

// use does something in the next lull, or when patience has ended: it is for others than the
// loops.
func (l *lulls) use(patience time.Duration, do func()) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		l.await(limit.C)
	case <-limit.C:
	}
	do()
}

// await waits for a lull.
func (l *lulls) await(limit <-chan time.Time) {
	l.wanted.Store(true)
	defer l.wanted.Store(false)
	for !l.now() {
		select {
		case <-l.rested:
		case <-limit:
			return
		}
	}
}
