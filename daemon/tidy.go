package daemon

import (
	"time"

	"vrrpd/internal/footprint"
)

const (
	// manyRouters make a start, or a change of sides, that leaves much garbage.
	manyRouters = 50
	// tidyAfter is when that is over.
	tidyAfter = 5 * time.Second
	// garbageEach is how much garbage a change of sides makes per virtual router, when it is
	// asked for its state meanwhile and has commands to run (measured: 50 KiB); garbageMost
	// bounds the sum.
	garbageEach = 64 << 10
	garbageMost = 64 << 20
	// litterLook is how often it is looked whether questions have left garbage.
	litterLook = time.Minute
)

// tidyLater gives memory back to the machine when things are quiet again: a start, or a
// change of sides, uses much of the program for a moment, and of many virtual routers makes
// as much garbage as the daemon does in hours otherwise. Where that is little it is left
// alone, because to collect it stops the world. Memory that is locked stays.
func (d *Daemon) tidyLater() {
	many := len(d.routers) >= manyRouters
	if d.tidying || d.cfg.LockMemory && !many {
		return
	}
	d.tidying = true
	if many {
		d.agenda.idly(boottime()+int64(tidyAfter), d.shrink)
	}
	headroom := min(uint64(len(d.routers))*garbageEach, garbageMost)
	give := footprint.Release
	switch {
	case d.cfg.LockMemory:
		give = func() error { footprint.Sweep(headroom); return nil }
	case many:
		give = func() error { return footprint.Rest(headroom) }
	}
	// When the loop has got again what it needs all the time.
	d.agenda.idly(boottime()+int64(tidyAfter)+int64(d.interval())+int64(time.Second/2), func() {
		d.tidying = false
		d.work(func() {
			if err := give(); err != nil {
				d.log.Debug("memory is not given back", "err", err)
			}
		})
		if many && !d.looking {
			d.looking = true
			d.lookForLitter()
		}
	})
}

// lookForLitter has the garbage swept that gathers in a process that hardly makes any: the
// collector runs by itself when there is a lot only.
func (d *Daemon) lookForLitter() {
	d.agenda.idly(boottime()+int64(litterLook), func() {
		if footprint.Littered() {
			d.tidyLater()
		}
		d.lookForLitter()
	})
}

// shrink lets go of what the loop needed once: a change of sides of a thousand routers is
// some thousand actions in one step, and not again for months.
func (d *Daemon) shrink() {
	d.events, d.calls = nil, nil
	if len(d.actions)+len(d.afterStep) == 0 {
		d.actions, d.afterStep = nil, nil
	}
	if len(d.results) == 0 {
		d.results = nil
	}
	d.inbox.shrink()
}
