package acceptance

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// The soak (make soak): faults at random, one after the other, on two machines
// with a client that sends all the time. Each fault explains how long nobody may
// answer; anything beyond is a loss without an explanation.

var (
	soakFlag = flag.Duration("soak", 0, "how long TestSoak goes on; 0: it is skipped")
	soakSeed = flag.Uint64("soak-seed", 0, "seed of TestSoak; 0: any")
)

const (
	// soakNoise is what a machine that is shared adds to a hole.
	soakNoise = 60 * time.Millisecond
	// soakStall is a stall that may make machines change sides by itself: a MASTER
	// that is late by the skew time has a successor. It explains what a MASTER does
	// that hangs. Stalls are measured all the time.
	soakStall = 40 * time.Millisecond
)

func TestSoak(t *testing.T) {
	if *soakFlag == 0 {
		t.Skip("takes minutes: make soak")
	}
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	dice := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	s, attacker := newSoak(t)
	// A question that falls into a short hole is asked again soon, and not after a
	// second: what is measured is the machines' hole.
	check(t, s.client.SetSysctl("net/ipv4/neigh/eth0/retrans_time_ms", "10"))
	before := map[*router]snapshot{}
	for _, r := range s.routers() {
		check(t, r.WriteFile(runDir+"/.keep", netlab.File{}))
		before[r] = r.machine()
		r.startAll()
	}
	master := s.restless(nil)
	din, err := s.server.ListenToNoise()
	check(t, err)
	t.Cleanup(din.Close)
	life, excused, settled := vitals{}, 0, false
	tally := map[string][]time.Duration{}
	gentle := slices.DeleteFunc(slices.Clone(troubles), func(tr trouble) bool { return !harmless[tr.name] })
	start := time.Now()
	for end := start.Add(*soakFlag); time.Now().Before(end) && !t.Failed(); {
		x := &scene{site: s, dice: dice, master: master, backup: s.other(master), attacker: attacker}
		choice := troubles
		if time.Since(start) > *soakFlag/2 {
			choice = gentle
			if !settled {
				settled = true
				master = s.fillHistories(x)
				life.settle()
				x.master, x.backup = master, s.other(master)
			}
		}
		trouble := choice[dice.IntN(len(choice))]
		watch := s.watch(20 * time.Millisecond)
		var began time.Time
		got := s.journey(func(ping *netlab.Pinger) {
			began = time.Now()
			t.Logf("%s: %s (MASTER %s)", began.Format("05.000"), trouble.name, master.Name())
			trouble.cause(x)
			master = s.restless(x)
			if err := ping.WaitAnswer(within(t, patience), time.Now()); err != nil {
				s.autopsy()
				t.Fatal(err)
			}
		})
		s.neverTwoQuietly(watch, trouble)
		// What went before is the client, which looks for its gateway.
		worst := got.Between(began, time.Now()).Longest(0)
		hole := worst.Length() - got.Stall()
		tally[trouble.name] = append(tally[trouble.name], max(0, hole))
		explained := trouble.hole
		if stalled := din.Worst(netlab.Span{From: began.Add(-soakStall), To: time.Now()}); stalled > soakStall && hole > explained+soakNoise {
			excused++
			explained = max(explained, silence) + stalled
			t.Logf("the machine that this runs on stood still for %s", ms(stalled))
		}
		if hole > explained+soakNoise {
			t.Errorf("%s on %s (MASTER %s): nobody answered for %s, from %s after it began, and it explains %s",
				trouble.name, x.on(), x.master.Name(), ms(hole), ms(worst.From.Sub(began)), ms(explained))
		}
		life.look(s)
	}
	for _, tr := range troubles {
		if h := tally[tr.name]; len(h) > 0 {
			slices.Sort(h)
			t.Logf("%-34s %3d times, nobody answered for %8s in the median, %8s at most (%8s explained)",
				tr.name, len(h), ms(h[len(h)/2]), ms(h[len(h)-1]), ms(tr.hole))
		}
	}
	t.Logf("%d holes are explained by the machine that this runs on", excused)
	life.judge(t)
	for _, r := range s.routers() {
		r.stop(lans...)
		before[r].same(t, r.Name()+" was stopped after the soak", r.machine())
	}
}

