package lease

import (
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What becomes of a guard while another process has its hand in it.

// A process can be stopped in the middle of the change, and a sibling silence it then.
// When it goes on, the sibling's closed guard stays, or another closed one is there.
func TestLightenTakenMeanwhile(t *testing.T) {
	for _, kind := range []string{"any", "tcx"} {
		for _, when := range []string{"before", "half", "late"} {
			t.Run(kind+", "+when, func(t *testing.T) {
				l := newLab(t)
				l.kernelHas(Clsact)
				l.kernelHas(TCX)
				owner := l.attach()
				until := boottime() + hour
				l.renew(owner, until)
				if when != "before" {
					l.must(owner.double())
				}
				l.want("before the sibling comes", true)
				l.start().do("attach %s %d", kind, l.index)
				l.want("silenced", false)
				if when == "late" {
					// It had seen its own filters and taken others for them, or the queueing
					// discipline with all that was in it.
					l.must(clsact{owner.g.route}.remove(owner.target))
				}
				var err error
				if when == "before" {
					err = owner.Lighten()
				} else if err = owner.single(); err != nil {
					err = owner.back(err)
				}
				if !errors.Is(err, ErrTaken) {
					t.Errorf("it says %v", err)
				}
				l.want("going on", false)
				l.must(owner.Verify())
				if owner.Rung() != Clsact || owner.Deadline() != 0 {
					t.Errorf("it is %v until %d", owner.Rung(), owner.Deadline())
				}
				l.renew(owner, until)
				l.want("renewed by who knows of it", true)
				l.must(owner.Lighten())
				l.want("light", true)
			})
		}
	}
}

// Only what is its own goes, whatever it is called.
func TestWithdrawLeavesOthers(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	mine := l.attach()
	l.start().do("attach clsact %d", l.index)
	l.must(clsact{mine.g.route}.withdraw(mine.target))
	if f, n := l.filtersOn(); f != 2 || n != 0 {
		t.Errorf("%d filters and %d programs, want another's two filters", f, n)
	}
	l.start().do("attach tcx %d", l.index)
	l.must(mine.g.tcx.attach(mine.target))
	l.must(mine.g.tcx.withdraw(mine.target))
	if f, n := l.filtersOn(); f != 0 || n != 2 {
		t.Errorf("%d filters and %d programs, want another's two programs", f, n)
	}
}

// A sibling whose kind of guard is TCX has silenced it, and the sleeper repairs: the
// sibling's programs go.
func TestLightenedSleeperAmongTCX(t *testing.T) {
	l := newLab(t)
	g := l.light()
	until := boottime() + hour
	l.renew(g, until)
	l.start().do("attach tcx %d", l.index)
	l.renew(g, until)
	l.want("silenced by another process", false)
	if err := g.Verify(); err == nil {
		t.Error("Verify finds nothing")
	}
	l.must(g.Repair())
	l.must(g.Verify())
	l.want("repaired by the sleeper", true)
	if f, n := l.filtersOn(); f != 2 || n != 0 || g.Rung() != Clsact {
		t.Errorf("%d filters and %d programs, and it is %v", f, n, g.Rung())
	}
	l.must(g.Lighten())
	l.want("light again", true)
}

// The next program takes away what a repair of the one before it has left.
func TestLightenedIsKeptAndDetached(t *testing.T) {
	l := newLab(t)
	before := l.guarded()
	old := l.light()
	l.vandalise(old, ebpf.AttachTCXEgress)
	l.must(old.Repair())
	if f, n := l.filtersOn(); f != 2 || n != 1 {
		t.Errorf("%d filters and %d programs", f, n)
	}
	next, err := Adopt(l.kept(old.g))
	l.must(err)
	l.Cleanup(func() { l.must(next.Close()) })
	g, err := next.Resume(old.Keep())
	l.must(err)
	l.must(g.Detach())
	if after := l.guarded(); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
}

// A light guard of another process is silenced by filters that wait for nothing, and goes
// when there is time.
func TestHush(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	p := l.start()
	p.do("attach any %d", l.index)
	p.do("lighten")
	p.do("renew %d", boottime()+hour)
	l.want("light", true)
	g := l.guards()
	g.mu.Lock()
	if done, err := g.Hush(l.index); done || err != nil {
		t.Errorf("while something else is done: %t, %v", done, err)
	}
	g.mu.Unlock()
	done, err := g.Hush(l.index)
	l.must(err)
	if f, n := l.filtersOn(); !done || f != 2 || n != 2 {
		t.Errorf("%t, %d filters and %d programs; it has waited for the programs if they are gone", done, f, n)
	}
	l.want("hushed", false)
	p.do("renew %d", boottime()+hour)
	l.want("renewed by the one that was hushed", false)
	_, err = g.Attach(l.index)
	l.must(err)
	if f, n := l.filtersOn(); f != 2 || n != 0 {
		t.Errorf("attached after it: %d filters and %d programs", f, n)
	}
	l.want("attached after it", false)
	if done, err := l.guards(TCX).Hush(l.index); done || err != nil {
		t.Errorf("filters are not what was asked for: %t, %v", done, err)
	}
	if done, err := g.Hush(1 << 20); done || !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that does not exist: %t, %v", done, err)
	}
}

// A process that has put its closed filters there and dies before it has taken away the
// programs of the light guard leaves both.
func TestLightenedBehindFilters(t *testing.T) {
	l := newLab(t)
	g := l.light()
	l.renew(g, boottime()+hour)
	done, err := l.guards().Hush(l.index)
	l.must(err)
	l.want("hushed", false)
	if err := g.Glance(); !done || err != nil {
		t.Errorf("%t; of programs alone nothing is missing: %v", done, err)
	}
	if err := g.Verify(); !errors.Is(err, errForeign) {
		t.Errorf("Verify says %v", err)
	}
	l.must(g.Repair())
	l.must(g.Verify())
	l.want("repaired", true)
	l.must(g.Lighten())
	l.must(g.Verify())
	l.must(g.Glance())
	l.want("light again", true)
}
