// Command bench measures vrrpd beside the other implementations of VRRP that are
// installed, in one run, in network namespaces, and writes docs/benchmarks.md with
// docs/outages.svg. "make bench-peers" runs it.
//
// What is measured lies in failover.go (what a client loses, by cause), scale.go (many
// virtual routers), path.go (forwarded packets), toll.go (the lease) and late.go (lateness of adverts); what is
// written (report.go, latetext.go, chart.go) is a pure function of the result (result.go), which is kept as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"vrrpd/internal/netlab"
)

func main() {
	if order := os.Getenv(metronomeEnv); order != "" {
		if err := beMetronome(order); err != nil {
			fmt.Fprintln(os.Stderr, "metronome:", err)
			os.Exit(1)
		}
		return
	}
	netlab.Hook()
	if len(os.Args) > 3 && os.Args[1] == floorName {
		fmt.Fprintln(os.Stderr, "floor:", floor(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(run())
}

// options are the command line.
type options struct {
	vrrpd, docs, json, from string
	times                   int
	short                   bool
	only                    string
	routers                 int
	with, crowds, intervals string // "": what the documents have
}

// partial reports that less is measured than the documents have.
func (o *options) partial() bool {
	return o.only != allParts || o.with != "" || o.crowds != "" || o.intervals != ""
}

const allParts = "failover,scale,crossed,path,late"

func run() int {
	var o options
	flag.StringVar(&o.vrrpd, "vrrpd", "bin/vrrpd", "the daemon's binary")
	flag.StringVar(&o.docs, "docs", "docs", "where benchmarks.md and outages.svg are written")
	flag.StringVar(&o.json, "json", "bin/bench-peers.json", "where the figures are kept")
	flag.StringVar(&o.from, "from", "", "measure nothing: write the documents from these figures")
	flag.IntVar(&o.times, "n", 5, "how often each event is measured")
	flag.BoolVar(&o.short, "short", false, "once each, at 100 ms adverts, up to 100 virtual routers")
	flag.StringVar(&o.only, "only", allParts, "which parts; less than all of them writes no documents, nor does any of the following")
	flag.StringVar(&o.with, "with", "", "which implementations: vrrpd,keepalived,FRR (default: those that are installed); floor: the least that system calls alone need, for the part scale")
	flag.StringVar(&o.crowds, "crowds", "", "numbers of virtual routers of the part scale: 1000,4000")
	flag.StringVar(&o.intervals, "intervals", "", "intervals between adverts: 1s,100ms")
	flag.IntVar(&o.routers, "routers", 1000, "virtual routers that are promoted while lateness is measured")
	flag.Parse()
	if flag.NArg() > 0 || o.times < 1 {
		fmt.Fprintln(os.Stderr, "bench: options only, and -n of at least 1; see -h")
		return 2
	}
	ctx, stopNotify := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stopNotify) // the second one ends the process at once
	defer stopNotify()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func bench(ctx context.Context, o options) error {
	r, err := figures(ctx, o)
	if err != nil || o.partial() {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.docs, "benchmarks.md"), []byte(document(r)), 0o644); err != nil {
		return err
	}
	if len(r.Failovers) > 0 {
		return os.WriteFile(filepath.Join(o.docs, "outages.svg"), []byte(chart(r)), 0o644)
	}
	return nil
}

// figures are measured, or read from where a run has left them.
func figures(ctx context.Context, o options) (r result, err error) {
	if o.from != "" {
		text, err := os.ReadFile(o.from)
		if err != nil {
			return r, err
		}
		return r, json.Unmarshal(text, &r)
	}
	if err := netlab.Available(); err != nil {
		return r, fmt.Errorf("cannot run here: %w", err)
	}
	// The client's milliseconds are not to be the collector's.
	debug.SetGCPercent(400)
	netlab.Hurry()
	if r, err = measure(ctx, o); err != nil {
		return r, err
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return r, err
	}
	return r, os.WriteFile(o.json, text, 0o644)
}

// measure is the whole run.
func measure(ctx context.Context, o options) (r result, err error) {
	vrrpd, err := filepath.Abs(o.vrrpd)
	if err != nil {
		return r, err
	}
	list, missing, err := contenders(vrrpd)
	if err != nil {
		return r, err
	}
	if o.with != "" {
		wanted := strings.Split(o.with, ",")
		least, err := floorContender()
		if err != nil {
			return r, err
		}
		list = append(list, least)
		list = slices.DeleteFunc(list, func(c contender) bool { return !slices.Contains(wanted, c.name) })
	}
	r = result{Date: time.Now().UTC(), Missing: missing, Repetitions: o.times, Command: "make bench-peers"}
	for _, c := range list {
		r.Contenders = append(r.Contenders, version1{c.name, c.version})
		tell("%s %s", c.name, c.version)
	}
	pathTime, quietTime, promotions := 20*time.Second, 20*time.Second, 6
	intervals, crowds := []time.Duration{time.Second, 100 * time.Millisecond}, []int{1, 100, 1000}
	if o.short {
		r.Repetitions, intervals, crowds = 1, intervals[1:], crowds[:2]
		pathTime, quietTime, promotions = 4*time.Second, 5*time.Second, 1
		o.routers = min(o.routers, 100)
		r.Command = "make bench-peers BENCH='-short'"
	} else if o.times != 5 {
		r.Command = fmt.Sprintf("make bench-peers BENCH='-n %d'", o.times)
	}
	if o.crowds != "" {
		crowds, err = listed(o.crowds, strconv.Atoi)
	}
	if o.intervals != "" && err == nil {
		intervals, err = listed(o.intervals, time.ParseDuration)
	}
	if err != nil {
		return r, err
	}
	if r.Machine, err = look(); err != nil {
		return r, err
	}
	if !o.short {
		if r.Machine.Touched, err = touchMemory(); err != nil {
			return r, err
		}
	}
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"failover", func() error { return r.failovers(ctx, list, intervals) }},
		{"scale", func() error { return r.scales(ctx, list, crowds, intervals) }},
		{"crossed", func() error { return r.crossed(ctx, list, slices.Max(crowds), intervals) }},
		{"path", func() error {
			r.Path, r.Tolls, err = measurePath(ctx, list, pathTime)
			return err
		}},
		{"late", func() error {
			for _, realtime := range []int{0, lateRealtime} {
				rows, err := measureLateness(ctx, list[0], o.routers, realtime, promotions, quietTime)
				if err != nil {
					return err
				}
				for _, l := range rows {
					tell("%s", l.text())
				}
				r.Late = append(r.Late, rows...)
			}
			return nil
		}},
	} {
		if !slices.Contains(strings.Split(o.only, ","), part.name) {
			continue
		}
		if err := part.do(); err != nil {
			return r, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	r.Took = time.Since(r.Date)
	r.Machine.After, err = load()
	return r, err
}

// listed reads the items of a list.
func listed[T any](list string, parse func(string) (T, error)) (all []T, err error) {
	for _, text := range strings.Split(list, ",") {
		x, err := parse(text)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

func tell(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// failovers measures the contenders at the same time, one interval after the other.
func (r *result) failovers(ctx context.Context, list []contender, intervals []time.Duration) error {
	for _, interval := range intervals {
		rows := make([][]failover, len(list))
		quiet := make([]control, len(list))
		notes := make([][]string, len(list))
		errs := make([]error, len(list))
		var on stage
		var all sync.WaitGroup
		for i, c := range list {
			all.Go(func() { rows[i], quiet[i], notes[i], errs[i] = failovers(ctx, c, interval, r.Repetitions, &on, tell) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		r.Failovers, r.Controls = append(r.Failovers, slices.Concat(rows...)...), append(r.Controls, quiet...)
		r.Notes = append(r.Notes, slices.Concat(notes...)...)
	}
	return nil
}

// scales measures the contenders one after the other: each for itself.
func (r *result) scales(ctx context.Context, list []contender, crowds []int, intervals []time.Duration) error {
	for _, routers := range crowds {
		for _, interval := range intervals {
			if routers == 1 && interval == time.Second && len(intervals) > 1 {
				continue // some five adverts tell nothing
			}
			for _, c := range list {
				s := scaleOf(ctx, c, routers, interval, false)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.Scale = append(r.Scale, s)
				if s.Note == "" {
					tell("%-10s %4d at %-5v masters +%v, takeover +%v, announced +%v, sent %v, received %v, RSS %.1f MB", c.name, routers, interval,
						s.Masters.Round(time.Millisecond), s.Takeover.Round(time.Millisecond), s.Announced.Round(time.Millisecond),
						s.Sent.median(), s.Received.median(), float64(s.RSS)/(1<<20))
				}
			}
		}
	}
	return nil
}

// crossed measures what adverts cost with no switch between the machines, and what the
// system calls alone do there.
func (r *result) crossed(ctx context.Context, list []contender, routers int, intervals []time.Duration) error {
	if !slices.ContainsFunc(list, func(c contender) bool { return c.name == floorName }) {
		least, err := floorContender()
		if err != nil {
			return err
		}
		list = append(slices.Clone(list), least)
	}
	for _, interval := range intervals {
		for _, c := range list {
			s := scaleOf(ctx, c, routers, interval, true)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.Crossed = append(r.Crossed, s)
			if s.Note == "" {
				tell("%-10s %4d at %-5v crossed: sent %v, received %v", c.name, routers, interval, s.Sent.median(), s.Received.median())
			}
		}
	}
	return nil
}

// scaleOf is a row; one that fails says why.
func scaleOf(ctx context.Context, c contender, routers int, interval time.Duration, crossed bool) scale {
	if c.most > 0 && routers > c.most {
		return scale{Contender: c.name, Routers: routers, Interval: interval, Note: "not measured: " + c.whyMost}
	}
	s, err := measureScale(ctx, c, routers, interval, crossed)
	if err != nil && ctx.Err() == nil {
		s.Note = fmt.Sprintf("failed: %v", err)
		tell("%s, %d at %v: %v", c.name, routers, interval, err)
	}
	return s
}
