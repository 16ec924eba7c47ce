package acceptance

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

var reexecs = flag.Int("reexecs", 20, "how often the program is replaced")

// ownProgram is where the machines of these tests have a vrrpd of their own.
const ownProgram = "/run/bin/vrrpd"

// newVersion is that of another vrrpd.
const newVersion = "acceptance-test-2"

// otherProgram is that vrrpd, built once.
var otherProgram = sync.OnceValues(func() (string, error) {
	first, err := exec.LookPath("vrrpd")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(first), "other", "vrrpd") // which goes with the first
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+newVersion, "-o", path, "vrrpd/cmd/vrrpd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build another vrrpd: %w\n%s", err, out)
	}
	return path, nil
})

// install puts a program where the machine starts it from, as a package manager does;
// "": the one that is tested.
func (r *router) install(program string) {
	r.site.t.Helper()
	if program == "" {
		program = "$(command -v vrrpd)"
	}
	r.did("mkdir -p /run/bin; cp " + program + " /run/bin/new && chmod 755 /run/bin/new && mv /run/bin/new " + ownProgram)
}

func (r *router) did(line string) {
	r.site.t.Helper()
	if got := r.typed(line); got.Code != 0 {
		r.site.t.Fatalf("%s: %s: %d %s%s", r.Name(), line, got.Code, got.Stdout, got.Stderr)
	}
}

// reexec replaces the programs of the machine and returns what atropos says.
func (r *router) reexec(code int, words ...string) string {
	r.site.t.Helper()
	got := r.typed("atropos reexec")
	text := got.Stdout + got.Stderr
	if got.Code != code {
		r.site.t.Fatalf("%s: atropos reexec ends with %d: %s", r.Name(), got.Code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			r.site.t.Errorf("%s: atropos reexec says %q, want %q", r.Name(), text, w)
		}
	}
	return text
}

// ids are what a process must keep: its number, and how many descriptors it has.
type ids struct{ pid, descriptors int }

func (r *router) ids() map[int]ids {
	r.site.t.Helper()
	all, err := r.Find("vrrpd")
	check(r.site.t, err)
	out := map[int]ids{}
	for _, p := range all {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
		check(r.site.t, err)
		out[p.PID] = ids{p.PID, len(fds)}
	}
	return out
}

// standing is what a machine must keep.
type standing struct {
	epoch       uint64
	transitions int
	calls       int
	processes   map[int]ids
	sent        uint64
}

func (r *router) standing(status func() control.Status) standing {
	st := status()
	k := standing{epoch: st.Machine.Epoch, transitions: len(st.Transitions), processes: r.ids()}
	for _, l := range lans {
		k.calls += len(r.calls(l))
	}
	for _, v := range st.Routers {
		k.sent += v.Statistics.AdvertisementSent
	}
	return k
}

// stays checks that a machine is what it was. A descriptor more may be one that is
// being closed.
func (r *router) stays(was standing, status func() control.Status) (moved []string) {
	r.site.t.Helper()
	now := r.standing(status)
	if now.epoch != was.epoch || now.transitions != was.transitions {
		moved = append(moved, fmt.Sprintf("%s has changed its state: %+v", r.Name(), status().Transitions))
	}
	if now.calls != was.calls {
		moved = append(moved, fmt.Sprintf("%s has run %d commands", r.Name(), now.calls-was.calls))
	}
	if now.sent < was.sent {
		r.site.t.Errorf("%s has sent %d adverts and had sent %d", r.Name(), now.sent, was.sent)
	}
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		now := r.ids()
		for pid, p := range was.processes {
			if now[pid].pid != pid || now[pid].descriptors > p.descriptors+1 {
				return false, fmt.Sprintf("%s: processes %v, were %v", r.Name(), now, was.processes)
			}
		}
		return len(now) == len(was.processes), fmt.Sprintf("%s: processes %v, were %v", r.Name(), now, was.processes)
	})
	return moved
}

// The program of each process is replaced again and again, of the MASTER as well as of
// the BACKUP: nothing of what is sent through the virtual addresses is lost, no machine
// changes its state, no command is run, no advert is missed, and nothing is left over.
func TestReexecMovesNobody(t *testing.T) {
	for _, c := range []struct {
		interval string
		every    time.Duration
	}{{"1", time.Second}, {"0.1", 100 * time.Millisecond}} {
		t.Run(c.interval, func(t *testing.T) {
			onStage(t)
			reexecMovesNobody(t, c.interval, c.every)
		})
	}
}

// The same at the shortest interval, at which a process that stands still for 30 ms has
// lost its lease. So nothing else of these tests runs beside it.
func TestReexecSwiftly(t *testing.T) {
	reexecMovesNobody(t, "0.01", 10*time.Millisecond)
}

