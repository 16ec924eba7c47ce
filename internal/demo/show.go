package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// show is one performance.
type show struct {
	screen
	*laboratory
	results []result
	watches sync.WaitGroup
}

// result is a line of the closing table.
type result struct {
	what   string
	master string
	verdict
	late time.Duration
}

// run is the whole performance. The error says what did not come to its
// expected end.
func (s *show) run(ctx context.Context, quick bool) error {
	s.head("The laboratory")
	s.say("%s", strings.Trim(picture, "\n"))
	s.say("\n  The client sends the server a datagram every millisecond, by 10.16.1.200;\n" +
		"  the server answers, by 10.17.1.200.")
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.startClient(); err != nil {
		return err
	}
	warm, cancel := context.WithTimeout(ctx, firstLimit)
	defer cancel()
	if err := s.pinger.WaitAnswer(warm, time.Now()); err != nil {
		return fmt.Errorf("the client cannot reach the server: %w", err)
	}
	s.cut = time.Now().Round(0)
	all := events()
	if quick {
		all = all[:1]
	}
	for i, e := range all {
		if err := s.play(ctx, byte('a'+i), e); err != nil {
			return err
		}
	}
	s.table()
	return nil
}

// open starts the daemons and shows who becomes MASTER.
func (s *show) open(ctx context.Context) error {
	s.head("The manual's own lines, the same on both routers")
	began := time.Now()
	for _, r := range s.routers {
		if err := s.startAll(ctx, r); err != nil {
			return err
		}
	}
	for _, r := range s.routers {
		// Should it break off, timelines lack their transitions, no more.
		s.watches.Go(func() { _ = s.follow(ctx, r) })
	}
	s.say("\n  Without -p both have priority 100. Who hears nobody for 3.6 s is MASTER.")
	err := s.await(ctx, firstLimit, func(ctx context.Context) (bool, string) {
		_, _, err := s.sides(ctx)
		return err == nil, fmt.Sprint(err)
	})
	if err != nil {
		return err
	}
	master, _, err := s.sides(ctx)
	if err != nil {
		return err
	}
	s.head(fmt.Sprintf("%s is MASTER of both LANs, %.1f s after the first line", master.name, time.Since(began).Seconds()))
	return s.state(ctx)
}

// state shows both machines as their administrators see them.
func (s *show) state(ctx context.Context) error {
	for _, r := range s.routers {
		s.prompt(r.name, "atropos --state")
		res, err := r.shell(ctx, "atropos --state")
		if err != nil {
			return err
		}
		s.quote(res.Stdout + res.Stderr)
		if res.Code != 0 {
			return fmt.Errorf("atropos --state on %s: exit code %d", r.name, res.Code)
		}
		for _, lan := range plan() {
			s.prompt(r.name, "ip -br addr show "+lan.vmac())
			s.quote(brief(r.host, lan.vmac()))
		}
	}
	s.scripts()
	return nil
}

// startAll runs the manual's lines on one router, as its init script does.
func (s *show) startAll(ctx context.Context, r *router) error {
	for _, lan := range plan() {
		if err := s.start(ctx, r, lan); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) start(ctx context.Context, r *router, lan lanPlan) error {
	s.prompt(r.name, lan.line)
	took, said, err := r.start(ctx, lan)
	if err != nil {
		return err
	}
	s.quote(said)
	s.say("  %s", s.do(dim, fmt.Sprintf("in the background and ready after %d ms", took.Milliseconds())))
	return nil
}

// quote shows what a program has written.
func (s *show) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		for _, part := range wrap(strings.TrimRight(line, "\n"), ruler-2) {
			s.say("%s", strings.TrimRight("  "+part, " "))
		}
	}
}

// loss says what the client lost.
func (s *show) loss(v verdict) string {
	switch v.lost {
	case 0:
		return s.do(green, "the client lost nothing")
	case 1:
		return s.do(red, "the client lost 1 datagram")
	}
	return s.do(red, fmt.Sprintf("the client lost %d datagrams, longest gap %.1f ms", v.lost, ms(v.gap)))
}

// verdict says what an event came to.
func (s *show) verdict(v verdict, now *router) {
	s.say("  => %s", s.loss(v))
	s.say("  => %s is MASTER of both LANs", s.do(colourOf(now.name), now.name))
	apart := s.do(green, "the two LANs were never at different routers")
	if v.split >= 50*time.Microsecond {
		apart = s.do(red, fmt.Sprintf("the two LANs were at different routers for %.1f ms", ms(v.split)))
	}
	s.say("  => %s;\n     %d of %d datagrams went by one router and came back by the other", apart, v.crossed, v.sent)
}

// table is what stands at the end.
func (s *show) table() {
	s.head("What the client noticed")
	const line = "  %-34s %-9s %s"
	s.say(line, "event at the MASTER", "MASTER", " lost  gap ms  split ms")
	var late time.Duration
	for _, r := range s.results {
		late = max(late, r.late)
		style := plain
		if r.lost > 0 {
			style = red
		}
		s.say(line, r.what, r.master, s.do(style, fmt.Sprintf("%5d %7.1f", r.lost, ms(r.gap)))+fmt.Sprintf(" %8.1f", ms(r.split)))
	}
	all := s.pinger.Stop()
	s.say("\n  %d datagrams in all, %d lost. The client itself was up to %.1f ms late,\n"+
		"  for this machine was busy: differences of that size mean nothing.", len(all.List), all.Lost(), ms(late))
}
