package acceptance

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// What may be in the way of a replacement, or come between.

// What must not take the place of a vrrpd is refused, with a reason, and nothing has
// changed. Neither is one that fails later the end of the service: that is a crash.
func TestReexecRefused(t *testing.T) {
	t.Parallel()
	other, err := otherProgram()
	check(t, err)
	s := newSite(t, options{interval: "0.3", program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	of := func() control.Status { return s.r1.status(lanA) }
	was := s.r1.standing(of)
	script := func(text string) string {
		return "printf '#!/bin/sh\\n" + text + "\\n' > " + ownProgram + ".new; chmod 755 " + ownProgram + ".new; mv " + ownProgram + ".new " + ownProgram
	}
	for _, c := range []struct{ what, line, words string }{
		{"missing", "rm " + ownProgram, "there is no " + ownProgram + " any more"},
		{"not executable", "cp " + other + " " + ownProgram + "; chmod 644 " + ownProgram, ownProgram + " is not executable"},
		{"one that others can change", "chmod 777 " + ownProgram, "others may write to " + ownProgram + " (mode 0777); chmod it to 0755"},
		{"a directory", "rm -f " + ownProgram + "; mkdir " + ownProgram, "is no program"},
		{"another program", "rmdir " + ownProgram + "; cp $(command -v atropos) " + ownProgram + "; chmod 755 " + ownProgram, "cannot take over: atropos: unknown"},
		{"no program at all", "echo hello > " + ownProgram, "nothing was changed"},
		{"one that fails", script("echo I am broken >&2; exit 3"), "cannot take over: I am broken"},
		{"one that says nothing", script("exit 0"), "does not know how to take over"},
		{"an old one", script("echo vrrpd: unknown option $1 >&2; exit 2"), "cannot take over: unknown option"},
		{"one that knows another format", script("echo vrrpd: the state has format 1, and this vrrpd knows format 7: restart vrrpd instead >&2; exit 1"), "restart vrrpd instead"},
	} {
		s.r1.did(c.line)
		text := s.r1.reexec(1, c.words, "nothing was changed")
		t.Logf("%s: %s", c.what, strings.TrimSpace(text))
	}
	for _, m := range s.r1.stays(was, of) {
		t.Error(m)
	}
	if got := of().Program; got != "vrrpd "+version {
		t.Errorf("it runs %q", got)
	}
	// One that cannot be started any more when it has said yes, one way or the other:
	// everything goes on.
	s.r1.did("cp " + other + " /run/bin/real; cp /bin/sh /run/bin/sh; " + strings.Replace(script("rm /run/bin/sh; exec /run/bin/real \"$@\""), "#!/bin/sh", "#!/run/bin/sh", 1))
	s.r1.reexec(1, "nothing was changed", "no such file or directory")
	s.r1.did(script("touch $0; exec /run/bin/real \"$@\""))
	s.r1.reexec(1, "nothing was changed", "is not the program any more that was tried")
	for _, m := range s.r1.stays(was, of) {
		t.Error(m)
	}
	sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
	s.r1.waitAdverts(sn, 3)
	s.r1.install(other)
	s.r1.reexec(0, "-> "+newVersion)

	// One that promises to take over and then does not.
	s.r1.did(script("[ \"$1\" = --could-take-over ] && exec /run/bin/real \"$@\"; exit 1"))
	text := s.r1.reexec(1)
	t.Log(strings.TrimSpace(text))
	for _, l := range lans {
		s.r2.waitServing(l)
		s.r1.waitGone(l)
	}
}

// A command of the user that runs is waited for, and runs once; signals that come at any
// moment are obeyed; who watches goes on; and what an operator has wished stays.
func TestReexecMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{interval: "0.3", program: ownProgram, master: "while ! [ -e /run/go ]; do sleep 0.05; done"})
	s.r1.install("")
	s.r1.startAll()
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	of := func() control.Status { return s.r1.status(lanA) }
	watched := "/run/watched"
	watch, err := s.r1.Start(netlab.Command{Path: "sh", Args: []string{"-c", "exec atropos --watch > " + watched + " 2>&1"}})
	check(t, err)
	netlab.Eventually(t, patience, func() (bool, string) {
		text, _ := s.r1.ReadFile(watched)
		return strings.Contains(text, "MASTER"), text
	})
	s.r1.did("atropos reexec > /run/said 2>&1 & sleep 1; [ -e /run/said ] && ! [ -s /run/said ] && touch /run/go; wait")
	if said, _ := s.r1.ReadFile("/run/said"); strings.Count(said, "binary replaced") != 2 {
		t.Errorf("atropos reexec says %q", said)
	}
	s.r1.waitCalls(lanA, 2)
	s.r1.waitCalls(lanB, 2)
	was := s.r1.standing(of)

	s.r1.did("atropos --reduce")
	stop := make(chan struct{})
	var signals sync.WaitGroup
	signals.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for pid := range was.processes {
					if err := syscall.Kill(pid, syscall.SIGTTOU); err != nil {
						t.Error(err)
					}
				}
			case <-stop:
				return
			}
		}
	})
	for range 5 {
		s.r1.reexec(0)
	}
	close(stop)
	signals.Wait()
	for _, m := range s.r1.stays(was, of) {
		t.Error(m)
	}
	if p := of().Machine.Priority; p.Effective != 254 {
		t.Errorf("after many signals that raise the priority it is %+v", p)
	}
	s.r1.did("atropos --reduce")
	netlab.Eventually(t, patience, func() (bool, string) {
		text, _ := s.r1.ReadFile(watched)
		_, rest, replaced := strings.Cut(text, "being replaced")
		return replaced && !strings.Contains(text, "died") && strings.Contains(rest, "reduce"), text
	})
	check(t, watch.Signal(syscall.SIGTERM))
	_, err = watch.Wait(within(t, patience))
	check(t, err)
	if p := of().Machine.Priority; p.Effective != 244 {
		t.Errorf("after atropos --reduce the priority is %+v", p)
	}
	s.r1.did("atropos --hold")
	s.r1.waitStatus(lanA, "it is held", inPhase("HELD"))
	s.r1.reexec(0)
	s.r1.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Phase == "HELD" && st.Machine.Wishes.Hold })
	s.r1.did("atropos --release")
	for _, l := range lans {
		s.r1.waitServing(l)
	}
}

