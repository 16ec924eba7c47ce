package acceptance

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// lan6 is one of two IPv6 networks. Its hosts have the link-local virtual address as
// their router, as router advertisements tell them.
type lan6 struct {
	nic    string
	vrid   uint8
	prefix string // of its addresses
}

var lans6 = [2]lan6{{"eth0", 51, "2001:db8:a::"}, {"eth1", 52, "2001:db8:b::"}}

func (l lan6) name() string     { return fmt.Sprintf("vrrp%dv6", l.vrid) }
func (l lan6) instance() string { return fmt.Sprintf("%s-%dv6", l.nic, l.vrid) }
func (l lan6) vip() netip.Addr  { return netip.MustParseAddr(l.prefix + "200") }
func (l lan6) local() netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fe80::5652:5250:%d", l.vrid))
}
func (l lan6) vmac() netlab.MAC { return netlab.MAC{0, 0, 0x5e, 0, 2, l.vrid} }

// eui64 is what a kernel would make of the virtual MAC.
func (l lan6) eui64() netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fe80::200:5eff:fe00:2%02x", l.vrid))
}

func (l lan6) host(n int) netip.Prefix {
	return netip.PrefixFrom(netip.MustParseAddr(fmt.Sprint(l.prefix, n)), 64)
}

// machine6 is a router with a NIC on each LAN.
type machine6 struct {
	*netlab.Host
	s      *site6
	number int
	cables [2]*netlab.Cable
	procs  []*netlab.Proc
	links  *netlab.LinkLog
}

// site6 is two LANs, two routers, a client and a server.
type site6 struct {
	t              *testing.T
	lab            *netlab.Lab
	switches       [2]*netlab.Switch
	r              [2]*machine6
	client, server *netlab.Host
}

func newSite6(t *testing.T) *site6 {
	t.Helper()
	return newSite6With(t, netlab.SwitchOptions{})
}

func newSite6With(t *testing.T, o netlab.SwitchOptions) *site6 {
	t.Helper()
	s := &site6{t: t, lab: netlab.ForTest(t)}
	for i := range lans6 {
		var err error
		s.switches[i], err = s.lab.Switch(fmt.Sprintf("lan%d", i), o)
		check(t, err)
	}
	for n := range s.r {
		h, err := s.lab.Host(fmt.Sprintf("r%d", n+1), netlab.HostOptions{})
		check(t, err)
		m := &machine6{Host: h, s: s, number: n + 1}
		for i, l := range lans6 {
			m.cables[i], err = s.lab.Connect(h, l.nic, s.switches[i], netlab.CableOptions{
				MAC: netlab.MAC{0x02, 0, 0, 0, l.vrid, byte(n + 1)}, Addrs: []netip.Prefix{l.host(n + 1), lans[i].host(byte(n + 1))},
			})
			check(t, err)
		}
		m.links, err = h.StartLinkLog()
		check(t, err)
		s.r[n] = m
	}
	s.client, s.server = s.host("client", 0), s.host("server", 1)
	for _, m := range s.r {
		for _, l := range lans6 {
			m.operational(l.nic)
		}
	}
	return s
}

func (s *site6) host(name string, on int) *netlab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name, netlab.HostOptions{Light: true, NoForward: true})
	check(s.t, err)
	_, err = s.lab.Connect(h, "eth0", s.switches[on], netlab.CableOptions{Addrs: []netip.Prefix{lans6[on].host(10), lans[on].host(10)}})
	check(s.t, err)
	nic, err := h.Netlink().LinkByName("eth0")
	check(s.t, err)
	check(s.t, h.Netlink().RouteAdd(&netlink.Route{LinkIndex: nic.Attrs().Index, Gw: lans6[on].local().AsSlice()}))
	return h
}

// operational waits until a NIC is connected and has its link-local address.
func (m *machine6) operational(nic string) {
	m.s.t.Helper()
	netlab.Eventually(m.s.t, patience, func() (bool, string) {
		l, err := m.Link(nic)
		up := err == nil && l.Carrier && slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() })
		return up, fmt.Sprintf("%s of %s is %+v, %v", nic, m.Name(), l, err)
	})
}

