package acceptance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// routerAdvert is what a test wants to know of a router advertisement.
type routerAdvert struct {
	src      netip.Addr
	hopLimit uint8
	lifetime time.Duration
	mac      netlab.MAC // of the option
}

func matchRA() netlab.Match {
	return netlab.Match{{{At: 12, Size: 2, Value: 0x86dd}, {At: 20, Size: 1, Value: 58}, {At: 54, Size: 1, Value: 134}}}
}

func decodeRA(f netlab.Frame) (a routerAdvert, ok bool) {
	b := f.Data
	if len(b) < 70 || b[54] != 134 {
		return a, false
	}
	a.src, a.hopLimit = netip.AddrFrom16([16]byte(b[22:38])), b[21]
	a.lifetime = time.Duration(binary.BigEndian.Uint16(b[60:])) * time.Second
	for o := b[70:]; len(o) >= 8 && o[1] > 0 && len(o) >= 8*int(o[1]); o = o[8*int(o[1]):] {
		if o[0] == 1 {
			copy(a.mac[:], o[2:])
		}
	}
	return a, true
}

// RFC9568-6.4.2-30 and 6.4.3-34, 8.2.3: with the configuration that we ship, radvd runs on
// both machines, and the one that is MASTER sends router advertisements from the
// link-local virtual address with the virtual MAC; the other one none, and nobody ever
// says that there is no router any more.
func TestIPv6_RouterAdvertisements(t *testing.T) {
	if _, err := exec.LookPath("radvd"); err != nil {
		if _, err := os.Stat("/usr/sbin/radvd"); err != nil {
			t.Skip("SKIPPED: radvd is not installed")
		}
	}
	t.Parallel()
	conf, err := os.ReadFile("../../contrib/radvd/radvd.conf")
	check(t, err)
	text := strings.Replace(string(conf), "MaxRtrAdvInterval 10;", "MaxRtrAdvInterval 4;", 1)
	s := newSite6(t)
	l := lans6[0]
	nic, err := s.client.Netlink().LinkByName("eth0")
	check(t, err)
	check(t, s.client.Netlink().RouteDel(&netlink.Route{LinkIndex: nic.Attrs().Index, Gw: l.local().AsSlice()}))
	var radvds []*netlab.Proc
	var adverts []*netlab.Sniffer
	for _, m := range s.r {
		check(t, m.WriteFile("/etc/radvd.conf", netlab.File{Text: text}))
		// Before vrrpd, as at boot: the interface does not exist yet.
		p, err := m.Start(netlab.Command{Path: "/usr/sbin/radvd", Args: strings.Fields("-n -C /etc/radvd.conf -p /run/radvd.pid -m stderr")})
		check(t, err)
		radvds = append(radvds, p)
		adverts = append(adverts, m.sniff(l, matchRA()))
		t.Cleanup(func() {
			if t.Failed() || *logs {
				t.Logf("radvd on %s:\n%s", m.Name(), p.Text(true))
			}
		})
	}
	heard := func(n, mark int) {
		t.Helper()
		f, err := adverts[n].WaitFrom(within(t, patience), mark, func(f netlab.Frame) bool { return !f.Out })
		check(t, err)
		if a, ok := decodeRA(f); !ok || a.src != l.local() || a.hopLimit != 255 || a.lifetime == 0 || a.mac != l.vmac() || f.Src() != l.vmac() {
			t.Errorf("%s: %+v from %v", s.r[n].Name(), a, f.Src())
		}
	}
	s.r[0].start("-s -d 0.1")
	s.r[0].waitServing()
	s.r[1].start("-s -d 0.1")
	s.r[1].waitPhase("BACKUP", l.instance())
	heard(0, 0)
	heard(0, adverts[0].Mark())
	// The client has it for its router, as the kernel has learnt it.
	netlab.Eventually(t, patience, func() (bool, string) {
		routes, err := s.client.Netlink().RouteList(nil, netlink.FAMILY_V6)
		learnt := slices.ContainsFunc(routes, func(r netlink.Route) bool {
			return r.Protocol == unix.RTPROT_RA && r.Gw.Equal(l.local().AsSlice())
		})
		return learnt, fmt.Sprintf("the client's routes are %v, %v", routes, err)
	})
	s.r[0].end(syscall.SIGTERM)
	s.r[1].waitServing()
	left := adverts[0].Mark()
	heard(1, 0)
	s.r[0].start("-s -d 0.1")
	s.r[0].waitPhase("BACKUP", l.instance())
	heard(1, adverts[1].Mark())
	// And back, without vrrpd being started anew there.
	was := adverts[0].Mark()
	s.r[1].end(syscall.SIGTERM)
	s.r[0].waitServing()
	heard(0, was)
	for n, sn := range adverts {
		for _, f := range sn.Frames(0) {
			a, _ := decodeRA(f)
			switch {
			case f.Out:
			case a.lifetime == 0:
				t.Errorf("%s says that there is no router any more", s.r[n].Name())
			case n == 0 && f.N >= left && f.N < was:
				t.Errorf("%s advertises although it is BACKUP", s.r[n].Name())
			}
		}
	}
	for _, p := range radvds {
		check(t, p.Signal(syscall.SIGTERM))
	}
}