// What is out of order stays so, and is put right by the next program when its time has
// come: a cable, and a parent that does not exist.
func TestReexecHeld(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	check(t, s.r1.cable(lanB).Cut())
	s.settled(s.r2, s.r1)
	s.r1.reexec(0)
	for _, l := range lans {
		s.r1.waitStatus(l, "it is held for the cable", func(st control.Status) bool {
			return st.Machine.Phase == "HELD" && st.Machine.Reason == "link-down"
		})
	}
	check(t, s.r1.cable(lanB).Plug())
	s.settled(s.r1, s.r2)

	// The parent goes, and comes back as another one.
	link, err := s.r1.Netlink().LinkByName(lanB.nic)
	check(t, err)
	check(t, s.r1.Netlink().LinkDel(link))
	s.r1.waitStatus(lanB, "it is held for the parent", func(st control.Status) bool {
		return st.Machine.Phase == "HELD" && st.Machine.Reason == "parent-gone"
	})
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r1.reexec(0)
	s.r1.connect(lanB.index())
	s.settled(s.r1, s.r2)
	s.r1.reexec(0)
	s.r1.signal(lanA, syscall.SIGKILL)
	s.r2.waitServing(lanA)
	s.r2.waitServing(lanB)
}

// Programs are replaced all the time while the machines change sides all the time:
// whatever moment it is, either nothing was changed or the next program does what the
// last one would have done.
func TestReexecStorm(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	was := map[*router]map[int]ids{}
	for _, r := range s.routers() {
		was[r] = r.ids()
	}
	stop := make(chan struct{})
	var storm sync.WaitGroup
	var done, refused atomic.Int32
	for _, r := range s.routers() {
		storm.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := r.Run(within(t, patience), netlab.Command{Path: "atropos", Args: []string{"reexec"}})
				switch {
				case err != nil || got.Code > 1:
					t.Errorf("%s: %d %s, %v", r.Name(), got.Code, got.Stderr, err)
					return
				case got.Code == 0:
					done.Add(1)
				case strings.Contains(got.Stderr, "nothing was changed"):
					refused.Add(1)
				default:
					t.Errorf("%s: %s", r.Name(), got.Stderr)
					return
				}
			}
		})
	}
	for n := range 6 {
		l := lans[n%2]
		check(t, s.r1.cable(l).Cut())
		s.settled(s.r2, s.r1)
		check(t, s.r1.cable(l).Plug())
		s.settled(s.r1, s.r2)
		// A successor that is being replaced on a busy machine may come too late.
		netlab.Eventually(t, patience, func() (bool, string) {
			got := s.r1.typed("atropos --backup")
			return got.Code == 0, got.Stderr
		})
		s.settled(s.r2, s.r1)
		s.r1.did("atropos --release")
		s.settled(s.r1, s.r2)
	}
	close(stop)
	storm.Wait()
	t.Logf("replaced %d times, and %d times not", done.Load(), refused.Load())
	for _, r := range s.routers() {
		for pid := range r.ids() {
			if was[r][pid].pid != pid {
				t.Errorf("%s: process %d is none of %v", r.Name(), pid, was[r])
			}
		}
		r.waitProcesses(2)
	}
	if done.Load() < 10 {
		t.Errorf("replaced %d times only", done.Load())
	}
}

