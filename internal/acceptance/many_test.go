package acceptance

import (
	"flag"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

var routers = flag.Int("routers", 60, "virtual routers of each machine in TestManyRouters, 480 at most")

// crowd is a file with n virtual routers, taking turns on the two LANs.
func crowd(number, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interval = 0.3\npriority = %d\n", 250-50*number)
	for i := range n {
		l := lans[i%2]
		fmt.Fprintf(&b, "[[router]]\ninterface = %q\nvrid = %d\nname = \"many%d\"\naddresses = [%q]\n",
			l.nic, 1+i/2, i, l.host(byte(11+i/2)).Addr())
	}
	return b.String()
}

// serves counts the virtual interfaces of many that serve: up, each with its address.
func (r *router) serves() (n int) {
	r.site.t.Helper()
	links, err := whole(r.Netlink().LinkList)
	check(r.site.t, err)
	up := map[int]bool{}
	for _, k := range links {
		a := k.Attrs()
		up[a.Index] = strings.HasPrefix(a.Name, "many") && a.Flags&net.FlagUp != 0
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return r.Netlink().AddrList(nil, netlink.FAMILY_V4) })
	check(r.site.t, err)
	for _, a := range addrs {
		if up[a.LinkIndex] {
			n++
		}
	}
	return n
}

func (r *router) waitServes(n int) {
	r.site.t.Helper()
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		got := r.serves()
		return got == n, fmt.Sprintf("%d virtual routers of %s serve, want %d", got, r.Name(), n)
	})
}

// Many virtual routers in one process: they serve, and change sides, all together; one
// advert costs little; what was there before is there after.
func TestManyRouters(t *testing.T) {
	t.Parallel()
	n := *routers
	s := newSite(t, options{})
	check(t, s.r1.WriteFile(runDir+"/.keep", netlab.File{}))
	before := s.r1.machine()
	pids := map[*router]int{}
	for i, r := range s.routers() {
		r.conf(crowd(i+1, n))
		r.startLine("vrrpd -c " + confFile)
		all, err := r.Find("vrrpd")
		check(t, err)
		pids[r] = all[0].PID
	}
	s.r1.waitServes(n)
	s.r2.waitGroup(machineGroup, "it is BACKUP", inPhase("BACKUP"))

	// What adverts cost. The peer's part of it is in the sender's context: the cable is
	// one of software.
	count := func(r *router) (adverts uint64, used time.Duration) {
		st := r.waitGroup(machineGroup, "it has all", func(st control.Status) bool { return len(st.Routers) == n })
		for _, v := range st.Routers {
			adverts += v.Statistics.AdvertisementSent + v.Statistics.AdvertisementRcvd
		}
		return adverts, cpuTime(t, pids[r])
	}
	sn := s.r1.sniff(lanA, netlab.MatchVRID(1))
	before1, used1 := count(s.r1)
	before2, used2 := count(s.r2)
	s.r1.waitAdverts(sn, 10)
	for r, was := range map[*router]struct {
		adverts uint64
		used    time.Duration
	}{s.r1: {before1, used1}, s.r2: {before2, used2}} {
		used := cpuTime(t, pids[r]) - was.used
		adverts, _ := count(r)
		each := used / time.Duration(adverts-was.adverts)
		t.Logf("%s: %d adverts, %v of CPU each", r.Name(), adverts-was.adverts, each)
		// One that reads and steps for each alone would need more.
		if each > 200*time.Microsecond {
			t.Errorf("%s: an advert costs %v", r.Name(), each)
		}
	}

	// One cable takes all of them to the other machine, and back.
	mark := s.r2.links.Mark()
	check(t, s.r1.cable(lanB).Cut())
	s.r2.waitServes(n)
	s.r1.waitServes(0)
	var first, last time.Time
	for _, e := range s.r2.links.Events(mark) {
		if strings.HasPrefix(e.Link, "many") && e.What == netlab.AddrAdded {
			if first.IsZero() {
				first = e.At
			}
			last = e.At
		}
	}
	t.Logf("%d virtual routers were taken over within %s", n, ms(last.Sub(first)))
	check(t, s.r1.cable(lanB).Plug())
	s.r1.waitServes(n)
	s.r2.waitServes(0)

	all, err := s.r1.Find("vrrpd")
	check(t, err)
	check(t, all[0].Signal(syscall.SIGTERM))
	s.r1.waitProcesses(0)
	s.r2.waitServes(n)
	before.same(t, "many were stopped", s.r1.machine())
	for _, r := range s.routers() {
		for _, text := range r.syslog.texts() {
			if strings.Contains(text, "repairing") {
				t.Errorf("%s repairs what it has done itself: %s", r.Name(), text)
			}
		}
	}
}

// The master-down interval runs while the interfaces are made: a machine with many is
// MASTER no later than one whose interfaces had been there already when it began to listen.
func TestManyListenMeanwhile(t *testing.T) {
	t.Parallel()
	const n = 400
	// Three intervals of 0.3 s and the skew time of priority 200.
	const wait = 900*time.Millisecond + 56*300*time.Millisecond/256
	s := newSite(t, options{})
	s.r1.conf(crowd(1, n))
	// meanwhile is how long after its interfaces stood a process was MASTER.
	meanwhile := func() time.Duration {
		p, err := s.r1.Start(netlab.Command{Path: "vrrpd", Args: []string{"-F", "-c", confFile}})
		check(t, err)
		at := func(text string) (found time.Time) {
			t.Helper()
			netlab.Eventually(t, patience, func() (bool, string) {
				for _, l := range p.Lines() {
					if strings.Contains(l.Text, text) {
						found = l.At
						return true, ""
					}
				}
				return false, "nothing was said of " + text
			})
			return found
		}
		stood, master := at("lease: "), at("-> MASTER")
		s.r1.waitServes(n)
		check(t, p.Signal(syscall.SIGTERM))
		s.r1.waitProcesses(0)
		return master.Sub(stood)
	}
	// One that begins to wait when they stand is never in time; others are, but for a stall
	// of the machine that the test runs on.
	var all []time.Duration
	for range 3 {
		all = append(all, meanwhile())
		if all[len(all)-1] < wait {
			return
		}
	}
	t.Errorf("MASTER %v after the interfaces stood: the protocol's wait is %s", all, ms(wait))
}
