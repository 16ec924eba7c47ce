package main

import (
	"fmt"
	"strings"
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
			var better, double []string
			for _, name := range r.others() {
				theirs := r.failover(name, interval, k)
				if theirs == nil || len(theirs.Dark) == 0 || !longer(ours.Dark.median(), theirs.Dark.median(), r.noise(interval)) {
					continue
				}
				better = append(better, fmt.Sprintf("%s %s", name, ms(theirs.Dark.median())))
				if d := theirs.Double.median(); (k == kill || k == hang) && d > ours.Double.median() {
					double = append(double, fmt.Sprintf("for %s with %s", during(d), name))
				}
			}
			if len(better) == 0 {
				continue
			}
			why := ""
			if len(double) > 0 {
				why = " That is the price of the lease, which silences a machine that says nothing before another serves: without one both answer, " + list(double) + "."
			}
			say("**%s**, adverts every %v: nobody answers for %s ms (%s).%s", k.word(), interval, ms(ours.Dark.median()), strings.Join(better, ", "), why)
		}
	}
	for _, q := range quantities() {
		var cases []string
		for _, s := range r.Scale {
			if s.Contender != ourName || s.Note != "" {
				continue
			}
			var better []string
			for _, name := range r.others() {
				o := r.scale(name, s.Routers, s.Interval)
				// A tenth is not worth a line.
				if o != nil && o.Note == "" && longer(q.of(&s), q.of(o), max(q.noise, q.of(o)/10)) {
					better = append(better, fmt.Sprintf("%s %s", name, q.unit(q.of(o))))
				}
			}
			if len(better) > 0 {
				cases = append(cases, fmt.Sprintf("%s with %d router%s at %v (%s)",
					q.unit(q.of(&s)), s.Routers, plural(s.Routers), s.Interval, strings.Join(better, ", ")))
			}
		}
		if len(cases) > 0 {
			say("**%s**, %s: %s.", q.what, q.word, strings.Join(cases, "; "))
		}
	}
	for _, way := range []string{toParent, toVirtual} {
		ours := r.way(ourName+", "+defaultRung, way)
		var better []string
		for _, name := range r.others() {
			theirs := r.way(name, way)
			if ours != nil && theirs != nil && longer(ours.Quick, theirs.Quick, pathNoise) {
				better = append(better, fmt.Sprintf("%s %d", name, theirs.Quick.Nanoseconds()))
			}
		}
		if len(better) > 0 {
			say("**Forwarded packets** to the %s: %d ns each (%s). vrrpd hears adverts by a packet socket, which no firewall rule cuts off, and to which the kernel shows every packet that comes in; the others by a raw socket.",
				way, ours.Quick.Nanoseconds(), strings.Join(better, ", "))
		}
	}
	return lines
}

// quantity is one column of the table of many virtual routers.
type quantity struct {
	what, word string
	of         func(*scale) time.Duration
	noise      time.Duration
	unit       func(time.Duration) string
}

func quantities() []quantity {
	return []quantity{
		{"Processor time for an advert sent", "us", func(s *scale) time.Duration { return s.Sent.median() }, 0, us},
		{"Processor time for an advert received", "us", func(s *scale) time.Duration { return s.Received.median() }, 0, us},
		{"Resident memory", "MB", func(s *scale) time.Duration { return time.Duration(s.RSS) }, 1 << 20, asMB},
		{"Memory with what is shared counted in part", "MB", func(s *scale) time.Duration { return time.Duration(s.PSS) }, 1 << 20, asMB},
		{"Until all are MASTER, beyond the protocol's wait", "ms", func(s *scale) time.Duration { return s.Masters }, startNoise, ms},
		{"Until all are taken over, beyond the skew time", "ms", func(s *scale) time.Duration { return s.Takeover }, startNoise, ms},
	}
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
