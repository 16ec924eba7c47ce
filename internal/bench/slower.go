package main

import (
	"fmt"
	"time"
)

// slower says, one sentence each, where ours is worse than one of the others by more
// than the noise.
func slower(r result) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, interval := range r.intervals() {
		for _, k := range causes() {
			ours := r.failover(ourName, interval, k)
			if ours == nil {
				continue
			}
			for _, name := range r.others() {
				theirs := r.failover(name, interval, k)
				if theirs == nil || !longer(ours.Dark.median(), theirs.Dark.median(), r.noise(interval)) {
					continue
				}
				why := ""
				if double := theirs.Double.median(); (k == kill || k == hang) && double > ours.Double.median() {
					why = fmt.Sprintf(" That is the price of the lease, which silences a machine that says nothing before another serves. With %s both machines answer for %s.",
						name, during(double))
				}
				say("**%s**, adverts every %v: nobody answers for %s ms, with %s for %s ms.%s",
					k.word(), interval, ms(ours.Dark.median()), name, ms(theirs.Dark.median()), why)
			}
		}
	}
	for _, s := range r.Scale {
		for _, o := range r.Scale {
			if s.Contender != ourName || o.Contender == ourName || s.Routers != o.Routers || s.Interval != o.Interval || s.Note != "" || o.Note != "" {
				continue
			}
			with := fmt.Sprintf("**%d virtual router%s**, adverts every %v", s.Routers, plural(s.Routers), s.Interval)
			for _, q := range []struct {
				what         string
				ours, theirs time.Duration
				noise        time.Duration
				unit         func(time.Duration) string
				word         string
			}{
				{"processor time for each advert sent", s.Sent.median(), o.Sent.median(), 0, us, "us"},
				{"processor time for each advert received", s.Received.median(), o.Received.median(), 0, us, "us"},
				{"resident memory", time.Duration(s.RSS), time.Duration(o.RSS), 1 << 20, asMB, "MB"},
				{"memory with what is shared counted in part", time.Duration(s.PSS), time.Duration(o.PSS), 1 << 20, asMB, "MB"},
				{"until all are MASTER, beyond the protocol's wait", s.Masters, o.Masters, startNoise, ms, "ms"},
				{"until all are taken over, beyond the skew time", s.Takeover, o.Takeover, startNoise, ms, "ms"},
			} {
				// A tenth is not worth a line.
				if longer(q.ours, q.theirs, max(q.noise, q.theirs/10)) {
					say("%s: %s %s %s, with %s %s %s.", with, q.what, q.unit(q.ours), q.word, o.Contender, q.unit(q.theirs), q.word)
				}
			}
		}
	}
	for _, name := range r.others() {
		for _, way := range []string{toParent, toVirtual} {
			ours, theirs := r.way(ourName+", "+defaultRung, way), r.way(name, way)
			if ours != nil && theirs != nil && longer(ours.Quick, theirs.Quick, pathNoise) {
				say("**Forwarded packets**, to the %s: %d ns each, with %s %d ns.", way, ours.Quick.Nanoseconds(), name, theirs.Quick.Nanoseconds())
			}
		}
	}
	return lines
}

const (
	// defaultRung is what vrrpd chooses where the kernel has it.
	defaultRung = "clsact"
	// Differences below which two figures are taken for equal.
	startNoise = 20 * time.Millisecond
	pathNoise  = 100 * time.Nanosecond
)

// longer: ours is, by more than the noise.
func longer(ours, theirs, noise time.Duration) bool {
	return theirs != never && (ours == never || ours > theirs+noise)
}

func during(d time.Duration) string {
	if d == never {
		return "ever"
	}
	return ms(d) + " ms"
}

func asMB(n time.Duration) string { return mb(int64(n)) }

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// way is the row of a machine, nil: there is none.
func (r result) way(name, to string) *pathRow {
	for i, w := range r.Path {
		if w.Contender == name && w.Way == to {
			return &r.Path[i]
		}
	}
	return nil
}
