package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	netlib "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// light is a guard that began on Clsact and has changed to TCX.
func (l *lab) light() *Guard {
	l.Helper()
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	g := l.attach()
	if g.Rung() != Clsact || !g.Lighter() {
		l.Fatalf("the guard begins as %v, lighter %t", g.Rung(), g.Lighter())
	}
	l.must(g.Lighten())
	if g.Rung() != TCX || g.Lighter() {
		l.Fatalf("the guard is %v, lighter %t", g.Rung(), g.Lighter())
	}
	return g
}

// has wants the interface to have so many filters and programs of TCX.
func (l *lab) has(what string, wantFilters, wantPrograms int) {
	l.Helper()
	filters, programs := 0, 0
	for _, h := range hooks {
		all, err := l.nl.FilterList(l.link("vrrp51"), h.parent)
		l.must(err)
		filters += len(all)
	}
	for _, s := range sides {
		ids, err := tcx{}.list(l.index, s.attach)
		l.must(err)
		programs += len(ids)
	}
	if filters != wantFilters || programs != wantPrograms {
		l.Errorf("%s: %d filters and %d programs, want %d and %d", what, filters, programs, wantFilters, wantPrograms)
	}
}

// remake deletes the interface and makes another one.
func (l *lab) remake() {
	l.Helper()
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.make()
}

// make makes another one after it has been deleted.
func (l *lab) make() {
	l.Helper()
	l.macvlan("vrrp51", vmac, vip)
	delete(l.out, "vrrp51")
	l.index = l.link("vrrp51").Attrs().Index
}

// meanwhile has something done in the router's namespace by another thread, and tells
// when it is over.
func (l *lab) meanwhile(do func() error) (over *atomic.Bool, done chan error) {
	over, done = new(atomic.Bool), make(chan error, 1)
	go func() {
		defer over.Store(true)
		runtime.LockOSThread() // never given back
		err := netns.Set(l.here)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return over, done
}

// silent wants nothing to pass until then: what the control lets pass shows that something
// would have been seen.
func (l *lab) silent(over *atomic.Bool) (asked int) {
	l.Helper()
	for ; !over.Load(); asked++ {
		if l.answers(vmac) || l.answers(everyone) {
			l.Fatal("a frame has passed a closed guard")
		}
	}
	return asked
}

// vandalise takes the programs of TCX off, on the sides that are given.
func (l *lab) vandalise(g *Guard, at ...ebpf.AttachType) {
	l.Helper()
	for _, at := range at {
		l.must(link.RawDetachProgram(link.RawDetachProgramOptions{Target: l.index, Program: g.block.progs[0], Attach: at}))
	}
}

func TestNear(t *testing.T) {
	tick := kernelTick()
	for left, near := range map[time.Duration]bool{0: true, stallTicks * tick: true, stallTicks*tick + 1: false, time.Hour: false} {
		if Near(left) != near {
			t.Errorf("%v: %t", left, Near(left))
		}
	}
}

// It is a guard like any other, closed and open, with what the other one was told.
func TestLighten(t *testing.T) {
	l := newLab(t)
	before := l.guarded()
	g := l.light()
	l.has("light", 0, 2)
	l.must(g.Verify())
	l.want("closed", false)
	l.renew(g, boottime()+hour)
	l.want("open", true)
	l.renew(g, boottime()+int64(2*kernelTick()))
	l.until("the lease ends", func() bool { return boottime() >= g.Deadline() })
	l.want("expired", false)
	l.must(g.Lighten()) // twice is harmless
	l.must(g.Detach())
	if after := l.guarded(); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}

	// A lease that runs goes on, under the other rung.
	g = l.attach()
	until := boottime() + hour
	l.renew(g, until)
	l.must(g.Lighten())
	if g.Deadline() != until {
		t.Errorf("deadline %d, want %d", g.Deadline(), until)
	}
	l.want("changed while open", true)
}

