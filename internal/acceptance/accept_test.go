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

// acceptSite is one router with virtual addresses of both families on LAN A and of IPv6
// on LAN B, a client on LAN A and a server on LAN B.
type acceptSite struct {
	*site6
	r *machine6
}

func newAcceptSite(t *testing.T) *acceptSite {
	t.Helper()
	s := newSite6(t)
	check(t, s.server.AddRoute(lans[0].prefix, lans[1].host(1).Addr()))
	return &acceptSite{s, s.r[0]}
}

// begin starts the three processes, and waits until they serve.
func (s *acceptSite) begin(flags string) {
	s.t.Helper()
	s.r.begin(fmt.Sprintf("-F -i eth0 -v 51 -d 0.1 %s %s", lans[0].vip, flags))
	for _, l := range lans6 {
		s.r.begin(fmt.Sprintf("-F -i %s -v %d -d 0.1 %s %s", l.nic, l.vrid, l.vip(), flags))
	}
	s.r.waitServing()
	_, err := s.r.WaitLink(within(s.t, patience), "vrrp51", serving(lans[0]))
	check(s.t, err)
}

// pinged checks who gets an answer from the virtual addresses of LAN A: the client,
// the server, whose packets come in on LAN B, and the router itself.
func (s *acceptSite) pinged(what string, want bool) {
	s.t.Helper()
	for _, ip := range []netip.Addr{lans[0].vip, lans6[0].vip()} {
		for _, h := range []*netlab.Host{s.client, s.server, s.r.Host} {
			limit := patience
			if !want {
				limit = 300 * time.Millisecond
			}
			if _, err := h.Ping(within(s.t, limit), ip); (err == nil) != want {
				s.t.Errorf("%s: %s pings %v: %v", what, h.Name(), ip, err)
			}
		}
	}
}

// routed checks that ARP and neighbour solicitations are answered with the virtual MAC,
// those to a unicast address as well, and that what is sent to that MAC is forwarded.
func (s *acceptSite) routed(what string) {
	t := s.t
	t.Helper()
	if mac, err := s.client.Resolve(within(t, patience), "eth0", lans[0].vip); err != nil || mac != lans[0].vmac() {
		t.Errorf("%s: %v is at %v, want %v (%v)", what, lans[0].vip, mac, lans[0].vmac(), err)
	}
	nic, err := s.client.Link("eth0")
	check(t, err)
	heard, err := s.client.StartSniffer("eth0", netlab.SnifferOptions{Match: netlab.MatchNeighbours()})
	check(t, err)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	for _, ip := range []netip.Addr{lans6[0].vip(), lans6[0].local()} {
		question := netlab.Neighbour{Src: lans6[0].host(10).Addr(), Target: ip, MAC: nic.MAC}
		for to, frame := range map[string][]byte{"its group": question.Frame(), "the address itself": question.FrameTo(lans6[0].vmac())} {
			mark := heard.Mark()
			check(t, in.Send(frame))
			if _, err := heard.WaitFrom(within(t, patience), mark, func(f netlab.Frame) bool {
				n, ok := f.Neighbour()
				return ok && !f.Out && n.Advertisement && n.Solicited && n.Target == ip && f.Src() == lans6[0].vmac()
			}); err != nil {
				t.Errorf("%s: a solicitation of %v to %s is not answered: %v", what, ip, to, err)
			}
		}
	}
	if _, err := s.client.Ping(within(t, patience), lans6[1].host(10).Addr()); err != nil {
		t.Errorf("%s: IPv6 is not forwarded: %v", what, err)
	}
	if _, err := s.client.PingMAC(within(t, patience), "eth0", lans[0].vmac(), lans[1].host(10).Addr()); err != nil {
		t.Errorf("%s: IPv4 is not forwarded: %v", what, err)
	}
	if _, err := s.client.Ping(within(t, patience), lans[0].host(1).Addr()); err != nil {
		t.Errorf("%s: its own address: %v", what, err)
	}
}

func (s *acceptSite) acceptMode(want bool) {
	s.t.Helper()
	for _, instance := range []string{"eth0-51", "eth0-51v6"} {
		s.r.waitStatus(instance, "accept-mode is shown", func(st control.Status) bool { return st.Routers[0].AcceptMode == want })
	}
}

// typed runs a line on the router.
func (s *acceptSite) typed(line string) netlab.Result {
	s.t.Helper()
	r, err := s.r.Run(within(s.t, patience), netlab.Command{Path: "sh", Args: []string{"-c", line}})
	check(s.t, err)
	return r
}

// Accept_Mode (RFC 9568 section 6.1): a server accepts packets to its virtual addresses;
// with --no-accept it does not, from wherever they come, but it is a router for them all
// the same; the owner always does. Nobody can take the filter away, and nothing is left.
func TestAcceptMode(t *testing.T) {
	t.Parallel()
	s := newAcceptSite(t)
	s.begin("")
	s.pinged("by default", true)
	s.acceptMode(true)
	s.r.end(syscall.SIGTERM)

	s.begin("--no-accept")
	s.acceptMode(false)
	// RFC9568-8.3.1-65: nor is it forwarded.
	var left []*netlab.Sniffer
	for _, l := range lans6 {
		left = append(left, s.r.sniff(l, netlab.Or(netlab.MatchICMP(), netlab.MatchEcho6())))
	}
	s.pinged("--no-accept", false)
	s.routed("--no-accept")
	for _, sn := range left {
		for _, f := range sn.Frames(0) {
			if e, ok := f.Echo(); ok && !f.Out && !e.Reply && (e.Dst == lans[0].vip || e.Dst == lans6[0].vip()) {
				t.Errorf("a packet to %v has left the router: %+v", e.Dst, e)
			}
		}
	}

	// Firewall scripts begin with this.
	before := s.r.repairs("eth0-51")
	if got := s.typed("nft flush ruleset && nft list tables"); got.Code != 0 || strings.Contains(got.Stdout, "accept-vrrp51 ") {
		t.Logf("nft: %+v", got)
	}
	s.r.waitStatus("eth0-51", "the filter is put back", func(st control.Status) bool { return st.Routers[0].Statistics.Repairs > before })
	netlab.Eventually(t, patience, func() (bool, string) {
		got := s.typed("nft list tables").Stdout
		return strings.Count(got, "vrrpd-accept-") == 3, got
	})
	s.pinged("after nft flush ruleset", false)
	if got := s.typed("nft list table ip vrrpd-accept-vrrp51").Stdout; !strings.Contains(got, "ip daddr @addresses drop") || !strings.Contains(got, lans[0].vip.String()) {
		t.Errorf("nft does not understand the table:\n%s", got)
	}

	// What a killed process leaves does not bind its successor: the owner accepts.
	s.r.end(syscall.SIGKILL)
	s.begin("--no-accept -p 255")
	s.acceptMode(true)
	s.pinged("the owner", true)
	s.r.end(syscall.SIGTERM)

	// Nor is it there when it has been cleaned up after.
	s.begin("--no-accept")
	s.r.end(syscall.SIGKILL)
	if got := s.typed("vrrpd --release"); got.Code != 0 {
		t.Errorf("vrrpd --release: %+v", got)
	}
	if got := s.typed("nft list tables").Stdout; strings.Contains(got, "vrrpd") {
		t.Errorf("left behind:\n%s", got)
	}
}

func (m *machine6) repairs(instance string) uint64 {
	m.s.t.Helper()
	st, err := m.status(instance)
	check(m.s.t, err)
	return st.Routers[0].Statistics.Repairs
}
