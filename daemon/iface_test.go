package daemon

import (
	"bytes"
	"log/slog"
	"testing"

	"vrrpd/election"
	"vrrpd/lan"
	"vrrpd/lease"
)

// A repair waits for the kernel only where an interface with a light guard goes: the
// worker may have other things to do, for whose end nobody is to wait.
func TestRepairWaitsForNothingElse(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "")
	briefly(d, true)
	r.guard, r.index = new(lease.Guard), 7
	for _, going := range []bool{false, true, false} {
		r.going = going
		d.worker.queue = nil
		d.repair(r, "address was removed")
		d.repair(r, "interface was taken down")
		if len(d.afterStep) != 1 {
			t.Fatalf("%d repairs for what was found at once", len(d.afterStep))
		}
		d.afterStep[0]()
		d.afterStep = nil
		if waits := len(d.worker.queue) > 0; waits != going || r.repairPending != going {
			t.Errorf("going %t: waits %t, pending %t", going, waits, r.repairPending)
		}
		d.repairNow(r) // the parent does not exist: there is nothing to repair
		if r.going || r.repairPending {
			t.Errorf("after it: going %t, pending %t", r.going, r.repairPending)
		}
	}
	r.goes()
	if r.going {
		t.Error("a guard that is not light is waited for")
	}
}

// What is still under way for a router that was removed meanwhile does not make its
// interface again, nor is its number anybody's fault.
func TestRemovedRouterIsNotRepaired(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "")
	var log bytes.Buffer
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	r.parent.link.Index, r.parent.port = 2, new(lan.Port)
	r.wanted, r.faults = true, election.FaultInterface
	d.retryInterface(r)
	defer func() {
		if recover() != nil { // there is nothing that it could be made with
			t.Error("its interface is made again")
		}
	}()
	d.delist(r)
	d.agenda.run(maxTime - 1) // its number has rested by then
	c := *r.cfg
	next := newRouter(d.freeVR(), &c, r.parent)
	d.enlist(next)
	if next.vr != r.vr {
		t.Fatalf("the number of the next one is %d, want %d", next.vr, r.vr)
	}
	d.repairNow(r)
	if len(d.results) > 0 || log.Len() > 0 || r.repaired > 0 {
		t.Errorf("%d events, %d repairs, said: %s", len(d.results), r.repaired, log.String())
	}
}
