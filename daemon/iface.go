package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vrrpd/election"
	"vrrpd/lease"
)

const (
	// inspectFirst is when interfaces that were made at the start are looked at, for
	// what was done to them before anybody watched them. A thousand have other things
	// to do just then.
	inspectFirst = time.Second
	// retryAfter is how long a virtual interface that cannot be set up is left
	// alone before the next attempt.
	retryAfter = 5 * time.Second
	// repairLimit is how many repairs in repairWindow are a fault: something
	// fights us.
	repairLimit  = 20
	repairWindow = time.Minute
)

// ensure makes the virtual interface of a router stand, down and empty, behind a
// closed guard, and with the filter of --no-accept in force.
func (d *Daemon) ensure(r *router) error {
	c, err := d.makeCarrier(r)
	if err := d.ensured(r, c, nil, err); err != nil {
		return err
	}
	d.followSettings(r)
	return nil
}

// ensureAll does so for many, and ends with the first that cannot be had.
func (d *Daemon) ensureAll(routers []*router) error {
	made, errs := d.makeCarriers(routers)
	guards := d.attachNew(made)
	for i, r := range routers {
		if err := d.ensured(r, made[i], guards[i], errs[i]); err != nil {
			return err
		}
	}
	d.followAll(routers, func() {
		d.agenda.add(boottime()+int64(inspectFirst), func() { d.inspectAll(slices.Clone(d.routers), func() {}) })
	})
	return nil
}

// ensured takes what was made to carry the addresses, or was not, with its guard if it
// has one already.
func (d *Daemon) ensured(r *router, c carrier, guard *lease.Guard, err error) error {
	if err == nil {
		r.iface, r.index = c, c.Index()
		if guard == nil {
			err = d.attachGuard(r)
		} else {
			d.takeGuard(r, guard)
		}
	}
	if err == nil && r.filter != nil {
		err = r.filter.Install()
	}
	r.round++
	if err != nil {
		d.setFault(r, election.FaultInterface, true, err.Error())
		d.retryInterface(r)
		return err
	}
	d.setFault(r, election.FaultInterface, false, "")
	return nil
}

// retryInterface tries again later, as long as the parent exists.
func (d *Daemon) retryInterface(r *router) {
	if r.retrying {
		return
	}
	r.retrying = true
	d.agenda.idly(boottime()+int64(retryAfter), func() {
		r.retrying = false
		if d.isOurs(r) && r.parent.port != nil && r.faults&election.FaultInterface != 0 {
			_ = d.ensure(r) // it reports, and comes back here
		}
	})
}

// counted counts a repair; more than repairLimit are a fault.
func (d *Daemon) counted(r *router, found string) bool {
	now := boottime()
	if now-r.repairsSince > int64(repairWindow) {
		r.repairs, r.repairsSince = 0, now
	}
	r.repairs++
	if r.repairs > repairLimit {
		d.setFault(r, election.FaultInterface, true, fmt.Sprintf("%s, %d repairs within %v: something fights us", found, repairLimit, repairWindow))
		d.retryInterface(r)
		return false
	}
	return true
}

// mayRepair counts and journals a repair that is about to be made.
func (d *Daemon) mayRepair(r *router, found string) bool {
	if !d.counted(r, found) {
		return false
	}
	r.repaired++
	d.log.Warn("repairing: "+found, d.about(r)...)
	return true
}

// repair puts right what somebody else has done to the service of an interface,
// or that it was deleted, without leaving the state.
func (d *Daemon) repair(r *router, found string) {
	// Several things are often found at once (an interface that goes, and one of
	// IPv6 that is taken down, loses all of its addresses): one repair for all of
	// them, in this turn, under the epoch of this turn; or in the turn in which the
	// kernel is to be had again, under that one's.
	if !r.repairPending && !d.counted(r, found) {
		return
	}
	if !slices.Contains(r.found, found) {
		r.found = append(r.found, found)
	}
	if !r.repairPending {
		r.repairPending = true
		d.afterStep = append(d.afterStep, func() {
			if r.going && r.guard != nil {
				d.awaitKernel(r, func() { d.repairNow(r) })
				return
			}
			d.repairNow(r)
		})
	}
}

// repairNow runs when the election has judged what else there is.
func (d *Daemon) repairNow(r *router) {
	if !d.isOurs(r) {
		return
	}
	// What was found may have been the parent's fault, or the machine may have
	// left meanwhile; then there is nothing to repair.
	if r.parent.link.Index == 0 || r.index != 0 && !r.up() {
		r.repairPending, r.going, r.found = false, false, nil
		return
	}
	epoch := d.machine.View().Word.Epoch()
	if r.up() && d.passed(epoch) {
		// Another process has changed the machine just now. What it needs is seen
		// when that is obeyed, in the turn to come.
		d.inbox.call(func() { d.afterStep = append(d.afterStep, func() { d.repairNow(r) }) })
		return
	}
	r.repaired++
	d.log.Warn("repairing: "+strings.Join(r.found, ", "), d.about(r)...)
	r.repairPending, r.going, r.found = false, false, nil
	if r.index == 0 && d.ensure(r) != nil {
		return
	}
	if !r.up() || !d.raise(r) {
		return
	}
	d.reopen(r, epoch)
	if r.announced {
		d.announceAll(r)
	}
}
