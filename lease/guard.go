package lease

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Guard is the guard of one interface. Renew, Close and Deadline are for the
// loop; Verify, Repair and Detach may be called from another goroutine at the
// same time.
type Guard struct {
	// What Renew needs stands together. deadline[slot] is in the kernel for Clsact and
	// TCX, and a memory of the process for the others.
	deadline *cells
	slot     int
	now      atomic.Uint32 // the Rung; Lighten and Repair change it, under g.mu

	target
	g       *Guards
	skipped []Skip
}

// newGuard is a guard that nothing is installed of yet.
func newGuard(g *Guards, r Rung, on target, skipped []Skip) *Guard {
	t := &Guard{g: g, target: on, skipped: skipped}
	t.now.Store(uint32(r))
	return t
}

// attach installs the guard closed and removes those of other rungs; the caller
// holds g.mu.
func (t *Guard) attach() error {
	t.deadline, t.slot = &cells{words: make([]int64, 1)}, 0
	switch t.Rung() {
	case Nftables:
		if t.target.direct() {
			return errParent
		}
		if err := coarse(t.g.interval); err != nil {
			return err
		}
	case Clsact, TCX:
		if err := t.claim(); err != nil {
			return err
		}
	}
	t.deadline.store(t.slot, 0)
	return t.install()
}

// claim gives the guard its deadline in the kernel, closed.
func (t *Guard) claim() error {
	b := t.block // of a guard on a parent
	if b == nil {
		var err error
		if b, err = t.g.block(t.index); err != nil {
			return err
		}
		t.block = b
	}
	t.deadline, t.slot = b.deadline, entryWords*(t.index-b.first)
	t.deadline.store(t.slot, 0)
	return nil
}

// install puts the guard in place and takes others away. Where Lighten could make it one
// of TCX, and another instance's is that already, it becomes so at once: to detach theirs
// would wait for the kernel.
func (t *Guard) install() error {
	if t.Lighter() {
		done, err := t.g.tcx.supplant(t.target)
		if err != nil {
			return err
		}
		if done {
			t.now.Store(uint32(TCX))
		}
	}
	h := t.g.hold(t.Rung())
	if err := h.install(t.target); err != nil {
		return err
	}
	if err := t.g.removeAll(t.target, t.Rung()); err != nil {
		return err
	}
	return h.check(t.target)
}

// Rung returns how this guard works, at present: see Lighten.
func (t *Guard) Rung() Rung { return Rung(t.now.Load()) }

// Skipped tells why the rungs above are not the one in force.
func (t *Guard) Skipped() []Skip { return slices.Clone(t.skipped) }

// Index returns the index of the interface.
func (t *Guard) Index() int { return t.index }

// Renew lets frames pass until the boottime clock shows until (ns); 0 and less
// close. The last call counts: an earlier deadline shortens the lease, and after
// Close a Renew opens again, so whoever calls it must have made sure before
// (epoch, clock) that this machine may serve. It allocates nothing, is one
// memory store for Clsact and TCX, and cannot fail there; for Nftables it is a
// transaction of the kernel.
func (t *Guard) Renew(until int64) error {
	t.deadline.store(t.slot, until)
	if t.Rung() == Nftables {
		return t.g.nft.set(t.name, until)
	}
	return nil
}

// Close makes the guard drop every frame, now, also those that wait for it in
// macvlan's broadcast queue.
func (t *Guard) Close() error { return t.Renew(0) }

// Deadline returns what Renew or Close has stored last, boottime ns.
func (t *Guard) Deadline() int64 { return t.deadline.load(t.slot) }

// Verify tells what is wrong if the guard in the kernel is not, or no longer,
// the one that this process renews: somebody has removed or replaced it, or put one of a
// higher rung beside it, or the interface has gone. It takes some 50 us, and may wait for
// the RTNL mutex.
func (t *Guard) Verify() error { return t.verify(true) }

// Glance is Verify without a look at what is beside it. Of TCX, where only looking helps,
// it takes 3 us.
func (t *Guard) Glance() error { return t.verify(false) }

func (t *Guard) verify(beside bool) error {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	err := t.check()
	if err == nil && beside {
		err = t.above()
	}
	if err != nil {
		return fmt.Errorf("guard of %s: %w", t.name, err)
	}
	return nil
}

// check tells what is wrong with the guard itself.
func (t *Guard) check() error {
	if t.Rung() == TCX && t.g.tcx.check(t.target) == nil {
		return nil // on an interface that does not exist there are no programs
	}
	name, err := t.g.guardable(t.index, t.direct())
	if err == nil && name != t.name && t.Rung() == Nftables { // whose hooks go by the name
		err = fmt.Errorf("the interface is called %s now", name)
	}
	if err == nil {
		err = t.g.hold(t.Rung()).check(t.target)
	}
	return err
}

// above tells what there is of guards of higher rungs, nil if nothing is: who is stuck is
// silenced by the highest that others can have, which may not be the owner's.
func (t *Guard) above() error {
	if t.Rung() > Clsact {
		if err := (clsact{t.g.route}).absent(t.target); err != nil {
			return err
		}
	}
	if t.Rung() > TCX && t.g.tcx.absent == nil {
		return t.g.tcx.none(t.target)
	}
	return nil
}

// Repair puts the guard back in place with the deadline that it has, and takes
// away others. Where it fails, Attach may still find a lower rung.
//
// Attaching to TCX waits for two grace periods of the kernel's RCU, some 25 ms. So
// that the interface is not without a guard meanwhile, the same program stands there
// as the filters of Clsact until then, where that can be had. A guard that Lighten has
// made one of TCX is one of Clsact after it, and waits for nothing but the programs of
// others, which would silence it.
func (t *Guard) Repair() error {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if t.Rung() == TCX {
		// If it fails, there is no guard for that time; install tells why, or helps.
		err := t.g.hold(Clsact).install(t.target)
		if err == nil && t.lightened() && t.g.hold(Clsact).check(t.target) == nil {
			t.now.Store(uint32(Clsact))
			if alone, err := t.g.tcx.alone(t.target); err == nil && alone {
				return nil // what is left of the other, on one side perhaps, has the same deadline
			}
		}
	}
	err := t.install()
	for again := t.Rung() == Nftables; err == nil && again; {
		// A Renew or Close of the loop that came in between must have the last
		// word: its store is seen here, or its own transaction comes later.
		until := t.Deadline()
		err = t.g.nft.set(t.name, until)
		again = t.Deadline() != until
	}
	if err != nil {
		return fmt.Errorf("repair the guard of %s: %w", t.name, advise(t.Rung(), err))
	}
	return nil
}

// Detach closes the guard and takes it off the interface. Between that and the
// end of the interface nothing guards it: it is for an interface that is down
// without addresses, or has been deleted. The Guard must not be used afterwards.
func (t *Guard) Detach() error {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	t.deadline.store(t.slot, 0)
	err := t.g.hold(t.Rung()).remove(t.target)
	if err == nil && t.lightened() {
		err = t.g.tcx.withdraw(t.target) // of which Repair may have left one
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("remove the guard of %s: %w", t.name, err)
	}
	return nil
}
