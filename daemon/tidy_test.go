package daemon

import (
	"testing"

	"vrrpd/internal/footprint"
)

// Memory is given back while nothing happens: not in the middle of a change of sides that
// begins meanwhile, but after that.
func TestTidyWaitsForQuiet(t *testing.T) {
	d := many(manyRouters)
	ended := func() {}
	d.later = func(f func()) { ended = f }
	defer func() {
		ended()
		footprint.Sweep()
	}()
	// next does what is next on the agenda, and not what that puts there.
	next := func() {
		t.Helper()
		if d.agenda.next() == maxTime {
			t.Fatal("nothing is on the agenda")
		}
		now := d.agenda
		d.agenda = agenda{}
		do := now.items[now.head].do
		d.agenda.items = append(d.agenda.items, now.items[now.head+1:]...)
		do()
	}
	change := func() {
		epoch := d.machine.View().Word.Epoch()
		for range 100 {
			d.machine.Step(d.machine.Deadline(), nil, nil)
			if d.machine.View().Word.Epoch() != epoch {
				return
			}
		}
		t.Fatal("the machine never changes its state")
	}
	change() // to a state that lasts
	d.tidyLater()
	d.tidyLater() // once is enough
	next()        // lets go of what the loop does not need
	change()
	next() // would sweep
	if !d.worker.idle() {
		t.Fatal("it was swept in the middle of a change of sides")
	}
	if !d.tidying {
		t.Fatal("it will never be swept")
	}
	for n := 0; d.tidying; n++ {
		if n == 10 {
			t.Fatalf("it is never swept; settled: %v", d.machine.Settled())
		}
		next()
	}
	if d.worker.idle() {
		t.Error("it was not swept")
	}
	// From now on it is looked for garbage.
	if d.agenda.next() == maxTime {
		t.Error("nobody looks for garbage")
	}
}
