package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// event is one thing that happens to the MASTER, and how it is made good.
type event struct {
	// title says it in one line; m is the name of the router it happens to.
	title func(m string) string
	short string // for the closing table
	// arm prepares everything, so that strike does nothing but make it happen.
	arm func(ctx context.Context, s *show, m *router) (blow, error)
	// repair makes it good, and tells how; nil: there is nothing to repair.
	repair func(ctx context.Context, s *show, m *router) (string, error)
}

// blow is an event that is ready to happen.
type blow struct {
	what   string // for the first line of the timeline
	strike func() error
}

func events() []event {
	return []event{
		{
			title: func(m string) string { return "the cable of " + m + ", the MASTER, is pulled on LAN A" },
			short: "cable pulled on LAN A",
			arm: func(_ context.Context, _ *show, m *router) (blow, error) {
				return blow{"the cable of eth0 is pulled out of the switch", m.cables[0].Cut}, nil
			},
			repair: func(_ context.Context, _ *show, m *router) (string, error) {
				return "plugged in again", m.cables[0].Plug()
			},
		},
		{
			title: func(m string) string { return "one of the two vrrpd of " + m + ", the MASTER, is killed (SIGKILL)" },
			short: "one vrrpd killed (SIGKILL)",
			arm: func(_ context.Context, _ *show, m *router) (blow, error) {
				strike, err := m.signal(plan()[0].nic, syscall.SIGKILL)
				return blow{"SIGKILL to the vrrpd of eth0", strike}, err
			},
			repair: func(ctx context.Context, s *show, m *router) (string, error) {
				return "started again", s.start(ctx, m, plan()[0])
			},
		},
		{
			title: func(m string) string { return "the vrrpd of " + m + ", the MASTER, are stopped in good order" },
			short: "both vrrpd stopped (SIGTERM)",
			arm: func(_ context.Context, _ *show, m *router) (blow, error) {
				strike, err := m.signal("", syscall.SIGTERM)
				return blow{"SIGTERM to both vrrpd", strike}, err
			},
			repair: func(ctx context.Context, s *show, m *router) (string, error) {
				if err := s.ended(ctx, m); err != nil {
					return "", err
				}
				return "started again", s.startAll(ctx, m)
			},
		},
		{
			title: func(m string) string { return m + ", the MASTER, is told to be BACKUP" },
			short: "atropos --backup",
			arm: func(ctx context.Context, s *show, m *router) (blow, error) {
				const line = "atropos --backup"
				s.prompt(m.name, line)
				return blow{line, func() error {
					res, err := m.shell(ctx, line)
					if err != nil {
						return err
					}
					s.quote(res.Stdout + res.Stderr)
					s.say("")
					if res.Code != 0 {
						return fmt.Errorf("%s on %s: exit code %d", line, m.name, res.Code)
					}
					return nil
				}}, nil
			},
		},
	}
}

// Limits: much more than anything should need, much less than a person's
// patience.
const (
	firstLimit  = 15 * time.Second // until somebody is MASTER at all
	changeLimit = 10 * time.Second // until the other machine is
	repairLimit = 15 * time.Second // until the first is BACKUP again
)

// afterwards is how long the client is watched when everything is settled.
const afterwards = 250 * time.Millisecond

