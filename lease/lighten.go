package lease

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// A frame costs least where its deadline is far away, because the clock is read for a
// few frames only. Where adverts follow each other so quickly that no deadline is ever
// far away, it is read for each, and then TCX is what keeps the guard cheap. Attaching it
// takes long, under a mutex that others wait for: so a guard begins on Clsact and
// changes over when there is time.

// Near reports whether a deadline that far away is near: the clock is read for every
// frame then, which makes Clsact dearer than 150 ns for a frame.
func Near(left time.Duration) bool { return int64(left) <= nearly() }

// errNobodys: a program of TCX that is known to nobody after a crash would stay.
var errNobodys = errors.New("without CAP_SYS_ADMIN nobody could tell whose it is after a crash")

// Lighter reports whether Lighten may make the guard cheaper: it is one of Clsact on a
// virtual interface, and TCX is on the ladder.
func (t *Guard) Lighter() bool { return t.Rung() == Clsact && t.lightened() }

// Light reports whether the guard is one of TCX that would be one of Clsact after Repair,
// as it is after Lighten.
func (t *Guard) Light() bool { return t.Rung() == TCX && t.lightened() }

// lightened reports whether the guard is one that changes between Clsact and TCX.
func (t *Guard) lightened() bool {
	return !t.direct() && t.g.tcx.absent == nil && slices.Contains(t.g.below, Clsact) && slices.Contains(t.g.below, TCX)
}

// Lighten puts TCX in the place of Clsact: the same program with the same deadline,
// and the filters go when it is attached, so that at every moment one of them is in
// force. It waits for two grace periods of the kernel, some 20 ms, and holds the RTNL
// mutex during each. After an error the guard is what it was. A guard that is not Lighter
// stays as it is, without an error.
//
// Watch is told of the filters that go. They do not count: Verify looks for what the
// guard consists of by then.
func (t *Guard) Lighten() error {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if !t.Lighter() {
		return nil
	}
	if err := t.lighten(); err != nil {
		return fmt.Errorf("guard %s: %w", t.name, advise(TCX, err))
	}
	return nil
}

// lighten is Lighten; the caller holds g.mu.
func (t *Guard) lighten() error {
	p, err := ebpf.NewProgramFromID(t.block.ids[0])
	if err != nil {
		return fmt.Errorf("%w: %w", errNobodys, err)
	}
	_ = p.Close()
	err = t.g.tcx.install(t.target)
	if err == nil {
		err = t.g.tcx.check(t.target)
	}
	if err == nil {
		err = t.g.hold(Clsact).remove(t.target)
	}
	if err == nil {
		t.left = false // they are the guard
		t.now.Store(uint32(TCX))
		return nil
	}
	// Both may be there in part, and are the same. The filters are what is looked after.
	back := t.g.hold(Clsact).install(t.target)
	if back == nil {
		back = t.g.tcx.remove(t.target)
	}
	if back != nil && !gone(back) {
		err = errors.Join(err, back)
	}
	return err
}
