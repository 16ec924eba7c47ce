package sim

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"

	"vrrpd/election"
)

// Scenario is everything that a run depends on: equal scenarios give equal runs.
type Scenario struct {
	Seed     uint64
	LANs     int
	Version  uint8 // of VRRP, 2 or 3
	Interval time.Duration
	Guard    bool
	Swap     bool          // addresses descend on every second LAN
	Facts    time.Duration // longest delay until siblings see facts; 0: at once
	Bell     time.Duration // longest delay of a doorbell between siblings
	Jitter   time.Duration // longest delay of a wake-up
	Delay    [2]time.Duration
	Order    bool // frames of one machine do not overtake each other
	Machines []Machine
	Script   []Timed
	End      time.Duration // how long it goes on, if that is longer than the script

	// What the mutation check switches off; not part of the text.
	Without election.Rules
	Loop    Loop
}

// Loop is what the mutation check switches off in the daemon's loop.
type Loop struct {
	NoFence    bool // actions are carried out whatever the word says
	NoDrain    bool // a late process steps before it reads its sockets
	DrainOnce  bool // it drains once per turn, not before every step
	ClockAfter bool // leases count from the clock after the send
}

// Machine is the fixed part of one machine.
type Machine struct {
	Priority  uint8
	Procs     int  // processes of one group, sharing the LANs
	Ungrouped bool // every LAN a group of its own, with a process of its own
	NoPreempt bool
	Uneven    bool          // its last process is configured with ten times the interval
	Drift     int64         // of its clock, ppm
	Clock     time.Duration // its clock at the beginning
}

// Timed is a verb and when it happens.
type Timed struct {
	At   time.Duration
	Verb Verb
}

// defaults is what a text does not say.
func defaults() Scenario {
	return Scenario{
		Seed: 1, LANs: 2, Version: 2, Interval: time.Second, Guard: true,
		Bell: 500 * time.Microsecond, Jitter: 200 * time.Microsecond,
		Delay: [2]time.Duration{20 * time.Microsecond, 200 * time.Microsecond},
	}
}

// String is the scenario as text; Parse reads it.
func (s Scenario) String() string {
	var b strings.Builder
	on := func(v bool) string {
		if v {
			return "on"
		}
		return "off"
	}
	fmt.Fprintf(&b, "seed %d\nlans %d\nversion %d\ninterval %v\nguard %s\nswap %s\nfacts %v\nbell %v\njitter %v\ndelay %v %v\norder %s\n",
		s.Seed, s.LANs, s.Version, s.Interval, on(s.Guard), on(s.Swap), s.Facts, s.Bell, s.Jitter, s.Delay[0], s.Delay[1], on(s.Order))
	for _, m := range s.Machines {
		fmt.Fprintf(&b, "machine priority=%d", m.Priority)
		if m.Procs > 1 {
			fmt.Fprintf(&b, " procs=%d", m.Procs)
		}
		if m.Ungrouped {
			b.WriteString(" ungrouped")
		}
		if m.Uneven {
			b.WriteString(" uneven")
		}
		if m.NoPreempt {
			b.WriteString(" nopreempt")
		}
		if m.Drift != 0 {
			fmt.Fprintf(&b, " drift=%d", m.Drift)
		}
		if m.Clock != 0 {
			fmt.Fprintf(&b, " clock=%v", m.Clock)
		}
		b.WriteByte('\n')
	}
	var at time.Duration
	for _, t := range s.Script {
		if t.At > at {
			fmt.Fprintf(&b, "advance %v\n", t.At-at)
			at = t.At
		}
		fmt.Fprintln(&b, t.Verb)
	}
	if s.End > at {
		fmt.Fprintf(&b, "advance %v\n", s.End-at)
	}
	return b.String()
}

// Parse reads a scenario: settings, machines, and verbs, one per line. Empty
// lines and what follows a # are skipped.
func Parse(text string) (Scenario, error) {
	s := defaults()
	var at time.Duration
	in := bufio.NewScanner(strings.NewReader(text))
	for n := 1; in.Scan(); n++ {
		line, _, _ := strings.Cut(in.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.line(words, &at); err != nil {
			return s, fmt.Errorf("scenario line %d (%s): %w", n, strings.TrimSpace(line), err)
		}
	}
	if len(s.Machines) == 0 {
		return s, fmt.Errorf("a scenario needs a machine")
	}
	return s, nil
}

func (s *Scenario) line(words []string, at *time.Duration) (err error) {
	word := words[len(words)-1]
	flag := word == "on"
	duration := func(to *time.Duration) { *to, err = time.ParseDuration(word) }
	switch words[0] {
	case "seed":
		s.Seed, err = strconv.ParseUint(word, 10, 64)
	case "lans":
		s.LANs, err = strconv.Atoi(word)
	case "version":
		var n int
		n, err = strconv.Atoi(word)
		s.Version = uint8(n)
	case "interval":
		duration(&s.Interval)
	case "guard":
		s.Guard = flag
	case "swap":
		s.Swap = flag
	case "order":
		s.Order = flag
	case "facts":
		duration(&s.Facts)
	case "bell":
		duration(&s.Bell)
	case "jitter":
		duration(&s.Jitter)
	case "delay":
		if len(words) != 3 {
			return fmt.Errorf("two times are wanted")
		}
		if s.Delay[0], err = time.ParseDuration(words[1]); err == nil {
			duration(&s.Delay[1])
		}
	case "machine":
		m := Machine{Priority: 100, Procs: 1}
		for _, w := range words[1:] {
			if err := m.set(w); err != nil {
				return err
			}
		}
		s.Machines = append(s.Machines, m)
	case "advance":
		var d time.Duration
		duration(&d)
		*at += d
		s.End = *at
	default:
		var v Verb
		if v, err = parseVerb(words); err == nil {
			s.Script = append(s.Script, Timed{*at, v})
		}
	}
	return err
}

func (m *Machine) set(word string) error {
	key, value, _ := strings.Cut(word, "=")
	var n int
	var err error
	switch key {
	case "priority", "procs", "drift":
		n, err = strconv.Atoi(value)
	}
	switch key {
	case "priority":
		m.Priority = uint8(n)
	case "procs":
		m.Procs = n
	case "drift":
		m.Drift = int64(n)
	case "clock":
		m.Clock, err = time.ParseDuration(value)
	case "ungrouped":
		m.Ungrouped = true
	case "uneven":
		m.Uneven = true
	case "nopreempt":
		m.NoPreempt = true
	default:
		err = fmt.Errorf("no such property of a machine: %s", key)
	}
	return err
}

// Play runs the scenario to its end, or to the first violation.
func (w *World) Play() *Violation {
	for _, t := range w.Script {
		w.run(int64(t.At))
		if w.failure != nil {
			break
		}
		w.obey(t.Verb)
	}
	if w.failure == nil {
		w.run(int64(w.End))
	}
	return w.failure
}
