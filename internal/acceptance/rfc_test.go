package acceptance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"vrrpd/internal/netlab"
	wire "vrrpd/lan"
)

// What RFC 9568 wants of a router on its LAN and is the kernel's doing: that it stays so.
func TestRFC9568_RouterOnTheLAN(t *testing.T) {
	t.Parallel()
	s := newAcceptSite(t)
	beyond := s.r.sniff(lans6[1], netlab.Match{{{At: 20, Size: 1, Value: 112}}, {{At: 23, Size: 1, Value: 112}}})
	s.begin("-d 0.3")
	backup := s.site6.r[1]
	backup.begin(fmt.Sprintf("-F -i eth0 -v 51 -p 50 -d 0.3 %s", lans[0].vip))
	backup.begin(fmt.Sprintf("-F -i eth0 -v 51 -p 50 -d 0.3 %s", lans6[0].vip()))
	backup.waitPhase("BACKUP", "eth0-51", "eth0-51v6")
	s.believesAnnouncements(backup)
	s.redirectsNobody(backup)

	// RFC9568-5.1.1.2-3 and 5.1.2.2-8: adverts of one LAN are on no other, whatever
	// their TTL.
	forged := good(3)
	forged.ttl = 64
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	check(t, in.Send(forged.frame()))
	if _, err := beyond.WaitFrom(within(t, patience), beyond.Mark(), func(f netlab.Frame) bool { _, ok := f.Advert(); return ok }); err != nil {
		t.Fatalf("no advert at all on LAN B: %v", err)
	}
	for _, f := range beyond.Frames(0) {
		if a, ok := f.Advert(); ok && a.VRID != lans6[1].vrid {
			t.Errorf("on LAN B: %v to %v", a, a.Dst)
		}
	}
}

// RFC9568-8.2.4-64: a MASTER and a BACKUP believe a host that says, without being asked,
// that it has another MAC.
func (s *acceptSite) believesAnnouncements(backup *machine6) {
	t := s.t
	t.Helper()
	client := lans6[0].host(10).Addr()
	nic, err := s.client.Link("eth0")
	check(t, err)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	for _, m := range []*machine6{s.r, backup} {
		_, err := m.Ping(within(t, patience), client)
		check(t, err)
	}
	for _, mac := range []netlab.MAC{{2, 0, 0, 0, 0, 0x66}, nic.MAC} {
		check(t, in.Send(wire.AppendAnnouncement(nil, mac, client, false)))
		for _, m := range []*machine6{s.r, backup} {
			netlab.Eventually(t, patience, func() (bool, string) {
				got, ok, err := m.Neighbour(client)
				return ok && got == mac, fmt.Sprintf("%s: %v is at %v, %v, %v; announced is %v", m.Name(), client, got, ok, err, mac)
			})
		}
	}
}

// RFC9568-8.1.1-52 and 8.2.1: the source of a redirect would have to be the address that
// the host has used. The kernel sends none for what comes by the virtual MAC, because it
// leaves by another interface, the parent; for what is sent to the physical MAC it does,
// which shows that this looks at the right place.
func (s *acceptSite) redirectsNobody(backup *machine6) {
	t := s.t
	t.Helper()
	nic, err := s.client.Link("eth0")
	check(t, err)
	phys, err := s.r.Link("eth0")
	check(t, err)
	heard, err := s.client.StartSniffer("eth0", netlab.SnifferOptions{Match: netlab.Or(netlab.MatchICMP(),
		netlab.Match{{{At: 12, Size: 2, Value: 0x86dd}, {At: 20, Size: 1, Value: 58}}})})
	check(t, err)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	redirects := func(from int) (n int) {
		for _, f := range heard.Frames(from) {
			if v4 := f.Data[12] == 0x08 && f.Data[34] == 5; v4 || f.Data[12] == 0x86 && f.Data[54] == 137 {
				n++
			}
		}
		return n
	}
	var told [2]int // by way of the virtual MAC, of the physical one
	for i, c := range []struct {
		src, dst  netip.Addr
		vmac, mac netlab.MAC
	}{
		{lans[0].host(10).Addr(), lans[0].host(2).Addr(), lans[0].vmac(), phys.MAC},
		{lans6[0].host(10).Addr(), lans6[0].host(2).Addr(), lans6[0].vmac(), phys.MAC},
	} {
		for j, to := range []netlab.MAC{c.vmac, c.mac} {
			mark, id := heard.Mark(), uint16(100+2*i+j)
			for seq := range uint16(3) {
				check(t, in.Send(netlab.Echo{Src: c.src, Dst: c.dst, ID: id, Seq: seq}.Frame(nic.MAC, to)))
			}
			if _, err := heard.WaitFrom(within(t, patience), mark, func(f netlab.Frame) bool {
				e, ok := f.Echo()
				return ok && !f.Out && e.Reply && e.ID == id && e.Seq == 2
			}); err != nil {
				t.Fatalf("%v to %v by way of %v: %v", c.src, c.dst, to, err)
			}
			told[j] += redirects(mark)
		}
	}
	if told[0] != 0 {
		t.Errorf("%d redirects for what was sent to the virtual MAC", told[0])
	}
	if told[1] == 0 {
		t.Error("no redirect for what was sent to the physical MAC: this test has shown nothing")
	}
	if got, _ := s.r.Sysctl("net/ipv4/conf/all/send_redirects"); strings.TrimSpace(got) != "1" {
		t.Errorf("send_redirects is %q", got)
	}
}
