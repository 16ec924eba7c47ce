package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"vrrpd/internal/netlab"
)

// stage is held while something happens whose milliseconds count. Several sites live
// at the same time, because nearly all that they do is wait; what happens on one of
// them has the machine for itself.
type stage struct{ sync.Mutex }

// Times around an event.
const (
	before = 150 * time.Millisecond // the client asks before it happens
	alone  = time.Second            // so long after it nothing else is begun
	tail   = 300 * time.Millisecond // the client asks after it is over
	late   = 100 * time.Millisecond // answers under way when the client stops
)

// mishaps is how often something may go otherwise than planned before it is given up.
const mishaps = 4

// hangTime is for how long a daemon hangs: longer than the other machine waits.
func hangTime(interval time.Duration) time.Duration { return max(6*interval, 2*time.Second) }

// outcome is what one event came to.
type outcome struct {
	dark, double, speaks, apart, stall time.Duration
}

// failovers measures all causes for one contender at one interval, several times.
func failovers(ctx context.Context, c contender, interval time.Duration, times int, on *stage, tell func(string, ...any)) ([]failover, control, []string, error) {
	got := map[cause]*failover{}
	for _, k := range causes() {
		got[k] = &failover{Contender: c.name, Interval: interval, Cause: k}
	}
	quiet := control{Contender: c.name, Interval: interval}
	var notes []string
	var s *site
	defer func() { _ = s.close() }() // whose error counts only if all else went well
	for n := range times {
		// The return is measured with the stop before it.
		for _, k := range []cause{"", cable, kill, unit, hang, stop} {
			if k == unit && c.cleanUp == nil {
				continue
			}
			if s == nil {
				var err error
				if s, err = newSite(ctx, c, interval, on); err != nil {
					return nil, quiet, notes, err
				}
			}
			// By turns early and late between two adverts, the same for everybody.
			phase := interval * time.Duration(2*n+1) / time.Duration(2*times)
			o, back, err := s.play(ctx, k, phase, on)
			if ctx.Err() != nil {
				return nil, quiet, notes, ctx.Err()
			}
			if err != nil && !errors.Is(err, errAnew) {
				notes = append(notes, fmt.Sprintf("%s, adverts every %v, %s: %v", c.name, interval, k.word(), err))
				tell("%s", notes[len(notes)-1])
				for _, l := range s.machines[0].lastWords() {
					tell("    %s", l)
				}
				if len(notes) > mishaps {
					return nil, quiet, notes, err
				}
			}
			if err != nil {
				// What was measured counts; what comes next begins anew.
				if err := s.close(); err != nil {
					return nil, quiet, notes, err
				}
				s = nil
			}
			if err != nil && !errors.Is(err, errAnew) && !errors.As(err, new(*strayedError)) {
				continue // nothing was measured
			}
			if k == "" {
				quiet.Dark, quiet.Stall = append(quiet.Dark, o.dark), append(quiet.Stall, o.stall)
				continue
			}
			got[k].add(o)
			if back != nil {
				got[comeUp].add(*back)
			}
			tell("%-10s %6v  %d/%d  %-32s dark %s, two answer %s", c.name, interval, n+1, times, k.word(), brief(o.dark), brief(o.double))
		}
	}
	var list []failover
	for _, k := range causes() {
		if k != unit || c.cleanUp != nil {
			list = append(list, *got[k])
		}
	}
	err := s.close()
	s = nil // not again
	return list, quiet, notes, err
}

func (s *site) close() error {
	if s == nil {
		return nil
	}
	return s.lab.Close()
}

func (f *failover) add(o outcome) {
	f.Dark, f.Double = append(f.Dark, o.dark), append(f.Double, o.double)
	f.Speaks, f.Apart = append(f.Speaks, o.speaks), append(f.Apart, o.apart)
}

// errAnew is that a site cannot be used again.
var errAnew = errors.New("to be built anew")

// strayedError is that a site did not find back to its first state.
type strayedError struct{ error }

// play makes one event happen and makes it good; cause "" is that nothing happens. back
// is what the return of the machine came to, if that was watched.
func (s *site) play(ctx context.Context, k cause, phase time.Duration, on *stage) (o outcome, back *outcome, err error) {
	if o, err = s.strike(ctx, k, phase, on); err != nil {
		return o, nil, err
	}
	if k == cable && s.flapless {
		return o, nil, errAnew
	}
	on.Lock()
	var watch *netlab.Asker
	var zero time.Time
	switch k {
	case cable:
		err = s.net.R1A.Plug()
	case kill, unit:
		_, err = s.machines[0].start()
	case stop:
		limit, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = s.machines[0].buried(limit)
		cancel()
		if err == nil {
			watch, err = s.ask()
		}
		if err == nil {
			zero, err = s.machines[0].start()
		}
	}
	if err == nil && k != "" && k != hang {
		err = pass(ctx, tail) // a start is over
	}
	on.Unlock()
	if err != nil {
		return o, nil, err
	}
	away := s.home(ctx)
	if watch != nil {
		// To see the end of it, and for want of anything else if it has not come back.
		if err := pass(ctx, tail); err != nil {
			return o, nil, err
		}
		b, err := s.judge(watch, zero, 0)
		if err != nil {
			return o, nil, err
		}
		back = &b
	}
	if away != nil && ctx.Err() == nil {
		return o, back, &strayedError{away}
	}
	return o, back, ctx.Err()
}

