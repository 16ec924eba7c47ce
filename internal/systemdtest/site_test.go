package systemdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// lan is one of the networks of a site.
type lan struct {
	bridge string // its switch
	nic    string // of the machines
	vrid   uint8
	vip    netip.Addr
	prefix netip.Prefix
}

var (
	lanA = lan{"lanA", "host0", 51, netip.MustParseAddr("192.0.2.200"), netip.MustParsePrefix("192.0.2.0/24")}
	lanB = lan{"lanB", "host1", 52, netip.MustParseAddr("198.51.100.200"), netip.MustParsePrefix("198.51.100.0/24")}
	lans = []lan{lanA, lanB}
)

// options are those of a virtual router on this LAN, with more behind.
func (l lan) options(more string) string {
	return strings.TrimSpace(fmt.Sprintf("-i %s -v %d %s %s", l.nic, l.vrid, l.vip, more))
}

func (l lan) host(n byte) netip.Prefix {
	a := l.prefix.Addr().As4()
	a[3] = n
	return netip.PrefixFrom(netip.AddrFrom4(a), l.prefix.Bits())
}

// port is the switch's end of a machine's cable, with the name that
// systemd-nspawn gives it, or that we ask for.
func (l lan) port(machine string) string {
	if l == lanA {
		return "vb-" + machine
	}
	return "vy-" + machine
}

// site is what the machines of a test stand in: a host of the laboratory, whose
// two bridges are the LANs, and in whose namespaces the containers live.
type site struct {
	t     *testing.T
	yard  *netlab.Host
	group string // control group of everything that runs here
}

// newSite makes a site without machines.
func newSite(t *testing.T) *site {
	t.Helper()
	require(t)
	s := &site{t: t, group: newGroup(t)}
	lab := netlab.ForTest(t)
	var err error
	s.yard, err = lab.Host("yard", netlab.HostOptions{NoForward: true})
	check(t, err)
	// Bridged frames are nobody's business but the machines'.
	for _, family := range []string{"ip", "ip6", "arp"} {
		if err := s.yard.SetSysctl("net/bridge/bridge-nf-call-"+family+"tables", "0"); !errors.Is(err, fs.ErrNotExist) {
			check(t, err)
		}
	}
	for _, l := range lans {
		snooping := false
		attrs := netlink.NewLinkAttrs()
		attrs.Name = l.bridge
		check(t, s.yard.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}))
		check(t, s.yard.AddAddr(l.bridge, l.host(9)))
		check(t, s.up(l.bridge))
	}
	check(t, s.yard.Do(func() error {
		if err := unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount control groups: %w", err)
		}
		return nil
	}))
	return s
}

// newSiteWith makes a site with machines, which boot side by side.
func newSiteWith(t *testing.T, names ...string) (*site, []*machine) {
	t.Helper()
	s := newSite(t)
	machines := make([]*machine, len(names))
	for i, name := range names {
		machines[i] = s.powerOn(name, byte(i+1))
	}
	for _, m := range machines {
		m.waitBooted()
	}
	return s, machines
}

// up brings an interface of the yard up.
func (s *site) up(name string) error {
	link, err := s.yard.Netlink().LinkByName(name)
	if err == nil {
		err = s.yard.Netlink().LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// ask asks the LAN for its virtual address, every 2 ms, like a host that has
// forgotten where it is.
func (s *site) ask(l lan) *netlab.Asker {
	s.t.Helper()
	a, err := s.yard.StartAsker(l.bridge, l.vip, netlab.AskerOptions{Interval: askEvery})
	check(s.t, err)
	return a
}

// readUnit returns a file of contrib/systemd.
func readUnit(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(ground.contrib, name))
	check(t, err)
	return string(text)
}

// askEvery is how often ask asks.
const askEvery = 2 * time.Millisecond
