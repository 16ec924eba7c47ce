package daemon

import (
	"slices"
	"time"

	"vrrpd/internal/footprint"
)

const (
	// manyRouters make a start, or a change of sides, that leaves much garbage.
	manyRouters = 50
	// tidyAfter is when that is over, but for the last round of announcements, for which it
	// is waited after all have been looked at.
	tidyAfter = 4 * time.Second
	tidyPause = 750 * time.Millisecond
	// garbageEach is how much garbage a change of sides makes per virtual router, when it is
	// asked for its state meanwhile and has commands to run (measured: 50 KiB).
	garbageEach = 64 << 10
	// litterLook is how often it is looked whether questions have left garbage.
	litterLook = time.Minute
)

// tidyLater gives memory back to the machine when things are quiet again: a start, or a
// change of sides, uses much of the program for a moment, and of many virtual routers makes
// as much garbage as the daemon does in hours otherwise. Where that is little it is left
// alone, because to collect it stops the world. Memory that is locked stays.
func (d *Daemon) tidyLater() { d.tidyIf(func() bool { return true }) }

// tidyIf is tidyLater if that is worth it still when things are quiet.
func (d *Daemon) tidyIf(worth func() bool) {
	// Who has had many virtual routers is tidied like that for good.
	d.crowded = d.crowded || len(d.routers) >= manyRouters
	many := d.crowded
	if d.tidying {
		return
	}
	d.tidying = true
	if !many {
		d.work(footprint.Roomy)
	}
	began := d.board.Load()
	// Now and then later, if nobody changes sides meanwhile.
	quietly := func(wait time.Duration, do func()) {
		d.agenda.idly(boottime()+int64(wait), func() {
			if d.board.Load() != began || !d.machine.Settled() {
				d.tidying = false
				d.tidyIf(worth)
				return
			}
			do()
		})
	}
	quietly(tidyAfter, func() {
		// A look at an interface that has found everything right makes the later ones, of
		// the patrol, easy, for which little of the program is needed.
		d.inspectAll(slices.Clone(d.routers), func() {
			quietly(tidyPause, func() {
				d.shrinking = many
				// When the loop has got again what it needs all the time.
				quietly(d.interval()+time.Second/2, func() {
					d.tidying = false
					if worth() {
						d.tidy(many)
					}
				})
			})
		})
	})
}

// tidy gives memory back.
func (d *Daemon) tidy(many bool) {
	sweep := many || footprint.Littered() // else it is left alone: to collect it stops the world
	var give func() error
	switch {
	case d.cfg.LockMemory && sweep:
		give = func() error { footprint.Sweep(); return nil }
	case d.cfg.LockMemory:
		give = func() error { return nil }
	case sweep:
		give = footprint.Rest
	default:
		give = footprint.Release
	}
	if many {
		footprint.Expect(d, uint64(len(d.routers))*garbageEach)
	}
	d.work(func() {
		d.opt.lulls.use(lullPatience, func() {
			footprint.Roomy()
			if err := give(); err != nil {
				d.log.Debug("memory is not given back", "err", err)
			}
		})
	})
	d.lookForLitter()
}

// lookForLitter has the garbage swept, from now on, that gathers in a process that hardly
// makes any: the collector runs by itself when there is a lot only.
func (d *Daemon) lookForLitter() {
	if d.looking {
		return
	}
	d.looking = true
	d.later(func() { footprint.Expect(d, 0) })
	d.lookAgain()
}

func (d *Daemon) lookAgain() {
	d.agenda.idly(boottime()+int64(litterLook), func() {
		if footprint.Littered() {
			d.tidyIf(footprint.Littered) // another group of this process may be first
		}
		d.lookAgain()
	})
}

// shrink lets go of what the loop needed once: a change of sides of a thousand routers is
// some thousand actions in one step, and not again for months. It is for the end of a turn,
// when nothing of it is in use. There stays room for what an interval needs, an advert of
// each: a loop that has to make it has to help the collector, in the middle of its adverts.
func (d *Daemon) shrink() {
	d.shrinking = false
	n, frames := len(d.routers), min(len(d.routers), atOnce)
	if slices.ContainsFunc(d.routers, func(r *router) bool { return r.cfg.Beside2 }) {
		frames *= 2
	}
	d.events, d.results = roomFor(d.events, n), roomFor(d.results, n)
	d.actions, d.pieces.sorted = roomFor(d.actions, n), roomFor(d.pieces.sorted, n)
	d.batch, d.batched = roomFor(d.batch, frames), roomFor(d.batched, frames)
	d.calls, d.afterStep, d.pieces.left = nil, nil, nil
	d.inbox.shrink()
	d.announcer.shrink()
}

// roomFor is an empty slice with room for n, and not for many more.
func roomFor[T any](s []T, n int) []T {
	if cap(s) >= n && cap(s) <= 2*n {
		return s[:0]
	}
	return make([]T, 0, n)
}
