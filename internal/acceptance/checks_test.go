package acceptance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// Checks: what tells a machine that it is not worth electing although all of its
// cables are plugged in.

// fileCheck is a check that fails while a file is there.
func fileCheck(name, more string) string {
	return fmt.Sprintf("[[check]]\nname = %q\ncommand = [\"/bin/sh\", \"-c\", \"echo $VRRP_CHECK; [ ! -e /run/fails.%s ]\"]\n"+
		"interval = 0.1\ntimeout = 10\nrise = 1\nfall = 1\n%s\n", name, name, more)
}

func (r *router) fails(name string, bad bool) {
	r.site.t.Helper()
	line := "rm -f /run/fails." + name
	if bad {
		line = "touch /run/fails." + name
	}
	if got := r.typed(line); got.Code != 0 {
		r.site.t.Fatalf("%s: %s", line, got.Stderr)
	}
}

// checked waits until a check of the machine has a verdict.
func (r *router) checked(name, verdict string) control.Status {
	r.site.t.Helper()
	return r.waitGroup(machineGroup, name+" is "+verdict, func(s control.Status) bool {
		for _, c := range s.Checks {
			if c.Name == name {
				return c.State == verdict
			}
		}
		return false
	})
}

func held(s control.Status) bool {
	return s.Machine.Phase == "HELD" && s.Machine.Reason == "check-failed"
}

// A check with a weight that does not change the order changes nothing but the
// adverts; with one that does the other machine takes over; one without a weight holds
// the machine. All of them come by a reload, which moves nobody.
func TestCheckCommands(t *testing.T) {
	t.Parallel()
	s := filePair(t, calm)
	for _, r := range s.routers() {
		r.configure(fileCheck("soft", "weight = -40") + fileCheck("more", "weight = -20") + fileCheck("hard", ""))
	}
	epochs := map[*router]uint64{}
	for _, r := range s.routers() {
		r.reload(0, "checks changed, 3 now")
		for _, name := range []string{"soft", "more", "hard"} {
			r.checked(name, "passing")
		}
		st, err := r.groupStatus(machineGroup)
		check(t, err)
		epochs[r] = st.Machine.Epoch
	}
	unmoved := func(when string) {
		t.Helper()
		for _, r := range s.routers() {
			st, err := r.groupStatus(machineGroup)
			check(t, err)
			if st.Machine.Epoch != epochs[r] {
				t.Fatalf("%s: %s has changed its state: %+v", when, r.Name(), st.Transitions)
			}
		}
	}
	s.r1.fails("soft", true)
	s.r1.checked("soft", "failing")
	s.r1.waitGroup(machineGroup, "it is worth less", func(st control.Status) bool {
		return st.Machine.Priority == control.Priority{Effective: 110, Configured: 150, Checks: -40}
	})
	sn := s.r1.sniff(lanB, netlab.MatchVRID(lanB.vrid))
	for range 2 {
		s.r1.waitAdvert(sn, sn.Mark(), "it says its new priority", func(a netlab.Advert) bool { return a.Priority == 110 })
	}
	if got := s.r1.typed("atropos --state"); !strings.Contains(got.Stdout, "priority 110 (configured 150, checks -40)") || !strings.Contains(got.Stdout, "it takes 40 from the priority") {
		t.Errorf("atropos --state:\n%s", got.Stdout)
	}
	s.r1.fails("soft", false)
	s.r1.checked("soft", "passing")
	unmoved("a weight that does not change the order")

	s.r1.fails("soft", true)
	s.r1.fails("more", true)
	s.settled(s.r2, s.r1)
	if st := s.r1.waitGroup(machineGroup, "it is BACKUP", inPhase("BACKUP")); st.Machine.Reason != "superior-advert" || st.Machine.Priority.Effective != 90 {
		t.Errorf("r1: %+v", st.Machine)
	}
	s.r1.fails("soft", false)
	s.r1.fails("more", false)
	s.settled(s.r1, s.r2)

	s.r1.fails("hard", true)
	s.settled(s.r2, s.r1)
	st := s.r1.waitGroup(machineGroup, "it is held", held)
	if len(st.Machine.Faults) != 1 || st.Machine.Faults[0].Detail != "check hard: exit status 1: hard" {
		t.Errorf("faults %+v", st.Machine.Faults)
	}
	if got := s.r1.typed("atropos --state"); !strings.Contains(got.Stdout, "HELD: check-failed (check hard: exit status 1: hard)") {
		t.Errorf("atropos --state:\n%s", got.Stdout)
	}
	netlab.Eventually(t, patience, func() (bool, string) {
		n := s.r1.said(0, "check hard fails: exit status 1: hard; it holds this machine")
		return n == 1, fmt.Sprintf("the journal says it %d times", n)
	})
	s.r1.fails("hard", false)
	s.settled(s.r1, s.r2)
}

