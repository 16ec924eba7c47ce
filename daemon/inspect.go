package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"

	"vrrpd/election"
	"vrrpd/vmacif"
)

// watchSettings begins to listen for changes of sysctls by others.
func (d *Daemon) watchSettings(later func(func())) {
	w, err := vmacif.WatchSettings()
	if err != nil {
		d.log.Error("nobody will notice if somebody changes sysctls of the interfaces", "err", err)
		return
	}
	d.hearSettings(w, later)
}

func (d *Daemon) hearSettings(w *vmacif.SettingsWatch, later func(func())) {
	d.settings = w
	later(func() { _ = w.Close() })
	d.goRead(later, func(ctx context.Context) error {
		return w.Run(ctx, func(index int, name string) { d.inbox.call(func() { d.settingsTouched(index, name) }) })
	})
}

// followSettings has the settings of an interface and its parent watched, which
// have just been made or renamed, and looks at what was changed until now.
func (d *Daemon) followSettings(r *router) {
	if d.settings == nil {
		return
	}
	for _, name := range [...]string{r.parent.name, r.cfg.Name} {
		if err := d.settings.Follow(name); err != nil {
			d.log.Error("nobody will notice if somebody changes sysctls", d.about(r, "err", err)...)
		}
	}
	d.inspect(r)
}

// settingsTouched: settings of an interface have been written, perhaps by our own
// hand.
func (d *Daemon) settingsTouched(index int, name string) {
	for _, r := range d.routers {
		all := index == 0 && name == ""
		if all || index != 0 && (index == r.index || index == r.parent.link.Index) || name != "" && (name == r.cfg.Name || name == r.parent.name) {
			d.inspect(r)
		}
	}
}

// inspect has the worker see whether somebody has changed the interface or its
// settings: reading them takes too long for the loop, and may wait for the kernel.
func (d *Daemon) inspect(r *router) {
	iface, round := r.iface, r.round
	if iface == nil || r.index == 0 || !r.inspecting.CompareAndSwap(false, true) {
		return
	}
	d.work(func() {
		r.inspecting.Store(false) // what happens from here on is another occasion
		found, err := iface.Inspect()
		switch {
		case errors.Is(err, vmacif.ErrGone):
			// rtnl says the same.
		case err != nil:
			d.log.Debug("cannot look at the interface", d.about(r, "err", err)...)
		case found.Any():
			d.inbox.call(func() { d.inspected(r, iface, round, found) })
		}
	})
}

// inspected judges what the worker has seen.
func (d *Daemon) inspected(r *router, iface carrier, round uint64, found vmacif.Found) {
	if r.iface != iface || r.index == 0 {
		return
	}
	if r.round != round {
		// Our own hand was in it meanwhile.
		d.inspect(r)
		return
	}
	if r.up() && len(found.Service) > 0 {
		d.repair(r, strings.Join(found.Service, ", "))
	}
	todo, right := found.Form, iface.Reform
	if !r.up() {
		todo, right = slices.Concat(found.Form, found.Service), iface.Reconcile
	}
	if len(todo) == 0 || r.reforming || !d.mayRepair(r, strings.Join(todo, ", ")) {
		return
	}
	// Not on the loop: it may wait for the kernel. It makes no interface serve, so
	// it is right in whatever epoch.
	r.reforming = true
	d.work(func() {
		_, err := right()
		d.inbox.call(func() {
			r.reforming = false
			d.reformed(r, iface, err)
		})
	})
}

// reformed looks once more, because what was found meanwhile was left alone, and
// makes a repair that does not succeed a fault. The next attempt makes the
// interface anew.
func (d *Daemon) reformed(r *router, iface carrier, err error) {
	switch {
	case r.iface != iface || r.index == 0 || errors.Is(err, vmacif.ErrGone):
	case err != nil:
		d.setFault(r, election.FaultInterface, true, err.Error())
		d.retryInterface(r)
	default:
		d.inspect(r)
		// Perhaps nobody was answered meanwhile, or wrongly. Not before the election
		// has judged what else there is.
		d.afterStep = append(d.afterStep, func() {
			if r.announced && !d.passed(d.machine.View().Word.Epoch()) {
				d.announceAll(r)
			}
		})
	}
}
