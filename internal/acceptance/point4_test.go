package acceptance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// swift is what the promise allows from an event to the moment when the whole
// machine has stopped serving.
const swift = 20 * time.Millisecond

// lease is how long a process of a pair may serve without being heard of: two
// intervals of 0.1 s.
const lease = 200 * time.Millisecond

// blow is a single fault that a test injects into a machine.
type blow struct {
	name string
	// strike injects the fault on LAN A, and returns when.
	strike func(*router) hit
	heal   func(*router)
	reason string // what the machine says about it
	// limit is how long the addresses may live after it; 0: swift.
	limit time.Duration
	// mute: on LAN A nothing can be sent any more.
	mute bool
}

var blows = []blow{
	{
		name:   "cable cut",
		strike: func(r *router) hit { return r.struck(r.cable(lanA).Cut, lanA.nic, netlab.CarrierLost) },
		heal:   func(r *router) { check(r.site.t, r.cable(lanA).Plug()) },
		reason: "link-down", mute: true,
	},
	{
		name:   "process killed",
		strike: func(r *router) hit { return r.shot(lanA, syscall.SIGKILL) },
		heal:   func(r *router) { r.start(lanA) },
		reason: "member-dead",
	},
	{
		name: "parent deleted",
		strike: func(r *router) hit {
			return r.struck(func() error {
				nic, err := r.Netlink().LinkByName(lanA.nic)
				if err != nil {
					return err
				}
				return r.Netlink().LinkDel(nic)
			}, lanA.nic, netlab.LinkDown)
		},
		heal:   func(r *router) { r.connect(lanA.index()) },
		reason: "parent-gone", mute: true,
	},
	{
		name: "address removed",
		strike: func(r *router) hit {
			return r.struck(func() error { return r.DelAddr(lanA.nic, r.own(lanA)) }, lanA.nic, netlab.AddrGone)
		},
		heal:   func(r *router) { check(r.site.t, r.AddAddr(lanA.nic, r.own(lanA))) },
		reason: "no-address", mute: true,
	},
	{
		name: "parent set down",
		strike: func(r *router) hit {
			return r.struck(func() error {
				nic, err := r.Netlink().LinkByName(lanA.nic)
				if err != nil {
					return err
				}
				return r.Netlink().LinkSetDown(nic)
			}, lanA.nic, netlab.LinkDown)
		},
		heal: func(r *router) {
			nic, err := r.Netlink().LinkByName(lanA.nic)
			check(r.site.t, err)
			check(r.site.t, r.Netlink().LinkSetUp(nic))
		},
		reason: "link-down", mute: true,
	},
	{
		name:   "process stopped",
		strike: func(r *router) hit { return r.shot(lanA, syscall.SIGSTOP) },
		heal:   func(r *router) { r.signal(lanA, syscall.SIGCONT) },
		reason: "member-stuck", limit: lease + swift,
	},
}

// hit is when a fault was injected. What is measured from before begins too
// early, by what the system call takes to get that far; what is measured from told
// too late, by what this process takes to wake up. The promise must hold for the
// former.
type hit struct {
	before time.Time // the call that did it
	told   time.Time // the kernel's event of it, as it was read here; a signal has none
}

// struck does something to a link.
func (r *router) struck(do func() error, link string, what netlab.Change) hit {
	r.site.t.Helper()
	mark := r.fence()
	before := time.Now()
	check(r.site.t, do())
	return hit{before, r.waitEvent(mark, link, what, netip.Addr{}).At}
}

// shot sends a signal to the process of a LAN.
func (r *router) shot(l lan, sig syscall.Signal) hit {
	r.site.t.Helper()
	p := r.daemon(l)
	before := time.Now()
	check(r.site.t, p.Signal(sig))
	return hit{before, before}
}

