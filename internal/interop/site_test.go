package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

const (
	patience = 20 * time.Second
	vrid     = 51
	runDir   = "/run/vrrpd"
)

var (
	vip     = netip.MustParseAddr("198.51.100.200")
	network = netip.MustParsePrefix("198.51.100.0/24")

	vip6   = netip.MustParseAddr("2001:db8::200")
	vipLL  = netip.MustParseAddr("fe80::5652:5250:51") // as we make it
	prefix = netip.MustParsePrefix("2001:db8::/64")
)

// host are the addresses of a machine.
func host(n byte) []netip.Prefix {
	a, b := network.Addr().As4(), prefix.Addr().As16()
	a[3], b[15] = n, n
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), network.Bits()), netip.PrefixFrom(netip.AddrFrom16(b), prefix.Bits())}
}

// machine is one of the two routers, whatever it runs.
type machine struct {
	*netlab.Host
	t      *testing.T
	number byte // in its addresses
	cable  *netlab.Cable
	// procs are all programs that it has run, the last one now.
	procs []*netlab.Proc
	// line starts its program with a priority.
	line func(priority int) netlab.Command
	// waits says that it does not preempt.
	waits bool
	// addresses are the virtual ones, as a peer has to be given them.
	addresses []netip.Addr
	// serves is where the virtual address is when it serves.
	serves string
	// rests tells of this interface whether the machine does not serve; nil: it has
	// none of the virtual addresses.
	rests func(netlab.Link) bool
	// clean removes what SIGKILL has left.
	clean func()
}

// site is a LAN with a machine of ours, one of the other implementation and a client.
type site struct {
	t          *testing.T
	c          peering
	lab        *netlab.Lab
	lan        *netlab.Switch
	ours, peer *machine
	client     *netlab.Host
	vip        netip.Addr
	instance   string
}

func newSite(t *testing.T, c peering) *site {
	t.Helper()
	s := &site{t: t, c: c, lab: netlab.ForTest(t)}
	var err error
	s.lan, err = s.lab.Switch("lan", netlab.SwitchOptions{})
	check(t, err)
	ours, peer := byte(1), byte(2)
	if c.swapped {
		ours, peer = peer, ours
		c.ours = mirrored(c.ours)
	}
	s.ours, s.peer = s.machine("ours", ours), s.machine("peer", peer)
	given := vip
	addresses := []netip.Addr{vip}
	s.ours.serves, s.instance = fmt.Sprintf("vrrp%d", vrid), fmt.Sprintf("eth0-%d", vrid)
	if c.six {
		given, addresses = vip6, []netip.Addr{vipLL, vip6}
		s.ours.serves, s.instance = s.ours.serves+"v6", s.instance+"v6"
	}
	if c.direct {
		s.ours.serves = "eth0"
	}
	s.vip, s.ours.addresses, s.peer.addresses = given, addresses, addresses
	s.speak(c.ours)
	s.ours.clean = func() {
		r, err := s.ours.Run(within(t, patience), netlab.Command{Path: "vrrpd", Args: []string{"--release", "-i", "eth0", "-v", fmt.Sprint(vrid)}})
		check(t, err)
		if r.Code != 0 {
			t.Fatalf("vrrpd --release: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
	}
	c.peer(s.peer)
	s.client = s.light("client", 10)
	s.light("bystander", bystander)
	return s
}

// bystander is the number of a host that nothing ever happens to.
const bystander = 11

// light adds a host that runs no programs.
func (s *site) light(name string, n byte) *netlab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name, netlab.HostOptions{Light: true, NoForward: true})
	check(s.t, err)
	_, err = s.lab.Connect(h, "eth0", s.lan, netlab.CableOptions{Addrs: host(n)})
	check(s.t, err)
	return h
}

// speak is with which options our program is started from now on.
func (s *site) speak(options string) {
	s.ours.line = func(priority int) netlab.Command {
		args := fmt.Sprintf("-F -i eth0 -v %d -p %d %s %s", vrid, priority, s.vip, options)
		if s.ours.waits {
			args += " -s"
		}
		return netlab.Command{Path: "vrrpd", Args: strings.Fields(args)}
	}
}

