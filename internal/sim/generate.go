package sim

import (
	"fmt"
	"time"

	"vrrpd/election"
)

// Generate returns the scenario of a seed. Random phases hide the worst, so
// coincidence is forced: machines boot in the same tick, faults come within
// fractions of a millisecond, priorities are equal, the addresses are the other
// way round on every second LAN.
func Generate(seed uint64) Scenario {
	g := generator{rand: World{rand: mix(seed)}, s: defaults()}
	g.s.Seed = seed
	switch seed % 8 {
	case 3, 7:
		g.handOver()
	case 5:
		g.forced()
	default:
		g.chaos()
	}
	return g.s
}

type generator struct {
	rand World // its sequence of random numbers only
	s    Scenario
	at   time.Duration
}

func (g *generator) n(n int) int               { return int(g.rand.random(int64(n))) }
func (g *generator) percent(p int) bool        { return g.n(100) < p }
func (g *generator) machine() string           { return fmt.Sprintf("r%d", 1+g.n(len(g.s.Machines))) }
func (g *generator) lan() string               { return string(rune('A' + g.n(g.s.LANs))) }
func (g *generator) add(v string, args ...any) { g.verb(fmt.Sprintf(v, args...)) }

func (g *generator) verb(text string) {
	var w []string
	for word := ""; text != ""; {
		word, text = cutSpace(text)
		w = append(w, word)
	}
	g.s.Script = append(g.s.Script, Timed{g.at, Verb{w[0], w[1:]}})
}

