package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// The machines' priorities: the first is to be MASTER whenever it can.
var priorities = [2]int{200, 100}

// site is two machines with one contender on two LANs, a client on the one and a
// server on the other.
type site struct {
	contender
	interval time.Duration
	lab      *netlab.Lab
	net      *netlab.TwoRoutersNet
	machines [2]*machine
	// hear has the adverts that a machine sends on a LAN.
	hear [2][2]*netlab.Sniffer
}

// skew and masterDown are those of VRRPv3 (RFC 9568 section 6.1).
func skew(interval time.Duration, priority int) time.Duration {
	return interval * time.Duration(256-priority) / 256
}

func masterDown(interval time.Duration, priority int) time.Duration {
	return 3*interval + skew(interval, priority)
}

// newSite builds a site and waits until the first machine serves and the second
// stands by. The caller closes the lab, also after an error.
func newSite(ctx context.Context, c contender, interval time.Duration, on *stage) (*site, error) {
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	s := &site{contender: c, interval: interval, lab: lab}
	if err := s.build(ctx, on); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return s, nil
}

func (s *site) build(ctx context.Context, on *stage) error {
	// What the machine has to do for it is done alone, as everything that happens.
	alone := func(do func() error) error {
		on.Lock()
		defer on.Unlock()
		if err := do(); err != nil {
			return err
		}
		return pass(ctx, tail)
	}
	start := func(m *machine) func() error {
		return func() error {
			_, err := m.start()
			return err
		}
	}
	if err := alone(s.layOut); err != nil {
		return err
	}
	if err := alone(start(s.machines[0])); err != nil {
		return err
	}
	if err := s.home(ctx); err != nil {
		return err
	}
	if err := alone(start(s.machines[1])); err != nil {
		return err
	}
	// It says nothing when it stands by; it has heard the first one when it has listened
	// for some intervals.
	return pass(ctx, time.Second+3*s.interval)
}

// machineRouters are the virtual routers of a machine, by number.
func machineRouters(number int, interval time.Duration) (routers []peers.Router) {
	a, b := netlab.DocumentationLANs()
	for n, lan := range []netlab.LAN{a, b} {
		routers = append(routers, peers.Router{
			Parent: fmt.Sprint("eth", n), VRID: lan.VRID, Priority: priorities[number], Interval: interval,
			VIPs: []netip.Addr{lan.VIP}, VMAC: fmt.Sprint("vrrp", lan.VRID),
		})
	}
	return routers
}

// layOut makes the hosts, with what listens to them.
func (s *site) layOut() (err error) {
	if s.net, err = netlab.TwoRouters(s.lab, netlab.TwoRoutersOptions{Router: s.host}); err != nil {
		return err
	}
	for i, h := range []*netlab.Host{s.net.R1, s.net.R2} {
		s.machines[i] = &machine{Host: h, contender: s.contender, routers: machineRouters(i, s.interval), whole: true}
		for n, c := range s.cables(i) {
			if s.hear[i][n], err = c.StartSniffer(netlab.SnifferOptions{Match: netlab.MatchAdverts()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *site) cables(machine int) [2]*netlab.Cable {
	return [2][2]*netlab.Cable{{s.net.R1A, s.net.R1B}, {s.net.R2A, s.net.R2B}}[machine]
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until looks often until cond is true; false when the limit has passed.
func until(ctx context.Context, limit time.Duration, cond func() bool) (bool, error) {
	for deadline := time.Now().Add(limit); ; {
		if cond() {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := pass(ctx, 5*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// spoke is when a machine first said on a LAN, after a time, that it serves there; zero:
// it has not.
func (s *site) spoke(machine, lan int, after time.Time) time.Time {
	for _, f := range s.hear[machine][lan].Frames(0) {
		if a, ok := f.Advert(); ok && !f.Out && a.Priority > 0 && f.At.After(after) {
			return f.At
		}
	}
	return time.Time{}
}

// last is the last advert of a machine on a LAN; zero: there was none.
func (s *site) last(machine, lan int) (at time.Time, priority uint8) {
	for _, f := range s.hear[machine][lan].Frames(0) {
		if a, ok := f.Advert(); ok && !f.Out {
			at, priority = f.At, a.Priority
		}
	}
	return at, priority
}

// home waits until the first machine serves both LANs and the second has been silent
// for more than an interval.
func (s *site) home(ctx context.Context) error {
	state := ""
	// A machine that comes back may wait for some intervals before it takes part, and
	// then for its timer.
	limit := 10*time.Second + 10*s.interval
	ok, err := until(ctx, limit, func() bool {
		for lan := range s.hear[0] {
			first, priority := s.last(0, lan)
			second, _ := s.last(1, lan)
			if priority == 0 || time.Since(first) > 2*s.interval || first.Sub(second) < s.interval*6/5 {
				state = fmt.Sprintf("LAN %c: the first machine spoke %v ago with priority %d, the second %v ago", 'A'+lan,
					time.Since(first).Round(time.Millisecond), priority, time.Since(second).Round(time.Millisecond))
				return false
			}
		}
		return true
	})
	if err == nil && !ok {
		err = fmt.Errorf("%s at %v: not as it should be after %v: %s", s.name, s.interval, limit, state)
	}
	return err
}

// ask has the client ask for the address of LAN A afresh every millisecond, and have the
// server on LAN B answer by way of who answered.
func (s *site) ask() (*netlab.Asker, error) {
	return s.net.Client.StartAsker("eth0", s.net.LANA.VIP, netlab.AskerOptions{
		Interval: time.Millisecond, Count: 1<<16 - 1, Through: s.net.LANB.Host,
		Cables: []*netlab.Cable{s.net.R1A, s.net.R2A},
	})
}
