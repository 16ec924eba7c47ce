package daemon

import (
	"context"
	"fmt"

	"vrrpd/accept"
	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/vrrp"
)

// accepts is Accept_Mode: this machine, when MASTER, takes packets to the virtual
// addresses. The owner always does (RFC 9568 section 6.1).
func (r *router) accepts() bool { return accepts(r.cfg) }

// accepts is the same for who has the configuration only.
func accepts(c *config.Router) bool { return !c.NoAccept || c.Priority == vrrp.PriorityOwner }

// checkAccept refuses --no-accept where nothing can be filtered. It changes nothing.
func (d *Daemon) checkAccept() error {
	for _, r := range d.routers {
		if r.accepts() {
			continue
		}
		if err := accept.Available(); err != nil {
			return config.UsageError(fmt.Sprintf("--no-accept: packets to the virtual addresses are dropped by nftables, which is not to be had: %v; without that option they are accepted", err))
		}
		return nil
	}
	return nil
}

// filter has what is sent to the virtual addresses dropped from before they are there
// until they have gone, where they are not accepted, and takes away what a dead instance
// with other options has left.
func (d *Daemon) filter(later func(func())) error {
	if err := accept.Sweep(); err != nil {
		d.log.Warn("cannot remove what dead instances have left", "err", err)
	}
	later(d.removeFilters)
	left := accept.Left()
	for _, r := range d.routers {
		if err := d.chooseFilter(r, left); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) removeFilters() {
	for _, r := range d.routers {
		if r.filter == nil {
			continue
		}
		if err := r.filter.Remove(); err != nil {
			d.log.Error("cannot remove the filter", d.about(r, "err", err)...)
		}
	}
}

// chooseFilter gives a router the filter that it needs; ensured installs it. left are
// those that dead instances have left.
func (d *Daemon) chooseFilter(r *router, left accept.Leftovers) error {
	f := accept.New(r.cfg.Name, r.vips)
	if r.accepts() {
		if !left.Has(f) {
			return nil
		}
		if err := f.Remove(); err != nil {
			d.log.Error("cannot remove a filter that a dead instance has left: packets to the virtual addresses may be dropped", d.about(r, "err", err)...)
		}
		return nil
	}
	if err := d.watchFilters(); err != nil {
		return err
	}
	r.filter = f
	return nil
}

// watchFilters begins to listen for what others do to filters.
func (d *Daemon) watchFilters() error {
	if d.watchingFilters {
		return nil
	}
	w, err := accept.Watch()
	if err != nil {
		return err
	}
	d.watchingFilters = true
	hint := d.hints(d.filtersTouched)
	d.goRead(d.later, func(ctx context.Context) error {
		return w.Run(ctx, func(name string) { hint(0, name) })
	})
	return nil
}

// filtersTouched: something has happened to filters.
func (d *Daemon) filtersTouched(about hints) {
	for _, r := range d.routers {
		if about.has(0, r.cfg.Name) {
			d.checkFilter(r)
		}
	}
}

// checkFilter has the worker see whether the filter is in place: that may wait for the
// kernel.
func (d *Daemon) checkFilter(r *router) {
	f := r.filter
	if f == nil || !r.filterChecking.CompareAndSwap(false, true) {
		return
	}
	d.work(func() {
		r.filterChecking.Store(false) // what happens from here on is another occasion
		if found := f.Verify(); found != nil {
			d.inbox.call(func() { d.filterBroken(r, found) })
		}
	})
}

// filterBroken has the worker put the filter back. If that cannot be done, the machine
// must not serve: it would take what is not for it.
func (d *Daemon) filterBroken(r *router, found error) {
	if r.filterMending || !d.mayRepair(r, found.Error()) {
		return
	}
	r.filterMending = true
	d.work(func() {
		err := r.filter.Install()
		d.inbox.call(func() {
			r.filterMending = false
			if err != nil {
				d.setFault(r, election.FaultInterface, true, err.Error())
				d.retryInterface(r)
				return
			}
			d.checkFilter(r) // what was found meanwhile was left alone
		})
	})
}