func (s *site) machine(name string, n byte) *machine {
	s.t.Helper()
	h, err := s.lab.Host(name, netlab.HostOptions{})
	check(s.t, err)
	m := &machine{Host: h, t: s.t, number: n}
	// The link-local address comes of the MAC: it decides ties as the other one does.
	m.cable, err = s.lab.Connect(h, "eth0", s.lan, netlab.CableOptions{Addrs: host(n), MAC: netlab.MAC{2, 0, 0, 0, 0, n << 4}})
	check(s.t, err)
	return m
}

// proc is the program that it runs.
func (m *machine) proc() *netlab.Proc { return m.procs[len(m.procs)-1] }

// start starts the program of a machine.
func (m *machine) start(priority int) {
	m.t.Helper()
	p, err := m.Start(m.line(priority))
	check(m.t, err)
	m.procs = append(m.procs, p)
}

// end sends a signal and waits until the program is gone.
func (m *machine) end(sig syscall.Signal) {
	m.t.Helper()
	check(m.t, m.proc().Signal(sig))
	_, err := m.proc().Wait(within(m.t, patience))
	check(m.t, err)
}

// fail is a power failure: nothing of the machine is on the LAN any more, and nothing
// runs. What is left of it is cleaned up before it comes back.
func (m *machine) fail() {
	m.t.Helper()
	check(m.t, m.cable.Cut())
	all, err := m.Processes()
	check(m.t, err)
	for _, p := range all {
		if err := p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			check(m.t, err) // some die of each other
		}
	}
	netlab.Eventually(m.t, patience, func() (bool, string) {
		left, err := m.Processes()
		return err == nil && len(left) == 0, fmt.Sprint(left, err)
	})
}

// revive gives the power back.
func (m *machine) revive() {
	m.t.Helper()
	m.clean()
	check(m.t, m.cable.Plug())
}

// waitServing waits until the machine has the virtual address, and fails if that
// takes longer than limit.
func (m *machine) waitServing(limit time.Duration) time.Duration {
	m.t.Helper()
	began := time.Now()
	_, err := m.WaitLink(within(m.t, limit), m.serves, m.serving)
	if err != nil {
		m.t.Fatalf("%s does not serve: %v", m.Name(), err)
	}
	return time.Since(began)
}

func (m *machine) serving(l netlab.Link) bool { return l.Up && l.Carrier && m.hasAll(l) }

// wantServing ends the test if it does not serve at this moment.
func (m *machine) wantServing() {
	m.t.Helper()
	l, err := m.Link(m.serves)
	check(m.t, err)
	if !m.serving(l) {
		m.t.Fatalf("%s does not serve: %+v", m.Name(), l)
	}
}

// waitGone waits until it does not serve.
func (m *machine) waitGone() {
	m.t.Helper()
	_, err := m.WaitLink(within(m.t, patience), m.serves, m.resting)
	if err != nil {
		m.t.Fatalf("%s serves on: %v", m.Name(), err)
	}
}

func (m *machine) resting(l netlab.Link) bool {
	if m.rests != nil {
		return m.rests(l)
	}
	return !slices.ContainsFunc(m.addresses, l.Has)
}

func (m *machine) hasAll(l netlab.Link) bool {
	return !slices.ContainsFunc(m.addresses, func(a netip.Addr) bool { return !l.Has(a) })
}

// wantResting ends the test if it serves at this moment.
func (m *machine) wantResting() {
	m.t.Helper()
	l, err := m.Link(m.serves)
	check(m.t, err)
	if !m.resting(l) {
		m.t.Fatalf("%s serves: %+v", m.Name(), l)
	}
}

// virtual reports whether an address is one of the virtual ones.
func (m *machine) virtual(a netip.Addr) bool { return slices.Contains(m.addresses, a) }

// peerAddr is the peer's own address.
func (s *site) peerAddr() netip.Addr { return host(s.peer.number)[0].Addr() }

// tryStatus asks our process.
func (s *site) tryStatus() (control.Router, error) {
	st, err := s.tryWhole()
	if err != nil {
		return control.Router{}, err
	}
	return st.Routers[0], nil
}

func (s *site) tryWhole() (control.Status, error) {
	path := fmt.Sprintf("/proc/%d/root%s", s.ours.PID(), control.SocketPath(runDir, s.instance))
	st, err := control.NewClient(path).Status(within(s.t, patience))
	if err == nil && len(st.Routers) != 1 {
		err = fmt.Errorf("%d virtual routers", len(st.Routers))
	}
	return st, err
}

