package acceptance

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// The form with a configuration file: one process for all virtual routers of a machine,
// and reloads, which nobody on the LANs may notice.

var reloads = flag.Int("reloads", 30, "how often the configuration is reloaded")

const (
	confFile = "/etc/vrrpd.toml"
	// machineGroup is the group of virtual routers that name none.
	machineGroup = "machine"
)

// config is the file of the manual's two virtual routers on router number n.
func (o options) config(n int, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interval = %s\npriority = %s\non_master = \"/etc/scripts/MASTER.sh\"\non_backup = \"/etc/scripts/DOWN.sh\"\n",
		cmp.Or(o.interval, "0.1"), cmp.Or(o.priority[n-1], []string{"150", "100"}[n-1]))
	for _, l := range lans {
		fmt.Fprintf(&b, "[[router]]\ninterface = %q\nvrid = %d\naddresses = [%q]\n", l.nic, l.vrid, l.vip)
	}
	return b.String() + more
}

// configure writes the file of a router.
func (r *router) configure(more string) {
	r.site.t.Helper()
	r.conf(r.opts.config(r.number, more))
}

func (r *router) conf(text string) {
	r.site.t.Helper()
	check(r.site.t, r.WriteFile(confFile, netlab.File{Text: text}))
}

// groupStatus asks the process for a group.
func (r *router) groupStatus(group string) (control.Status, error) {
	path := fmt.Sprintf("/proc/%d/root%s", r.PID(), control.SocketPath(runDir, group))
	return control.NewClient(path).Status(within(r.site.t, patience))
}

func (r *router) waitGroup(group, what string, cond func(control.Status) bool) control.Status {
	r.site.t.Helper()
	var s control.Status
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		var err error
		s, err = r.groupStatus(group)
		return err == nil && cond(s), fmt.Sprintf("wait until %s on %s; %v, %+v", what, r.Name(), err, s.Machine)
	})
	return s
}

func inPhase(p string) func(control.Status) bool {
	return func(s control.Status) bool { return s.Machine.Phase == p }
}

// reload has the machine read its file again.
func (r *router) reload(code int, words ...string) {
	r.site.t.Helper()
	got := r.typed("atropos --reload")
	text := got.Stdout + got.Stderr
	if got.Code != code {
		r.site.t.Fatalf("%s: atropos --reload ends with %d: %s", r.Name(), got.Code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			r.site.t.Errorf("%s: atropos --reload says %q, want %q", r.Name(), text, w)
		}
	}
}

// filePair is a site on which both machines run with a file, and r1 has become MASTER.
func filePair(t *testing.T, o options) *site {
	t.Helper()
	s := newSite(t, o)
	for _, r := range s.routers() {
		r.configure("")
	}
	s.r1.startLine("vrrpd -c " + confFile)
	s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER"))
	s.r2.startLine("cd /etc; vrrpd -c vrrpd.toml")
	s.settled(s.r1, s.r2)
	s.r2.waitGroup(machineGroup, "it is BACKUP", inPhase("BACKUP"))
	return s
}

// One process on each machine: the machines change sides as a whole, the group's
// commands run once, and what was changed comes back.
func TestFileOneProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	check(t, s.r1.WriteFile(runDir+"/.keep", netlab.File{}))
	before := s.r1.machine()
	own := "on_master = \"/etc/scripts/OWN.sh\"\n" // of the last virtual router
	check(t, s.r1.WriteFile("/etc/scripts/OWN.sh", netlab.File{Text: "#!/bin/sh\necho $VRRP_STATE $VRRP_INTERFACE $VRRP_ADDRESSES >> /run/calls.own\n", Mode: 0o755}))
	s.r1.configure(own)
	s.r2.configure("")
	s.r1.startLine("vrrpd -c " + confFile)
	s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER"))
	s.r2.startLine("vrrpd -c " + confFile)
	s.settled(s.r1, s.r2)
	s.r1.waitProcesses(1)
	netlab.Eventually(t, patience, func() (bool, string) {
		text, _ := s.r1.ReadFile("/run/calls.own")
		return text == "MASTER vrrp52 10.17.1.200\n", "the virtual router's own command: " + text
	})
	calls := s.r1.waitCalls(lanA, 2)
	if got := calls[len(calls)-1]; got.script != "MASTER.sh" || got.env["VRRP_ADDRESSES"] != "10.16.1.200 10.17.1.200" || got.env["VRRP_GROUP"] != machineGroup {
		t.Errorf("the group's command: %+v", got)
	}

	check(t, s.r1.cable(lanB).Cut())
	s.settled(s.r2, s.r1)
	check(t, s.r1.cable(lanB).Plug())
	s.settled(s.r1, s.r2)
	if got := s.r1.typed("atropos --state"); got.Code != 0 || strings.Count(got.Stdout, "MASTER") == 0 || !strings.Contains(got.Stdout, "vrrp52") {
		t.Errorf("atropos --state: %d\n%s%s", got.Code, got.Stdout, got.Stderr)
	}

	// Killed, it is cleaned up after; stopped, nothing is left.
	all, err := s.r1.Find("vrrpd")
	check(t, err)
	check(t, all[0].Signal(syscall.SIGKILL))
	s.r1.waitProcesses(0)
	if got := s.r1.typed("vrrpd --release -c " + confFile); got.Code != 0 {
		t.Errorf("--release: %d, %s", got.Code, got.Stderr)
	}
	before.same(t, "it was killed and released", s.r1.machine())
	s.r1.startLine("vrrpd -c " + confFile)
	s.settled(s.r1, s.r2)
	all, err = s.r1.Find("vrrpd")
	check(t, err)
	check(t, all[0].Signal(syscall.SIGTERM))
	s.r1.waitProcesses(0)
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	before.same(t, "it was stopped", s.r1.machine())
}

