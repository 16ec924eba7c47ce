package lease

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A frame costs least where its deadline is far away, because the clock is read for a
// few frames only. Where adverts follow each other so quickly that no deadline is ever
// far away, it is read for each, and then TCX is what keeps the guard cheap. Attaching it
// takes long, under a mutex that others wait for: so a guard begins on Clsact and
// changes over when there is time.

// Near reports whether a deadline that far away is near: the clock is read for every
// frame then, which makes Clsact dearer than 150 ns for a frame.
func Near(left time.Duration) bool { return int64(left) <= nearly() }

// ErrTaken: another process has put its own guard on the interface meanwhile, or taken
// ours away.
var ErrTaken = errors.New("somebody else has had a hand in it")

// Lighter reports whether Lighten may make the guard cheaper: it is one of Clsact on a
// virtual interface, and TCX is on the ladder.
func (t *Guard) Lighter() bool { return t.Rung() == Clsact && t.lightened() }

// Light reports whether the guard is one of TCX that would be one of Clsact after Repair,
// as it is after Lighten.
func (t *Guard) Light() bool { return t.Rung() == TCX && t.lightened() }

// lightened reports whether the guard is one that changes between Clsact and TCX, which
// one that has stepped down to TCX does not.
func (t *Guard) lightened() bool {
	return !t.direct() && t.block != nil && t.g.tcx.absent == nil && slices.Contains(t.g.below, Clsact) && slices.Contains(t.g.below, TCX) &&
		!slices.ContainsFunc(t.skipped, func(s Skip) bool { return s.Rung == Clsact })
}

// Lighten puts TCX in the place of Clsact: the same program with the same deadline,
// and the filters go when it is attached, so that at every moment one of them is in
// force. It waits for two grace periods of the kernel, some 20 ms, and holds the RTNL
// mutex during each. After an error the guard is what it was; if that is ErrTaken it is
// closed until it is renewed. A guard that is not Lighter stays as it is, without an error.
//
// Watch is told of the filters that go. They do not count: Verify looks for what the
// guard consists of by then.
func (t *Guard) Lighten() error {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if !t.Lighter() {
		return nil
	}
	err := t.double()
	if err == nil {
		err = t.single()
	}
	if err != nil {
		return fmt.Errorf("guard %s: %w", t.name, advise(TCX, t.back(err)))
	}
	return nil
}

// double puts the programs of TCX beside the filters; the caller holds g.mu. It takes
// nothing away: what others have there may be a closed guard that silences this one.
func (t *Guard) double() error {
	if err := t.g.tcx.attach(t.target); err != nil {
		return err
	}
	return t.g.tcx.check(t.target)
}

// single takes the filters away; the caller holds g.mu.
//
// The process can be stopped before any of these lines, and a sibling put closed filters
// in the place of ours and detach our programs meanwhile. So nothing but our own filters
// may go, and they may not without the programs. For the moment between the first look and
// the deletion there is the last look.
func (t *Guard) single() error {
	c := clsact{t.g.route}
	if err := c.check(t.target); err != nil {
		return err
	}
	if err := c.withdraw(t.target); err != nil {
		return err
	}
	if err := t.g.tcx.check(t.target); err != nil {
		return err
	}
	t.now.Store(uint32(TCX))
	return nil
}

// back makes the guard one of Clsact again, of which some filters may be missing or
// somebody else's, and joins what it finds to why; the caller holds g.mu.
func (t *Guard) back(why error) error {
	if gone(why) {
		return why // with the interface
	}
	err := t.g.hold(Clsact).check(t.target)
	switch {
	case err == nil:
		err = t.g.tcx.withdraw(t.target)
	case errors.Is(err, errForeign), errors.Is(err, errMissing):
		// Whoever did that wants nothing to pass, perhaps, and the guard that takes its place
		// lets nothing pass, either. What is decided from here on is decided knowing more.
		t.deadline.store(t.slot, 0)
		why, err = fmt.Errorf("%w: %w", ErrTaken, why), t.install()
	}
	if err != nil && !gone(err) {
		why = errors.Join(why, err)
	}
	return why
}
