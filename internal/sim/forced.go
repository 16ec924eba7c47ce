package sim

import (
	"time"

	"vrrpd/election"
)

// forced are worlds in which a rule that coincidence seldom asks for is needed.
func (g *generator) forced() {
	g.world()
	s := &g.s
	s.Order = true
	s.Machines = s.Machines[:2]
	down := func() time.Duration { return 3*s.Interval + election.SkewTime(s.Version, 1, s.Interval) }
	inside := 2*s.Delay[1] + s.promoting() + drift(5*s.Interval)
	strong, weak := &s.Machines[0], &s.Machines[1]
	strong.Priority, weak.Priority = 200, uint8(1+g.n(150))
	settled := func() { g.at += 2*down() + g.share(g.n(100)) + 50*time.Millisecond }
	asleep := func() time.Duration { return down() + down()/2 + g.share(g.n(100)+500) }
	two := func() { s.LANs = max(s.LANs, 2) }
	switch g.n(13) {
	case 0:
		// A port that forwards nothing yet and shows a carrier: rule 6.
		two()
		g.add("start r2")
		settled()
		g.add("block r1 %s on", g.lan())
		settled()
		g.add("start r1")
		settled()
	case 1:
		// A master hangs in the middle of an advert, and another takes over
		// meanwhile: rule 14. The late advert must not cost a master-down interval.
		strong.Procs = 1
		g.add("start r1")
		g.add("start r2")
		settled()
		// Unserved from the end of the lease, two intervals after the advert at the
		// latest, to the end of the patience; after the late advert a skew time.
		skew := election.SkewTime(s.Version, weak.Priority, s.Interval)
		g.add("hole %v", (2*s.Interval + skew + inside).Round(time.Microsecond))
		g.add("stall r1.0 %d %v %s", 1+g.n(s.LANs), asleep(), []string{"early", "late"}[g.n(2)])
		settled()
		settled()
		g.add("hole off")
	case 2:
		// Every priority 0 of one LAN is lost; the lingering master answers for a
		// while, and then nobody does: rule 3.
		two()
		g.add("start r1")
		g.add("start r2")
		settled()
		g.add("dropzero %s 1,2,3,4", g.lan())
		win := max(election.SkewTime(s.Version, weak.Priority, s.Interval), s.Interval/10+5*time.Millisecond)
		g.add("hole %v", (win*8/10 + 6*time.Millisecond + inside).Round(time.Microsecond))
		g.add("stop r1")
		settled()
		g.add("hole off")
	case 3:
		// A master without preemption sleeps, and another serves when it wakes:
		// draining, and WAKE.
		strong.NoPreempt = true
		g.add("start r1")
		g.add("start r2")
		settled()
		g.add("pause r1 %v", asleep())
		settled()
		settled()
	case 4:
		// The same in the middle of what its promotion asks for.
		strong.NoPreempt, strong.Procs = true, 1
		g.add("start r1")
		g.at += 2*s.Interval + g.share(g.n(100))
		g.add("stall r1.0 %d %v early", 1+g.n(16), asleep())
		g.add("start r2")
		settled()
		settled()
	case 5:
		// A peer that is no group resigns on one LAN and answers on another: rules
		// 8 and 9.
		two()
		s.Interval, s.Version = 10*time.Millisecond, 3
		s.Delay[1] = 2 * time.Millisecond
		strong.Priority, strong.NoPreempt = 254, true
		weak.Ungrouped = true
		g.add("start r2")
		settled()
		g.add("start r1")
		settled()
		g.add("stop r2.%d", g.n(s.LANs))
		settled()
	case 6:
		// A process is stopped in the middle of its adverts until long after its
		// siblings have expelled it: rules 2 and 11. What it still meant to do
		// must not be done.
		s.LANs = 4
		strong.Procs = 2
		g.add("start r1")
		g.add("start r2")
		settled()
		g.add("stall r1.0 %d %v %s", 1+g.n(s.LANs), asleep(), []string{"early", "late"}[g.n(2)])
		settled()
		settled()
	case 7:
		// A master hangs just when it is preempted: rule 12.
		g.add("start r2")
		settled()
		g.add("start r1")
		g.at += 3*s.Interval + election.SkewTime(s.Version, strong.Priority, s.Interval) - g.share(g.n(60))
		g.add("pause r2 %v", asleep())
		settled()
		settled()
	case 8:
		// A machine resigns on all LANs at once; its priority 0 is repeated while
		// the successor's skew time runs.
		s.Interval, s.Version, s.Guard, s.Jitter, s.Facts = 100*time.Millisecond, 3, true, 0, 0
		strong.Priority, weak.Priority = 250, uint8(220+g.n(20))
		strong.Procs, weak.Procs = 1, 1
		g.add("start r1")
		g.add("start r2")
		settled()
		skew := election.SkewTime(s.Version, weak.Priority, s.Interval)
		g.add("hole %v", (noticing + s.Delay[1] + skew + 3*time.Millisecond + drift(skew)).Round(time.Microsecond))
		g.add("check r1 %s fail", g.lan())
		settled()
		g.add("hole off")
	case 9:
		// An advert leaves, its system call takes long, and then the process hangs:
		// rule 10, the lease counts from before the send.
		s.Guard = true
		strong.Priority, weak.Priority = 255, 254
		strong.Procs = 1
		g.add("start r1")
		g.add("start r2")
		settled()
		g.add("stall r1.0 %d %v sent", 1+g.n(s.LANs), g.share(100+g.n(90)))
		g.add("stall r1.0 1 %v early", asleep())
		settled()
		settled()
	case 10:
		// The processes of a machine are configured with different intervals: rule
		// 7. They cannot keep together, so it is held, and the other one serves.
		two()
		strong.Procs, strong.Uneven = s.LANs, true
		g.add("start r1")
		g.add("start r2")
		settled()
		g.add("pause r1.%d %v", g.n(s.LANs), g.pause())
		settled()
	case 11:
		// A master wakes from a suspend just after its successor has hung: LISTEN
		// must not be over before that one's lease is.
		s.Guard = true
		if g.percent(50) {
			s.Version, s.Interval = 2, 10*time.Second // the skew time is a second
		}
		g.add("start r1")
		g.add("start r2")
		settled()
		span := down() + 6*s.Interval + g.share(g.n(100))
		g.add("suspend r1 %v", span)
		g.at += span - g.share(g.n(60))
		g.add("pause r2 %v", asleep())
		settled()
		settled()
	case 12:
		// A successor's process hangs before it has obeyed: the machine must not
		// relieve the old master of one LAN only.
		two()
		weak.Procs = s.LANs
		g.add("start r1")
		g.add("start r2")
		settled()
		g.add("backup r1")
		g.at += election.SkewTime(s.Version, weak.Priority, s.Interval) * time.Duration(g.n(100)) / 100
		g.add("pause r2.%d %v", g.n(s.LANs), asleep())
		settled()
	}
	g.add("settle")
}
