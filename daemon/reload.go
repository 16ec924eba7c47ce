package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"vrrpd/accept"
	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/internal/child"
	"vrrpd/lease"
	"vrrpd/vrrp"
)

// A reload puts another configuration of the same group in force. What has not changed
// is not touched, and misses no advert; what can be changed in place is changed between
// two adverts; a virtual router that is removed hands over by itself, and one that is
// added listens before it joins: the machine does not move.
//
// It has three parts. plan compares and checks, and changes nothing: an error leaves
// everything as it was. begin changes what stays and has those leave that go. finish
// adds, when all of these have gone: a router that has got another name comes after the
// one of its VRID that had the old one.

// reload is what is under way. The loop owns it.
type reload struct {
	leaving int    // routers that have yet to go
	left    func() // told when there are none; nil: nobody waits
}

// plan is what a reload is going to do.
type plan struct {
	cfg    config.Config
	runAs  *child.Identity
	change map[*router]change
	retire []*router
	add    []change
	same   int
	checks []health.Check
	// checked: these are others than before
	checked bool
}

// change is a virtual router as it shall be.
type change struct {
	cfg           config.Router
	auth          vrrp.AuthConfig
	signer, judge *vrrp.Auth
}

// summary is what a plan comes to, in words.
func (p *plan) summary() string {
	text := p.routers()
	if p.checked {
		text += fmt.Sprintf("; checks changed, %d now", len(p.checks))
	}
	return text
}

func (p *plan) routers() string {
	if len(p.change)+len(p.retire)+len(p.add) == 0 {
		return fmt.Sprintf("%d virtual routers, none has changed", p.same)
	}
	return fmt.Sprintf("%d virtual routers added, %d removed, %d changed in place, %d unchanged", len(p.add), len(p.retire), len(p.change), p.same)
}

// routerKey is what makes a virtual router the same one after a reload.
type routerKey struct {
	parent, name string
	vrid, family uint8
	auth         vrrp.AuthKind
	noVMAC       bool
	beside2      bool
	filtered     string // virtual addresses, of a router that does not accept packets to them
	direct       string // the same of one without a virtual MAC, whose guard goes by them
	peers        string
}

func keyOf(r config.Router) routerKey {
	k := routerKey{r.Interface, r.Name, r.VRID, r.Family, r.Auth.Kind, r.NoVMAC, r.Beside2, "", "", fmt.Sprint(r.Peers)}
	if r.NoAccept && r.Priority != vrrp.PriorityOwner {
		k.filtered = fmt.Sprint(r.Addresses)
	}
	if r.NoVMAC {
		k.direct = fmt.Sprint(r.Addresses)
	}
	return k
}