func reexecMovesNobody(t *testing.T, interval string, every time.Duration) {
	s := newSite(t, options{interval: interval, program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
	unexplained := 0
	for try := 1; ; try++ {
		var lost int
		var moved []string
		var gap, stall time.Duration
		quietly(t, func() { lost, moved, gap, stall = s.replaced(sn) })
		t.Logf("%d replacements of each of 4 processes: %d of the datagrams every 1 ms lost, the longest time between adverts every %v is %s, the client itself was late by up to %s",
			*reexecs, lost, every, ms(gap), ms(stall))
		if lost == 0 && len(moved) == 0 && gap < 2*every+30*time.Millisecond {
			return
		}
		// A stall of the machine that the tests run on says nothing, and one that the
		// client has not had itself is no rule.
		if stall < 8*time.Millisecond {
			unexplained++
		}
		if try == 6 || unexplained == 2 {
			t.Fatalf("%d lost, a gap of %s; %v", lost, ms(gap), moved)
		}
		s.settled(s.r1, s.r2)
	}
}

// replaced replaces the programs so often, and returns what was lost, what has moved, and
// the longest time between two adverts of r1.
func (s *site) replaced(sn *netlab.Sniffer) (lost int, moved []string, gap, stall time.Duration) {
	s.t.Helper()
	of := func(r *router) func() control.Status { return func() control.Status { return r.status(lanA) } }
	was := map[*router]standing{}
	for _, r := range s.routers() {
		was[r] = r.standing(of(r))
	}
	mark := sn.Mark()
	got := s.journey(func(*netlab.Pinger) {
		for range *reexecs {
			for _, r := range s.routers() {
				r.reexec(0, "binary replaced: version "+version+" -> "+version)
			}
		}
	})
	for _, r := range s.routers() {
		moved = append(moved, r.stays(was[r], of(r))...)
	}
	var last time.Time
	for _, f := range sn.Frames(mark) {
		if a, ok := f.Advert(); !ok || a.Priority != 150 || f.Out {
			continue
		}
		if !last.IsZero() {
			gap = max(gap, f.At.Sub(last))
		}
		last = f.At
	}
	return got.Lost(), moved, gap, got.Stall()
}

// With a file: one process, a hundred virtual routers, and another version, which the
// status then shows; what was changed in the file and not reloaded is not in force.
func TestReexecFile(t *testing.T) {
	t.Parallel()
	const n = 100
	other, err := otherProgram()
	check(t, err)
	s := newSite(t, options{})
	for i, r := range s.routers() {
		r.install("")
		r.conf(crowd(i+1, n) + "[[check]]\nname = \"slow\"\ncommand = \"sleep 1\"\ninterval = 3600\ntimeout = 10\n")
		r.startLine(ownProgram + " -c " + confFile)
	}
	s.r1.waitServes(n)
	s.r2.waitGroup(machineGroup, "it is BACKUP", inPhase("BACKUP"))
	of := func(r *router) func() control.Status {
		return func() control.Status {
			return r.waitGroup(machineGroup, "it answers", func(st control.Status) bool { return len(st.Routers) == n })
		}
	}
	was := map[*router]standing{}
	for _, r := range s.routers() {
		was[r] = r.standing(of(r))
		r.conf(crowd(1, n/2)) // which nobody has asked to be read
		r.install(other)
	}
	for range 3 {
		for _, r := range s.routers() {
			t.Log(strings.TrimSpace(r.reexec(0, "binary replaced: version ", "-> "+newVersion)))
		}
	}
	for _, r := range s.routers() {
		for _, m := range r.stays(was[r], of(r)) {
			t.Error(m)
		}
		st := of(r)()
		if want := "vrrpd " + newVersion; st.Program != want {
			t.Errorf("%s runs %q, want %q", r.Name(), st.Program, want)
		}
		if len(st.Checks) != 1 || st.Checks[0].State != "passing" {
			t.Errorf("%s: checks %+v", r.Name(), st.Checks)
		}
	}
	if got := s.r1.serves(); got != n {
		t.Errorf("%d virtual routers serve, want %d", got, n)
	}
	// Then it is: what is not in it leaves in order, and the machine goes on.
	s.r1.reload(0, fmt.Sprintf("%d removed", n/2))
	s.r1.waitServes(n / 2)
	check(t, s.r1.cable(lanB).Cut())
	s.r1.waitServes(0)
	s.r2.waitServes(n)
}

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

// Whatever the virtual routers are like, their peers notice nothing: numbers of signed
// adverts go on, and so does what guards, filters and peers were known by.
func TestReexecKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, interval, flags string }{
		{"ah", "1", "-a ah/0x0102030405060708"},
		{"hmac", "0.3", "-a hmac/7:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"pass", "1", "-a pass/secret"},
		{"no-vmac", "0.3", "-n"},
		{"no-accept", "0.3", "--no-accept"},
		{"tcx", "0.3", "--lease tcx"},
		{"nftables", "1", "--lease nftables"},
		{"no-lease", "0.3", "--lease none"},
		{"both-versions", "1", "--vrrp-version 2+3"},
		{"realtime", "0.3", "--realtime 5 --lock-memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{interval: c.interval, flags: c.flags, program: ownProgram})
			for _, r := range s.routers() {
				r.install("")
			}
			states := func(master, backup *router) {
				for _, l := range lans {
					master.waitStatus(l, "it is MASTER", inPhase("MASTER"))
					backup.waitStatus(l, "it is not", func(st control.Status) bool { return st.Machine.Phase != "MASTER" })
				}
			}
			s.open()
			states(s.r1, s.r2)
			for _, l := range lans {
				s.r2.waitStatus(l, "it is BACKUP", inPhase("BACKUP"))
			}
			of := func(r *router) func() control.Status { return func() control.Status { return r.status(lanA) } }
			was := map[*router]standing{}
			for _, r := range s.routers() {
				was[r] = r.standing(of(r))
			}
			sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
			for range 3 {
				for _, r := range s.routers() {
					r.reexec(0)
				}
			}
			s.r1.waitAdverts(sn, 5)
			for _, r := range s.routers() {
				for _, m := range r.stays(was[r], of(r)) {
					t.Error(m)
				}
				for _, l := range lans {
					st := r.status(l)
					if want := strings.Contains(c.flags, "realtime"); (st.Realtime == 5) != want || st.MemoryLock != want {
						t.Errorf("%s: real-time priority %d, memory locked %t", r.Name(), st.Realtime, st.MemoryLock)
					}
					for _, v := range st.Routers {
						if n := v.Statistics; n.ReplayErrors+n.AuthFailures+n.Repairs != 0 {
							t.Errorf("%s: %+v", r.Name(), n)
						}
					}
				}
			}
			// What was taken over is what it was: the machines change sides, and leave.
			check(t, s.r1.cable(lanB).Cut())
			states(s.r2, s.r1)
			for _, r := range s.routers() {
				r.stop(lanA)
				r.signal(lanB, syscall.SIGTERM)
				r.waitProcesses(0)
				for _, l := range lans {
					where := l.vrrp()
					if c.name == "no-vmac" {
						where = l.nic
					}
					_, err := r.WaitAddr(within(t, patience), where, l.vip, false)
					check(t, err)
				}
			}
		})
	}
}