// A switch port that blocks cuts a MASTER off a LAN, and its carrier stays: no rule of
// the election can tell. It asks for its neighbours there, and when none answers, it
// leaves both LANs to the other machine, which is answered.
func TestCheckOfNeighbours(t *testing.T) {
	t.Parallel()
	s := newSite(t, calm)
	for i, r := range s.routers() {
		other := s.routers()[1-i]
		r.configure(fmt.Sprintf("[[check]]\nname = \"lan\"\ninterface = %q\naddress = [%q, %q]\ninterval = 0.2\n",
			lanA.nic, lanA.host(10).Addr(), other.own(lanA).Addr()))
	}
	s.r1.startLine("vrrpd -c " + confFile)
	s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER"))
	s.r2.startLine("vrrpd -c " + confFile)
	s.settled(s.r1, s.r2)
	s.r1.checked("lan", "passing")
	s.r2.checked("lan", "passing")

	check(t, s.r1.cable(lanA).Block())
	s.settled(s.r2, s.r1)
	st := s.r1.waitGroup(machineGroup, "it is held", held)
	if k, err := s.r1.Link(lanA.nic); err != nil || !k.Carrier {
		t.Errorf("%s has no carrier: %+v, %v", lanA.nic, k, err)
	}
	if len(st.Machine.Faults) != 1 || st.Machine.Faults[0].Detail != "check lan: no answer from 10.16.1.10, 10.16.1.2 on eth0" {
		t.Errorf("faults %+v", st.Machine.Faults)
	}
	// One of the two is enough.
	s.r2.checked("lan", "passing")
	check(t, s.r1.cable(lanA).Unblock())
	s.settled(s.r1, s.r2)
}

// The end of a process moves the machine at once, and its return moves it back; so does
// the carrier of an interface without virtual routers.
func TestCheckOfProcessAndInterface(t *testing.T) {
	t.Parallel()
	s := newSite(t, calm)
	start := func() {
		t.Helper()
		if got := s.r1.typed("sleep 3600 >/dev/null 2>&1 & echo $! > /run/server.pid"); got.Code != 0 {
			t.Fatal(got.Stderr)
		}
	}
	start()
	s.r1.configure("[[check]]\nname = \"server\"\nprocess = \"sleep\"\npid_file = \"/run/server.pid\"\n" +
		"[[check]]\nname = \"uplink\"\ninterface = \"eth2\"\nweight = -100\n")
	s.r2.configure("")
	uplink := s.uplink(s.r1)
	s.r1.startLine("vrrpd -c " + confFile)
	s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER"))
	s.r2.startLine("vrrpd -c " + confFile)
	s.settled(s.r1, s.r2)

	if got := s.r1.typed("kill -9 $(cat /run/server.pid)"); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	s.settled(s.r2, s.r1)
	s.r1.waitGroup(machineGroup, "it is held", held)
	start()
	s.settled(s.r1, s.r2)

	check(t, uplink.Cut())
	s.settled(s.r2, s.r1)
	s.r1.waitGroup(machineGroup, "it is BACKUP with less priority", func(st control.Status) bool {
		return st.Machine.Phase == "BACKUP" && st.Machine.Priority.Effective == 50
	})
	check(t, uplink.Plug())
	s.settled(s.r1, s.r2)
}

// uplink gives a router a third interface, eth2, to a network of its own.
func (s *site) uplink(r *router) *netlab.Cable {
	s.t.Helper()
	sw, err := s.lab.Switch("up", netlab.SwitchOptions{})
	check(s.t, err)
	c, err := s.lab.Connect(r.Host, "eth2", sw, netlab.CableOptions{Addrs: []netip.Prefix{netip.MustParsePrefix("10.18.1.1/24")}})
	check(s.t, err)
	r.waitOperational("eth2")
	return c
}
