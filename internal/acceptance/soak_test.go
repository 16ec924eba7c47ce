package acceptance

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	// The daemons collect garbage all the time: then what they say is in use is, and
	// what they occupy is little more.
	t.Setenv("GOGC", "10")
	s := newSite(t, options{priority: [2]string{"100", "100"}, flags: "-s"})
	attacker, err := s.lab.Host("attacker", netlab.HostOptions{NoForward: true})
	check(t, err)
	c, err := s.lab.Connect(attacker, "eth0", s.switches[0], netlab.CableOptions{Addrs: []netip.Prefix{lanA.host(99)}})
	check(t, err)
	// The witnesses have the switch forget the virtual MAC; what the attacker sends
	// must not teach it.
	port, err := s.switches[0].Netlink().LinkByName(c.Port)
	check(t, err)
	check(t, s.switches[0].Netlink().LinkSetLearning(port, false))
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
	din := listenToNoise(t, s.server)
	life, excused := vitals{}, 0
	tally := map[string][]time.Duration{}
	gentle := slices.DeleteFunc(slices.Clone(troubles), func(tr trouble) bool { return !harmless[tr.name] })
	start := time.Now()
	for end := start.Add(*soakFlag); time.Now().Before(end) && !t.Failed(); {
		x := &scene{site: s, dice: dice, master: master, backup: s.other(master), attacker: attacker}
		choice := troubles
		if time.Since(start) > *soakFlag/2 {
			choice = gentle
		}
		trouble := choice[dice.IntN(len(choice))]
		watch := s.watch(20 * time.Millisecond)
		var began time.Time
		got := s.journey(func(ping *netlab.Pinger) {
			began = time.Now()
			t.Logf("%s: %s (MASTER %s)", began.Format("05.000"), trouble.name, master.Name())
			trouble.cause(x)
			master = s.restless(x)
			check(t, ping.WaitAnswer(within(t, patience), time.Now()))
		})
		s.neverTwoQuietly(watch, trouble)
		// What went before is the client, which looks for its gateway.
		worst := got.Between(began, time.Now()).Longest(0)
		hole := worst.Length() - got.Stall()
		tally[trouble.name] = append(tally[trouble.name], max(0, hole))
		explained := trouble.hole
		if stalled := din.worst(began.Add(-soakStall), time.Now()); stalled > soakStall && hole > explained+soakNoise {
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

// other is the machine that r is not.
func (s *site) other(r *router) *router {
	if r == s.r1 {
		return s.r2
	}
	return s.r1
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
					asked = time.Now()
					r.stop(lans...)
					r.startAll()
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

// vitals are what the processes that live for long use, by process.
type vitals map[int][]vital

type vital struct {
	fds, threads, goroutines int
	heap, rss                int64 // bytes: in use after the last collection; resident and not of a file
}

// look takes a sample of every process. The machines are at rest.
func (v vitals) look(s *site) {
	s.t.Helper()
	for _, r := range s.routers() {
		for _, l := range lans {
			st, err := r.tryStatus(l)
			check(s.t, err)
			p := r.daemon(l)
			one := vital{goroutines: st.Goroutines, heap: int64(st.HeapLive)}
			fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd"))
			check(s.t, err)
			one.fds = len(fds)
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "status"))
			check(s.t, err)
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) > 1 {
					n, _ := strconv.Atoi(f[1])
					switch f[0] {
					case "Threads:":
						one.threads = n
					case "RssAnon:":
						one.rss = int64(n) << 10
					}
				}
			}
			v[p.PID] = append(v[p.PID], one)
		}
	}
}

// Growth is measured from the second quarter of a process's life, in which it has
// seen everything once, to the last; of each quarter the least counts, because what
// leaks is there at every moment.
const (
	// longLife is how many faults a process must have seen for that: by then what
	// it keeps of the past is full.
	longLife = 40
	// Of what is counted one by one none may be left behind.
	moreFDs, moreGoroutines, moreThreads = 1, 2, 4
	// heapPerFault is what may stay in use for each fault in the mean of all
	// processes: less than any goroutine, timer with its closure and buffer, or log
	// record that is left behind at each.
	heapPerFault = 512
	// heapFaults is how many faults are needed to say so: what a process keeps of the
	// past is a few tens of kilobytes.
	heapFaults = 300
	// moreResident is what one process may grow by: stacks and the pools of the
	// runtime, which it gives back late.
	moreResident = 3 << 20
)

// judge compares the quarters.
func (v vitals) judge(t *testing.T) {
	t.Helper()
	judged, faults := 0, 0
	var heap, resident int64
	for pid, list := range v {
		if len(list) < longLife {
			continue
		}
		judged++
		n := len(list)
		early, late := list[n/4:n/2], list[3*n/4:]
		growth := func(of func(vital) int64) int64 {
			least := func(list []vital) int64 {
				return of(slices.MinFunc(list, func(a, b vital) int { return cmp.Compare(of(a), of(b)) }))
			}
			return least(late) - least(early)
		}
		for _, c := range []struct {
			what string
			of   func(vital) int64
			more int64
		}{
			{"descriptors", func(x vital) int64 { return int64(x.fds) }, moreFDs},
			{"goroutines", func(x vital) int64 { return int64(x.goroutines) }, moreGoroutines},
			{"threads", func(x vital) int64 { return int64(x.threads) }, moreThreads},
			{"resident bytes", func(x vital) int64 { return x.rss }, moreResident},
		} {
			if g := growth(c.of); g > c.more {
				t.Errorf("process %d: %s grow by %d within %d faults", pid, c.what, g, n)
			}
		}
		t.Logf("process %d: %d faults, heap %d and %d bytes, resident %d and %d", pid, n, early[0].heap, late[len(late)-1].heap, early[0].rss, late[len(late)-1].rss)
		// From the middle of one quarter to that of the other.
		faults += n / 2
		heap += growth(func(x vital) int64 { return x.heap })
		resident += growth(func(x vital) int64 { return x.rss })
	}
	t.Logf("%d of %d processes lived long enough to be judged", judged, len(v))
	if judged == 0 {
		return
	}
	t.Logf("for each of %d faults their heaps have grown by %d bytes, and they by %d bytes", faults, heap/int64(faults), resident/int64(faults))
	if faults >= heapFaults && heap > heapPerFault*int64(faults) {
		t.Errorf("the heaps of %d processes grow by %d bytes within %d faults", judged, heap, faults)
	}
}

// ready waits until a machine takes part again.
func (r *router) ready(phase string) {
	r.site.t.Helper()
	for _, l := range lans {
		r.waitStatus(l, "it is "+phase, func(st control.Status) bool { return st.Machine.Phase == phase })
	}
}
