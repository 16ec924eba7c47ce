package main

import (
	"math"
	"slices"
	"time"
)

// never is the duration of what had not ended when the measurement did.
const never = time.Duration(math.MaxInt64)

// sample is one quantity, measured several times; of one kind it is all durations, all
// bytes or all packets per second.
type sample []time.Duration

func (s sample) sorted() sample { return slices.Sorted(slices.Values(s)) }

// median is the lower one of two in the middle, so that it is a value that occurred.
func (s sample) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s.sorted()[(len(s)-1)/2]
}

func (s sample) min() time.Duration { return s.sorted()[0] }
func (s sample) max() time.Duration { return s.sorted()[len(s)-1] }

// result is everything that a run has measured; what is written is a pure function of
// it.
type result struct {
	Date        time.Time
	Took        time.Duration
	Command     string
	Machine     surroundings
	Contenders  []version1 // ours first
	Missing     []string   // not installed
	Repetitions int
	Failovers   []failover
	Controls    []control
	Scale       []scale
	Crossed     []scale // without a switch: Sent and Received only
	Path        []pathRow
	Tolls       []toll
	Late        []lateness
	Notes       []string // what went otherwise than planned
}

// version1 is a contender's name and version.
type version1 struct{ Name, Version string }

// failover is what one cause came to for one contender at one interval.
type failover struct {
	Contender string
	Interval  time.Duration
	Cause     cause
	// Dark is the longest time without an answer; never: none came any more.
	Dark sample
	// Double is for how long two machines answered.
	Double sample
	// Speaks is when the other machine had spoken on both LANs; never: it did not.
	Speaks sample
	// Apart is for how long the two LANs had different masters.
	Apart sample
}

// control is what the client noticed while nothing happened.
type control struct {
	Contender   string
	Interval    time.Duration
	Dark, Stall sample
}

// scale is a contender with many virtual routers.
type scale struct {
	Contender string
	Routers   int
	Processes int
	Interval  time.Duration
	// Masters is how long after the start the last one had spoken, beyond what the
	// protocol makes them wait; Takeover how long after the other machine's planned stop,
	// beyond the skew time; Announced until the last address was announced.
	Masters, Takeover, Announced time.Duration
	Taken                        int    // how many were taken over within allLimit
	Sent, Received               sample // processor time for each advert, by second
	RSS, PSS                     int64  // of the machine that is MASTER, in bytes
	RSSBackup, PSSBackup         int64
	Note                         string // instead of figures
}

// pathRow is what a forwarded packet costs.
type pathRow struct {
	Contender     string // or what is in its place
	Way           string // toParent or toVirtual
	Turns         int
	Quick, Median time.Duration // for each packet
	// More is how much they take more than those of Base on the same way, the median of
	// turns side by side, and Low and High hold it in 19 cases of 20; "": they are not compared.
	Base            string
	More, Low, High time.Duration
}

// cause is what happens to the MASTER.
type cause string

const (
	cable  cause = "cable"
	kill   cause = "kill"
	unit   cause = "unit"
	stop   cause = "stop"
	hang   cause = "hang"
	comeUp cause = "return"
)

// causes is their order in tables.
func causes() []cause { return []cause{stop, comeUp, cable, kill, unit, hang} }

// word says what a cause is.
func (c cause) word() string {
	return map[cause]string{
		"":     "nothing happened",
		cable:  "cable pulled on one LAN",
		kill:   "daemon killed (SIGKILL)",
		unit:   "the same, and its unit cleans up",
		stop:   "planned stop (SIGTERM)",
		hang:   "daemon hangs (SIGSTOP, SIGCONT)",
		comeUp: "the better machine comes back",
	}[c]
}