// strike makes the event happen, a phase after an advert of the MASTER, and watches
// until it is over.
func (s *site) strike(ctx context.Context, k cause, phase time.Duration, on *stage) (outcome, error) {
	first := s.machines[0]
	hit := func() error { return nil }
	var wake func() error
	var err error
	switch k {
	case cable:
		hit = s.net.R1A.Cut
	case kill:
		hit, err = first.dieAtOnce()
	case unit:
		hit, err = first.dieManaged(ctx)
	case stop:
		hit = first.terminate
	case hang:
		if hit, err = first.all(syscall.SIGSTOP); err == nil {
			wake, err = first.all(syscall.SIGCONT)
		}
	}
	if err != nil {
		return outcome{}, err
	}
	on.Lock()
	held := true
	release := func() {
		if held {
			held = false
			on.Unlock()
		}
	}
	defer release()
	asker, err := s.ask()
	if err != nil {
		return outcome{}, err
	}
	if err := pass(ctx, before); err != nil {
		return outcome{}, err
	}
	advert, _ := s.last(0, 0)
	wait := time.Until(advert.Add(phase)) % s.interval
	if wait < 0 {
		wait += s.interval
	}
	if err := pass(ctx, wait); err != nil {
		return outcome{}, err
	}
	zero := time.Now()
	if err := hit(); err != nil {
		return outcome{}, err
	}
	over := func() bool {
		return k != "" && !s.spoke(1, 0, zero).IsZero() && !s.spoke(1, 1, zero).IsZero()
	}
	ended, err := until(ctx, alone, over)
	if err != nil {
		return outcome{}, err
	}
	if k == "" {
		return s.judge(asker, zero, 1)
	}
	if ended {
		err = pass(ctx, tail)
	}
	release()
	if err == nil && k == hang {
		if err = pass(ctx, time.Until(zero.Add(hangTime(s.interval)))); err == nil {
			err = wake()
		}
		if err == nil {
			err = pass(ctx, tail+s.interval)
		}
	} else if err == nil && !ended {
		_, err = until(ctx, masterDown(s.interval, priorities[1])+s.interval, over)
	}
	if err == nil && k == kill {
		err = pass(ctx, s.interval) // do both go on answering?
	}
	if err == nil {
		err = pass(ctx, tail)
	}
	if err != nil {
		return outcome{}, err
	}
	return s.judge(asker, zero, 1)
}

// judge ends the client's work; next is the machine that was to take over.
func (s *site) judge(asker *netlab.Asker, zero time.Time, next int) (o outcome, err error) {
	time.Sleep(late)
	answers, err := asker.Stop()
	if err == nil && answers.Dropped > 0 {
		err = fmt.Errorf("the record of %s has %d holes", s.name, answers.Dropped)
	}
	if err != nil {
		return o, err
	}
	answers = answers.Between(time.Time{}, answers.End.Add(-late))
	o.dark, o.stall = answers.Longest(0).Length(), answers.Stall()
	if dark := answers.Longest(0); dark.Open && dark.Length() > tail {
		o.dark = never
	}
	o.double = double(answers)
	o.speaks, o.apart = spread(zero, s.spoke(next, 0, zero), s.spoke(next, 1, zero))
	return o, nil
}

// spread is when the second of two things had happened, and how long after the first;
// never if one of them has not happened.
func spread(zero, a, b time.Time) (both, apart time.Duration) {
	switch {
	case a.IsZero() && b.IsZero():
		return never, 0
	case a.IsZero() || b.IsZero():
		return never, never
	}
	both = max(a.Sub(zero), b.Sub(zero))
	return both, both - min(a.Sub(zero), b.Sub(zero))
}

// brief writes a duration in ms.
func brief(d time.Duration) string {
	if d == never {
		return "for ever"
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// present is how long a machine may be without an answer, in its own time and that of
// its questions, and still count as answering: at a question each millisecond, an answer
// is easily taken for that to the next one.
const present = 20 * time.Millisecond

// double is for how long two machines answered ARP for the same address; never: they
// still did at the end.
func double(r netlab.Answers) (sum time.Duration) {
	var spans []netlab.Span // of one machine, in order; those of the other follow
	var from []string
	latest := map[string]int{}
	for _, q := range r.List {
		for _, a := range q.Answers {
			if a.Echo {
				continue
			}
			if i, known := latest[a.From]; known && a.At.Sub(spans[i].To) <= present {
				spans[i].To = a.At
				continue
			}
			latest[a.From] = len(spans)
			spans, from = append(spans, netlab.Span{From: a.At, To: a.At}), append(from, a.From)
		}
	}
	open := map[string]bool{}
	for i, a := range spans {
		if r.End.Sub(a.To) <= late {
			open[from[i]] = true
		}
		for j, b := range spans[:i] {
			begin, end := a.From, a.To
			if b.From.After(begin) {
				begin = b.From
			}
			if b.To.Before(end) {
				end = b.To
			}
			if from[i] != from[j] && end.After(begin) {
				sum += end.Sub(begin)
			}
		}
	}
	if len(open) > 1 {
		return never
	}
	return sum
}
