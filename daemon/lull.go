package daemon

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lullTime is for how long a loop must have nothing to do for a lull. The collector is
	// through with stopping the world, and with the stacks, in half of it; where adverts go
	// out every 10 ms, which is the shortest interval, there is one after each.
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
	mu     sync.Mutex
	loops  []*Daemon     // guarded by mu
	turn   chan struct{} // has room for who waits for a lull
	wanted atomic.Bool
	rested chan struct{} // has room for one message: a loop rests
}

func newLulls() *lulls {
	return &lulls{turn: make(chan struct{}, 1), rested: make(chan struct{}, 1)}
}

func (l *lulls) join(d *Daemon) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loops = append(l.loops, d)
}

func (l *lulls) leave(d *Daemon) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loops = slices.DeleteFunc(l.loops, func(x *Daemon) bool { return x == d })
}

// rest is called by a loop that has nothing to do before a time, boottime ns, if nothing
// happens.
func (l *lulls) rest(d *Daemon, until int64) {
	d.restsUntil.Store(until)
	if l.wanted.Load() {
		select {
		case l.rested <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// now reports whether all loops rest for long enough.
func (l *lulls) now() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	enough := boottime() + int64(lullTime)
	return !slices.ContainsFunc(l.loops, func(d *Daemon) bool { return d.restsUntil.Load() < enough })
}

// await waits for a lull, no longer than patience: it is for others than the loops.
func (l *lulls) await(patience time.Duration) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-limit.C:
		return
	}
	l.wanted.Store(true)
	defer l.wanted.Store(false)
	for !l.now() {
		select {
		case <-l.rested:
		case <-limit.C:
			return
		}
	}
}