// loopSays runs f on the loop and waits for it.
func (d *Daemon) loopSays(ctx context.Context, f func()) error {
	done := make(chan struct{})
	d.inbox.call(func() {
		f()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-d.done:
		return errors.New("vrrpd is stopping")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// plan compares a configuration with the present one, and checks on this machine what
// is new in it. moved are virtual routers that another group of this process has now.
func (d *Daemon) plan(ctx context.Context, cfg config.Config, moved func(config.Router) bool) (*plan, error) {
	p := &plan{cfg: cfg, runAs: d.runAs, change: map[*router]change{}}
	type present struct {
		*router
		asked config.Router
		auth  vrrp.AuthConfig
	}
	now := map[routerKey]present{}
	mtu := map[string]int{}
	var capacity int
	var was config.Config
	if err := d.loopSays(ctx, func() {
		for _, r := range d.routers {
			now[keyOf(*r.asked)] = present{r, *r.asked, r.auth.config}
		}
		was, capacity = d.cfg, d.group.Capacity()
		for _, link := range d.links {
			mtu[link.Name] = link.MTU
		}
		for _, p := range d.parents {
			mtu[p.configured] = p.link.MTU // it may have been renamed since
		}
	}); err != nil {
		return nil, err
	}
	if what := needsRestart(was, cfg); what != "" {
		return nil, fmt.Errorf("%s of group %s cannot be changed while it runs: restart vrrpd", what, d.instance)
	}
	if len(cfg.Routers) > capacity {
		return nil, fmt.Errorf("%d virtual routers in group %s are more than it has room for without a restart (%d)", len(cfg.Routers), d.instance, capacity)
	}
	if was.ScriptUser != cfg.ScriptUser {
		id, err := scriptUser(cfg.ScriptUser)
		if err != nil {
			return nil, err
		}
		p.runAs = id
	}
	var err error
	if p.checks, err = healthChecks(cfg, p.runAs); err != nil {
		return nil, err
	}
	for _, w := range checkDoubts(p.checks) {
		d.log.Warn(w, d.aboutMachine()...)
	}
	p.checked = !reflect.DeepEqual(was.Checks, cfg.Checks)
	look := d.hands.Checker()
	for _, c := range cfg.Routers {
		auth, err := c.AuthConfig(readKeyFile)
		if err != nil {
			return nil, err
		}
		to := change{cfg: c, auth: auth}
		if to.signer, to.judge, err = newAuth(auth); err != nil {
			return nil, config.UsageError(fmt.Sprintf("-a %s: %v", auth.Kind, err))
		}
		old, known := now[keyOf(c)]
		delete(now, keyOf(c))
		// The two are plain data, and a field that comes later must not be forgotten.
		switch {
		case known && reflect.DeepEqual(old.asked, c) && reflect.DeepEqual(old.auth, auth):
			p.same++
			continue
		case known:
			p.change[old.router] = to
		default:
			p.add = append(p.add, to)
		}
		if c.NoAccept {
			if err := accept.Available(); err != nil {
				return nil, config.UsageError(fmt.Sprintf("accept = false: packets to the virtual addresses are dropped by nftables, which is not to be had: %v", err))
			}
		}
		if d.guards.Rung() == lease.Nftables && c.Interval%time.Second != 0 {
			return nil, config.UsageError(fmt.Sprintf("interval %v: the lease in force (nftables) counts whole seconds; restart vrrpd for another one", c.Interval))
		}
		r := newRouter(0, &c, &parent{d: d, name: c.Interface, configured: c.Interface})
		r.auth.signer = to.signer
		if room, there := mtu[c.Interface]; there {
			if err := r.fits(room); err != nil {
				return nil, err
			}
		}
		if moved(c) {
			continue // it can only be judged when it has left there
		}
		if err := checkPeers(r); err != nil {
			return nil, err
		}
		warnings, err := d.checkCarrier(r, look)
		for _, w := range warnings {
			d.log.Warn(w, "interface", c.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, old := range now {
		p.retire = append(p.retire, old.router)
	}
	return p, nil
}

// needsRestart names what cannot be changed while a group runs.
func needsRestart(a, b config.Config) string {
	switch {
	case a.RunDir != b.RunDir:
		return "run_dir"
	case a.Lease != b.Lease:
		return "lease"
	case a.SocketGroup != b.SocketGroup:
		return "socket_group"
	case a.Realtime != b.Realtime:
		return "realtime"
	case a.LockMemory != b.LockMemory:
		return "lock_memory"
	case a.Metrics != b.Metrics:
		return "metrics"
	}
	return ""
}

// begin changes what stays, and has those leave that go; left is told when they have.
// It runs on the loop.
func (d *Daemon) begin(p *plan, left func()) {
	priority := d.configuredPriority()
	d.cfg, d.runAs, d.checks = p.cfg, p.runAs, p.checks
	d.applyChecks(health.Passing) // what is added does not move the machine
	d.announcer.refresh = int64(d.cfg.AnnounceRefresh)
	for r, to := range p.change {
		d.changeRouter(r, to)
	}
	for _, r := range p.retire {
		d.machine.Retire(boottime(), r.vr)
		r.announced = false // it lingers by itself; see announceAt
		d.announcer.stop(r)
	}
	if len(d.routers) > 0 {
		d.machine.Configure(d.electionConfig())
	}
	if d.configuredPriority() != priority {
		// What was set at run time was meant relative to what has been.
		d.results = append(d.results, election.Event{Kind: election.EvPriority})
	}
	d.reload = reload{leaving: len(p.retire), left: left}
	d.allLeft()
}

// configuredPriority is the group's as the user wrote it.
func (d *Daemon) configuredPriority() uint8 {
	priority := uint8(255)
	for _, r := range d.routers {
		priority = min(priority, r.cfg.Priority)
	}
	return priority
}

func (d *Daemon) allLeft() {
	if left := d.reload.left; d.reload.leaving == 0 && left != nil {
		d.reload.left = nil
		left()
	}
}

// gone: the router serves no more and is no member of the machine's any longer. Its
// interface goes when the addresses have been away for a moment, as ever.
func (d *Daemon) gone(r *router) {
	if r.masters > 0 && d.told.Serving() {
		d.postOwnHook(r, &election.Action{To: election.Backup, Reason: election.Stop})
	}
	d.log.Info("virtual router removed", d.about(r)...)
	d.announcer.stop(r)
	d.delist(r)
	d.renumber()
	iface, guard, filter, name := r.iface, r.guard, r.filter, r.cfg.Name
	r.iface, r.index, r.until, r.guard, r.filter = nil, 0, 0, nil, nil
	if d.settings != nil {
		d.settings.Forget(name)
	}
	closing := d.leaveParent(r.parent)
	r.closeAuth()
	d.ends.Go(r.end)
	d.agenda.add(boottime()+int64(downAfter), func() {
		d.work(func() {
			errs := []error{endCarrier(iface, guard)}
			if filter != nil {
				errs = append(errs, filter.Remove())
			}
			if err := errors.Join(append(errs, closing())...); err != nil {
				d.log.Error("cannot remove the virtual interface", "interface", name, "err", err)
			}
			d.inbox.call(func() {
				d.reload.leaving--
				d.allLeft()
			})
		})
	})
}

// leaveParent forgets a parent without virtual routers.
func (d *Daemon) leaveParent(p *parent) (closing func() error) {
	if len(p.routers) > 0 {
		return func() error { return nil }
	}
	d.parents = slices.DeleteFunc(d.parents, func(o *parent) bool { return o == p })
	if d.settings != nil {
		d.settings.Forget(p.name)
	}
	return p.detach()
}

// renumber follows the election in where it has each member's facts.
func (d *Daemon) renumber() {
	for _, r := range d.routers {
		if at := d.machine.Place(r.vr); at >= 0 && at != r.at {
			r.at = at
			d.identityChanged(r)
		}
	}
	d.group.Forget(len(d.routers))
}

// finish adds what is new; done is told what went wrong. It runs on the loop.
func (d *Daemon) finish(p *plan, done func(error)) {
	d.lightenSoon() // the interval, or the number of routers, may be another one
	if len(p.add) == 0 {
		d.hands.Expect(d.specs())
		done(nil)
		return
	}
	added, left := make([]*router, len(p.add)), accept.Left()
	for i := range p.add {
		to := &p.add[i]
		r := newRouter(d.freeVR(), &to.cfg, d.parentNamed(to.cfg.Interface))
		if c := to.cfg; c.Interface != r.parent.name {
			c.Interface = r.parent.name
			r.configure(&c)
		}
		r.late = true
		if err := d.chooseFilter(r, left); err != nil {
			d.fatal(err)
		}
		r.auth.config, r.auth.signer, r.rules.Auth = to.auth, to.signer, to.judge
		r.keepMarks()
		added[i] = r
	}
	d.hands.Expect(d.specs(added...))
	// Making interfaces takes a millisecond each, for which no advert waits.
	d.work(func() {
		carriers, errs := d.makeCarriers(added)
		guards := d.attachNew(carriers)
		for i, c := range carriers {
			if c != nil {
				if guards[i] == nil {
					guards[i], errs[i] = d.attach(added[i], c)
				}
				if f := added[i].filter; f != nil && errs[i] == nil {
					errs[i] = f.Install()
				}
			}
		}
		d.inbox.call(func() {
			for i, r := range added {
				d.join1(r, carriers[i], guards[i], errs[i])
			}
			for _, p := range slices.Clone(d.parents) {
				d.welcome(p, added)
			}
			d.machine.Configure(d.electionConfig())
			done(errors.Join(errs...))
		})
	})
}

// join1 makes an added router a member.
func (d *Daemon) join1(r *router, c carrier, guard *lease.Guard, err error) {
	d.enlist(r)
	if e := d.rememberNumbers(r); e != nil {
		err = errors.Join(err, e)
	}
	d.machine.Add(boottime(), r.vr, r.election())
	r.at = d.machine.Place(r.vr)
	d.identityChanged(r)
	d.startOwnHooks(r)
	d.log.Info(fmt.Sprintf("virtual router added, with %v", r.vips), d.about(r)...)
	if c != nil {
		r.iface, r.index = c, c.Index()
	}
	if err != nil {
		d.setFault(r, election.FaultInterface, true, err.Error())
		d.retryInterface(r)
		return
	}
	d.takeGuard(r, guard)
	d.log.Info(r.guardText(), d.about(r)...)
	d.followSettings(r)
}

// welcome makes a parent hear and speak for the routers that were added on it, and tells
// the election what it is like.
func (d *Daemon) welcome(p *parent, added []*router) {
	mine := slices.DeleteFunc(slices.Clone(added), func(r *router) bool { return r.parent != p })
	if len(mine) == 0 {
		return
	}
	if p.port == nil {
		for _, link := range d.links {
			if link.Name == p.configured {
				p.link = link
			}
		}
		if p.link.Index != 0 {
			if err := p.open(); err != nil {
				d.log.Error("cannot hear and speak on the parent interface", "parent", p.name, "err", err)
			}
		}
	} else if slices.ContainsFunc(mine, func(r *router) bool { return r.rules.Family == vrrp.IPv6 }) || !p.hearsAll() {
		d.reopen6(p)
	}
	d.judgeParent(p)
}

// hearsAll reports whether the sockets are those of every family that is spoken.
func (p *parent) hearsAll() bool {
	families, _ := p.families()
	unicast, ungrouped := p.manners()
	return !slices.ContainsFunc(families, func(f uint8) bool { return !slices.Contains(p.heard, f) }) &&
		slices.Equal(unicast, p.unicast) && slices.Equal(ungrouped, p.ungrouped)
}

// promotedAlone runs the command of a router that joins a MASTER: for the others there
// is nothing to run.
func (d *Daemon) promotedAlone(r *router, a *election.Action) {
	if !r.late {
		return
	}
	r.late, r.hookedIn = false, a.Epoch
	d.postOwnHook(r, &election.Action{Up: true, To: election.Master, Reason: d.board.Load().Reason()})
}
