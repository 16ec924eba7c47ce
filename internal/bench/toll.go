package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/internal/netlab"
	"vrrpd/lease"
)

// Two machines differ by tens of nanoseconds for reasons of their own, such as where their
// memory lies. So what a guard adds to a frame is measured on one interface, which has it
// in one slice of time and has none in the slices before and after it, many times over. The
// difference to the mean of those two is free of whatever changes more slowly, and the
// median of the differences of what hits a few of them.

// toll is what a guard adds to a frame to the virtual MAC.
type toll struct {
	Rung     string
	Interval time.Duration // between renewals
	Chosen   bool          // by vrrpd, if nobody says otherwise
	Bare     time.Duration // what such a frame takes without
	Pairs    int
	More     time.Duration // the median
	// Low and High hold the true one in 19 cases of 20.
	Low, High time.Duration
}

const (
	// sliceTurns are the turns of a slice, of which the median counts: 7 ms. Those of
	// TCX are so many times longer, because to attach it takes longer than that.
	sliceTurns, tcxLonger = 24, 6
	// coldTurns of them come first and do not count: nobody has sent for a while.
	coldTurns = 4
	// fewestPairs is what an interval can be told from.
	fewestPairs = 20
)

// tollIntervals are those of the adverts that are imitated.
func tollIntervals() []time.Duration {
	return []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond}
}

// tolls measures on the machine whose vrrpd has no guard.
func (p *pathLab) tolls(ctx context.Context, budget time.Duration) (all []toll, err error) {
	i := slices.IndexFunc(p.stalls, func(s *stall) bool { return s.name == noLease })
	if i < 0 {
		return nil, nil
	}
	s := p.stalls[i]
	l, err := s.h.Link(fmt.Sprint("vrrp", s.vrid))
	if err != nil {
		return nil, err
	}
	for _, interval := range tollIntervals() {
		for _, rung := range []lease.Rung{lease.Clsact, lease.TCX, lease.Nftables} {
			if rung == lease.Nftables && interval%time.Second != 0 {
				continue
			}
			t := toll{Rung: rung.String(), Interval: interval, Chosen: rung == lease.Clsact}
			if lease.Near(time.Duration(election.LeaseIntervals(0, interval)-1) * interval) {
				t.Chosen = rung == lease.TCX
			}
			share := budget / 16
			if rung == lease.TCX {
				share *= 4
			}
			// The thread is in the namespace of the machine, and stays there.
			if err := s.h.DoNet(func() error { return p.toll(ctx, l.Index, netlab.VMAC(s.vrid), rung, &t, share) }); err != nil {
				return all, fmt.Errorf("what %v adds at %v: %w", rung, interval, err)
			}
			all = append(all, t)
			tell("%s", t.text())
		}
	}
	return all, nil
}

