package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"vrrpd/accept"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/grouplock/siblings"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/sysd"
	"vrrpd/vmacif"
)

// goneSibling is the last one that has left or died, and when.
type goneSibling struct {
	name string
	at   int64 // boottime ns
}

// doorbell is what the doorbell of the group says. It runs on the loop, which looks
// at the shared memory in the step that follows.
func (d *Daemon) doorbell(b grouplock.Bell) {
	for _, name := range b.Left {
		e, inOrder := d.roll.Left(name)
		if !inOrder {
			continue
		}
		d.results = append(d.results, e)
		d.lastGone = goneSibling{name, boottime()}
		d.log.Info(name+" has left the group", d.aboutMachine()...)
	}
	for _, name := range b.Joined {
		d.roll.Joined(name)
		d.log.Info(name+" has joined the group", d.aboutMachine()...)
	}
	for _, name := range b.Dead {
		d.results = append(d.results, d.roll.Died(name))
		d.lastGone = goneSibling{name, boottime()}
		// First our own part: the step that follows takes this machine to HELD
		// and says priority 0 on our LANs. Then the dead one's.
		d.afterStep = append(d.afterStep, func() { d.bury(name) })
	}
	for _, name := range b.Lost {
		d.log.Error("the file "+name+" of this process was removed from the run directory: nobody can join the group any more; restart the vrrpd processes of this machine",
			d.aboutMachine()...)
	}
}

// bury cleans up after a dead sibling: what it cannot say any more is said, its
// addresses go, its interface goes down. Of several survivors one does it.
func (d *Daemon) bury(name string) {
	corpse, err := d.group.TakeOver(name)
	switch {
	case errors.Is(err, grouplock.ErrBusy), errors.Is(err, grouplock.ErrAlive), errors.Is(err, grouplock.ErrClean):
		return
	case err != nil:
		d.log.Error("cannot clean up after "+name, d.aboutMachine("err", err)...)
		return
	}
	d.log.Warn(fmt.Sprintf("%s (pid %d) died: cleaning up after it", name, corpse.Member.Pid),
		d.aboutMachine(slog.String(sysd.KeyReason, election.MemberDead.String()))...)
	burial := siblings.Bury(d.remains(&corpse.Member), d.knows())
	owner := ownerName(d.cfg.RunDir, name)
	routers := orphans(d.hands, corpse.Member.Routers, owner)
	d.endService(name, owner, routers)
	for _, id := range routers {
		d.resignFor(id, burial)
	}
	// Removing interfaces waits for the kernel (see downAfter). The corpse's lock
	// is held meanwhile, so that its owner cannot come back half way.
	d.burials++
	d.agenda.add(boottime()+int64(downAfter), func() {
		d.work(func() {
			if err := errors.Join(buryFiles(d.guards, d.hands, d.cfg.RunDir, corpse), d.guards.Sweep(), accept.Sweep()); err != nil {
				d.log.Error("cannot clean up after "+name, "err", err)
			}
			d.inbox.call(func() { d.burials-- })
		})
	})
}

// remains are what is known of a sibling that is dead or stuck.
func (d *Daemon) remains(m *grouplock.Member) siblings.Sibling {
	s := siblings.Sibling{Realised: m.Realised}
	for i := range m.Facts {
		s.Expelled = s.Expelled || d.machine.Expelled(&m.Facts[i])
	}
	return s
}

// knows is what is known here of the machine.
func (d *Daemon) knows() siblings.Machine {
	return siblings.Machine{Word: d.board.Load(), Interval: d.interval()}
}

// expel ends the service of siblings that live but do not move: SIGSTOP, a disk
// that hangs. They cannot obey; what they wake up to do they check against the
// epoch first.
func (d *Daemon) expel(from election.State, epoch uint64) {
	for _, m := range d.group.Members() {
		burial, ok := siblings.Expel(d.remains(&m), from, d.knows(), d.group.Slot())
		if m.Status != grouplock.Alive || !ok {
			continue
		}
		d.log.Warn(fmt.Sprintf("%s (pid %d) does not move: ending its service", m.Instance, m.Pid),
			d.aboutMachine(slog.String(sysd.KeyReason, election.MemberStuck.String()))...)
		owner := ownerName(d.cfg.RunDir, m.Instance)
		routers := orphans(d.hands, m.Routers, owner)
		d.endService(m.Instance, owner, routers)
		for _, id := range routers {
			d.resignFor(id, burial)
			if id.VMAC != "" {
				d.silenceLater(id.VMAC, owner, epoch)
			}
		}
	}
}

