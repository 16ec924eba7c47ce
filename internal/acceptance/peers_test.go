package acceptance

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// Unicast peers: two machines on two LANs, with a router between them.

// far is a machine of such a pair.
type far struct {
	*netlab.Host
	t    *testing.T
	own  netip.Addr
	proc *netlab.Proc
}

const farVRID = 51

var farVIP = netip.MustParsePrefix("203.0.113.200/32")

// farPair are the two machines. The router forwards, and so counts the TTL down.
func farPair(t *testing.T) (pair [2]*far) {
	t.Helper()
	lab := netlab.ForTest(t)
	between, err := lab.Host("between", netlab.HostOptions{Light: true})
	check(t, err)
	for i := range pair {
		prefix := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 16, byte(i), n}), 24) }
		sw, err := lab.Switch(fmt.Sprintf("lan%d", i), netlab.SwitchOptions{})
		check(t, err)
		_, err = lab.Connect(between, fmt.Sprintf("eth%d", i), sw, netlab.CableOptions{Addrs: []netip.Prefix{prefix(254)}})
		check(t, err)
		h, err := lab.Host(fmt.Sprintf("r%d", i+1), netlab.HostOptions{})
		check(t, err)
		_, err = lab.Connect(h, "eth0", sw, netlab.CableOptions{Addrs: []netip.Prefix{prefix(1)}})
		check(t, err)
		check(t, h.AddRoute(netip.MustParsePrefix("10.16.0.0/16"), prefix(254).Addr()))
		pair[i] = &far{Host: h, t: t, own: prefix(1).Addr()}
	}
	return pair
}

// start starts the daemon, with the other machine as its peer.
func (f *far) start(peer *far, priority int, flags string) {
	f.t.Helper()
	line := fmt.Sprintf("-F -i eth0 -v %d -d 0.1 -p %d --peer %v %s %v", farVRID, priority, peer.own, flags, farVIP)
	p, err := f.Start(netlab.Command{Path: "vrrpd", Args: strings.Fields(line)})
	check(f.t, err)
	f.proc = p
}

func (f *far) end(sig syscall.Signal) {
	f.t.Helper()
	check(f.t, f.proc.Signal(sig))
	_, err := f.proc.Wait(within(f.t, patience))
	check(f.t, err)
}

func (f *far) waitServing(serves bool) {
	f.t.Helper()
	_, err := f.WaitLink(within(f.t, patience), "eth0", func(l netlab.Link) bool { return l.Has(farVIP.Addr()) == serves })
	if err != nil {
		f.t.Fatalf("%s serves %t: %v", f.Name(), serves, err)
	}
}

func (f *far) waitStatus(what string, cond func(control.Status) bool) {
	f.t.Helper()
	path := fmt.Sprintf("/proc/%d/root%s", f.PID(), control.SocketPath(runDir, fmt.Sprintf("eth0-%d", farVRID)))
	netlab.Eventually(f.t, patience, func() (bool, string) {
		s, err := control.NewClient(path).Status(within(f.t, patience))
		return err == nil && cond(s), fmt.Sprintf("wait until %s on %s: %v, %+v", what, f.Name(), err, s)
	})
}

// A pair beyond each other's LANs elects, hands over, and is cleaned up after, as one on
// a LAN; whatever authenticates its adverts.
func TestPeers_AcrossARouter(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"-n", "-n -a hmac/1:0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"} {
		t.Run(flags[:min(len(flags), 9)], func(t *testing.T) {
			t.Parallel()
			pair := farPair(t)
			r1, r2 := pair[0], pair[1]
			before, err := r1.Link("eth0")
			check(t, err)
			r1.start(r2, 150, flags)
			r2.start(r1, 100, flags)
			r1.waitServing(true)
			r2.waitStatus("it follows r1", func(s control.Status) bool {
				return s.Machine.State == "BACKUP" && len(s.Routers) == 1 && s.Routers[0].LastAdvSource == r1.own && len(s.Routers[0].Statistics.Drops) == 0
			})

			// Planned: the successor is there before the other one leaves.
			r1.end(syscall.SIGTERM)
			r2.waitServing(true)
			r1.waitServing(false)
			r1.start(r2, 150, flags)
			r1.waitServing(true)
			r2.waitServing(false)

			// Killed, and cleaned up after: priority 0 reaches the peer from the record. At
			// ten adverts a second it would take 360 ms without.
			r1.end(syscall.SIGKILL)
			sn, err := r2.StartSniffer("eth0", netlab.SnifferOptions{Match: netlab.MatchPriority(0)})
			check(t, err)
			result, err := r1.Run(within(t, patience), netlab.Command{Path: "vrrpd", Args: []string{"--release"}})
			check(t, err)
			if result.Code != 0 {
				t.Errorf("--release: %+v", result)
			}
			f, err := sn.WaitFrom(within(t, patience), 0, func(f netlab.Frame) bool { _, ok := f.Advert(); return ok })
			check(t, err)
			if a, _ := f.Advert(); a.Dst != r2.own || a.TTL != 254 {
				t.Errorf("the last word is %+v, want one to %v by way of a router", a, r2.own)
			}
			r2.waitServing(true)
			after, err := r1.Link("eth0")
			check(t, err)
			if fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("eth0 was %+v, is %+v", before, after)
			}
			r2.end(syscall.SIGTERM)
		})
	}
}

// Who demands that its peer is on its LAN does not hear one behind a router, and says so;
// nor one that is no peer.
func TestPeers_NotHeard(t *testing.T) {
	t.Parallel()
	pair := farPair(t)
	r1, r2 := pair[0], pair[1]
	r1.start(r2, 150, "-n")
	r2.start(r1, 100, "-n --peer-ttl 255")
	r2.waitStatus("the TTL is told", func(s control.Status) bool {
		return len(s.Routers) == 1 && s.Routers[0].Statistics.TTLErrors > 0 && len(s.Machine.Alarms) > 0
	})
	r2.end(syscall.SIGTERM)
	r2.start(&far{own: netip.MustParseAddr("10.16.0.77")}, 100, "-n")
	r2.waitStatus("r1 is no peer", func(s control.Status) bool {
		return len(s.Routers) == 1 && s.Routers[0].Statistics.Drops["not-a-peer"] > 0 && s.Machine.State == "MASTER"
	})
	if got, err := r2.Run(within(t, 5*time.Second), netlab.Command{Path: "vrrpd", Args: strings.Fields("-F -i eth0 -v 52 --peer 10.16.1.1 203.0.113.201")}); err != nil || got.Code != 2 || !strings.Contains(got.Stderr, "is an address of this machine") {
		t.Errorf("a peer that is this machine: %+v, %v", got, err)
	}
}