// toll measures one.
func (p *pathLab) toll(ctx context.Context, index int, to netlab.MAC, rung lease.Rung, t *toll, budget time.Duration) (err error) {
	guards, err := lease.Open(lease.Config{Ladder: []lease.Rung{rung}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guards.Close()) }()
	unpin, err := pin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unpin()) }()
	frame := netlab.Echo{Src: crowdAddr(0, senderN), Dst: behind}.Frame(p.mac, to)
	addr := &unix.SockaddrLinklayer{Ifindex: p.link, Halen: 6}
	copy(addr.Addr[:], to[:])
	n := sliceTurns
	if rung == lease.TCX {
		n *= tcxLonger
	}
	slice := func(g *lease.Guard) (time.Duration, error) {
		var turns sample
		var next int64
		for range coldTurns + n {
			if now := boottime(); g != nil && now >= next {
				if err := g.Renew(now + int64(election.LeaseIntervals(0, t.Interval))*int64(t.Interval)); err != nil {
					return 0, err
				}
				next = now + int64(t.Interval)
			}
			began := time.Now()
			for range handful {
				if err := unix.Sendto(p.fd, frame, 0, addr); err != nil {
					return 0, err
				}
			}
			turns = append(turns, time.Since(began))
		}
		return turns[coldTurns:].median(), nil
	}
	sent := uint64((coldTurns + n) * handful)
	// In picoseconds, because a nanosecond of a frame is 64 of a turn.
	var bare, more sample
	before, err := slice(nil)
	for end := time.Now().Add(budget); err == nil && (time.Now().Before(end) || len(more) < fewestPairs); {
		if err = ctx.Err(); err != nil {
			break
		}
		var g *lease.Guard
		if g, err = guards.Attach(index); err != nil {
			break
		}
		first, begun := uint64(0), uint64(0)
		if len(more) == 0 { // once it is seen that the frames get through
			if first, err = p.arrived(); err != nil {
				break
			}
		}
		with, failed := slice(g)
		if err = errors.Join(failed, g.Detach()); err != nil {
			break
		}
		if len(more) == 0 {
			ok, e := until(ctx, 2*time.Second, func() bool {
				begun, err = p.arrived()
				return err == nil && begun-first >= sent
			})
			if err = errors.Join(err, e); err != nil || !ok {
				return fmt.Errorf("%d of %d packets arrived: %w", begun-first, sent, err)
			}
		}
		var after time.Duration
		if after, err = slice(nil); err != nil {
			break
		}
		bare = append(bare, before)
		more = append(more, with*1000/handful-(before+after)*500/handful)
		before = after
	}
	if err != nil {
		return err
	}
	t.Pairs, t.Bare = len(more), bare.median()/handful
	low, middle, high := more.confidence()
	t.Low, t.More, t.High = low/1000, middle/1000, high/1000
	return nil
}

// pin keeps the calling thread on one processor: another one has other caches.
func pin() (unpin func() error, err error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	for i := 0; one.Count() == 0; i++ {
		if all.IsSet(i) {
			one.Set(i)
		}
	}
	return func() error { return unix.SchedSetaffinity(0, &all) }, unix.SchedSetaffinity(0, &one)
}

// boottime is the clock of leases, ns.
func boottime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it always exists
	return ts.Nano()
}

// confidence is the median of what the sample is of, and the bounds within which it lies
// in 19 cases of 20, however that is distributed: the ranks follow from the tosses of a coin.
func (s sample) confidence() (low, middle, high time.Duration) {
	sorted, n := s.sorted(), float64(len(s))
	rank := int(math.Floor((n - 1.96*math.Sqrt(n)) / 2)) // from 1 on
	rank = max(rank, 1)
	return sorted[rank-1], sorted.median(), sorted[len(sorted)-rank]
}

// text is the toll in the journal of the run.
func (t toll) text() string {
	return fmt.Sprintf("%s, renewed every %v: %+d ns for each frame (%+d to %+d, %d pairs) besides %d", t.Rung, t.Interval,
		t.More.Nanoseconds(), t.Low.Nanoseconds(), t.High.Nanoseconds(), t.Pairs, t.Bare.Nanoseconds())
}

// tollText is the table of them.
func tollText(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("### What a lease adds to a frame")
	p("")
	p("On one interface, in slices of %d turns with the guard and without it, renewed as adverts\ndo it: the median of the differences to the slices before and after, and in brackets\nwhere it lies in 19 cases of 20. **What vrrpd chooses by itself** is bold; with adverts\nevery 10 ms the clock is read for every frame, because the deadline is never far away.", sliceTurns)
	p("")
	p("| adverts | | ns for each frame | pairs |")
	p("|---|---|---|---|")
	for _, t := range r.Tolls {
		more := fmt.Sprintf("%+d (%+d to %+d)", t.More.Nanoseconds(), t.Low.Nanoseconds(), t.High.Nanoseconds())
		name := t.Rung
		if t.Chosen {
			more, name = "**"+more+"**", "**"+name+"**"
		}
		p("| %v | %s | %s | %d |", t.Interval, name, more, t.Pairs)
	}
	p("")
	return b.String()
}