// A reload that is asked for while the program is about to be replaced is made by the
// next one.
func TestReexecThenReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{interval: "0.3", master: "while ! [ -e /run/go ]; do sleep 0.05; done"})
	s.r1.install("")
	s.r1.configure("")
	s.r1.startLine(ownProgram + " -c " + confFile)
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	s.r1.configure("[[router]]\ninterface = \"eth0\"\nvrid = 61\naddresses = [\"10.16.1.61\"]\n")
	s.r1.did("atropos reexec > /run/said 2>&1 & sleep 1; kill -HUP $(cat " + runDir + "/machine.pid); sleep 0.2; touch /run/go; wait")
	if said, _ := s.r1.ReadFile("/run/said"); !strings.Contains(said, "binary replaced") {
		t.Errorf("atropos reexec says %q", said)
	}
	s.r1.waitGroup(machineGroup, "the file is in force", func(st control.Status) bool { return len(st.Routers) == 3 })
}

// A next program that takes half a second to begin finds what its siblings have done to
// a process that did not move: its service was ended, and its guard replaced. It obeys,
// puts right what is its own, and serves again when it is its turn.
func TestReexecSlowly(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	s.r1.did("cp " + ownProgram + " /run/bin/real; printf '#!/bin/sh\\n[ \"$1\" = --could-take-over ] || sleep 0.5\\nexec /run/bin/real \"$@\"\\n' > /run/bin/new; chmod 755 /run/bin/new; mv /run/bin/new " + ownProgram)
	was := s.r1.ids()
	epoch := s.r1.status(lanA).Machine.Epoch
	s.r1.reexec(0, "eth0-51: binary replaced", "adverts late by at most")
	if st := s.r1.status(lanA); st.Machine.Epoch == epoch {
		t.Error("nobody has noticed: nothing was tested")
	}
	s.settled(s.r1, s.r2)
	for _, l := range lans {
		for _, r := range s.routers() {
			r.waitStatus(l, "it is what it should be", func(st control.Status) bool { return (r == s.r1) == (st.Machine.Phase == "MASTER") })
		}
	}
	got := s.journey(func(ping *netlab.Pinger) {
		check(t, ping.WaitAnswer(within(t, patience), time.Now().Add(50*time.Millisecond)))
	})
	if n := len(got.List); got.Lost() > n/2 {
		t.Errorf("%d of %d are lost", got.Lost(), n)
	}
	for pid := range s.r1.ids() {
		if was[pid].pid != pid {
			t.Errorf("process %d is none of %v", pid, was)
		}
	}
}
