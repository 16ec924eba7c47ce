package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// pace is an advert interval and what a test does at it.
type pace struct {
	interval string
	iv       time.Duration
	ask      time.Duration // a host resolves the addresses afresh so often
	hang     time.Duration // how long vrrpd stands still
}

var paces = []pace{
	{"1", time.Second, 50 * time.Millisecond, 10 * time.Second},
	{"0.1", 100 * time.Millisecond, 10 * time.Millisecond, 1500 * time.Millisecond},
	{"0.01", 10 * time.Millisecond, 5 * time.Millisecond, 300 * time.Millisecond},
}

// eachPace runs a test at several paces beside others.
func eachPace(t *testing.T, paces []pace, f func(t *testing.T, p pace)) {
	t.Parallel()
	for _, p := range paces {
		t.Run(p.interval+"s", func(t *testing.T) {
			t.Parallel()
			f(t, p)
		})
	}
}

// What has to happen within milliseconds is not tried beside other tests: all
// network namespaces of a machine share one lock.
func TestLease_WithinMilliseconds(t *testing.T) {
	for _, c := range []struct {
		name  string
		paces []pace
		f     func(t *testing.T, p pace)
	}{
		{"hang", paces[2:], hang},
		{"short-hang", paces[1:2], shortHang},
		{"kill", paces[2:], func(t *testing.T, p pace) { killed(t, "clsact", p) }},
		{"one-process-hangs", paces[2:], oneProcessHangs},
		{"last-advert-lost", paces[2:], lastAdvertLost},
		{"preempted-master-hangs", paces[1:], preemptedMasterHangs},
	} {
		for _, p := range c.paces {
			t.Run(c.name+"-"+p.interval+"s", func(t *testing.T) { c.f(t, p) })
		}
	}
}

// processes are those of the machine.
func (r *router) processes() []netlab.Process {
	r.site.t.Helper()
	var all []netlab.Process
	for _, l := range lans {
		all = append(all, r.daemon(l))
	}
	return all
}

func signalAll(t *testing.T, all []netlab.Process, sig syscall.Signal) {
	t.Helper()
	for _, p := range all {
		check(t, p.Signal(sig))
	}
}

// killTogether kills processes so that none of them sees another one die and cleans up
// after it: first they are all made to stand still.
func killTogether(t *testing.T, all []netlab.Process) {
	t.Helper()
	signalAll(t, all, syscall.SIGSTOP)
	for _, p := range all {
		waitStopped(t, p.PID)
	}
	signalAll(t, all, syscall.SIGKILL)
}

// waitStopped waits until every thread of a process that was sent SIGSTOP stands
// still.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	netlab.Eventually(t, patience, func() (bool, string) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		check(t, err)
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(text), ") T ") {
				return false, string(text)
			}
		}
		return true, ""
	})
}

// pass waits until so much time has passed by the adverts of a machine.
func (r *router) pass(d, iv time.Duration) {
	r.site.t.Helper()
	sn := r.sniff(lanA, netlab.MatchAdverts())
	first := r.waitAdverts(sn, 1)[0]
	r.waitAdvert(sn, 0, "goes on to speak", func(netlab.Advert) bool {
		frames := sn.Frames(0)
		return frames[len(frames)-1].At.Sub(first.At) >= d-iv
	})
	check(r.site.t, sn.Close())
}

// A MASTER whose processes all hang, for 10 s at 1 s adverts: the other machine
// takes over, and at no moment do both answer or forward. When they go on, they
// say nothing, serve nothing and announce nothing before they know who serves.
func TestLease_Hang(t *testing.T) { eachPace(t, paces[:2], hang) }