// fall is what came of a blow: times since before it struck. Those of priority 0
// end with the kernel's stamp of the frame at the switch; the others with the
// event as it was read here, later than it happened.
type fall struct {
	told     time.Duration    // the kernel's event of the fault
	silent   time.Duration    // no virtual address is left on the machine
	resigned [2]time.Duration // priority 0 on LAN A and B; 0: none was possible
	taken    time.Duration    // the other machine has the addresses of both LANs
}

// Whatever single fault strikes: the whole machine stops serving at once, says
// so on every LAN that works, the other machine becomes MASTER of both LANs, and
// when the fault is over the better machine takes the state back.
func point4WholeMachineChanges(t *testing.T) {
	t.Parallel()
	for _, b := range blows {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			onStage(t)
			s := pair(t, options{})
			var falls []fall
			for len(falls) < 3 || len(falls) < 7 && !b.swiftly(falls) {
				quietly(t, func() { falls = append(falls, s.strike(b)) })
				b.heal(s.r1)
				s.settled(s.r1, s.r2)
			}
			b.report(t, falls)
			s.neverSplit()
		})
	}
}

// strike injects the fault into r1, which is MASTER, and waits until r2 is.
func (s *site) strike(b blow) fall {
	s.t.Helper()
	r := s.r1
	var heard []*netlab.Sniffer
	for _, l := range lans {
		heard = append(heard, r.sniff(l, netlab.MatchPriority(0)))
	}
	marks := []int{r.links.Mark(), s.r2.links.Mark()}
	h := b.strike(r)
	at := h.before
	f := fall{told: h.told.Sub(at)}
	for _, l := range lans {
		f.silent = max(f.silent, r.waitEvent(marks[0], l.vrrp(), netlab.AddrGone, l.vip).At.Sub(at))
		f.taken = max(f.taken, s.r2.waitEvent(marks[1], l.vrrp(), netlab.AddrAdded, l.vip).At.Sub(at))
	}
	for i, l := range lans {
		if l == lanA && b.mute {
			continue
		}
		zero := r.waitAdvert(heard[i], 0, "resigns on "+l.nic, func(a netlab.Advert) bool { return a.VRID == l.vrid })
		f.resigned[i] = zero.At.Sub(at)
	}
	for _, sn := range heard {
		check(s.t, sn.Close())
	}
	// The survivor knows why, and the other machine is MASTER as a whole.
	r.waitStatus(lanB, "it is held for "+b.reason, func(st control.Status) bool {
		return st.Machine.Phase == "HELD" && st.Machine.Reason == b.reason
	})
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	return f
}

func (b blow) bound() time.Duration { return max(b.limit, swift) }

// swiftly tells whether the median of what was promised to be swift is.
func (b blow) swiftly(falls []fall) bool {
	if median(falls, func(f fall) time.Duration { return f.silent }) > b.bound() {
		return false
	}
	return median(falls, func(f fall) time.Duration { return max(f.resigned[0], f.resigned[1]) }) <= b.bound()
}

func (b blow) report(t *testing.T, falls []fall) {
	t.Helper()
	lines := ""
	for _, f := range falls {
		zero := make([]string, len(f.resigned))
		for i, d := range f.resigned {
			zero[i] = ms(d)
			if d == 0 {
				zero[i] = "(no way)"
			}
		}
		lines += fmt.Sprintf("\n  kernel's event after %s, addresses gone after %s, priority 0 after %s and %s, the other machine serves both LANs after %s",
			ms(f.told), ms(f.silent), zero[0], zero[1], ms(f.taken))
	}
	t.Logf("%s:%s", b.name, lines)
	if !b.swiftly(falls) {
		t.Errorf("%s: the median is more than %v", b.name, b.bound())
	}
}