// own is the link-local address of the machine's NIC.
func (m *machine6) own(l lan6) netip.Addr {
	m.s.t.Helper()
	k, err := m.Link(l.nic)
	check(m.s.t, err)
	i := slices.IndexFunc(k.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() })
	if i < 0 {
		m.s.t.Fatalf("%s of %s has no link-local address", l.nic, m.Name())
	}
	return k.Addrs[i].Addr()
}

// line is the command line of a LAN's process.
func (m *machine6) line(l lan6, flags string) string {
	return fmt.Sprintf("-F -i %s -v %d -M 2 -p %d %s %s", l.nic, l.vrid, 200-50*m.number, flags, l.vip())
}

// begin starts a process.
func (m *machine6) begin(args string) {
	m.s.t.Helper()
	p, err := m.Start(netlab.Command{Path: "vrrpd", Args: strings.Fields(args)})
	check(m.s.t, err)
	m.procs = append(m.procs, p)
	m.s.t.Cleanup(func() {
		if m.s.t.Failed() || *logs {
			m.s.t.Logf("%s, vrrpd %s:\n%s", m.Name(), args, p.Text(true))
		}
	})
}

// start starts both IPv6 processes.
func (m *machine6) start(flags string) {
	m.s.t.Helper()
	for _, l := range lans6 {
		m.begin(m.line(l, flags))
	}
}

// signal signals all processes, and end waits for them as well.
func (m *machine6) signal(sig syscall.Signal) {
	m.s.t.Helper()
	for _, p := range m.procs {
		if err := p.Signal(sig); !errors.Is(err, os.ErrProcessDone) { // who was told before may be gone
			check(m.s.t, err)
		}
	}
}

func (m *machine6) end(sig syscall.Signal) {
	m.s.t.Helper()
	m.signal(sig)
	for _, p := range m.procs {
		_, err := p.Wait(within(m.s.t, patience))
		check(m.s.t, err)
	}
	m.procs = nil
}

// status asks an instance.
func (m *machine6) status(instance string) (control.Status, error) {
	path := fmt.Sprintf("/proc/%d/root%s", m.PID(), control.SocketPath(runDir, instance))
	return control.NewClient(path).Status(within(m.s.t, patience))
}

func (m *machine6) waitStatus(instance, what string, cond func(control.Status) bool) control.Status {
	m.s.t.Helper()
	var st control.Status
	netlab.Eventually(m.s.t, patience, func() (bool, string) {
		var err error
		st, err = m.status(instance)
		return err == nil && cond(st), fmt.Sprintf("wait until %s on %s: %v, %+v", what, m.Name(), err, st.Machine)
	})
	return st
}

func (m *machine6) waitPhase(phase string, instances ...string) {
	m.s.t.Helper()
	for _, i := range instances {
		m.waitStatus(i, i+" is "+phase, func(st control.Status) bool { return st.Machine.Phase == phase })
	}
}

// waitServing waits until both LANs are served.
func (m *machine6) waitServing() {
	m.s.t.Helper()
	for _, l := range lans6 {
		_, err := m.WaitLink(within(m.s.t, patience), l.name(), func(k netlab.Link) bool {
			return k.Up && k.Has(l.vip()) && k.Has(l.local())
		})
		check(m.s.t, err)
	}
}

// waitBackup waits until no LAN is served.
func (m *machine6) waitBackup() {
	m.s.t.Helper()
	for _, l := range lans6 {
		_, err := m.WaitLink(within(m.s.t, patience), l.name(), func(k netlab.Link) bool {
			return k.Exists() && !k.Up && len(k.Addrs) == 0
		})
		check(m.s.t, err)
	}
}

// pair6 is a site on which r1 is MASTER and r2 BACKUP.
func pair6(t *testing.T, flags string) *site6 {
	t.Helper()
	s := newSite6(t)
	s.r[0].start(flags)
	s.opened(flags)
	return s
}

