package daemon

import (
	"time"

	"vrrpd/internal/reexec"
	"vrrpd/rtnl"
	"vrrpd/vmacif"
)

// settleIn does what could wait, in the order of how soon it is missed. It runs beside
// the loop.
func (d *Daemon) settleIn(h *heir, names []string) {
	var past history
	if err := h.state.Part(historyPart+d.instance, &past); err != nil {
		d.log.Error(err.Error())
	}
	watcher, err := rtnl.Open(rtnl.Config{Known: rtnl.Known{Links: past.Links, Addrs: past.Addrs}})
	if err != nil {
		d.inbox.call(func() { d.fatal(err) })
		return
	}
	looked := make(chan struct{})
	d.inbox.call(func() {
		d.recall(h, &past)
		d.followKernel(watcher, d.later, func(changed []rtnl.Change) {
			d.inbox.call(func() { d.kernel(changed) })
			close(looked)
		}, func(error) {})
	})
	select {
	case <-looked:
	case <-d.done:
		return
	}
	h.state.CloseLate() // or there may be no inotify instance left
	settings, failed := vmacif.WatchSettings()
	for _, name := range names {
		if failed == nil {
			failed = settings.Follow(name)
		}
	}
	d.reap(h.state)
	d.inbox.call(func() {
		if settings != nil {
			d.hearSettings(settings, d.later)
		}
		if failed != nil {
			d.log.Error("nobody will notice if somebody changes sysctls of the interfaces", "err", failed)
		}
		d.settledIn(h)
	})
}

// reapPatience is how long the end of the last program's commands is waited for, which
// were killed: one may hang in the kernel, and the other checks shall run.
const reapPatience = time.Second

// reap ends the commands of the last program before the same checks are run again.
func (d *Daemon) reap(s *reexec.State) {
	reaped := make(chan struct{})
	go func() {
		defer close(reaped)
		s.Reap()
	}()
	limit := time.NewTimer(reapPatience)
	defer limit.Stop()
	select {
	case <-reaped:
	case <-limit.C:
	case <-d.done:
	}
}

// recall goes on with what is known of the past.
func (d *Daemon) recall(from *heir, h *history) {
	d.started = h.Started
	d.history = append(h.Transitions, d.history...)
	d.history = d.history[max(0, len(d.history)-historyLength):]
	since := d.counts
	d.counts = h.Counts
	for _, c := range since {
		d.count(c)
	}
	d.alarms = append(h.Alarms, d.alarms...)
	for _, one := range h.Hooks {
		key := hookKey{one.Interface, one.Up}
		if d.hookLog[key] == nil {
			d.hookLog[key] = &one.Result
		}
	}
	for _, l := range h.Links {
		d.links.Set(l)
	}
	for _, a := range h.Addrs {
		d.addrs[a.Index] = append(d.addrs[a.Index], a)
	}
	for _, o := range h.Oddities {
		d.recallOddity(from, o)
	}
	d.know()
}

// recallOddity goes on with what people know of a peer.
func (d *Daemon) recallOddity(h *heir, o keptOddity) {
	for r, k := range h.routers {
		if k.Parent != o.Parent || k.VRID != o.RouterVRID || k.Family != o.RouterFamily {
			continue
		}
		p, n := r.parent, note{oddity(o.What), o.VRID, o.Src}
		p.mu.Lock()
		c := p.crowd(n.kind())
		if p.noted[n] == nil && c.sources < sourcesLimit {
			s := &sighting{
				router: r, active: o.Active, told: o.Told, named: o.Named, begun: o.Begun, since: o.Since, seen: o.Seen, quiet: o.Quiet,
				count: o.Count, words: words{o.Words, o.Do},
			}
			p.noted[n] = s
			c.sources++
			if s.active && s.named {
				c.named++
			}
		}
		p.mu.Unlock()
		d.watchOddities()
	}
}

// settledIn: the kernel has said what has changed since; what is left is what nobody is
// in a hurry for.
func (d *Daemon) settledIn(h *heir) {
	d.heir = nil
	for _, r := range d.routers {
		if r.guard != nil {
			d.takeGuard(r, r.guard)
		}
		if r.filter != nil {
			if err := d.watchFilters(); err != nil {
				d.log.Error("nobody will notice if somebody changes the filters", "err", err)
			}
			d.checkFilter(r)
		}
		// Whoever has taken us for stuck has put another guard in the place of ours, and
		// nobody has listened.
		d.checkGuard(r)
	}
	for i := range d.checks {
		if name := d.checks[i].Interface; name != "" {
			d.tellInterface(name)
		}
	}
	d.runChecks(d.later)
	if err := d.realtime.Favour(); err != nil {
		d.log.Warn(err.Error(), d.aboutMachine()...)
	}
	d.notifyStatus()
	h.done(h.replaced)
	d.opt.Ready()
	d.tidyLater()
}