func cutSpace(s string) (string, string) {
	for i := range s {
		if s[i] == ' ' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// share is a part of an interval, in hundredths.
func (g *generator) share(hundredths int) time.Duration {
	return g.s.Interval * time.Duration(hundredths) / 100
}

// gap is the time to the next event: often none, or next to none.
func (g *generator) gap() time.Duration {
	switch g.n(10) {
	case 0, 1:
		return 0
	case 2, 3:
		return time.Duration(g.n(200)) * time.Microsecond
	case 4:
		return g.share(g.n(6))
	case 5, 6:
		return g.share(g.n(100))
	case 7, 8:
		return g.share(g.n(500))
	}
	return g.share(g.n(1500))
}

// world chooses the parameters that both families share.
func (g *generator) world() {
	s := &g.s
	switch g.n(4) {
	case 0:
		s.Version, s.Interval = 3, 10*time.Millisecond
	case 1:
		s.Version, s.Interval = 3, 100*time.Millisecond
	case 2:
		s.Version = 3
	}
	s.Guard = g.percent(85)
	s.Swap = g.percent(50)
	s.Delay[1] = []time.Duration{200 * time.Microsecond, 2 * time.Millisecond}[g.n(2)]
	if g.percent(50) {
		s.Facts = time.Duration(1+g.n(5)) * time.Millisecond
	}
	switch g.n(20) {
	case 0:
		s.LANs = 1
	case 1, 2, 3:
		s.LANs = 3
	case 4:
		s.LANs = 4 + g.n(6)
	}
	machines := 2
	switch g.n(20) {
	case 0, 1, 2, 3, 4, 5, 6:
		machines = 3
	case 7:
		machines = 4
	}
	equal := g.percent(50)
	for i := range machines {
		m := Machine{Priority: 100, Procs: 1, Clock: time.Duration(1000+g.n(100000)) * time.Second}
		if g.percent(70) {
			m.Drift = int64(g.n(1001)) - 500
		}
		switch {
		case equal:
		case machines == 3 && i < 2:
			m.Priority = 90 // two equal backups
		default:
			m.Priority = []uint8{1, 50, 100, 120, 150, 200, 254, 255}[g.n(8)]
		}
		switch g.n(10) {
		case 0, 1, 2, 3:
			m.Procs = s.LANs
		case 4:
			m.Procs = 1 + g.n(s.LANs)
		}
		s.Machines = append(s.Machines, m)
	}
}

// handOver is a clean world in which one thing happens to the master: nobody may
// be left without service for longer than the rules promise.
func (g *generator) handOver() {
	g.world()
	s := &g.s
	s.Order = true
	if g.percent(25) {
		s.Machines[0].NoPreempt = true
	}
	for i := range s.Machines {
		g.add("start r%d", i+1)
		if g.percent(30) {
			g.at += time.Duration(g.n(200)) * time.Microsecond
		}
	}
	// The best of the reference LAN is the master, the second best follows.
	first, second := -1, -1
	for i, m := range s.Machines {
		switch {
		case first < 0 || m.Priority >= s.Machines[first].Priority:
			first, second = i, first
		case second < 0 || m.Priority >= s.Machines[second].Priority:
			second = i
		}
	}
	skew := election.SkewTime(s.Version, s.Machines[second].Priority, s.Interval)
	down := 3*s.Interval + election.SkewTime(s.Version, 1, s.Interval)
	g.at += 2*down + g.share(g.n(100)) + 50*time.Millisecond
	if g.percent(50) {
		g.add("proxyarp %s on", g.lan())
	}
	zero := g.percent(40)
	if zero {
		g.add("dropzero %s %d", g.lan(), 1+g.n(2))
	}
	// What the parts of a machine need to follow each other.
	inside := s.Bell + 2*s.Jitter + 200*time.Microsecond
	name := fmt.Sprintf("r%d", first+1)
	one := fmt.Sprintf("%s.%d", name, g.n(s.Machines[first].Procs))
	limit := inside
	if len(s.Machines) > 2 {
		// Two may succeed at once, and the better one then preempts the other: five
		// probes and their patience after the last answer.
		limit += 6*(time.Millisecond+s.Jitter) + 2*s.Delay[1] + s.Facts + 2*s.Bell
	}
	// Ask before take: the window, which is the skew time but at least 5 ms and
	// the grace; then the set-up. Time for frames both ways and for the fault to
	// be noticed.
	win := max(skew, s.Interval/10+5*time.Millisecond, 15*time.Millisecond)
	asked := noticing + s.Jitter + 2*s.Delay[1] + win + drift(win) + s.promoting()
	asked += win / 10 // the shortest window is over before the last probe
	if zero {
		asked += s.Interval / 10
	}
	what := ""
	switch g.n(8) {
	case 0:
		what = "stop " + name
	case 1:
		what = "stop " + one
	case 2:
		what = "backup " + name
	case 3:
		what = "hold " + name
	case 4, 5:
		what, limit = fmt.Sprintf("link %s %s down", name, g.lan()), asked
	case 6:
		what, limit = fmt.Sprintf("check %s %s fail", name, g.lan()), asked
	case 7:
		what, limit = "kill "+one, asked
		if s.Machines[first].Procs == 1 {
			limit = 3*s.Interval + skew + 10*time.Millisecond
		}
	}
	if s.LANs == 1 && (what[0] == 'l' || what[0] == 'k' && s.Machines[first].Procs == 1) {
		limit = 3*s.Interval + skew + 10*time.Millisecond // there is no other LAN to hear of it
	}
	if !s.Guard {
		limit += 5 * time.Millisecond // without a guard the set-up follows the adverts
	}
	g.add("hole %v", limit.Round(time.Microsecond))
	g.verb(what)
	g.at += down + down
	g.add("hole off")
	g.add("settle")
}

// noticing is how long a process needs to learn of a fault of its port.
const noticing = 700 * time.Microsecond

// drift is how far two clocks part in a time, at 500 ppm each and in opposite
// directions.
func drift(d time.Duration) time.Duration { return d / 1000 }

// promoting is what the processes of a machine need from the moment at which the
// last fact is there until the last of them serves: the fact is seen and judged,
// all prepare (3 ms), the last one's word is seen and judged, all serve.
func (s *Scenario) promoting() time.Duration {
	see, obey := s.Facts+s.Bell+s.Jitter, s.Bell+s.Jitter
	return see + obey + 3*time.Millisecond + s.Jitter + see + obey + s.Jitter
}

// chaos is a handful of faults at awkward moments.
func (g *generator) chaos() {
	g.world()
	s := &g.s
	for i := range s.Machines {
		m := &s.Machines[i]
		m.NoPreempt = g.percent(20)
		if g.percent(5) {
			m.Ungrouped = true
		}
	}
	together := g.percent(50)
	for i := range s.Machines {
		g.add("start r%d", i+1)
		if !together {
			g.at += g.gap()
		}
	}
	if g.percent(70) {
		g.at += 8 * s.Interval
		if s.Version == 2 {
			g.at += 2 * time.Second
		}
		g.at += g.gap()
	}
	for range 1 + g.n(7) {
		g.fault()
		g.at += g.gap()
	}
	g.add("settle")
}

// process is a machine or one of its processes.
func (g *generator) process() string {
	k := g.n(len(g.s.Machines))
	m := g.s.Machines[k]
	procs := m.Procs
	if m.Ungrouped {
		procs = g.s.LANs
	}
	if g.percent(35) {
		return fmt.Sprintf("r%d", k+1)
	}
	return fmt.Sprintf("r%d.%d", k+1, g.n(procs))
}

// pause is how long somebody is not there: around the lease, mostly.
func (g *generator) pause() time.Duration {
	return g.share([]int{5, 30, 100, 150, 210, 260, 310, 340, 400, 500, 900}[g.n(11)]+g.n(40)) + time.Millisecond
}

func (g *generator) fault() {
	m, l := g.machine(), g.lan()
	switch g.n(25) {
	case 0, 1, 2:
		g.add("link %s %s down", m, l)
		if g.percent(60) {
			g.at += g.gap()
			g.add("link %s %s up", m, l)
		}
	case 3:
		// A switch reboots: links come up together.
		for i := range g.s.Machines {
			g.add("link r%d %s down", i+1, l)
		}
		g.at += g.gap()
		for i := range g.s.Machines {
			g.add("link r%d %s up", i+1, l)
		}
	case 4:
		g.add("block %s %s on", m, l)
		if g.percent(50) {
			g.at += g.share(g.n(3000))
			g.add("block %s %s off", m, l)
		}
	case 5:
		g.add("partition %s r%d|r%d", l, 1+g.n(len(g.s.Machines)), 1+g.n(len(g.s.Machines)))
	case 6:
		g.add("partition %s r%d>r%d", l, 1+g.n(len(g.s.Machines)), 1+g.n(len(g.s.Machines)))
	case 7:
		g.add("join %s", l)
	case 8:
		g.add("loss %s 0.%d", l, 1+g.n(4))
		g.at += g.share(g.n(1000))
		g.add("join %s", l)
	case 9:
		g.add("dup %s 0.3", l)
	case 10, 11:
		g.add("kill %s", g.process())
		if g.percent(50) {
			g.at += g.gap()
			g.add("start %s", m)
		}
	case 12:
		g.add("start %s", m)
	case 13, 14:
		g.add("pause %s %v", g.process(), g.pause())
	case 15, 16:
		g.add("stall %s %d %v %s", g.process(), 1+g.n(12), g.pause(), []string{"early", "late", "sent"}[g.n(3)])
	case 17:
		g.add("suspend %s %v", m, g.pause())
	case 18:
		g.add("freeze %s %v", m, g.pause())
	case 19:
		g.add("mute %s %s on", m, l)
		if g.percent(60) {
			g.at += g.gap()
			g.add("mute %s %s off", m, l)
		}
	case 20:
		how := [2]string{"check %s %s fail", "check %s %s ok"}
		if g.percent(40) {
			how = [2]string{fmt.Sprintf("weigh %%s %%s %d", []int{-200, -60, -10, 30}[g.n(4)]), "weigh %s %s 0"}
		}
		g.add(how[0], m, l)
		if g.percent(60) {
			g.at += g.gap()
			g.add(how[1], m, l)
		}
	case 21:
		g.add("stop %s", g.process())
		if g.percent(30) {
			// Inside its LINGER.
			g.at += g.share(g.n(30))
			g.add("kill %s", m)
		}
	case 22:
		g.add("backup %s", m)
		g.at += g.gap()
		if g.percent(50) {
			g.add("release %s", m)
		}
	case 23:
		g.add("hold %s", m)
		if g.percent(50) {
			g.at += g.gap()
			g.add("release %s", m)
		}
	case 24:
		switch g.n(3) {
		case 0:
			g.add("priority %s %d", m, []int{50, 100, 150, 200, 255}[g.n(5)])
		case 1:
			g.add("proxyarp %s on", l)
		case 2:
			g.add("dropzero %s %d", l, 1+g.n(3))
		}
	}
}
