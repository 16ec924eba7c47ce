package interop

import (
	"fmt"
	"net/netip"
	"time"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// frr makes the peer one that runs FRR's zebra and vrrpd.
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
			own := netip.MustParseAddr("fe80::ff:fe00:0").As16()
			own[15] = m.number<<4 + 1
			f := peers.FRR{
				Routers: []peers.Router{{
					Parent: "eth0", VRID: vrid, Priority: priority, Interval: every, VIPs: m.addresses, VMAC: m.serves,
				}},
				Version: version, Waits: m.waits, LinkLocal: netip.AddrFrom16(own),
			}
			command, err := f.Command(within(m.t, patience), m.Host)
			check(m.t, err)
			return command
		}
	}
}