// endService silences a sibling that cannot do so itself, and takes its addresses away.
func (d *Daemon) endService(instance, owner string, routers []grouplock.Identity) {
	all := func() {
		if err := silence(d.guards, d.hands, owner, routers); err != nil {
			d.log.Error("cannot silence "+instance, "err", err)
		}
	}
	// TCX waits for the kernel, 30 ms, and so does who has the guards in hand; a guard on a
	// parent is a program of its own that has to be loaded.
	slow := d.guards.Rung() == lease.TCX || !d.guards.Free() || slices.ContainsFunc(routers, func(id grouplock.Identity) bool { return id.VMAC == "" })
	if !slow {
		all()
	}
	if err := strip(d.hands, owner, routers); err != nil {
		d.log.Error("cannot end the service of "+instance, "err", err)
	}
	if slow {
		d.work(all)
	}
}

// silenceLater has the worker take down the interface of a stuck sibling, unless
// the machine has moved on and it may be wanted again.
func (d *Daemon) silenceLater(name, owner string, epoch uint64) {
	d.agenda.add(boottime()+int64(downAfter), func() {
		if d.passed(epoch) {
			return
		}
		d.work(func() {
			if err := d.hands.Silence(name, owner); err != nil {
				d.log.Error("cannot take down "+name, "err", err)
			}
		})
	})
}

// buryFiles removes what a dead instance has left on the machine: interfaces, what is
// on the parents, its part in their settings, files; and gives the instance free.
func buryFiles(guards *lease.Guards, hands *vmacif.Hands, dir string, corpse *grouplock.Corpse) error {
	var errs []error
	name := corpse.Member.Instance
	owner := ownerName(dir, name)
	var names []string
	for _, id := range corpse.Member.Routers {
		if id.VMAC != "" {
			names = append(names, id.VMAC)
		}
	}
	errs = append(errs, hands.ReleaseAll(names, owner), removeDirect(guards, hands, owner), hands.ReleaseOwner(owner))
	errs = append(errs, removeFiles(dir, name, pidSuffix, sockSuffix, stateSuffix))
	if err := errors.Join(errs...); err != nil {
		corpse.GiveBack() // somebody may have more luck later
		return err
	}
	return corpse.Done()
}

// resignFor says priority 0 for a sibling's virtual router as often as its burial
// has it. It is the worker's, because closing the socket waits for the kernel (10
// to 60 ms).
func (d *Daemon) resignFor(id grouplock.Identity, burial siblings.Burial) {
	if len(id.Frame) == 0 {
		return
	}
	say := func() {
		d.work(func() {
			if err := lan.SendOnce(id.Parent, id.Frames()...); err != nil {
				d.log.Error("cannot resign for a sibling", "parent", id.Parent, "vrid", id.VRID, "err", err)
			}
		})
	}
	for _, after := range burial.Words {
		if after == 0 {
			say()
			continue
		}
		d.agenda.add(boottime()+int64(after), func() {
			if burial.Holds(d.board.Load()) {
				say()
			}
		})
	}
}

// identity is what a survivor needs to clean up after us.
func (r *router) identity() grouplock.Identity {
	id := grouplock.Identity{Parent: r.cfg.Interface, Family: uint8(r.rules.Family), VRID: r.cfg.VRID}
	if !r.cfg.NoVMAC {
		id.VMAC = r.cfg.Name
	}
	// Without an address there is no frame, and nothing to resign from.
	if word, beside, err := r.lastWord(); err == nil {
		word = recorded(word)
		id.Frame = word
		if len(word)+len(beside) <= grouplock.MaxFrame { // else version 2 waits for silence
			id.Beside = beside
		}
	}
	return id
}

// identityChanged tells the survivors-to-be what has become of a router.
func (d *Daemon) identityChanged(r *router) {
	if d.group == nil {
		return
	}
	if err := d.group.Describe(r.at, r.identity()); err != nil {
		d.log.Error("cannot describe the virtual router to the group", d.about(r, "err", err)...)
	}
}