// whole asks our process, which may be starting.
func (s *site) whole() (st control.Status) {
	s.t.Helper()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		var err error
		st, err = s.tryWhole()
		return err == nil, fmt.Sprint(err)
	})
	return st
}

// status is whole of our virtual router.
func (s *site) status() control.Router {
	s.t.Helper()
	return s.whole().Routers[0]
}

// alarms are those that last.
func (s *site) alarms() []control.Alarm {
	s.t.Helper()
	return s.whole().Machine.Alarms
}

// waitStatus waits until our process says what is expected.
func (s *site) waitStatus(what string, cond func(control.Router) bool) {
	s.t.Helper()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		r := s.status()
		return cond(r), fmt.Sprintf("wait until %s: %+v", what, r)
	})
}

// outage has the client ask for the virtual address while do runs, records how long
// nobody answered under what happened, and fails if that was longer than limit.
func (s *site) outage(what column, limit time.Duration, do func()) {
	s.t.Helper()
	gap := s.gap(what, limit, do)
	s.record(what, milliseconds(gap))
}

// gap has the client ask for the virtual address while do runs, and fails if nobody
// answered for longer than limit; what a peer takes that has said that it has taken over
// does not count. What the client misses of a bystander is noise of the machine that all
// of this runs on. Where that has made somebody wait for as long as it was too much, the
// case is tried again: see eachPeering.
func (s *site) gap(what column, limit time.Duration, do func()) netlab.Outage {
	s.t.Helper()
	own := host(bystander)[0].Addr()
	if s.vip.Is6() {
		own = host(bystander)[1].Addr()
	}
	control, err := s.client.StartAsker("eth0", own, netlab.AskerOptions{Interval: often})
	check(s.t, err)
	seen := s.witness()
	defer seen.close()
	gap := s.during(do).Longest(0)
	other, err := control.Stop()
	check(s.t, err)
	noise := other.Longest(0).Length()
	if gap.Length() <= limit+noise {
		return gap
	}
	defer seen.around(gap)
	takesOver := what == oursStops || what == oursFails || what == theirsPreempts
	if takesOver && seen.share(gap) <= limit+noise {
		s.t.Logf("nobody answered for %v, %v of them before the peer said that it serves", gap.Length(), seen.share(gap))
		return gap
	}
	text := fmt.Sprintf("nobody answered for %v, more than %v (and %v of noise)", gap.Length(), limit, noise)
	if stalled := din.During(gap.Span); stalled >= gap.Length()-limit-noise {
		panic(tooNoisy(fmt.Sprintf("%s, while somebody was made to wait for %v of that", text, stalled)))
	}
	s.t.Error(text)
	return gap
}

// tooNoisy is thrown by a case that cannot be judged, and why.
type tooNoisy string

// often is how often the client asks.
const often = 10 * time.Millisecond

// adverts is how many were heard by our process since it was started, or sent; 0 if it
// does not run.
func (s *site) adverts(heard bool) uint64 {
	r, err := s.tryStatus()
	switch {
	case err != nil:
		return 0
	case heard:
		return r.Statistics.AdvertisementRcvd
	}
	return r.Statistics.AdvertisementSent
}

// waitAdverts waits until our process has heard, or sent, so many.
func (s *site) waitAdverts(heard bool, n uint64) {
	s.t.Helper()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		is := s.adverts(heard)
		return is >= n, fmt.Sprintf("%d adverts (heard: %v), want %d", is, heard, n)
	})
}

// during has the client ask for the virtual address while do runs. Who serves must answer
// before: to have the address is not to answer for it yet.
func (s *site) during(do func()) netlab.Answers {
	s.t.Helper()
	asker, err := s.client.StartAsker("eth0", s.vip, netlab.AskerOptions{
		Interval: often, Cables: []*netlab.Cable{s.ours.cable, s.peer.cable},
	})
	check(s.t, err)
	var begin time.Time
	netlab.Eventually(s.t, patience, func() (bool, string) {
		answers, err := asker.Snapshot()
		check(s.t, err)
		for _, q := range answers.List {
			if len(q.Answers) >= 2 { // one to the question, one to the echo
				begin = q.Sent
				return true, ""
			}
		}
		return false, fmt.Sprintf("nobody answers for %v", s.vip)
	})
	do()
	answers, err := asker.Stop()
	check(s.t, err)
	return answers.Between(begin, answers.End)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