// While a guard changes, or is repaired, nothing gets through that is closed.
func TestLightenLeavesNoGap(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	g := l.attach()
	over, done := l.meanwhile(func() (err error) {
		for n := 0; n < 5 && err == nil; n++ {
			err = g.Lighten()
			if err == nil && g.Rung() != TCX {
				err = errors.New("it has not changed")
			}
			if err == nil {
				err = g.Repair()
			}
			if err == nil {
				err = g.g.tcx.remove(g.target) // so that the next change is one
			}
		}
		return err
	})
	asked := l.silent(over)
	l.must(<-done)
	if asked < 5 {
		t.Errorf("only %d questions", asked)
	}
}

// Nor while the light guard of another process is replaced, again and again.
func TestSupplantLeavesNoGap(t *testing.T) {
	l := newLab(t)
	l.light()
	all := []*Guards{l.guards(), l.guards()}
	over, done := l.meanwhile(func() error {
		for n := range 400 {
			g, err := all[n%2].Attach(l.index)
			if err != nil {
				return err
			}
			if !g.Light() {
				return fmt.Errorf("attempt %d: it is %v", n, g.Rung())
			}
		}
		return nil
	})
	asked := l.silent(over)
	l.must(<-done)
	if asked < 5 {
		t.Errorf("only %d questions", asked)
	}
	l.has("replaced", 0, 2)
}

// Filters of others are asked as ever, in front of it and after it.
func TestLightenAsksOthers(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "somebody", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}}) // TC_ACT_SHOT
	l.must(err)
	defer prog.Close()
	g := l.attach()
	l.must(g.Lighten())
	l.renew(g, boottime()+hour)
	l.want("alone", true)
	l.must(l.nl.QdiscAdd(qdisc(l.index)))
	for _, h := range hooks {
		l.must(l.nl.FilterAdd(&netlib.BpfFilter{
			FilterAttrs: netlib.FilterAttrs{LinkIndex: l.index, Parent: h.parent, Handle: 1, Priority: 7, Protocol: unix.ETH_P_ALL},
			Fd:          prog.FD(), Name: "somebody", DirectAction: true,
		}))
	}
	l.want("with the filters of somebody who drops", false)
	l.vandalise(g, ebpf.AttachTCXIngress)
	l.must(g.Repair())
	l.want("the same, repaired", false)
	l.must(g.Lighten())
	l.must(g.Verify())
	l.has("somebody's two and ours", 2, 2)
}

// What somebody has taken away is back at once, as filters, with the same deadline;
// then it can change again.
func TestLightenedIsRepaired(t *testing.T) {
	for name, at := range map[string][]ebpf.AttachType{
		"ingress": {ebpf.AttachTCXIngress}, "egress": {ebpf.AttachTCXEgress}, "both": {ebpf.AttachTCXIngress, ebpf.AttachTCXEgress},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			before := l.guarded()
			g := l.light()
			until := boottime() + hour
			l.renew(g, until)
			l.vandalise(g, at...)
			if err := g.Verify(); err == nil || !strings.Contains(err.Error(), "program is missing") {
				t.Errorf("Verify says %v", err)
			}
			l.must(g.Repair())
			l.must(g.Verify())
			if g.Rung() != Clsact || !g.Lighter() || g.Deadline() != until {
				t.Errorf("it is %v, lighter %t, deadline %d", g.Rung(), g.Lighter(), g.Deadline())
			}
			l.want("repaired", true)
			l.must(g.Close())
			l.want("repaired and closed", false)
			l.must(g.Lighten())
			l.must(g.Verify())
			l.want("light again, closed", false)
			l.renew(g, boottime()+hour)
			l.want("light again", true)

			// What Repair has left of the programs goes with the guard.
			l.vandalise(g, at...)
			l.must(g.Repair())
			l.must(g.Detach())
			if after := l.guarded(); !slices.Equal(before, after) {
				t.Errorf("before %q, after %q", before, after)
			}
		})
	}
}