// play makes one event happen, shows what followed, and makes it good. The
// error says what did not come to its expected end.
func (s *show) play(ctx context.Context, letter byte, e event) error {
	old, next, err := s.sides(ctx)
	if err != nil {
		return err
	}
	s.head(fmt.Sprintf("%c. %s", letter, e.title(old.name)))
	c, err := s.begin()
	if err != nil {
		return err
	}
	b, err := e.arm(ctx, s, old)
	if err != nil {
		return err
	}
	if err := s.pass(ctx, afterwards); err != nil {
		return err
	}
	zero := time.Now().Round(0)
	if err := b.strike(); err != nil {
		return err
	}
	var want [2][2]bool
	want[next.number] = [2]bool{true, true}
	settled := s.await(ctx, changeLimit, func(ctx context.Context) (bool, string) {
		if held := s.held(c); held != want {
			return false, fmt.Sprintf("%s has the addresses %v, %s %v", old.name, held[old.number], next.name, held[next.number])
		}
		return next.settled(ctx, "MASTER")
	})
	// What did not come to a good end is shown all the more.
	o, err := s.finish(ctx, c, zero)
	if err != nil {
		return err
	}
	s.say("%s", o.render(s.paint, row{0, old.name, b.what}))
	v := o.verdict()
	s.scripts()
	if settled != nil {
		return s.giveUp(ctx, letter, fmt.Errorf("%s is not MASTER of both LANs: %w", next.name, settled))
	}
	s.verdict(v, next)
	s.results = append(s.results, result{fmt.Sprintf("%c. %s", letter, e.short), old.name + " -> " + next.name, v, o.late})
	if e.repair == nil {
		return nil
	}
	return s.makeGood(ctx, letter, e, old, next)
}

// makeGood repairs what the event broke, and waits until the machine is a
// BACKUP that could take over.
func (s *show) makeGood(ctx context.Context, letter byte, e event, old, next *router) error {
	c, err := s.begin()
	if err != nil {
		return err
	}
	s.say("")
	zero := time.Now().Round(0)
	what, err := e.repair(ctx, s, old)
	if err != nil {
		return err
	}
	err = s.await(ctx, repairLimit, func(ctx context.Context) (bool, string) {
		if ok, state := old.settled(ctx, "BACKUP"); !ok {
			return false, state
		}
		return next.settled(ctx, "MASTER")
	})
	took := time.Since(zero)
	if err != nil {
		return s.giveUp(ctx, letter, fmt.Errorf("%s is %s: %w", old.name, what, err))
	}
	o, err := s.finish(ctx, c, zero)
	if err != nil {
		return err
	}
	v := o.verdict()
	s.scripts()
	s.say("  %s is %s, and BACKUP %.1f s later; %s stays MASTER", s.do(colourOf(old.name), old.name), what, took.Seconds(),
		s.do(colourOf(next.name), next.name))
	s.say("  => %s", s.loss(v))
	s.results = append(s.results, result{"   " + what, next.name, v, o.late})
	return nil
}

// finish ends a chapter when the client has had time to show what became of it.
func (s *show) finish(ctx context.Context, c chapter, zero time.Time) (observation, error) {
	if err := s.pass(ctx, afterwards+underWay); err != nil {
		return observation{}, err
	}
	return s.end(c, zero)
}

// sides returns the MASTER and the other machine, which must be ready to take
// over.
func (s *show) sides(ctx context.Context) (master, backup *router, err error) {
	for i, r := range s.routers {
		other := s.routers[1-i]
		if ok, _ := r.settled(ctx, "MASTER"); !ok {
			continue
		}
		if ok, state := other.settled(ctx, "BACKUP"); !ok {
			return nil, nil, fmt.Errorf("%s is MASTER, but %s", r.name, state)
		}
		return r, other, nil
	}
	return nil, nil, fmt.Errorf("no router is MASTER of both LANs")
}

// ended waits until no vrrpd lives on the router.
func (s *show) ended(ctx context.Context, r *router) error {
	return s.await(ctx, changeLimit, func(context.Context) (bool, string) {
		left, err := r.processes("")
		return err == nil && len(left) == 0, fmt.Sprintf("%d vrrpd live on %s", len(left), r.name)
	})
}

// scripts shows which scripts have run since the last call.
func (s *show) scripts() {
	for _, r := range s.routers {
		lines, err := r.ran()
		if err != nil {
			lines = []string{err.Error()}
		}
		for _, l := range lines {
			s.say("  %s ran %s", s.do(colourOf(r.name), r.name), l)
		}
	}
}

// giveUp shows what state the machines are in when they should be in another.
func (s *show) giveUp(ctx context.Context, letter byte, err error) error {
	if ctx.Err() == nil {
		s.say("\n  %s\n", s.do(red, "=> this is not how it should be; the two routers say:"))
		err = errors.Join(err, s.state(ctx))
	}
	return fmt.Errorf("event %c: %w", letter, err)
}
