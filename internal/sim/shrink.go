package sim

import (
	"slices"
	"time"
)

// Shrink looks for a smaller scenario that violates the same invariant: verbs
// are taken away, then parameters become the plain ones, then times are rounded.
func Shrink(s Scenario, v *Violation) (Scenario, *Violation) {
	tries := 0
	fails := func(c Scenario) *Violation {
		if tries++; tries > 3000 {
			return nil
		}
		if u := New(c).Play(); u != nil && u.Rule == v.Rule {
			return u
		}
		return nil
	}
	attempt := func(change func(*Scenario) bool) bool {
		c := s
		c.Script = slices.Clone(s.Script)
		c.Machines = slices.Clone(s.Machines)
		if !change(&c) {
			return false
		}
		u := fails(c)
		if u != nil {
			s, v = c, u
		}
		return u != nil
	}
	for again := true; again; {
		again = false
		for i := len(s.Script) - 1; i >= 0; i-- {
			again = attempt(func(c *Scenario) bool {
				if i >= len(c.Script) || c.Script[i].Verb.pinned(s.Script) {
					return false
				}
				c.Script = slices.Delete(c.Script, i, i+1)
				return true
			}) || again
		}
		for _, change := range plainer {
			again = attempt(change) || again
		}
		for i := range s.Machines {
			again = attempt(func(c *Scenario) bool {
				m := &c.Machines[i]
				before := *m
				m.Procs, m.Drift, m.Clock = 1, 0, 1000*time.Second
				return *m != before
			}) || attempt(func(c *Scenario) bool {
				m := &c.Machines[i]
				before := *m
				m.Drift, m.Clock = 0, 1000*time.Second
				return *m != before
			}) || again
		}
		if s.limited() {
			continue // a limit on holes needs the time that the machines have had
		}
		for _, unit := range []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond, time.Millisecond, 100 * time.Microsecond} {
			for i := range s.Script {
				again = attempt(func(c *Scenario) bool {
					old := c.Script[i].At
					d := old.Round(unit) - old
					if d == 0 {
						return false
					}
					// What follows keeps its distance.
					for k := i; k < len(c.Script); k++ {
						c.Script[k].At += d
					}
					return i == 0 || c.Script[i].At >= c.Script[i-1].At
				}) || again
			}
		}
		if tries > 3000 {
			break
		}
	}
	return s, v
}

// limited reports that the scenario limits holes.
func (s *Scenario) limited() bool {
	return slices.ContainsFunc(s.Script, func(t Timed) bool { return t.Verb.Name == "hole" })
}

// plainer are settings that a reader need not think about.
var plainer = []func(*Scenario) bool{
	func(s *Scenario) bool { return change(&s.Facts, 0) },
	func(s *Scenario) bool { return change(&s.Swap, false) },
	func(s *Scenario) bool { return change(&s.Guard, true) },
	func(s *Scenario) bool { return change(&s.Delay[1], 200*time.Microsecond) },
	func(s *Scenario) bool { return s.LANs > 2 && change(&s.LANs, 2) },
	func(s *Scenario) bool { return s.LANs > 3 && change(&s.LANs, 3) },
	func(s *Scenario) bool {
		// The last machine, if nobody misses it.
		if len(s.Machines) < 3 {
			return false
		}
		s.Machines = s.Machines[:len(s.Machines)-1]
		return true
	},
}

func change[T comparable](to *T, plain T) bool {
	if *to == plain {
		return false
	}
	*to = plain
	return true
}
