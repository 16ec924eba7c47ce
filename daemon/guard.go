package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/lease"
	"vrrpd/vmacif"
)

// openGuards chooses among the kinds of lease that this machine has. It changes
// nothing.
func (d *Daemon) openGuards() error {
	c := lease.Config{Interval: d.interval()}
	if word := d.cfg.Lease; word != "" {
		rung, err := lease.ParseRung(word)
		if err != nil {
			return config.UsageError("--lease: " + err.Error())
		}
		c.Ladder = []lease.Rung{rung}
	}
	guards, err := lease.Open(c)
	switch {
	case err == nil:
		d.guards = guards
		return nil
	case d.cfg.Lease != "":
		return config.UsageError(fmt.Sprintf("--lease %s: %v; without that option the best that can be had is taken", d.cfg.Lease, err))
	}
	return err
}

// attachGuard puts a closed guard on an interface that was just made: down and
// empty. A guard that a dead instance has left there is replaced. The guard of an
// interface that is made again is another one, because the kernel goes by the
// index; nothing but the next advert that is sent opens it, or reopen.
func (d *Daemon) attachGuard(r *router) error {
	if r.guard != nil {
		// It may be on nothing any more.
		_ = r.guard.Close()
	}
	guard, err := d.attach(r, r.iface)
	if errors.Is(err, lease.ErrStale) && !r.cfg.NoVMAC {
		// Only the end of the interface is the end of that guard.
		if guard, err = d.attachAnew(r); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	d.takeGuard(r, guard)
	return nil
}

// takeGuard gives a router its guard, and says so if it is of another rung than the one
// before it. What the first one is is said when it can be said of all.
func (d *Daemon) takeGuard(r *router, guard *lease.Guard) {
	r.guard = guard
	was := r.rung
	if r.rung = guard.Rung(); guard.Light() {
		r.rung = lease.Clsact
	}
	switch {
	case was == 0 || was == r.rung:
	case was < r.rung:
		d.log.Warn(r.guardText(), d.about(r)...)
	default:
		d.log.Info(r.guardText(), d.about(r)...)
	}
	d.watchGuards(guard.Rung())
	d.lightenSoon()
}

func (d *Daemon) attachAnew(r *router) (*lease.Guard, error) {
	if err := r.iface.Delete(); err != nil {
		return nil, err
	}
	c, err := d.makeCarrier(r)
	if err != nil {
		return nil, err
	}
	r.iface, r.index = c, c.Index()
	return d.attach(r, c)
}

// guarded reports whether every virtual interface has a guard that silences it:
// only then may an interface be prepared before the first advert.
func (d *Daemon) guarded() bool {
	for _, r := range d.routers {
		if !r.guarded() {
			return false
		}
	}
	return true
}

func (r *router) guarded() bool { return r.guard != nil && r.guard.Rung() != lease.None }

// sayGuards says what silences this machine if vrrpd does not, and why nothing better
// does: in one line for each virtual router, or for all if it is the same.
func (d *Daemon) sayGuards() {
	texts := make(map[string]int)
	for _, r := range d.routers {
		texts[r.guardText()]++
	}
	if n := len(d.routers); n > 1 && len(texts) == 1 {
		d.log.Info(fmt.Sprintf("%s, of all %d virtual routers", d.first().guardText(), n), d.aboutMachine()...)
		return
	}
	for _, r := range d.routers {
		d.log.Info(r.guardText(), d.about(r)...)
	}
}

// guardText is what there is to say of the guard of a router.
func (r *router) guardText() string {
	text := "lease: " + r.guard.Rung().String()
	if !r.guarded() {
		text += ", so that a machine whose vrrpd hangs or is killed goes on answering"
	}
	if why := skippedText(r.guard); len(why) > 0 {
		text += " (" + strings.Join(why, "; ") + ")"
	}
	return text
}

// skippedText tells why each better kind of lease is not the one in force.
func skippedText(g *lease.Guard) []string {
	var all []string
	for _, s := range g.Skipped() {
		all = append(all, strings.ReplaceAll(s.String(), "\n", "; "))
	}
	return all
}

// renew lets the interface serve until a deadline, unless this machine has
// changed since that was decided.
//
// A process can be stopped between the check and the store, and then do the store
// at any later time, when another process has taken this machine out of service.
// That opens nothing that would not have been open anyway: the deadline is
// absolute, and follows from the clock that was read before an advert that has
// really left, so the peers wait for longer than that, whenever it is stored. The
// guard is then open for the rest of a lease at most, as it is after any other
// way of being stopped; and where a survivor has already put its own, closed,
// guard in the place of ours, what is stored here concerns nobody.
func (d *Daemon) renew(r *router, epoch uint64, until int64) {
	if r.guard == nil || d.passed(epoch) {
		return
	}
	r.until = until
	if err := r.guard.Renew(until); err != nil {
		d.log.Debug("lease not renewed", d.about(r, "err", err)...)
		d.checkGuard(r)
	}
}

// closeGuard silences the interface, now.
func (d *Daemon) closeGuard(r *router) {
	r.until = 0
	if r.guard == nil {
		return
	}
	if err := r.guard.Close(); err != nil {
		d.log.Debug("guard not closed", d.about(r, "err", err)...)
	}
}

// reopen gives the guard of an interface that was made again what was left of the
// lease of the one before it.
func (d *Daemon) reopen(r *router, epoch uint64) {
	if r.until != 0 {
		d.renew(r, epoch, r.until)
	}
}

// preparedAtOnce is how many interfaces are set up before the loop looks again whether
// it is still to be done: 3 ms.
const preparedAtOnce = 64

// prepareAll sets interfaces up behind their closed guards.
func (d *Daemon) prepareAll(run []election.Action) {
	for some := range slices.Chunk(run, preparedAtOnce) {
		var ifaces []*vmacif.Iface
		var whose []*router
		for _, a := range some {
			r := d.byVR[a.VR]
			if d.passed(a.Epoch) {
				continue
			}
			d.closeGuard(r)
			iface, own := r.iface.(*vmacif.Iface)
			switch {
			case !r.guarded(): // it is set up after the first advert, as ever
				d.isPrepared(r, a.Epoch)
			case !d.mended(r):
			case own:
				r.round++
				ifaces, whose = append(ifaces, iface), append(whose, r)
			case d.raise(r):
				r.prepared = true
				d.isPrepared(r, a.Epoch)
			}
		}
		for n, err := range d.hands.UpAll(context.Background(), ifaces) {
			if r := whose[n]; d.raised(r, err) {
				r.prepared = true
				d.isPrepared(r, some[0].Epoch)
			}
		}
	}
}

// isPrepared tells the election so.
func (d *Daemon) isPrepared(r *router, epoch uint64) {
	d.results = append(d.results, election.Event{Kind: election.EvPrepared, VR: r.vr, Epoch: epoch})
}

// mended makes sure, on the loop, that the guard is in place of which the kernel tells
// nobody what somebody has done to it (TCX). It reports whether it is; if not, what is wrong
// is on its way to the election. What others have put beside it is looked at when the
// interface is up, by the worker (checkUntold): that takes too long for a thousand here.
func (d *Daemon) mended(r *router) bool {
	if r.guard.Rung() != lease.TCX {
		return true
	}
	found := r.guard.Glance()
	switch {
	case found == nil:
		return true
	case errors.Is(found, unix.ENODEV), !d.mayRepair(r, found.Error()):
		return false
	}
	if r.guard.Light() {
		d.lightHarmed(r)
	}
	err := r.guard.Repair()
	if err != nil {
		err = d.attachGuard(r)
	} else {
		d.takeGuard(r, r.guard) // perhaps it is of another kind now
	}
	if err != nil {
		d.setFault(r, election.FaultInterface, true, err.Error())
		d.retryInterface(r)
		return false
	}
	return true
}

// detachGuards removes what remains of the guards when their interfaces have gone.
func (d *Daemon) detachGuards() {
	for _, r := range d.routers {
		if r.guard == nil {
			continue
		}
		if err := r.guard.Detach(); err != nil {
			d.log.Error("cannot remove the guard", d.about(r, "err", err)...)
		}
	}
	_ = d.guards.Close()
}

// loosen has interfaces lose guards of TCX before they are deleted, when nobody is served
// any more: who waits for the kernel's RTNL mutex then does so for one only, and not for
// all that are deleted together.
func loosen(guards func() (*lease.Guards, error)) func(index int) error {
	return func(index int) error {
		g, err := guards()
		if err != nil {
			return err
		}
		return g.Loosen(index)
	}
}

// watchGuards begins to listen for what the kernel tells of one kind of guard.
func (d *Daemon) watchGuards(rung lease.Rung) {
	if d.watching[rung] {
		return
	}
	d.watching[rung] = true
	w, err := lease.Watch(rung)
	if err != nil {
		d.log.Error("nobody will notice if somebody removes the guards", "err", err)
		return
	}
	if w == nil {
		return
	}
	hint := d.hints(d.guardsTouched)
	d.goRead(d.later, func(ctx context.Context) error { return w.Run(ctx, hint) })
}

// guardsTouched: something has happened to guards.
func (d *Daemon) guardsTouched(about hints) {
	for _, r := range d.routers {
		if about.has(r.index, r.cfg.Name) {
			d.checkGuard(r)
		}
	}
}

// checkUntold looks after guards whose fate the kernel tells nobody, whenever
// there is an occasion: all but those of Clsact.
func (d *Daemon) checkUntold(r *router) {
	if r.guard != nil && r.guard.Rung() > lease.Clsact {
		d.checkGuard(r)
	}
}

// checkGuard has the worker see whether the guard is in place: that may wait for
// the kernel.
func (d *Daemon) checkGuard(r *router) { d.checkGuardBy(r, (*lease.Guard).Verify) }

// checkGuardBy does so by Verify or Glance.
func (d *Daemon) checkGuardBy(r *router, look func(*lease.Guard) error) {
	guard := r.guard
	if guard == nil || r.index == 0 || !r.checking.CompareAndSwap(false, true) {
		return
	}
	d.work(func() {
		r.checking.Store(false) // what happens from here on is another occasion
		if found := look(guard); found != nil {
			d.inbox.call(func() { d.guardBroken(r, guard, found) })
		}
	})
}

// guardBroken has the worker put the guard back, with the deadline that it has:
// that serves nobody who is not served already, in whatever epoch.
func (d *Daemon) guardBroken(r *router, guard *lease.Guard, found error) {
	if r.guard != guard || r.index == 0 || errors.Is(found, unix.ENODEV) || r.mending {
		return
	}
	if !d.mayRepair(r, found.Error()) {
		return
	}
	if guard.Light() {
		d.lightHarmed(r)
	}
	r.mending = true
	d.work(func() {
		err := guard.Repair()
		d.inbox.call(func() {
			r.mending = false
			switch {
			case r.guard != guard:
			case err != nil:
				d.guardLost(r, err)
			default:
				d.takeGuard(r, guard) // perhaps it is of another kind now
				d.checkGuard(r)       // what was found meanwhile was left alone
			}
		})
	})
}

// guardLost: the guard cannot be put back as it was; perhaps as another.
func (d *Daemon) guardLost(r *router, err error) {
	if r.index == 0 || errors.Is(err, unix.ENODEV) {
		return
	}
	d.log.Warn("the guard cannot be repaired, trying another", d.about(r, "err", err)...)
	epoch, until := d.machine.View().Word.Epoch(), r.until
	if err := d.attachGuard(r); err != nil {
		d.setFault(r, election.FaultInterface, true, err.Error())
		d.retryInterface(r)
		return
	}
	if until != 0 {
		d.renew(r, epoch, until)
	}
}

// silence closes the guards of what a dead or stuck sibling has left, by putting
// other, closed, ones in the place of its own: what the sibling stores when it wakes
// up opens nothing then. It waits for the kernel where the rung is TCX, but not for light
// guards, which are replaced.
func silence(guards *lease.Guards, hands *vmacif.Hands, owner string, routers []grouplock.Identity) error {
	errs := []error{silenceDirect(guards, hands, owner)}
	for _, id := range routers {
		errs = append(errs, silenceInterface(guards, hands, id.VMAC, owner))
	}
	return errors.Join(errs...)
}

// silenceInterface does so for an interface. None is silent.
func silenceInterface(guards *lease.Guards, hands *vmacif.Hands, name, owner string) error {
	iface, err := leftover(hands, name, owner)
	if iface == nil || guards.Rung() == lease.None {
		return err // which would take away a guard that there is
	}
	_, err = guards.Attach(iface.Index())
	if errors.Is(err, unix.ENODEV) || errors.Is(err, lease.ErrStale) {
		return nil // it is gone, or has a guard beside ours that ends with the interface
	}
	return err
}
