package daemon

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/lease"
)

// With adverts every few ticks of the kernel (every 10 ms, with ticks of 4) no deadline is
// ever far away, and clsact would cost a frame more than 150 ns (lease.Near). So there a
// guard changes over to TCX when it serves; an interface that is made again, and a guard
// that is repaired, begin on clsact and wait for nothing.
const (
	// lightRouters is how many virtual routers with such intervals a process may have for
	// that, in all of its groups: each change keeps the kernel's RTNL mutex from everybody
	// for 20 ms, a grace period at a time, and so does the end of the interface. As many
	// send 6,400 adverts a second.
	lightRouters = 64
	// lightenPause is for how long nothing must have happened to guards, and no machine
	// have changed sides, before that is done.
	lightenPause = time.Second
	// lightRepairs within repairWindow are enough: a light guard that somebody takes away
	// again and again stays on clsact. There is no end to making it light otherwise, until
	// the repairs are a fault.
	lightRepairs = 2
	// glanceStep is the least time between two looks at light guards, on the average: one
	// takes the RTNL mutex for a moment, and 7 us of a processor.
	glanceStep = time.Millisecond
)

// lights is what the groups of a process share about light guards.
type lights struct {
	routers atomic.Int32 // with intervals that they are for
	busy    atomic.Bool  // one changes over
}

// brief reports whether deadlines are near already when the next advert renews them.
func (d *Daemon) brief() bool {
	left := election.LeaseIntervals(d.cfg.LeaseIntervals, d.interval()) - 1
	return lease.Near(time.Duration(left) * d.interval())
}

// lightly reports whether guards are to change over.
func (d *Daemon) lightly() bool {
	var n int32
	if len(d.routers) > 0 && d.brief() {
		n = int32(len(d.routers))
	}
	all := d.countLight(n)
	return n > 0 && all <= lightRouters
}

// countLight notes how many virtual routers of this group light guards are for, and
// returns how many the process has.
func (d *Daemon) countLight(n int32) (all int32) {
	more := n - d.lightCount
	d.lightCount = n
	return d.opt.lights.routers.Add(more)
}

// lightenSoon has guards changed over, one after the other, that it is worth for.
func (d *Daemon) lightenSoon() {
	if lightly := d.lightly(); d.lightening || !lightly {
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
	if !d.ready || d.heir != nil || !d.machine.Settled() || r.mending || r.prepared || r.lowering > 0 || !d.opt.lights.busy.CompareAndSwap(false, true) {
		d.lightenSoon()
		return
	}
	guard := r.guard
	r.mending = true
	d.work(func() {
		err := guard.Lighten()
		d.opt.lights.busy.Store(false)
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
	case errors.Is(err, lease.ErrTaken):
		d.log.Warn(fmt.Sprintf("lease: %v for now: %v", guard.Rung(), err), d.about(r)...)
		d.lightHarmed(r)
	case err != nil:
		r.heavy = guard
		d.log.Warn(fmt.Sprintf("lease: stays %v: %v", guard.Rung(), err), d.about(r)...)
	default:
		d.log.Info(fmt.Sprintf("lease: %v, which costs a frame less at adverts every %v", guard.Rung(), d.interval()), d.about(r)...)
	}
	d.checkGuard(r) // what was found meanwhile was left alone
}

// lightHarmed: somebody has taken a light guard away.
func (d *Daemon) lightHarmed(r *router) {
	now := boottime()
	if r.harmed.guard != r.guard || now-r.harmed.since > int64(repairWindow) {
		r.harmed = harmed{guard: r.guard, since: now}
	}
	if r.harmed.times++; r.harmed.times >= lightRepairs && r.heavy != r.guard {
		r.heavy = r.guard
		d.log.Warn(fmt.Sprintf("lease: stays clsact from here on: tcx was taken away %d times within %v", r.harmed.times, repairWindow), d.about(r)...)
	}
}

// harmed counts what was done to a light guard.
type harmed struct {
	guard *lease.Guard
	times int
	since int64 // boottime ns
}

// lookAtLight looks after an advert at a guard of which the kernel tells nobody. While
// the machine does not serve, nothing passes the interface, and who prepares looks (mended).
func (d *Daemon) lookAtLight(r *router, now int64) {
	// A loop that is about to stand still leaves the worker nothing to do.
	if r.guard != nil && r.guard.Light() && !d.standing && d.mayGlance(r, now) {
		d.checkGuardBy(r, (*lease.Guard).Glance)
	}
}

// mayGlance reports whether a router's guard may be looked at again.
func (d *Daemon) mayGlance(r *router, now int64) bool {
	if now-r.glanced < int64(len(d.routers))*int64(glanceStep) {
		return false
	}
	r.glanced = now
	return true
}

// goes: the interface was deleted or has gone down, which is how its deletion begins.
func (r *router) goes() { r.going = r.guard != nil && (r.going || r.guard.Light()) }

// awaitKernel has f done on the loop when nobody keeps the kernel's RTNL mutex any more.
// Whoever deletes an interface with a light guard does so for 30 ms, 10 of which it takes
// without one, and at the beginning the kernel says that it has gone down: a loop that
// brought it up then would stand still for that long, and siblings that speak every 10 ms
// would take it for stuck. By then the router may have been removed.
func (d *Daemon) awaitKernel(r *router, f func()) {
	guard := r.guard
	d.work(func() {
		_ = guard.Verify()
		d.inbox.call(func() { d.afterStep = append(d.afterStep, f) })
	})
}
