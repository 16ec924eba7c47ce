package interop

import (
	"context"
	"fmt"
	"net/netip"
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
	t     *testing.T
	cable *netlab.Cable
	proc  *netlab.Proc
	// line starts its program with a priority.
	line func(priority int) netlab.Command
	// addresses are the virtual ones, as a peer has to be given them.
	addresses []netip.Addr
	// serves is where the virtual address is when it serves.
	serves string
	// clean removes what SIGKILL has left.
	clean func()
}

// site is a LAN with a machine of ours, one of the other implementation and a client.
type site struct {
	t          *testing.T
	lab        *netlab.Lab
	lan        *netlab.Switch
	ours, peer *machine
	client     *netlab.Host
	vip        netip.Addr
	instance   string
}

func newSite(t *testing.T, c peering) *site {
	t.Helper()
	s := &site{t: t, lab: netlab.ForTest(t)}
	var err error
	s.lan, err = s.lab.Switch("lan", netlab.SwitchOptions{})
	check(t, err)
	s.ours, s.peer = s.machine("ours", 1), s.machine("peer", 2)
	given := vip
	addresses := []netip.Addr{vip}
	s.ours.serves, s.instance = fmt.Sprintf("vrrp%d", vrid), fmt.Sprintf("eth0-%d", vrid)
	if c.six {
		given, addresses = vip6, []netip.Addr{vipLL, vip6}
		s.ours.serves, s.instance = s.ours.serves+"v6", s.instance+"v6"
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
	s.client, err = s.lab.Host("client", netlab.HostOptions{Light: true, NoForward: true})
	check(t, err)
	_, err = s.lab.Connect(s.client, "eth0", s.lan, netlab.CableOptions{Addrs: host(10)})
	check(t, err)
	return s
}

// speak is with which options our program is started from now on.
func (s *site) speak(options string) {
	s.ours.line = func(priority int) netlab.Command {
		args := fmt.Sprintf("-F -i eth0 -v %d -p %d %s %s", vrid, priority, s.vip, options)
		return netlab.Command{Path: "vrrpd", Args: strings.Fields(args)}
	}
}

func (s *site) machine(name string, n byte) *machine {
	s.t.Helper()
	h, err := s.lab.Host(name, netlab.HostOptions{})
	check(s.t, err)
	m := &machine{Host: h, t: s.t}
	m.cable, err = s.lab.Connect(h, "eth0", s.lan, netlab.CableOptions{Addrs: host(n)})
	check(s.t, err)
	return m
}

// start starts the program of a machine.
func (m *machine) start(priority int) {
	m.t.Helper()
	p, err := m.Start(m.line(priority))
	check(m.t, err)
	m.proc = p
}

// end sends a signal and waits until the program is gone.
func (m *machine) end(sig syscall.Signal) {
	m.t.Helper()
	check(m.t, m.proc.Signal(sig))
	_, err := m.proc.Wait(within(m.t, patience))
	check(m.t, err)
}

// waitServing waits until the machine has the virtual address, and fails if that
// takes longer than limit.
func (m *machine) waitServing(limit time.Duration) time.Duration {
	m.t.Helper()
	began := time.Now()
	_, err := m.WaitLink(within(m.t, limit), m.serves, func(l netlab.Link) bool { return l.Up && m.hasAll(l) })
	if err != nil {
		m.t.Fatalf("%s does not serve: %v", m.Name(), err)
	}
	return time.Since(began)
}

func (m *machine) waitGone() {
	m.t.Helper()
	_, err := m.WaitLink(within(m.t, patience), m.serves, func(l netlab.Link) bool { return !slices.ContainsFunc(m.addresses, l.Has) })
	if err != nil {
		m.t.Fatalf("%s serves on: %v", m.Name(), err)
	}
}

func (m *machine) hasAll(l netlab.Link) bool {
	return !slices.ContainsFunc(m.addresses, func(a netip.Addr) bool { return !l.Has(a) })
}

// virtual reports whether an address is one of the virtual ones.
func (m *machine) virtual(a netip.Addr) bool { return slices.Contains(m.addresses, a) }

// peerAddr is the peer's own address.
func (s *site) peerAddr() netip.Addr { return host(2)[0].Addr() }

// status asks our process.
func (s *site) status() control.Router {
	s.t.Helper()
	path := fmt.Sprintf("/proc/%d/root%s", s.ours.PID(), control.SocketPath(runDir, s.instance))
	var r control.Router
	netlab.Eventually(s.t, patience, func() (bool, string) {
		st, err := control.NewClient(path).Status(within(s.t, patience))
		if err == nil && len(st.Routers) == 1 {
			r = st.Routers[0]
		}
		return err == nil && len(st.Routers) == 1, fmt.Sprint(err)
	})
	return r
}

// waitStatus waits until our process says what is expected.
func (s *site) waitStatus(what string, cond func(control.Router) bool) {
	s.t.Helper()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		r := s.status()
		return cond(r), fmt.Sprintf("wait until %s: %+v", what, r)
	})
}

// during has the client ask for the virtual address while do runs.
func (s *site) during(do func()) netlab.Answers {
	s.t.Helper()
	asker, err := s.client.StartAsker("eth0", s.vip, netlab.AskerOptions{
		Interval: 10 * time.Millisecond, Cables: []*netlab.Cable{s.ours.cable, s.peer.cable},
	})
	check(s.t, err)
	do()
	answers, err := asker.Stop()
	check(s.t, err)
	return answers
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
