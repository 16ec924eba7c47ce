package acceptance

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// Programs are replaced in every form in which they run: with a file and several groups,
// real-time, in the background, over IPv6, with peers, as a user of their own.

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
			// It is prepared, and shows that, a moment before it is MASTER.
			r.waitStatus(lanA, "it is MASTER", func(s control.Status) bool { return s.Machine.Phase == "MASTER" })
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
