package acceptance

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// patience bounds every wait for what takes milliseconds on an idle machine.
const patience = 20 * time.Second

// lan is one of the two networks of the manual, seen from a router.
type lan struct {
	nic    string // of the router
	vrid   uint8
	vip    netip.Addr
	prefix netip.Prefix
}

var (
	lanA = lan{"eth0", 51, netip.MustParseAddr("10.16.1.200"), netip.MustParsePrefix("10.16.1.0/24")}
	lanB = lan{"eth1", 52, netip.MustParseAddr("10.17.1.200"), netip.MustParsePrefix("10.17.1.0/24")}
	lans = []lan{lanA, lanB}
)

func (l lan) vrrp() string     { return fmt.Sprintf("vrrp%d", l.vrid) }
func (l lan) vmac() netlab.MAC { return netlab.VMAC(l.vrid) }
func (l lan) instance() string { return fmt.Sprintf("%s-%d", l.nic, l.vrid) }
func (l lan) other() lan       { return lans[1-l.index()] }
func (l lan) index() int       { return int(l.vrid - lanA.vrid) }
func (l lan) vip32() string    { return l.vip.String() + "/32" }
func (l lan) host(n byte) netip.Prefix {
	a := l.prefix.Addr().As4()
	a[3] = n
	return netip.PrefixFrom(netip.AddrFrom4(a), l.prefix.Bits())
}

// manual is the manual's own line for this LAN.
func (l lan) manual() string {
	return fmt.Sprintf("vrrpd -i %s -v %d ipaddr %s -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh", l.nic, l.vrid, l.vip)
}

// site is the network of the manual: two routers with the LANs A and B, a
// client on A and a server on B, whose default route is the virtual address.
type site struct {
	t              *testing.T
	lab            *netlab.Lab
	switches       [2]*netlab.Switch // LAN A, LAN B
	r1, r2         *router
	client, server *netlab.Host
}

// options say how the daemons of a pair are started.
type options struct {
	interval string    // -d; "": 0.1
	priority [2]string // -p of the two routers; "": 150 and 100
	flags    string    // more of the command line, on both
	program  string    // "": the vrrpd in PATH
	swapped  bool      // on LAN B r2 has the lower address
	// master and down are the scripts; "": they write down how they were
	// called.
	master, down string
}

// calm is for tests in which nothing may happen: a stall of the machine that the
// tests run on must not be a reason to change sides.
var calm = options{interval: "0.3"}

// newSite lays out the network. Nothing runs on it.
func newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{t: t, lab: netlab.ForTest(t)}
	for i, name := range []string{"lanA", "lanB"} {
		sw, err := s.lab.Switch(name, netlab.SwitchOptions{})
		check(t, err)
		s.switches[i] = sw
	}
	s.r1, s.r2 = s.newRouter(1, o), s.newRouter(2, o)
	s.client, s.server = s.newHost("client", lanA), s.newHost("server", lanB)
	for _, r := range s.routers() {
		for _, l := range lans {
			r.waitOperational(l.nic)
		}
	}
	return s
}

// pair is a site on which both machines run, as the manual starts them, and r1
// has become MASTER.
func pair(t *testing.T, o options) *site {
	t.Helper()
	s := newSite(t, o)
	s.open()
	s.opened()
	return s
}

// open starts both machines so that r1 becomes MASTER: without preemption, who
// comes first stays. It is first when its hold-down is over, and its master-down
// timer runs two intervals ahead of the other's.
func (s *site) open() {
	s.t.Helper()
	s.r1.startAll()
	for _, l := range lans {
		s.r1.waitStatus(l, "it may be elected", func(st control.Status) bool {
			return st.Machine.Phase == "BACKUP" || st.Machine.Phase == "MASTER"
		})
	}
	s.r2.startAll()
}

// opened waits until r1 is MASTER and r2 BACKUP and allowed to be elected.
func (s *site) opened() {
	s.t.Helper()
	for s.usurped() {
		s.r2.stop(lans...)
		for _, l := range lans {
			s.r1.waitServing(l)
		}
		s.r2.startAll()
	}
	s.settled(s.r1, s.r2)
	for _, l := range lans {
		s.r2.waitStatus(l, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	}
}

// usurped waits until one machine is MASTER and reports whether it is r2, which it
// would stay: without preemption a stall of the machine that the tests run on decides
// for ever. Nothing has been tested then.
func (s *site) usurped() (yes bool) {
	s.t.Helper()
	o := s.r1.opts
	stays := strings.Contains(o.flags, "-s") || o.priority[0] != "" && o.priority[0] == o.priority[1]
	netlab.Eventually(s.t, patience, func() (bool, string) {
		a, err := s.r1.tryStatus(lanA)
		b, err2 := s.r2.tryStatus(lanA)
		yes = stays && err == nil && err2 == nil && a.Machine.Phase == "BACKUP" && b.Machine.Phase == "MASTER"
		return yes || a.Machine.Phase == "MASTER", fmt.Sprintf("%s, %v; %s, %v", a.Machine.Phase, err, b.Machine.Phase, err2)
	})
	return yes
}

// newHost adds a client or server with the address .10.
func (s *site) newHost(name string, l lan) *netlab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name, netlab.HostOptions{Light: true, NoForward: true})
	check(s.t, err)
	_, err = s.lab.Connect(h, "eth0", s.switches[l.index()], netlab.CableOptions{Addrs: []netip.Prefix{l.host(10)}})
	check(s.t, err)
	check(s.t, h.AddRoute(l.other().prefix, l.vip))
	return h
}

// settled waits until one machine is MASTER and the other BACKUP.
func (s *site) settled(master, backup *router) {
	s.t.Helper()
	for _, l := range lans {
		master.waitServing(l)
	}
	for _, l := range lans {
		backup.waitBackup(l)
	}
}

// routers are both machines.
func (s *site) routers() []*router { return []*router{s.r1, s.r2} }

// within is a context for one wait.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// check ends the test if err is not nil.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// line is the command line for a LAN of router number n.
func (o options) line(n int, l lan) string {
	prio := cmp.Or(o.priority[n-1], []string{"150", "100"}[n-1])
	manual := strings.Replace(l.manual(), "vrrpd", cmp.Or(o.program, "vrrpd"), 1)
	return strings.TrimSpace(fmt.Sprintf("%s -d %s -p %s %s", manual, cmp.Or(o.interval, "0.1"), prio, o.flags))
}