// IPv6 is the same process; its adverts, neighbours and link-local address are others.
func TestReexecIPv6(t *testing.T) {
	t.Parallel()
	s := pair6(t, "-s -d 1")
	epochs := func() (all []uint64) {
		for _, m := range s.r {
			for _, l := range lans6 {
				all = append(all, m.waitStatus(l.instance(), "it answers", func(control.Status) bool { return true }).Machine.Epoch)
			}
		}
		return all
	}
	was := epochs()
	got := s.journey(func(*netlab.Pinger) {
		for range 4 {
			for _, m := range s.r {
				r, err := m.Run(within(t, patience), netlab.Command{Path: "atropos", Args: []string{"reexec"}})
				check(t, err)
				if r.Code != 0 {
					t.Fatalf("%s: %d %s", m.Name(), r.Code, r.Stderr)
				}
			}
		}
	})
	if now := epochs(); !slices.Equal(now, was) {
		t.Errorf("epochs %v, were %v", now, was)
	}
	if lost := got.Lost(); lost > 0 && got.Stall() < 8*time.Millisecond {
		t.Errorf("%d lost", lost)
	}
	s.r[0].end(syscall.SIGTERM)
	s.r[1].waitServing()
}

// Unicast peers are spoken to by sockets of another kind.
func TestReexecPeers(t *testing.T) {
	t.Parallel()
	pair := farPair(t)
	r1, r2 := pair[0], pair[1]
	r1.start(r2, 150, "-n -d 1")
	r1.waitServing(true)
	r2.start(r1, 100, "-n -d 1")
	r2.waitStatus("it is BACKUP", inPhase("BACKUP"))
	for range 3 {
		for _, r := range pair {
			got, err := r.Run(within(t, patience), netlab.Command{Path: "atropos", Args: []string{"reexec"}})
			check(t, err)
			if got.Code != 0 {
				t.Fatalf("%s: %d %s", r.Name(), got.Code, got.Stderr)
			}
		}
	}
	r1.waitStatus("it is what it was", func(s control.Status) bool {
		return s.Machine.Phase == "MASTER" && len(s.Transitions) == 3
	})
	r2.waitStatus("it hears its peer", func(s control.Status) bool {
		return s.Machine.Phase == "BACKUP" && len(s.Transitions) == 2 && s.Routers[0].Statistics.AdvertisementRcvd > 5
	})
	r1.end(syscall.SIGTERM)
	r2.waitServing(true)
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

// As a user of its own, with ambient capabilities as systemd gives them, the next program
// has what this one has.
func TestReexecOwnUser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, flags string
		cores       bool
	}{{"without", "-F", true}, {"key", "-F -a hmac/7:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			r := s.r1
			r.install("")
			r.did(fmt.Sprintf("mkdir -m 755 %[1]s && chown %[2]d:%[2]d %[1]s", runDir, nobody))
			self, err := os.Executable()
			check(t, err)
			args := append([]string{ownProgram}, strings.Fields(c.flags+" -i eth0 -v 51 -d 0.3 "+lanA.vip.String())...)
			_, err = r.Start(netlab.Command{Path: self, Args: args, Env: []string{toolEnv + "=" + toolOwnUser}})
			check(t, err)
			r.waitServing(lanA)
			of := func() control.Status { return r.status(lanA) }
			was := r.standing(of)
			// What a process that leaves no core has in /proc is root's.
			cores := func() {
				t.Helper()
				for pid := range was.processes {
					var st syscall.Stat_t
					check(t, syscall.Stat(fmt.Sprintf("/proc/%d/environ", pid), &st))
					if got := st.Uid == nobody; got != c.cores {
						t.Errorf("it leaves a core: %t, want %t", got, c.cores)
					}
				}
			}
			cores()
			for range 3 {
				r.reexec(0)
				cores()
			}
			for _, m := range r.stays(was, of) {
				t.Error(m)
			}
			r.signal(lanA, syscall.SIGTERM)
			r.waitGone(lanA)
		})
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

