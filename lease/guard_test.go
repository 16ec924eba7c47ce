package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/ebpf"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Without a guard everything passes; so what the other tests see is the guard.
func TestNoneGuardsNothing(t *testing.T) {
	l := newLab(t)
	l.want("no guard", true)
	g := l.attach(None)
	l.want("none", true)
	l.renew(g, 77)
	if g.Deadline() != 77 || g.Rung() != None || g.Verify() != nil {
		t.Errorf("deadline %d, rung %v, verify %v", g.Deadline(), g.Rung(), g.Verify())
	}
}

func TestClosedAndOpen(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g := l.attach(r)
		if g.Rung() != r || g.Deadline() != 0 {
			l.Errorf("rung %v, deadline %d", g.Rung(), g.Deadline())
		}
		l.want("just attached", false)
		until := boottime() + hour
		l.renew(g, until)
		if g.Deadline() != until {
			l.Errorf("deadline %d, want %d", g.Deadline(), until)
		}
		l.want("open", true)
		l.must(g.Close())
		l.want("closed", false)
		l.renew(g, boottime()+hour)
		l.want("open again", true)
		l.renew(g, boottime()-1)
		l.want("renewed to the past", false)
		l.renew(g, -hour)
		l.want("renewed to a negative time", false)
	})
}

// The guard neither moves nor opens when the interface goes down and up.
func TestDownAndUp(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g := l.attach(r)
		for _, open := range []bool{false, true} {
			if open {
				l.renew(g, boottime()+hour)
			}
			l.must(l.nl.LinkSetDown(l.link("vrrp51")))
			l.must(l.nl.LinkSetUp(l.link("vrrp51")))
			delete(l.out, "vrrp51") // a packet socket that saw it go down says so once
			l.must(g.Verify())
			l.want("after down and up", open)
		}
	})
}

// wantExpiry asks until the deadline has passed for long, and wants every
// question answered that was over before it, and none that was asked after it.
// It needs no luck with the clock: both bounds are read on the safe side. slack
// is what the rung's timer may be late.
func (l *lab) wantExpiry(until int64, slack time.Duration) (answered int) {
	l.Helper()
	for {
		x := l.ask()
		over := boottime()
		switch {
		case x.answered != 0:
			answered++
			if x.asked > until+int64(slack) {
				l.Fatalf("asked %v after the deadline, and answered", time.Duration(x.asked-until))
			}
		case over < until:
			l.Fatalf("silent %v before the deadline", time.Duration(until-over))
		}
		if x.asked > until+int64(slack)+int64(100*time.Millisecond) {
			return answered
		}
	}
}

// slackOf is the precision of a rung's clock: nftables counts ticks of the
// kernel, and may have counted from stalled later.
func slackOf(r Rung) time.Duration {
	if r == Nftables {
		return stalled + 20*time.Millisecond
	}
	return 100 * time.Microsecond
}

// earlyOf is what nftables' timeout may be short of the deadline: it is cut to
// whole milliseconds, and counted from the last tick.
func earlyOf(r Rung) int64 {
	if r == Nftables {
		return int64(30 * time.Millisecond)
	}
	return 0
}

func TestExpires(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) { l.expires(l.attach(r), slackOf(r)) })
}

// That the clock is not read for a frame if one has just passed keeps no guard open
// that is closed within the same tick of the kernel, or given a shorter deadline.
func TestClosesWithinTick(t *testing.T) {
	for _, r := range []Rung{Clsact, TCX} {
		t.Run(r.String(), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(r)
			x := l.attach(r)
			for range 50 {
				l.renew(x, boottime()+hour)
				if l.ask().answered == 0 {
					t.Fatal("open, and silent")
				}
				l.must(x.Close())
				if l.ask().answered != 0 {
					t.Fatal("closed within the same tick, and answered")
				}
				l.renew(x, boottime()+hour)
				if l.ask().answered == 0 {
					t.Fatal("open again, and silent")
				}
				l.renew(x, boottime()-1)
				if l.ask().answered != 0 {
					t.Fatal("a deadline that has passed, and answered")
				}
			}
		})
	}
}

