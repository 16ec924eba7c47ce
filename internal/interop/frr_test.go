package interop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// Where Debian has FRR's daemons: one is called like ours.
const (
	frrVRRP  = "/usr/lib/frr/vrrpd"
	frrZebra = "/usr/lib/frr/zebra"
)

// frr makes the peer one that runs FRR's zebra and vrrpd, which want the interface with
// the virtual MAC and the virtual addresses to be there; a BACKUP's has no carrier
// ("protodown").
func frr(version int, every time.Duration) func(*machine) {
	return func(m *machine) {
		m.serves = fmt.Sprintf("vrrp%d", vrid)
		m.rests = func(l netlab.Link) bool { return !l.Carrier }
		m.clean = func() {
			link, err := m.Netlink().LinkByName(m.serves)
			check(m.t, err)
			check(m.t, m.Netlink().LinkDel(link))
		}
		m.line = func(priority int) netlab.Command {
			m.frrInterface()
			check(m.t, m.WriteFile("/etc/frr/vrrpd.conf", netlab.File{Text: m.frrConf(version, every, priority)}))
			check(m.t, m.WriteFile("/etc/frr/zebra.conf", netlab.File{Text: "log stdout\n"}))
			check(m.t, m.Do(func() error {
				if err := os.MkdirAll("/run/frr", 0o777); err != nil {
					return err
				}
				return os.Chmod("/run/frr", 0o777) // whatever the umask is
			}))
			running, err := m.Find("zebra")
			check(m.t, err)
			if len(running) == 0 { // it comes back when it listens
				r, err := m.Run(within(m.t, patience), netlab.Command{Path: frrZebra, Args: []string{"-d", "-P", "0", "-f", "/etc/frr/zebra.conf"}})
				check(m.t, err)
				if r.Code != 0 {
					m.t.Fatalf("zebra: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
				}
			}
			return netlab.Command{Path: frrVRRP, Args: []string{"-P", "0", "-f", "/etc/frr/vrrpd.conf"}}
		}
	}
}

func (m *machine) frrConf(version int, every time.Duration, priority int) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("log stdout informational")
	say("interface eth0")
	say(" vrrp %d version %d", vrid, version)
	say(" vrrp %d priority %d", vrid, priority)
	say(" vrrp %d advertisement-interval %d", vrid, every.Milliseconds())
	if m.waits {
		say(" no vrrp %d preempt", vrid)
	}
	for _, a := range m.addresses {
		if a.Is4() {
			say(" vrrp %d ip %s", vrid, a)
		} else {
			say(" vrrp %d ipv6 %s", vrid, a)
		}
	}
	return b.String()
}

// frrInterface makes the interface with the virtual MAC, if it is not there.
func (m *machine) frrInterface() {
	m.t.Helper()
	h := m.Netlink()
	if l, err := m.Link(m.serves); err != nil || l.Exists() {
		check(m.t, err)
		return
	}
	// What the address of a BACKUP's interface needs, too: on Linux an address
	// is the machine's, not the interface's, and eth0 would answer for it.
	check(m.t, m.SetSysctl("net/ipv4/conf/eth0/arp_ignore", "1"))
	parent, err := h.LinkByName("eth0")
	check(m.t, err)
	a := netlink.NewLinkAttrs()
	a.Name, a.ParentIndex = m.serves, parent.Attrs().Index
	mac := netlab.VMAC(vrid)
	six := m.addresses[0].Is6()
	if six {
		mac[4] = 2 // RFC 9568 section 7.3
	}
	a.HardwareAddr = mac[:]
	check(m.t, h.LinkAdd(&netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	link, err := h.LinkByName(m.serves)
	check(m.t, err)
	// Or it would serve until FRR has thought about it.
	check(m.t, m.DoNet(func() error { return protodown(link.Attrs().Index) }))
	var addresses []netip.Prefix
	for _, a := range m.addresses {
		addresses = append(addresses, netip.PrefixFrom(a, a.BitLen()))
	}
	if six {
		// Adverts come from a link-local address of this interface, the newest one.
		// That which the kernel makes of the virtual MAC would be the same on all
		// machines, as the virtual one is.
		check(m.t, m.SetSysctl("net/ipv6/conf/"+m.serves+"/addr_gen_mode", "1"))
		own := netip.MustParseAddr("fe80::ff:fe00:0").As16()
		own[15] = m.number<<4 + 1
		addresses = append(addresses, netip.PrefixFrom(netip.AddrFrom16(own), 64))
	}
	check(m.t, h.LinkSetUp(link))
	for _, a := range addresses {
		n := net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}
		// What is tentative for want of a carrier does not exist for zebra.
		check(m.t, h.AddrAdd(link, &netlink.Addr{IPNet: &n, Flags: unix.IFA_F_NODAD}))
	}
}

// protodown takes the carrier away from an interface, as FRR does and gives it back.
func protodown(index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_PROTO_DOWN, []byte{1}))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