// An interface that has gone is said to have, with and without the other one's index.
func TestLightenedWithoutInterface(t *testing.T) {
	l := newLab(t)
	g := l.light()
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	if err := g.Verify(); !errors.Is(err, unix.ENODEV) {
		t.Errorf("Verify says %v", err)
	}
	if err := g.Repair(); !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("Repair says %v", err)
	}
	l.make()
	next, err := g.g.Attach(l.index)
	l.must(err)
	l.want("made again", false)
	l.must(next.Lighten())
	l.renew(next, boottime()+hour)
	l.want("made again and light", true)
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	heavy := newGuard(g.g, Clsact, next.target, nil)
	if err := heavy.Lighten(); err == nil || heavy.Rung() != Clsact {
		t.Errorf("an interface that has gone is lightened: %v, %v", err, heavy.Rung())
	}
}

// What a process leaves that dies with a light guard, or in the middle of the change,
// does not silence the next one: its programs are replaced where both are there.
func TestLightenedByADeadInstance(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	for how, rung := range map[string]Rung{"lighten": TCX, "half": TCX, "quarter": Clsact} {
		p := l.start()
		p.do("attach any %d", l.index)
		p.do("%s", how)
		p.do("renew %d", boottime()+hour)
		l.want(how+", alive", true)
		p.kill()
		l.want(how+", dead, within its lease", true)
		g := l.attach()
		l.want(how+", another one's, closed", false)
		l.renew(g, boottime()+hour)
		l.want(how+", another one's", true)
		if g.Rung() != rung {
			t.Errorf("%s: the next one is %v", how, g.Rung())
		}
		if rung == TCX {
			l.has(how, 0, 2)
		} else {
			l.has(how, 2, 0)
		}
		l.must(g.Verify())
		l.must(g.Lighten())
		l.want(how+", another one's, light", true)
		l.must(l.guards().Remove(l.index))
		l.has(how+", removed", 0, 0)
	}
}

// Another process silences one that hangs, and whoever wakes up notices.
func TestLightenedSleeper(t *testing.T) {
	l := newLab(t)
	g := l.light()
	until := boottime() + hour
	l.renew(g, until)
	p := l.start()
	p.do("attach any %d", l.index)
	l.want("silenced by another process", false)
	l.renew(g, until)
	l.want("the same, when the sleeper renews", false)
	if err := g.Verify(); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("Verify says %v", err)
	}
	l.must(g.Repair())
	l.must(g.Verify())
	l.want("repaired by the sleeper", true)
	l.must(g.Lighten())
	l.want("light again", true)
	l.has("light again", 0, 2)
}

// The next program goes on with a guard whichever it is just then.
func TestLightenedIsKept(t *testing.T) {
	l := newLab(t)
	old := l.light()
	until := boottime() + hour
	l.renew(old, until)
	resume := func() *Guard {
		next, err := Adopt(l.kept(old.g))
		l.must(err)
		l.Cleanup(func() { l.must(next.Close()) })
		text, err := json.Marshal(old.Keep())
		l.must(err)
		var k KeptGuard
		l.must(json.Unmarshal(text, &k))
		g, err := next.Resume(k)
		l.must(err)
		l.must(g.Verify())
		if g.Rung() != old.Rung() || g.Deadline() != until {
			t.Errorf("%v until %d, want %v until %d", g.Rung(), g.Deadline(), old.Rung(), until)
		}
		return g
	}
	g := resume()
	l.want("kept", true)
	l.vandalise(g, ebpf.AttachTCXEgress)
	l.must(g.Repair())
	if g.Rung() != Clsact {
		t.Errorf("repaired by the next program it is %v", g.Rung())
	}
	l.want("repaired by the next program", true)
	old = g
	g = resume()
	l.must(g.Lighten())
	l.must(g.Verify())
	l.want("light by the next program", true)
	l.must(g.Close())
	l.want("closed by the next program", false)
}

// Whoever asked for one rung keeps it.
func TestLightenRefuses(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	for _, r := range rungs {
		l.kernelHas(r)
		g := l.attach(r)
		if g.Lighter() {
			t.Errorf("%v may be made lighter", r)
		}
		l.must(g.Lighten())
		l.must(g.Verify())
		if g.Rung() != r {
			t.Errorf("%v is now %v", r, g.Rung())
		}
		l.must(g.Detach())
	}
}
