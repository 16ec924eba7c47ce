package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// legion is a file with nearly a thousand virtual routers, half of them IPv6, among them the
// two that the client and the server of a site use, and a check on each LAN that asks for
// somebody.
func legion(s *site, number int, interval string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interval = %s\npriority = %d\n", interval, 250-50*number)
	for i, l := range lans {
		vip := l.vip.As4()[3]
		for vrid := 11; vrid <= 250; vrid++ { // below are machines
			address := l.host(byte(vrid)).Addr()
			switch byte(vrid) {
			case l.vrid:
				address = l.vip
			case vip:
				address = l.host(l.vrid).Addr()
			}
			fmt.Fprintf(&b, "[[router]]\ninterface = %q\nvrid = %d\nname = \"many%d-%d\"\naddresses = [%q]\n", l.nic, vrid, i, vrid, address)
		}
		for vrid := 1; vrid <= 255; vrid++ {
			fmt.Fprintf(&b, "[[router]]\ninterface = %q\nvrid = %d\nname = \"six%d-%d\"\naddresses = [\"fe80::5652:5250:%x:%x\"]\n", l.nic, vrid, i, vrid, i, vrid)
		}
		fmt.Fprintf(&b, "[[check]]\nname = \"lan%d\"\ninterface = %q\naddress = [%q, %q]\ninterval = 0.2\n",
			i, l.nic, l.host(10).Addr(), s.routers()[2-number].own(l).Addr())
	}
	return b.String()
}

// The program of a process with a thousand virtual routers, and with checks that ask for addresses
// all the time, is replaced: nothing is lost, and nobody moves.
func TestReexecMany(t *testing.T) {
	for _, c := range []struct {
		interval string
		every    time.Duration
	}{{"1", time.Second}, {"0.1", 100 * time.Millisecond}} {
		t.Run(c.interval, func(t *testing.T) { reexecMany(t, c.interval, c.every) })
	}
}

func reexecMany(t *testing.T, interval string, every time.Duration) {
	const n = 2 * (240 + 255)
	s := newSite(t, options{interval: interval, program: ownProgram})
	of := func(r *router) func() control.Status {
		return func() control.Status {
			return r.waitGroup(machineGroup, "it answers", func(st control.Status) bool { return len(st.Routers) == n })
		}
	}
	for i, r := range s.routers() {
		r.install("")
		r.conf(legion(s, i+1, interval))
		r.startLine(ownProgram + " -c " + confFile)
		r.waitGroup(machineGroup, "it is ready", inPhase([]string{"MASTER", "BACKUP"}[i]))
		for l := range lans {
			r.checked(fmt.Sprint("lan", l), "passing")
		}
	}
	sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
	for try := 1; ; try++ {
		was := map[*router]standing{}
		for _, r := range s.routers() {
			was[r] = r.standing(of(r))
		}
		mark := sn.Mark()
		var said []string
		got := s.crossing(func(*netlab.Pinger) {
			for range 3 {
				for _, r := range s.routers() {
					// The guards of all are looked at after each one, for which it is waited 10 s,
					// and that takes longer while others hold the kernel's RTNL mutex.
					netlab.Eventually(t, time.Minute, func() (bool, string) {
						did := r.typed("atropos reexec")
						text := strings.TrimSpace(did.Stdout + did.Stderr)
						if did.Code == 0 {
							said = append(said, text)
						}
						return did.Code == 0 || !strings.Contains(text, "nothing was changed"), text
					})
				}
			}
		})
		var moved []string
		if n := strings.Count(strings.Join(said, "\n"), "binary replaced: version "+version+" -> "+version); n != 6 {
			t.Fatalf("replaced %d times:\n%s", n, strings.Join(said, "\n"))
		}
		for _, r := range s.routers() {
			moved = append(moved, r.stays(was[r], of(r))...)
			for _, k := range of(r)().Checks {
				if k.State != "passing" {
					moved = append(moved, fmt.Sprintf("%s: check %s is %s", r.Name(), k.Name, k.State))
				}
			}
		}
		var gap time.Duration
		var last time.Time
		for _, f := range sn.Frames(mark) {
			if a, ok := f.Advert(); ok && a.Priority == 200 && !f.Out {
				if !last.IsZero() {
					gap = max(gap, f.At.Sub(last))
				}
				last = f.At
			}
		}
		t.Logf("%d of the datagrams every 1 ms lost, the longest time between adverts every %v is %s, the client itself was late by up to %s\n%s",
			got.Lost(), every, ms(gap), ms(got.Stall()), strings.Join(said, "\n"))
		if got.Lost() == 0 && len(moved) == 0 && gap > 0 && gap < 2*every+30*time.Millisecond {
			return
		}
		if try == 3 {
			t.Fatalf("%d lost, a gap of %s; %v", got.Lost(), ms(gap), moved)
		}
	}
}