// Unchanged virtual routers miss no advert and nobody moves, whatever is changed beside
// them, on either machine. The machine that the test runs on may stall for longer than
// an advert can wait: how late a clock of the test's own was says so.
func TestReloadMovesNobody(t *testing.T) {
	s := filePair(t, options{})
	sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
	for try := 1; ; try++ {
		stall := watchStalls()
		moved, gap := s.reloads(sn, *reloads)
		late := stall()
		t.Logf("%d reloads, the longest gap between adverts every 100 ms is %s, the test's own clock was late by %s", *reloads, ms(gap), ms(late))
		switch {
		case len(moved) == 0 && gap-late < 2*100*time.Millisecond:
			return
		case try == 3 || late < 50*time.Millisecond:
			t.Fatalf("a gap of %s; %v", ms(gap), moved)
		}
	}
}

// reloads reloads so often, on both machines in turn, and returns what transitions there
// were and the longest time between two adverts of r1 that the switch has seen.
func (s *site) reloads(sn *netlab.Sniffer, n int) (moved []string, gap time.Duration) {
	s.t.Helper()
	epochs := map[*router]uint64{}
	for _, r := range s.routers() {
		st := r.waitGroup(machineGroup, "it answers", func(control.Status) bool { return true })
		epochs[r] = st.Machine.Epoch
	}
	mark := sn.Mark()
	extra := "[[router]]\ninterface = \"eth0\"\nvrid = 61\naddresses = [\"10.16.1.%d\"]\n"
	for i := range n {
		r := s.routers()[i/2%2]
		if i%2 == 0 {
			r.configure(fmt.Sprintf(extra, 61+i%3))
			r.reload(0, "1 virtual routers added, 0 removed, 0 changed in place, 2 unchanged")
		} else {
			r.configure("")
			r.reload(0, "0 virtual routers added, 1 removed, 0 changed in place, 2 unchanged")
		}
	}
	for _, r := range s.routers() {
		st := r.waitGroup(machineGroup, "it answers", func(control.Status) bool { return true })
		if st.Machine.Epoch != epochs[r] {
			moved = append(moved, fmt.Sprintf("%s has changed its state: %+v", r.Name(), st.Transitions))
		}
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
	if last.IsZero() {
		s.t.Fatal("r1 has sent no advert")
	}
	return moved, gap
}

// watchStalls measures by how much a clock that ticks every few milliseconds is late, at
// worst, until it is asked.
func watchStalls() func() time.Duration {
	quit, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		const every = 5 * time.Millisecond
		tick := time.NewTimer(every)
		last, late := time.Now(), time.Duration(0)
		for {
			select {
			case <-tick.C:
				now := time.Now()
				late, last = max(late, now.Sub(last)-every), now
				tick.Reset(every)
			case <-quit:
				worst <- late
				return
			}
		}
	}()
	return func() time.Duration {
		close(quit)
		return <-worst
	}
}