// opened starts the second machine when the first has become MASTER, and waits until
// it may be elected.
func (s *site6) opened(flags string) {
	s.t.Helper()
	s.r[0].waitServing()
	s.r[1].start(flags)
	for _, l := range lans6 {
		s.r[1].waitPhase("BACKUP", l.instance())
	}
	s.r[1].waitBackup()
}

// journey sends a datagram every millisecond from the client to the server and back,
// by way of the virtual addresses, while do runs. The client asks for its router's MAC
// every 50 ms.
func (s *site6) journey(do func(ping *netlab.Pinger)) netlab.Pings {
	s.t.Helper()
	echo, err := s.server.StartEcho(netip.AddrPortFrom(lans6[1].host(10).Addr(), 7))
	check(s.t, err)
	ping, err := s.client.StartPinger(echo.Addr(), netlab.PingerOptions{Count: 60_000})
	check(s.t, err)
	check(s.t, ping.WaitAnswer(within(s.t, patience), time.Now()))
	stop := forgetful(s.t, s.client)
	do(ping)
	stop()
	got := ping.Stop()
	check(s.t, echo.Close())
	return got
}

// sniff captures what matches at the switch's end of a machine's cable.
func (m *machine6) sniff(l lan6, match netlab.Match) *netlab.Sniffer {
	m.s.t.Helper()
	i := slices.Index(lans6[:], l)
	sn, err := m.cables[i].StartSniffer(netlab.SnifferOptions{Match: match})
	check(m.s.t, err)
	return sn
}

// witness6 watches a LAN for two machines that answer at once: it asks for an address
// and sends an echo to the virtual MAC, again and again. The switch learns nothing, so
// that both machines get every echo, too.
type witness6 struct {
	s     *site6
	asker *netlab.Asker
}

func (s *site6) watch(on int, ip netip.Addr, every time.Duration) *witness6 {
	s.t.Helper()
	sw := s.switches[on]
	vmac := lans6[on].vmac()
	var cables []*netlab.Cable
	for _, m := range s.r {
		port, err := sw.Netlink().LinkByName(m.cables[on].Port)
		check(s.t, err)
		check(s.t, sw.Netlink().LinkSetLearning(port, false))
		_ = sw.Netlink().NeighDel(&netlink.Neigh{LinkIndex: port.Attrs().Index, Family: 7, Flags: netlink.NTF_MASTER, HardwareAddr: vmac[:]})
		cables = append(cables, m.cables[on])
	}
	asker, err := []*netlab.Host{s.client, s.server}[on].StartAsker("eth0", ip, netlab.AskerOptions{Interval: every, Cables: cables})
	check(s.t, err)
	return &witness6{s, asker}
}

// stop ends the watch and returns the questions that two machines have answered in
// the same way. One that answers by advertisement and another one, which has taken
// over meanwhile, by echo are none.
func (w *witness6) stop() (double []string) {
	w.s.t.Helper()
	record, err := w.asker.Stop()
	check(w.s.t, err)
	if record.Dropped > 0 {
		w.s.t.Fatalf("the capture has lost %d frames", record.Dropped)
	}
	answered := 0
	for _, q := range record.List {
		kinds := map[bool][]string{}
		for _, a := range q.Answers {
			answered++
			if !slices.Contains(kinds[a.Echo], a.From) {
				kinds[a.Echo] = append(kinds[a.Echo], a.From)
			}
		}
		for echo, from := range kinds {
			if len(from) > 1 {
				double = append(double, fmt.Sprintf("%s: %v (echo: %v)", q.Sent.Format("05.000"), from, echo))
			}
		}
	}
	if answered == 0 {
		w.s.t.Error("nobody has answered: the test sees nothing")
	}
	w.s.t.Logf("%d questions, %d answers, %d by two machines, nobody for %v at most", len(record.List), answered, len(double), record.Longest(0).Length())
	return double
}
