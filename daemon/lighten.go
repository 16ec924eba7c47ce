package daemon

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/lease"
)

// With adverts every 10 ms no deadline is ever far away, and clsact would cost a frame
// more than 150 ns (lease.Near). So there a guard changes over to TCX when it serves; an
// interface that is made again, and a guard that is repaired, begin on clsact and wait
// for nothing.
const (
	// lightRouters is how many virtual routers a process may have for that: each change
	// keeps the kernel's RTNL mutex from everybody for 20 ms, and so does the end of
	// the interface.
	lightRouters = 8
	// lightenPause is for how long nothing must have happened to guards, and no machine
	// have changed sides, before that is done.
	lightenPause = time.Second
)

// brief reports whether deadlines are near already when the next advert renews them.
func (d *Daemon) brief() bool {
	left := election.LeaseIntervals(d.cfg.LeaseIntervals, d.interval()) - 1
	return lease.Near(time.Duration(left) * d.interval())
}

// lightly reports whether guards are to change over.
func (d *Daemon) lightly() bool {
	return len(d.routers) > 0 && len(d.routers) <= lightRouters && d.brief()
}

// lightenSoon has guards changed over, one after the other, that it is worth for.
func (d *Daemon) lightenSoon() {
	if d.lightening || !d.lightly() {
		return
	}
	d.lightening = true
	began := d.board.Load()
	d.agenda.idly(boottime()+int64(lightenPause), func() {
		d.lightening = false
		if d.board.Load() != began {
			d.lightenSoon()
			return
		}
		d.lighten()
	})
}

// lighten has the worker do so for the next one, unless the kernel's mutex is needed for
// something else just now.
func (d *Daemon) lighten() {
	i := slices.IndexFunc(d.routers, func(r *router) bool {
		return r.guard != nil && r.index != 0 && r.guard != r.heavy && r.guard.Lighter()
	})
	if i < 0 || d.exit || !d.lightly() {
		return
	}
	r := d.routers[i]
	if !d.ready || d.heir != nil || !d.machine.Settled() || r.mending || r.prepared || r.lowering > 0 {
		d.lightenSoon()
		return
	}
	guard := r.guard
	r.mending = true
	d.work(func() {
		err := guard.Lighten()
		d.inbox.call(func() {
			r.mending = false
			d.lightened(r, guard, err)
		})
	})
}

// lightened: the guard has changed over, or will not.
func (d *Daemon) lightened(r *router, guard *lease.Guard, err error) {
	d.lightenSoon()
	switch {
	case r.guard != guard || r.index == 0 || errors.Is(err, unix.ENODEV):
		return
	case err != nil:
		r.heavy = guard
		d.log.Warn(fmt.Sprintf("lease: stays %v: %v", guard.Rung(), err), d.about(r)...)
	default:
		d.log.Info(fmt.Sprintf("lease: %v, which costs a frame less at adverts every %v", guard.Rung(), d.interval()), d.about(r)...)
	}
	d.checkGuard(r) // what was found meanwhile was left alone
}

// lookAtLight looks after an advert at a guard of which the kernel tells nobody. While
// the machine does not serve, nothing passes the interface, and who prepares looks (mended).
func (d *Daemon) lookAtLight(r *router) {
	// A loop that is about to stand still leaves the worker nothing to do.
	if r.guard != nil && r.guard.Light() && !d.standing {
		d.checkGuard(r)
	}
}

// awaitKernel has f done on the loop when nobody keeps the kernel's RTNL mutex any more.
// Whoever deletes an interface does so for 10 ms, and 20 ms longer if its guard is a light
// one, and at the beginning the kernel says that it has gone down: a loop that brought it
// up then would stand still for that long, and siblings that speak every 10 ms would take
// it for stuck.
func (d *Daemon) awaitKernel(r *router, f func()) {
	guard := r.guard
	d.work(func() {
		_ = guard.Verify()
		d.inbox.call(func() { d.afterStep = append(d.afterStep, f) })
	})
}