func hang(t *testing.T, p pace) {
	s := pair(t, options{interval: p.interval, flags: "-s"})
	r := s.r1
	watch := s.watch(p.ask)
	procs := r.processes()
	signalAll(t, procs, syscall.SIGSTOP)
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r2.pass(max(p.hang-4*p.iv, p.iv), p.iv)
	var adverts, arp []*netlab.Sniffer
	for _, l := range lans {
		adverts = append(adverts, r.sniff(l, netlab.MatchAdverts()))
		arp = append(arp, r.sniff(l, netlab.MatchARP()))
	}
	mark := r.links.Mark()
	signalAll(t, procs, syscall.SIGCONT)
	for _, l := range lans {
		r.waitBackup(l)
	}
	r.waitStatus(lanA, "it may be elected again", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	s.settled(s.r2, r)
	s.r2.pass(3*p.iv, p.iv)
	for _, e := range r.since(mark) {
		if e.What == netlab.AddrAdded {
			t.Errorf("after it went on: %v", e)
		}
	}
	for i, l := range lans {
		for _, f := range adverts[i].Frames(0) {
			if a, ok := f.Advert(); ok && !f.Out && a.Priority != 0 {
				t.Errorf("after it went on, %s sent %v on %s", r.Name(), a, l.nic)
			}
		}
		for _, f := range arp[i].Frames(0) {
			if a, ok := f.ARP(); ok && !f.Out && a.SenderMAC == l.vmac() {
				t.Errorf("after it went on, %s said %+v on %s", r.Name(), a, l.nic)
			}
		}
	}
	s.neverTwo(watch)
}

// A hang that outlasts the lease and not the patience of the others: the machine is
// silent by itself, and when it goes on it finds that nobody has taken over, speaks,
// and serves on.
func TestLease_ShortHang(t *testing.T) { eachPace(t, paces[:1], shortHang) }

func shortHang(t *testing.T, p pace) {
	s := pair(t, options{interval: p.interval})
	r := s.r1
	epoch, mark := r.status(lanA).Machine.Epoch, s.r2.fence()
	watch := s.watch(p.ask)
	procs := r.processes()
	signalAll(t, procs, syscall.SIGSTOP)
	netlab.Eventually(t, patience, func() (bool, string) {
		record, err := watch[0].asker.Snapshot()
		check(t, err)
		n := 0 // questions in a row that nobody has answered
		for _, q := range record.List {
			if n++; len(q.Answers) > 0 {
				n = 0
			}
		}
		return n >= 4, fmt.Sprintf("%d questions without an answer", n)
	})
	signalAll(t, procs, syscall.SIGCONT)
	for _, l := range lans {
		if mac, err := s.host(l).Resolve(within(t, patience), "eth0", l.vip); err != nil || mac != l.vmac() {
			t.Errorf("%v is at %v, %v", l.vip, mac, err)
		}
	}
	r.pass(4*p.iv, p.iv)
	if st := r.status(lanA).Machine; st.Epoch != epoch || st.Phase != "MASTER" {
		t.Errorf("it has left: %+v", st)
	}
	if e := s.r2.since(mark); len(e) > 0 {
		t.Errorf("the other machine did something: %v", e)
	}
	s.neverTwo(watch)
}

// Every process of the MASTER is killed, and nobody is left to clean up: by each
// kind of lease the kernel silences the machine before the other one serves.
// Without any both serve, which shows that this test can fail.
func TestLease_Kill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rung string
		pace
	}{{"clsact", paces[0]}, {"clsact", paces[1]}, {"tcx", paces[1]}, {"nftables", paces[0]}, {"none", paces[1]}} {
		t.Run(c.rung+"-"+c.interval+"s", func(t *testing.T) {
			t.Parallel()
			killed(t, c.rung, c.pace)
		})
	}
}

func killed(t *testing.T, rung string, p pace) {
	s := pair(t, options{interval: p.interval, flags: "--lease " + rung})
	r := s.r1
	if l := r.status(lanA).Routers[0].Lease; l.Rung != rung || l.RemainingMS <= 0 && rung != "none" {
		t.Errorf("the lease is %+v", l)
	}
	r.syslog.waitFor(t, 0, "the lease", containing("lease: "+rung))
	if got := r.typed("atropos --state"); !strings.Contains(got.Stdout, rung) {
		t.Errorf("atropos --state does not show the lease:\n%s", got.Stdout)
	}
	watch := s.watch(p.ask)
	killTogether(t, r.processes())
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r2.pass(5*p.iv, p.iv)
	if rung == "none" {
		for _, w := range watch {
			if len(w.stop().double) == 0 {
				t.Error("without a lease only one machine has served: this test sees nothing")
			}
		}
	} else {
		s.neverTwo(watch)
	}
	// The next start makes the machine right again, whatever is left.
	r.startAll()
	s.settled(r, s.r2)
	watch = s.watch(p.ask)
	s.r1.pass(2*p.iv, p.iv)
	s.neverTwo(watch)
}

// One process of the two hangs: its sibling takes the machine out of service, and
// what the one that hangs still has in the kernel is silent.
func TestLease_OneProcessHangs(t *testing.T) { eachPace(t, paces[:2], oneProcessHangs) }

