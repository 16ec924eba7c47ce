package health

import "time"

// Verdict is what a check says of the machine.
type Verdict uint8

const (
	// Pending: nothing is known yet. It counts as a failure.
	Pending Verdict = iota
	Passing
	Failing
)

var verdictWords = [...]string{Pending: "pending", Passing: "passing", Failing: "failing"}

func (v Verdict) String() string {
	if int(v) < len(verdictWords) {
		return verdictWords[v]
	}
	return "unknown"
}

const (
	// onlyServing is within what time a second failure on a MASTER counts as one
	// that happens only there.
	onlyServing = time.Hour
	// slowest bounds how long a check must be well before it is believed.
	slowest = 5 * time.Minute
)

// Gauge makes a verdict of observations. It is pure: time is handed in, as a duration
// since whenever. The zero value is of no use; see NewGauge.
type Gauge struct {
	rise, fall int
	patience   int // most successes in a row that are ever wanted
	verdict    Verdict
	against    int // observations in a row that speak against the verdict

	wanted int           // successes in a row that are wanted now: rise, or more
	served bool          // it has failed while the machine served, and not otherwise since
	at     time.Duration // when
}

// NewGauge returns a Gauge that passes after rise successes and fails after fall
// failures in a row, both at least 1, of observations every interval.
func NewGauge(rise, fall int, interval time.Duration, begin Verdict) Gauge {
	rise, fall = max(rise, 1), max(fall, 1)
	return Gauge{
		rise: rise, fall: fall, verdict: begin, wanted: rise,
		patience: max(rise, int(slowest/max(interval, time.Millisecond))),
	}
}

// Verdict is the present one.
func (g *Gauge) Verdict() Verdict { return g.verdict }

// Settled reports that nothing speaks against the verdict: as long as nothing
// happens another observation changes nothing.
func (g *Gauge) Settled() bool { return g.verdict != Pending && g.against == 0 }

// Observe counts one observation, made while the machine served or did not, and
// reports whether the verdict has changed.
func (g *Gauge) Observe(now time.Duration, ok, serving bool) bool {
	if g.verdict == Pending {
		g.decide(now, ok, serving)
		return true
	}
	if ok == (g.verdict == Passing) {
		g.against = 0
		return false
	}
	g.against++
	needed := g.fall
	if ok {
		needed = g.wanted
	}
	if g.against < needed {
		return false
	}
	g.decide(now, ok, serving)
	return true
}

func (g *Gauge) decide(now time.Duration, ok, serving bool) {
	g.against = 0
	if ok {
		g.verdict = Passing
		return
	}
	g.verdict = Failing
	switch again := g.served && now-g.at < onlyServing; {
	case serving && again:
		g.wanted = min(2*g.wanted, g.patience)
	default:
		g.wanted = g.rise
	}
	g.served, g.at = serving, now
}

// Sum is what all checks together mean for the machine. The zero value is that of
// none.
type Sum struct {
	Weight int  // to be added to the priority
	Hold   bool // some check without a weight does not pass
}

// Add counts a check with its weight, 0 for one that holds.
func (s *Sum) Add(weight int, v Verdict) {
	switch passes := v == Passing; {
	case weight == 0:
		s.Hold = s.Hold || !passes
	case weight > 0 == passes:
		s.Weight += weight
	}
}