// expires renews a guard and looks when it closes by itself.
func (l *lab) expires(g *Guard, slack time.Duration) {
	l.Helper()
	r := g.Rung()
	for lead := 100 * time.Millisecond; ; lead *= 2 {
		until := boottime() + int64(lead)
		l.renew(g, until)
		if l.wantExpiry(until-earlyOf(r), slack) > 0 {
			return
		}
		if lead > patience {
			l.Fatal("never got to ask before the deadline")
		}
	}
}

// The kernel keeps the deadline when the process cannot.
func TestDeadMan(t *testing.T) {
	for _, fate := range []string{"SIGSTOP", "SIGKILL"} {
		t.Run(fate, func(t *testing.T) {
			eachRung(t, func(l *lab, r Rung) {
				for lead := 500 * time.Millisecond; ; lead *= 2 {
					p := l.start()
					p.do("attach %v %d", r, l.index)
					until := boottime() + int64(lead)
					p.do("renew %d", until)
					if fate == "SIGKILL" {
						p.kill()
					} else {
						p.stop()
					}
					// From here on nobody can do anything about the lease.
					if l.wantExpiry(until-earlyOf(r), slackOf(r)) > 0 {
						break
					}
					if lead > patience {
						l.Fatal("never got to ask before the deadline")
					}
				}
				l.want("long after "+fate, false)
			})
		})
	}
}

// A guard that a dead process has left, open or expired, does not outlive the
// next Attach, whatever the rungs of the two.
func TestStaleGuardIsReplaced(t *testing.T) {
	for _, old := range rungs {
		t.Run("dead "+old.String(), func(t *testing.T) {
			eachRung(t, func(l *lab, r Rung) {
				l.kernelHas(old)
				for _, lease := range []int64{0, hour} {
					what := fmt.Sprintf("%v after a dead %v that was open: %t", r, old, lease > 0)
					p := l.start()
					p.do("attach %v %d", old, l.index)
					p.do("renew %d", boottime()+lease)
					p.kill()
					l.want(what+", before", lease > 0)
					g := l.attach(r)
					l.want(what, false)
					l.renew(g, boottime()+hour)
					l.want(what+", renewed", true)
					l.must(g.Verify())
					l.must(g.Detach())
					l.want(what+", detached", true)
				}
			})
		})
	}
}

// Whoever attaches to the interface of a process that is stuck has the only say.
func TestAttachSilencesASleeper(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		if r == Nftables {
			l.Skip("nftables knows tables by their names: the sleeper renews the new one")
		}
		p := l.start()
		p.do("attach %v %d", r, l.index)
		p.do("renew %d", boottime()+hour)
		p.stop()
		l.want("the sleeper's lease", true)
		sibling, err := Open(Config{Ladder: []Rung{r}})
		l.must(err)
		_, err = sibling.Attach(l.index)
		l.must(err)
		l.must(sibling.Close()) // the guard stays
		l.must(p.cmd.Process.Signal(unix.SIGCONT))
		p.do("renew %d", boottime()+hour)
		l.want("after the sleeper's renewal", false)
	})
}

// The owner makes its interface again while a sibling takes it to be stuck and puts
// another guard on it: neither may come to the conclusion that this kind of guard cannot
// be had. Who has none sees nothing of the other's, which drops every frame for good.
func TestAttachAtOnce(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	owner, sibling := l.start(), l.start()
	for n := range 40 {
		said := make(chan string, 2)
		for _, p := range []*process{owner, sibling} {
			go func() { said <- p.tell("attach any %d", l.index) }()
		}
		for range 2 {
			if got := <-said; !strings.HasPrefix(got, "ok clsact ") {
				t.Fatalf("attachment %d: %s", n, got)
			}
		}
	}
}

func TestAttachTwice(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g := l.guards(r)
		first, err := g.Attach(l.index)
		l.must(err)
		l.renew(first, boottime()+hour)
		second, err := g.Attach(l.index)
		l.must(err)
		l.want("attached again", false)
		l.renew(first, boottime()+hour)
		l.want("renewed through the first", true)
		l.must(second.Close())
		l.want("closed through the second", false)
	})
}