func oneProcessHangs(t *testing.T, p pace) {
	s := pair(t, options{interval: p.interval, flags: "-s"})
	if p == paces[2] { // a guard that takes longer to be taken away
		for _, l := range lans {
			s.r1.waitLight(l)
		}
	}
	watch := s.watch(p.ask)
	stuck := s.r1.daemon(lanA)
	check(t, stuck.Signal(syscall.SIGSTOP))
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r2.pass(3*p.iv, p.iv)
	check(t, stuck.Signal(syscall.SIGCONT))
	s.r1.waitStatus(lanA, "it may be elected again", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	s.settled(s.r2, s.r1)
	s.r2.pass(3*p.iv, p.iv)
	s.neverTwo(watch)
	// What the sibling has done to the guard of the one that hung is undone.
	check(t, s.r2.cable(lanA).Cut())
	s.settled(s.r1, s.r2)
	for _, l := range lans {
		if _, err := s.host(l).Resolve(within(t, patience), "eth0", l.vip); err != nil {
			t.Errorf("after it went on: %v", err)
		}
	}
}

// The last advert before the hang is lost on its way: the others count from the
// one before.
func TestLease_LastAdvertLost(t *testing.T) { eachPace(t, paces[:2], lastAdvertLost) }

func lastAdvertLost(t *testing.T, p pace) {
	for range 5 {
		if oneAdvertLost(t, p) {
			return
		}
	}
	t.Error("five times more than one advert was lost before the processes stood still")
}

// oneAdvertLost reports whether it was one; of two that are lost a lease knows nothing.
func oneAdvertLost(t *testing.T, p pace) bool {
	flags := "-s"
	if p.iv < 100*time.Millisecond {
		flags += " --lease-intervals 2" // the price of three is just this
	}
	s := pair(t, options{interval: p.interval, flags: flags})
	watch := s.watch(p.ask)
	procs := s.r1.processes()
	last := make(chan struct{}, 100)
	for _, l := range lans {
		_, err := s.r1.cable(l).Drop(netlab.Loss{Direction: netlab.FromHost, Match: netlab.MatchAdverts()})
		check(t, err)
	}
	// A sniffer sees what is then lost.
	sn, err := s.r1.cable(lanB).StartSniffer(netlab.SnifferOptions{Match: netlab.MatchAdverts(), OnFrame: func(f netlab.Frame) {
		if !f.Out {
			last <- struct{}{}
		}
	}})
	check(t, err)
	<-last
	signalAll(t, procs, syscall.SIGSTOP)
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	check(t, sn.Close())
	s.r2.pass(3*p.iv, p.iv)
	lost := slices.DeleteFunc(sn.Frames(0), func(f netlab.Frame) bool { return f.Out }) // less those of r2
	if len(lost) != 1 {
		t.Logf("%d adverts were lost", len(lost))
		for _, w := range watch {
			w.stop()
		}
		return false
	}
	s.neverTwo(watch)
	return true
}

// A MASTER hangs just when a better machine is about to replace it: what is left
// of its lease began with an advert that the other does not count from.
func leasePreemptedMasterHangs(t *testing.T) {
	onStage(t)
	preemptedMasterHangs(t, paces[0])
}

func preemptedMasterHangs(t *testing.T, p pace) {
	for range 5 {
		if masterHangsInTime(t, p) {
			return
		}
	}
	t.Error("five times the better machine had replaced it before it hung")
}

// masterHangsInTime reports whether the MASTER stood still before the better machine had
// spoken.
func masterHangsInTime(t *testing.T, p pace) (hung bool) {
	s := pair(t, options{interval: p.interval})
	cut := s.r1.links.Mark()
	check(t, s.r1.cable(lanA).Cut())
	s.settled(s.r2, s.r1)
	// Adverts fail at once. The kernel tells of the carrier when it comes to it, and says
	// nothing at all if it is back by then.
	s.r1.waitEvent(cut, lanA.nic, netlab.CarrierLost, noAddr)
	procs := s.r2.processes()
	watch := s.watch(p.ask)
	mark := s.r1.links.Mark()
	sn := s.r2.sniff(lanB, netlab.MatchAdverts())
	// Who preempts asks for some milliseconds whether the old master is still there,
	// which a machine that is busy with something else answers too late.
	quietly(t, func() {
		check(t, s.r1.cable(lanA).Plug())
		back := s.r1.waitEvent(mark, lanA.nic, netlab.CarrierOn, noAddr)
		// r1 waits for three intervals and its skew time, or its hold-down.
		f, err := sn.WaitFrom(within(t, patience), 0, func(f netlab.Frame) bool {
			a, ok := f.Advert()
			return ok && a.Priority > 0 && (f.Out || f.At.Sub(back.At) > 3*p.iv-p.iv/2)
		})
		if check(t, err); f.Out {
			return // r1 was the first one
		}
		signalAll(t, procs, syscall.SIGSTOP)
		for _, l := range lans {
			s.r1.waitServing(l)
		}
		hung = true
	})
	if !hung {
		for _, w := range watch {
			w.stop()
		}
		return false
	}
	s.r1.pass(4*p.iv, p.iv)
	s.neverTwo(watch)
	return true
}

// The words of the option, and what they mean.
func TestLease_Forced(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	got := s.r1.typed(alone + " --lease nftables")
	if want := "nftables is for whole-second advert intervals"; got.Code != 2 || !strings.Contains(got.Stderr, want) {
		t.Errorf("exit %d, %q; want 2 and %q", got.Code, got.Stderr, want)
	}
	if k, err := s.r1.Link("vrrp51"); err != nil || k.Exists() {
		t.Errorf("it was refused, and left %+v, %v", k, err)
	}
	s.r1.startLine(alone + " --lease tcx")
	l := s.r1.status(lanA).Routers[0].Lease
	if l.Rung != "tcx" || len(l.Skipped) != 1 || !strings.HasPrefix(l.Skipped[0], "clsact: ") {
		t.Errorf("the lease is %+v", l)
	}
	s.r1.syslog.waitFor(t, 0, "why it is not clsact", containing(fmt.Sprintf("lease: tcx (%s)", l.Skipped[0])))
}