func median(falls []fall, of func(fall) time.Duration) time.Duration {
	var all []time.Duration
	for _, f := range falls {
		all = append(all, of(f))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Without preemption (-s) the machine that recovers stays BACKUP.
func TestPoint4_NoPreempt(t *testing.T) {
	t.Parallel()
	s := pair(t, options{flags: "-s"})
	check(t, s.r1.cable(lanA).Cut())
	s.settled(s.r2, s.r1)
	check(t, s.r1.cable(lanA).Plug())
	s.r1.waitStatus(lanA, "it may be elected again", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	// For three master-down intervals from now.
	mark := s.r1.fence()
	s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 12)
	if e := s.r1.since(mark); len(e) > 0 {
		t.Errorf("the machine that recovered did something: %v", e)
	}
	s.settled(s.r2, s.r1)
	s.neverSplit()
}

// A link that flaps is held down longer each time.
func TestPoint4_FlappingLink(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	var held []time.Duration
	for range 4 {
		mark, letters := s.r1.links.Mark(), s.r1.syslog.mark()
		check(t, s.r1.cable(lanA).Cut())
		s.r1.syslog.waitFor(t, letters, "HELD", containing("-> HELD: link-down"))
		check(t, s.r1.cable(lanA).Plug())
		up := s.r1.waitEvent(mark, lanA.nic, netlab.CarrierOn, netip.Addr{})
		free := s.r1.syslog.waitFor(t, letters, "the end of the hold-down", containing("HELD -> "))
		held = append(held, free.at.Sub(up.At))
		s.settled(s.r1, s.r2)
	}
	t.Logf("held down for %v", held)
	// The first is two intervals, doubled because the fault comes soon after the
	// promotion.
	want := 400 * time.Millisecond
	for i, h := range held {
		if h < want*3/4 {
			t.Errorf("hold-down %d lasted %v, want %v", i+1, h, want)
		}
		want *= 2
	}
	s.neverSplit()
}

// A process that was stopped and goes on does not serve, and says nothing: the
// machine has changed sides meanwhile. The same for a machine that was stopped as
// a whole, whose addresses nobody could take away.
func TestPoint4_StoppedProcessObeys(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole %v", whole), func(t *testing.T) {
			t.Parallel()
			s := pair(t, options{flags: "-s"})
			r := s.r1
			stopped := []lan{lanA}
			if whole {
				stopped = lans
			}
			var procs []netlab.Process
			for _, l := range stopped {
				procs = append(procs, r.daemon(l))
			}
			var taken []*netlab.Sniffer
			for _, l := range lans {
				taken = append(taken, s.r2.sniff(l, netlab.MatchAdverts()))
			}
			for _, p := range procs {
				check(t, p.Signal(syscall.SIGSTOP))
			}
			for i, l := range lans {
				s.r2.waitServing(l)
				// It is set up a moment before it is MASTER; who goes on in that moment
				// hears nobody, and speaks.
				s.r2.waitAdvert(taken[i], 0, "has taken over", func(a netlab.Advert) bool { return a.Priority > 0 })
			}
			var heard []*netlab.Sniffer
			for _, l := range lans {
				heard = append(heard, r.sniff(l, netlab.MatchAdverts()))
			}
			mark, at := r.links.Mark(), time.Now()
			for _, p := range procs {
				check(t, p.Signal(syscall.SIGCONT))
			}
			if whole {
				for _, l := range lans {
					t.Logf("%s was given up %s after it went on", l.vip, ms(r.waitEvent(mark, l.vrrp(), netlab.AddrGone, l.vip).At.Sub(at)))
				}
			}
			r.waitStatus(lanA, "it may be elected again", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
			s.settled(s.r2, r)
			for _, e := range r.since(mark) {
				if e.What == netlab.AddrAdded {
					t.Errorf("after it went on: %v", e)
				}
			}
			for i, sn := range heard {
				for _, f := range sn.Frames(0) {
					if a, ok := f.Advert(); ok && !f.Out && a.Priority != 0 {
						t.Errorf("after it went on, %s sent %v on %s", r.Name(), a, lans[i].nic)
					}
				}
			}
		})
	}
}