// Added routers serve after a while, changed ones are changed where they stand, a file
// with a mistake changes nothing and says why.
func TestReloadChanges(t *testing.T) {
	t.Parallel()
	s := filePair(t, options{})
	text := s.r1.opts.config(1, "[[router]]\ninterface = \"eth1\"\nvrid = 61\naddresses = [\"10.17.1.61\"]\n")
	s.r1.conf(text)
	s.r1.reload(0, "1 virtual routers added")
	st, err := s.r1.groupStatus(machineGroup)
	check(t, err)
	i := slices.IndexFunc(st.Routers, func(r control.Router) bool { return r.VRID == 61 })
	if i < 0 || st.Routers[i].Joining == (st.Routers[i].State == "master") {
		t.Errorf("a router that was just added: %d, %+v", i, st.Routers)
	}
	_, err = s.r1.WaitLink(within(t, patience), "vrrp61", func(k netlab.Link) bool { return k.Up && len(k.Addrs) == 1 })
	check(t, err)

	s.r1.conf(strings.Replace(text, `"10.17.1.61"`, `"10.17.1.61", "10.17.1.62"`, 1))
	s.r1.reload(0, "0 virtual routers added, 0 removed, 1 changed in place, 2 unchanged")
	_, err = s.r1.WaitLink(within(t, patience), "vrrp61", func(k netlab.Link) bool { return k.Up && len(k.Addrs) == 2 })
	check(t, err)

	for mistake, why := range map[string]string{
		strings.Replace(text, "vrid = 61", "vird = 61", 1):                      confFile + ":15: unknown key vird; did you mean vrid?",
		strings.Replace(text, "10.17.1.61", "10.17.1.1", 1):                     "10.17.1.1 is the own address of eth1",
		strings.Replace(text, `"eth1"`+"\nvrid = 61", "\"eth7\"\nvrid = 61", 1): "there is no interface eth7",
	} {
		s.r1.conf(mistake)
		s.r1.reload(1, "the configuration was not reloaded: ", why)
	}
	if k, err := s.r1.WaitLink(within(t, patience), "vrrp61", func(k netlab.Link) bool { return len(k.Addrs) == 2 }); err != nil || !k.Up {
		t.Errorf("after mistakes: %+v, %v", k, err)
	}
	// SIGHUP does the same.
	s.r1.configure("")
	all, err := s.r1.Find("vrrpd")
	check(t, err)
	check(t, all[0].Signal(syscall.SIGHUP))
	_, err = s.r1.WaitLink(within(t, patience), "vrrp61", func(k netlab.Link) bool { return !k.Exists() })
	check(t, err)
	// A priority that is lower than the peer's moves the machine, as it should.
	s.r1.conf(strings.Replace(s.r1.opts.config(1, ""), "priority = 150", "priority = 50", 1))
	s.r1.reload(0, "2 changed in place")
	s.settled(s.r2, s.r1)
}

// Two groups of one process share nothing but the process.
func TestFileTwoGroups(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	groups := func(r *router) {
		text := r.opts.config(r.number, "group = \"inside\"\n[group.inside]\n")
		r.conf(text)
		r.startLine("vrrpd -c " + confFile)
	}
	groups(s.r1)
	for _, g := range []string{machineGroup, "inside"} {
		s.r1.waitGroup(g, g+" is MASTER", inPhase("MASTER"))
	}
	groups(s.r2)
	s.settled(s.r1, s.r2)
	s.r1.waitProcesses(1)
	check(t, s.r1.cable(lanB).Cut())
	s.r2.waitServing(lanB)
	s.r1.waitBackup(lanB)
	s.r1.waitServing(lanA)
	s.r1.waitGroup(machineGroup, "it is still MASTER", inPhase("MASTER"))
	check(t, s.r1.cable(lanB).Plug())
	s.r1.waitServing(lanB)

	// The second group goes, and what it had comes to the first.
	s.r1.configure("")
	s.r1.reload(0, "1 virtual routers added", "group inside removed")
	s.r1.waitServing(lanB)
	s.r1.waitServing(lanA)
	if _, err := s.r1.groupStatus("inside"); err == nil {
		t.Error("the socket of a group that was removed answers")
	}
	s.r1.waitGroup(machineGroup, "it has both", func(st control.Status) bool { return len(st.Routers) == 2 && st.Machine.Phase == "MASTER" })
}

// The example is accepted on a machine that has what it names; what is printed of a file
// is what it comes to.
func TestCheckFile(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	got := s.r1.typed("vrrpd --example > /etc/example.toml && vrrpd --check -c /etc/example.toml")
	if got.Code != 0 || !strings.Contains(got.Stdout, "group machine: 2 virtual routers that change sides together, priority 100") ||
		!strings.Contains(got.Stdout, "vrrp52 on eth1: VRID 52, VRRPv2, [10.17.1.200]") || got.Stderr != "" {
		t.Errorf("exit %d\n%s%s", got.Code, got.Stdout, got.Stderr)
	}
	for _, c := range []struct{ text, stdout, stderr string }{
		{s.r1.opts.config(1, "priority = 99\n"), "this would work here", "the priorities differ (99 for vrrp52, 150 for vrrp51)"},
		{strings.Replace(s.r1.opts.config(1, ""), "10.17.1.200", "192.0.2.1", 1), "this would work here", "192.0.2.1 is in no subnet of eth1"},
		{strings.Replace(s.r1.opts.config(1, ""), "10.17.1.200", "10.17.1.1", 1), "", "is the own address of eth1"},
	} {
		s.r1.conf(c.text)
		got := s.r1.typed("vrrpd --check -c " + confFile)
		if (got.Code == 0) != (c.stdout != "") || !strings.Contains(got.Stdout, c.stdout) || !strings.Contains(got.Stderr, c.stderr) {
			t.Errorf("exit %d\n%s%s", got.Code, got.Stdout, got.Stderr)
		}
	}
	s.r1.configure("")
	if got := s.r1.typed("chmod 666 " + confFile + "; vrrpd -c " + confFile); got.Code != 2 || !strings.Contains(got.Stderr, "others may write to it") {
		t.Errorf("exit %d: %s", got.Code, got.Stderr)
	}
}
