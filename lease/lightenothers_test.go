package lease

import (
	"errors"
	"slices"
	"strings"
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
				if owner.Deadline() != 0 {
					t.Errorf("it is open until %d", owner.Deadline())
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
	l.has("another's two filters", 2, 0)
	l.start().do("attach tcx %d", l.index)
	l.must(mine.g.tcx.attach(mine.target))
	l.must(mine.g.tcx.withdraw(mine.target))
	l.has("another's two programs", 0, 2)
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
	l.has("repaired by the sleeper", 0, 2)
	if !g.Light() {
		t.Errorf("it is %v", g.Rung())
	}
}

// The next program takes away what a repair of the one before it has left.
func TestLightenedIsKeptAndDetached(t *testing.T) {
	l := newLab(t)
	before := l.guarded()
	old := l.light()
	l.vandalise(old, ebpf.AttachTCXEgress)
	l.must(old.Repair())
	l.has("repaired", 2, 1)
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

// A process that may not identify programs puts closed filters beside those of a light
// guard, whose owner finds them when it wakes up. The end of the interface is that of
// both.
func TestLightenedAmongUnprivileged(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	own := []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF}
	p, q := l.start(own...), l.start(own...)
	p.do("attach any %d", l.index)
	p.do("lighten")
	until := boottime() + hour
	p.do("renew %d", until)
	l.want("light", true)
	l.has("light", 0, 2)
	if said := q.tell("attach any %d", l.index); !strings.Contains(said, ErrStale.Error()) {
		t.Errorf("the other one says %q", said)
	}
	l.has("silenced", 2, 2)
	l.want("silenced", false)
	p.do("renew %d", until)
	l.want("renewed by the one that was silenced", false)
	p.do("glance") // of programs alone nothing is missing
	if said := p.tell("verify"); !strings.Contains(said, errForeign.Error()) {
		t.Errorf("Verify says %q", said)
	}
	p.do("repair")
	p.do("verify")
	l.want("repaired", true)
	p.do("lighten")
	p.do("verify")
	l.has("light again", 0, 2)
	l.want("light again", true)

	p.do("loosen %d", l.index)
	l.has("loosened by its owner", 2, 0)
	l.want("loosened by its owner", false)
	p.do("attach any %d", l.index)
	p.do("lighten")
	p.do("renew %d", until)
	p.kill()
	l.want("dead, within its lease", true)
	if said := q.tell("loosen %d", l.index); !strings.Contains(said, ErrStale.Error()) {
		t.Errorf("what it cannot identify is loosened: %q", said)
	}
	l.has("loosened by another one", 2, 2)
	l.want("loosened by another one", false)
	l.remake()
	q.do("attach any %d", l.index)
	l.has("made again", 2, 0)
}

// What Loosen leaves is closed filters, and at no moment nothing, whosever the guard was.
func TestLoosen(t *testing.T) {
	for _, rung := range []Rung{Clsact, TCX, Nftables} {
		t.Run(rung.String(), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(Clsact)
			l.kernelHas(TCX)
			l.kernelHas(rung)
			owner := l.attach(rung)
			before := l.guarded()
			other := l.guards()
			over, done := l.meanwhile(func() error {
				err := other.Loosen(l.index)
				for n := 0; n < 5 && err == nil && rung == TCX; n++ {
					if err = owner.g.tcx.attach(owner.target); err == nil {
						err = owner.g.Loosen(l.index)
					}
				}
				return err
			})
			l.silent(over)
			l.must(<-done)
			l.must(owner.Close())
			if rung != TCX {
				if after := l.guarded(); !slices.Equal(before, after) {
					t.Errorf("before %q, after %q", before, after)
				}
				return
			}
			l.has("loosened", 2, 0)
			l.want("loosened", false)
			l.must(l.guards().Loosen(l.index))
			l.must(l.guards().Loosen(1 << 20)) // what does not exist has none
			l.has("twice", 2, 0)
		})
	}
}

// Guards of lower rungs find what silences them from above: it may be the best that
// another process can have.
func TestVerifyFindsWhatIsAbove(t *testing.T) {
	for _, rung := range []Rung{TCX, Nftables, None} {
		for _, above := range []Rung{Clsact, TCX} {
			if above >= rung {
				continue
			}
			t.Run(rung.String()+" under "+above.String(), func(t *testing.T) {
				l := newLab(t)
				l.kernelHas(above)
				l.kernelHas(rung)
				g := l.attach(rung)
				l.renew(g, boottime()+hour)
				l.want("alone", true)
				l.must(g.Verify())
				other := l.guards(above)
				over := newGuard(other, above, other.target(l.index), nil)
				l.must(over.claim())
				l.must(other.hold(above).install(over.target))
				l.want("silenced", false)
				if err := g.Verify(); !errors.Is(err, errForeign) {
					t.Errorf("Verify says %v", err)
				}
				l.must(g.Glance())
				l.must(g.Repair())
				l.must(g.Verify())
				l.want("repaired", true)
			})
		}
	}
}
