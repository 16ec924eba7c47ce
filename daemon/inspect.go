package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

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
	hint := d.hints(func(about hints) { d.inspectAll(d.routersOf(about), func() {}) })
	d.goRead(later, func(ctx context.Context) error { return w.Run(ctx, hint) })
}

// followSettings has the settings of an interface and its parent watched, which
// have just been made or renamed, and looks at what was changed until now.
func (d *Daemon) followSettings(r *router) {
	d.followAll([]*router{r}, func() { d.inspect(r) })
}

// followAll has the worker do so for many; then runs on the loop when they are watched.
func (d *Daemon) followAll(routers []*router, then func()) {
	if d.settings == nil {
		return
	}
	var names []string
	known := make(map[string]bool)
	for _, r := range routers {
		for _, name := range [...]string{r.parent.name, r.cfg.Name} {
			if !known[name] {
				known[name] = true
				names = append(names, name)
			}
		}
	}
	d.work(func() {
		for _, name := range names {
			select {
			case <-d.done:
				return // it is closed, or about to be
			default:
			}
			if err := d.settings.Follow(name); err != nil {
				d.log.Error("nobody will notice if somebody changes sysctls", "interface", name, "err", err)
			}
		}
		d.inbox.call(then)
	})
}

const (
	// inspectedAtOnce interfaces are looked at in a row, then others get a chance: the
	// looks of a thousand would keep the kernel's RTNL mutex and a processor busy for
	// 0.1 s, perhaps that in which they are to serve.
	inspectedAtOnce = 20
	inspectPause    = 10 * time.Millisecond
)

// inspectAll looks at many, some at a time, and calls then when the last look is on the
// worker's list.
func (d *Daemon) inspectAll(routers []*router, then func()) {
	n := min(len(routers), inspectedAtOnce)
	for _, r := range routers[:n] {
		d.inspect(r)
	}
	if len(routers) == n {
		then()
		return
	}
	d.agenda.add(boottime()+int64(inspectPause), func() { d.inspectAll(routers[n:], then) })
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