// Stopping one of the two processes hands the whole machine over, without a gap.
func TestPoint4_OneProcessLeaves(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	s.r1.stop(lanB)
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r1.waitBackup(lanA)
	st := s.r1.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Phase == "HELD" && st.Machine.Reason == "member-left" })
	if p := st.Machine.Processes; p.Alive != 1 || p.Wanted != 2 {
		t.Errorf("processes: %+v", p)
	}
	s.r1.start(lanB)
	s.settled(s.r1, s.r2)
	s.neverSplit()
}

// Equal priorities, as in the manual's lines; all four processes start at once,
// and each machine has the higher address on one LAN. The machine that wins, wins
// both.
func TestPoint4_EqualPriorities(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{priority: [2]string{"100", "100"}, swapped: true})
	var started sync.WaitGroup
	for _, r := range s.routers() {
		for _, l := range lans {
			started.Go(func() {
				got, err := r.Run(within(t, patience), netlab.Command{Path: "sh", Args: []string{"-c", r.opts.line(r.number, l)}})
				if err != nil || got.Code != 0 {
					t.Errorf("start: %+v, %v", got, err)
				}
			})
		}
	}
	started.Wait()
	master, backup := s.elected()
	// It stays so for three master-down intervals.
	mark := backup.fence()
	master.waitAdverts(master.sniff(lanB, netlab.MatchAdverts()), 12)
	if e := backup.since(mark); len(e) > 0 {
		t.Errorf("the other one goes on trying: %v", e)
	}
	check(t, master.cable(lanB).Cut())
	s.settled(backup, master)
	check(t, master.cable(lanB).Plug())
	// An equal is not preempted.
	master.waitStatus(lanA, "it may be elected again", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	backup.waitAdverts(backup.sniff(lanA, netlab.MatchAdverts()), 12)
	s.settled(backup, master)
	s.neverSplit()
}

// A port that a switch has blocked between the machines: the BACKUP hears a
// master on one LAN and nobody on the other, and takes over neither. It says so.
func TestPoint4_Partition(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	mark := s.r2.fence()
	check(t, s.r2.cable(lanB).Block())
	for _, l := range lans {
		st := s.r2.waitStatus(l, "it sees the partition", func(st control.Status) bool { return st.Machine.Partition })
		if st.Machine.Phase != "BACKUP" {
			t.Errorf("partition: %+v", st.Machine)
		}
	}
	s.r1.waitAdverts(s.r1.sniff(lanA, netlab.MatchAdverts()), 12)
	if e := s.r2.since(mark); len(e) > 0 {
		t.Errorf("the BACKUP did something: %v", e)
	}
	check(t, s.r2.cable(lanB).Unblock())
	s.r2.waitStatus(lanB, "the partition is over", func(st control.Status) bool { return !st.Machine.Partition })
	s.settled(s.r1, s.r2)
}

// The first priority 0 on the wire is lost: the take-over is not slower by a
// master-down interval.
func point4LostResignation(t *testing.T) {
	onStage(t)
	s := pair(t, options{})
	var taken []time.Duration
	for range 3 {
		drop, err := s.r1.cable(lanB).Drop(netlab.Loss{Direction: netlab.FromHost, Match: netlab.MatchPriority(0), Count: 1})
		check(t, err)
		last := time.Duration(0)
		quietly(t, func() {
			mark := s.r2.fence()
			at := s.r1.struck(s.r1.cable(lanA).Cut, lanA.nic, netlab.CarrierLost).before
			for _, l := range lans {
				last = max(last, s.r2.waitEvent(mark, l.vrrp(), netlab.AddrAdded, l.vip).At.Sub(at))
			}
		})
		taken = append(taken, last)
		if lost, err := drop.Lost(); err != nil || lost != 1 {
			t.Errorf("%d resignations were lost, %v", lost, err)
		}
		check(t, drop.Close())
		check(t, s.r1.cable(lanA).Plug())
		s.settled(s.r1, s.r2)
	}
	slices.Sort(taken)
	t.Logf("taken over after %v", taken)
	if taken[1] > 250*time.Millisecond {
		t.Errorf("the take-over took %v in the median; the master-down interval is 360 ms", taken[1])
	}
	s.neverSplit()
}
