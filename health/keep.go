package health

import "time"

// A program that is replaced while it runs hands on what its checks have said: a check
// that has passed must not be pending, which would hold the machine.

// Kept is what was known of a check.
type Kept struct {
	Name    string
	Verdict Verdict
	Against int
	Wanted  int           // successes in a row that are wanted
	Served  bool          // it has failed while the machine served
	Ago     time.Duration // since then

	Since, Last            time.Time
	OK                     bool
	Detail                 string
	Observations, Failures uint64
}

// Pause has no command start until Unpause, so that Keep knows of all that run. It reports
// whether that can be: it does not wait for one that is being started.
func (s *Set) Pause() bool { return s.starting.TryLock() }

// Unpause ends a Pause.
func (s *Set) Unpause() { s.starting.Unlock() }

// Keep says what is known, and which commands run at this moment: nobody waits for these
// any more, and they are the next program's children.
func (s *Set) Keep() (all []Kept, running []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.begin)
	for _, w := range s.watches {
		g := &w.gauge
		all = append(all, Kept{
			Name: w.check.Name, Verdict: g.verdict, Against: g.against, Wanted: g.wanted, Served: g.served, Ago: now - g.at,
			Since: w.since, Last: w.last, OK: w.seen.ok, Detail: w.seen.detail, Observations: w.count, Failures: w.failing,
		})
		if w.pid != 0 {
			running = append(running, w.pid)
		}
	}
	return all, running
}

// Resume goes on with what another program has known of the checks of Apply, before Run,
// and returns their Sum. What it has not known is as it was.
func (s *Set) Resume(all []Kept) Sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.begin)
	for _, w := range s.watches {
		for i := range all {
			k := &all[i]
			if k.Name != w.check.Name || k.Verdict > Failing {
				continue
			}
			g := &w.gauge
			g.verdict, g.against, g.served, g.at = k.Verdict, max(k.Against, 0), k.Served, now-k.Ago
			g.wanted = min(max(k.Wanted, g.rise), g.patience)
			w.since, w.last, w.seen, w.count, w.failing = k.Since, k.Last, observation{k.OK, k.Detail}, k.Observations, k.Failures
		}
	}
	return s.sum()
}