// Several groups of one process go on together, each in its own state; and so does who
// answers Prometheus, who counts on.
func TestReexecGroups(t *testing.T) {
	t.Parallel()
	other, err := otherProgram()
	check(t, err)
	s := newSite(t, options{interval: "0.3"})
	groups := []string{machineGroup, "inside"}
	for _, r := range s.routers() {
		r.install("")
		r.conf("metrics = \"127.0.0.1:9112\"\n" + r.opts.config(r.number, "group = \"inside\"\n[group.inside]\n"))
		r.startLine(ownProgram + " -c " + confFile)
		for _, g := range groups {
			r.waitGroup(g, "it may be elected", func(st control.Status) bool { return st.Machine.Phase == "MASTER" || st.Machine.Phase == "BACKUP" })
		}
	}
	s.settled(s.r1, s.r2)
	// The two groups of r1 in different states.
	check(t, s.r1.cable(lanB).Cut())
	s.r2.waitServing(lanB)
	s.r1.waitGroup("inside", "it is held", inPhase("HELD"))
	sent := func() float64 {
		v, err := s.r1.metrics(machineGroup)["vrrpd_adverts_sent_total"].Value("group", machineGroup, "vrid", "51")
		check(t, err)
		return v
	}
	of := func() control.Status {
		return s.r1.waitGroup(machineGroup, "it answers", func(control.Status) bool { return true })
	}
	was, before := s.r1.standing(of), sent()
	for range 3 {
		s.r1.install(other)
		s.r1.reexec(0, "-> "+newVersion)
		s.r2.reexec(0)
	}
	for _, m := range s.r1.stays(was, of) {
		t.Error(m)
	}
	if now := sent(); now < before {
		t.Errorf("%v adverts were sent, after %v", now, before)
	}
	var conn net.Conn
	check(t, s.r1.Do(func() (err error) {
		conn, err = net.Dial("tcp", "127.0.0.1:9112")
		return err
	}))
	if text := get(t, conn, "/metrics"); !strings.Contains(text, newVersion) || !strings.Contains(text, "group=\"inside\"") {
		t.Errorf("metrics:\n%s", text)
	}
	s.r1.waitGroup("inside", "it is held", inPhase("HELD"))
	check(t, s.r1.cable(lanB).Plug())
	s.settled(s.r1, s.r2)
	s.r1.conf("metrics = \"127.0.0.1:9112\"\n" + s.r1.opts.config(1, ""))
	s.r1.reload(0, "1 virtual routers added", "group inside removed")
	s.r1.waitServing(lanB)
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