// newSoak lays out a network for the troubles, in which nothing runs yet. The daemons on it
// say what they have in use.
func newSoak(t *testing.T) (s *site, attacker *netlab.Host) {
	t.Helper()
	// They collect garbage all the time: then what they occupy is little more than what
	// they use.
	t.Setenv("GOGC", "10")
	counted(t)
	s = newSite(t, options{priority: [2]string{"100", "100"}, flags: "-s"})
	attacker, err := s.lab.Host("attacker", netlab.HostOptions{NoForward: true})
	check(t, err)
	c, err := s.lab.Connect(attacker, "eth0", s.switches[0], netlab.CableOptions{Addrs: []netip.Prefix{lanA.host(99)}})
	check(t, err)
	// The witnesses have the switch forget the virtual MAC; what the attacker sends
	// must not teach it.
	port, err := s.switches[0].Netlink().LinkByName(c.Port)
	check(t, err)
	check(t, s.switches[0].Netlink().LinkSetLearning(port, false))
	return s, attacker
}

// other is the machine that r is not.
func (s *site) other(r *router) *router {
	if r == s.r1 {
		return s.r2
	}
	return s.r1
}

// fillHistories hands over to and fro until all processes have as many transitions to
// remember as they do: two hand-overs make three in each.
func (s *site) fillHistories(x *scene) (master *router) {
	s.t.Helper()
	const remembered = 32
	for range remembered*2/3 + 4 {
		x.asks(x.master, "atropos --backup")
		x.asks(x.master, "atropos --release")
		master = s.restless(x)
		x.master, x.backup = master, s.other(master)
	}
	return master
}

// restless waits until one machine serves both LANs and the other is ready to, and
// returns it. A machine that is held down because it has failed too often is
// restarted, as an administrator who has mended it would.
func (s *site) restless(x *scene) (master *router) {
	s.t.Helper()
	asked := time.Now()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		var phases []string
		master = nil
		backups := 0
		for _, r := range s.routers() {
			st, err := r.tryStatus(lanA)
			other, err2 := r.tryStatus(lanB)
			if err != nil || err2 != nil || st.Machine.Phase != other.Machine.Phase {
				return false, fmt.Sprintf("%s: %v, %v, %s, %s", r.Name(), err, err2, st.Machine.Phase, other.Machine.Phase)
			}
			phases = append(phases, r.Name()+" "+st.Machine.Phase+" ("+st.Machine.Reason+")")
			switch st.Machine.Phase {
			case "MASTER":
				master = r
			case "BACKUP":
				backups++
			case "HELD":
				if time.Since(asked) > 5*time.Second {
					r.stop(lans...)
					r.startAll()
					asked = time.Now() // a start takes seconds where others use the processors
				}
			}
		}
		return master != nil && backups == 1, strings.Join(phases, ", ")
	})
	return master
}

// neverTwoQuietly is neverTwo without a line for each watch. A planned hand-over
// makes before it breaks: both serve for a moment, and that is meant.
func (s *site) neverTwoQuietly(all []*witness, tr trouble) {
	s.t.Helper()
	for _, w := range all {
		if f := w.collect(); len(f.double) > 0 && tr.hole != planned {
			s.t.Errorf("%s: %d moments with two machines, from %s to %s", tr.name, len(f.double), f.double[0], f.double[len(f.double)-1])
		}
	}
}

// autopsy shows what there is to see when nobody answers any more, as far as the machine
// that the tests run on has programs that show it.
func (s *site) autopsy() {
	s.t.Helper()
	for _, r := range s.routers() {
		got := r.typed(`for d in eth0 eth1 vrrp51 vrrp52; do ip -s addr show $d; tc filter show dev $d ingress; tc filter show dev $d egress; done
			grep -H prog_id /proc/[0-9]*/fdinfo/*; ip neigh; ip route show table all
			grep . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/arp_ignore`)
		s.t.Logf("%s:\n%s%s", r.Name(), got.Stdout, got.Stderr)
	}
	for _, sw := range s.switches {
		known, err := sw.Netlink().NeighList(0, unix.AF_BRIDGE)
		s.t.Logf("%s: %v", sw.Name(), err)
		for _, n := range known {
			s.t.Logf("%v at port %d", n.HardwareAddr, n.LinkIndex)
		}
	}
	for _, h := range []*netlab.Host{s.client, s.server} {
		known, err := h.Netlink().NeighList(0, unix.AF_INET)
		s.t.Logf("%s: %v, %v", h.Name(), known, err)
	}
}

// ready waits until a machine takes part again.
func (r *router) ready(phase string) {
	r.site.t.Helper()
	for _, l := range lans {
		r.waitStatus(l, "it is "+phase, func(st control.Status) bool { return st.Machine.Phase == phase })
	}
}