// The lowest and the highest index of an array, and one in another.
func TestManyIndexes(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	g := l.guards(Clsact)
	for _, index := range []int{511, 512, 1023, 70000, 1<<31 - 2} {
		l.must(l.nl.LinkDel(l.link("vrrp51")))
		l.must(l.nl.LinkAdd(&netlib.Macvlan{
			LinkAttrs: netlib.LinkAttrs{Name: "vrrp51", Index: index, ParentIndex: l.link("eth0").Attrs().Index, HardwareAddr: vmac.hw()},
			Mode:      netlib.MACVLAN_MODE_BRIDGE,
		}))
		l.quiet("vrrp51")
		l.addr("vrrp51", vip.String()+"/32")
		l.must(l.nl.LinkSetUp(l.link("vrrp51")))
		if got := l.link("vrrp51").Attrs().Index; got != index {
			t.Fatalf("index %d, want %d", got, index)
		}
		delete(l.out, "vrrp51")
		x, err := g.Attach(index)
		l.must(err)
		what := fmt.Sprint("index ", index)
		l.want(what, false)
		l.renew(x, boottime()+hour)
		l.want(what, true)
	}
	var firsts []int
	for _, d := range g.Descriptors() {
		firsts = append(firsts, d.First)
	}
	if want := []int{0, 512, 69632, 1<<31 - 512}; !slices.Equal(firsts, want) {
		t.Errorf("arrays from %v, want %v", firsts, want)
	}
}

// What Descriptors hands out is what the guard obeys.
func TestDescriptors(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	x := l.attach(Clsact)
	d := x.g.Descriptors()[0]
	fd, err := unix.FcntlInt(uintptr(d.Array), unix.F_DUPFD_CLOEXEC, 0)
	l.must(err)
	array, err := ebpf.NewMapFromFD(fd)
	l.must(err)
	defer array.Close()
	until := boottime() + hour
	l.must(array.Put(uint32(x.Index()-d.First), [entryWords]int64{until}))
	if x.Deadline() != until {
		t.Errorf("deadline %d, want %d", x.Deadline(), until)
	}
	l.want("opened through the descriptor", true)
}

func TestRefuses(t *testing.T) {
	l := newLab(t)
	g := l.guards()
	if _, err := g.Attach(l.link("eth0").Attrs().Index); err == nil || !strings.Contains(err.Error(), "eth0: it is a veth") {
		t.Errorf("the parent: %v", err)
	}
	for _, index := range []int{-1, 0, 99999} {
		if _, err := g.Attach(index); !errors.Is(err, unix.ENODEV) {
			t.Errorf("index %d: %v", index, err)
		}
	}
}

// A renewal on the loop while a worker verifies and repairs.
func TestConcurrent(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g := l.attach(r)
		done := make(chan error)
		go func() { // in another namespace: only what goes over the guard's own connections
			var err error
			for i := 0; i < 200 && err == nil; i++ {
				err = g.Renew(boottime() + hour)
			}
			done <- err
		}()
		for range 20 {
			l.must(g.Verify())
			if r != Nftables { // whose Repair closes for a moment, and waits for the loop
				l.must(g.Repair())
			}
		}
		l.must(<-done)
		l.want("in the end", true)
	})
}

func TestRenewAllocatesNothing(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	g := l.attach(Clsact)
	if n := testing.AllocsPerRun(100, func() {
		_ = g.Renew(boottime() + hour)
		_ = g.Close()
		_ = g.Deadline()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Who disputes an interface with another process tries often where that is quick, and
// for a moment only where it is not.
func TestDisputed(t *testing.T) {
	for _, c := range []struct {
		err   error
		takes time.Duration
		times int
	}{
		{errForeign, 0, disputed},
		{errMissing, disputedFor - 1, 2},
		{errMissing, disputedFor, 1},
		{unix.ENODEV, 0, 1},
		{nil, 0, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			err := persist(func() error {
				n++
				time.Sleep(c.takes)
				return c.err
			})
			if n != c.times || !errors.Is(err, c.err) {
				t.Errorf("%v, %v: %d attempts, want %d, and then %v", c.err, c.takes, n, c.times, err)
			}
		})
	}
}
