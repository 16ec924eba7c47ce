package rtnl

import (
	"fmt"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Link is what the kernel says about one interface. It is comparable: two equal
// Links differ in nothing that vrrpd cares for.
//
// The kernel announces every change of these fields by an event, with two
// exceptions: Alias and Group of a link that is down. Whoever wants those of a
// link that may be down asks a Reader.
type Link struct {
	Index int    // ifindex, > 0; zero in the zero Link only
	Name  string // the real name, never an alternative one
	Kind  string // IFLA_INFO_KIND: "veth", "macvlan", "bridge", "tun" (a tap, too); "" for a plain card and lo
	Alias string // IFLA_IFALIAS
	Type  uint16 // ARPHRD_*: 1 is Ethernet, 772 loopback
	MAC   [6]byte
	MTU   int
	Group uint32 // link group

	// Parent is the interface underneath (IFLA_LINK): the lower device of a
	// macvlan or VLAN. Zero: none. For a veth the kernel puts the other end
	// there, which is not underneath, and announces it for one of the two only:
	// it is left out.
	Parent int
	// Foreign says that Parent is an index of another network namespace and
	// means nothing in this one.
	Foreign bool
	// Master is the bridge, bond, team or VRF that the link is enslaved to.
	Master int

	Up      bool // IFF_UP: the administrator wants it up
	Running bool // IFF_RUNNING: operational state is UP or UNKNOWN
	LowerUp bool // IFF_LOWER_UP: carrier
}

// Carrier reports whether frames can be expected to pass: administratively up,
// operational, and with a carrier. See the package doc for why all three.
func (l Link) Carrier() bool { return l.Up && l.Running && l.LowerUp }

// Loopback reports whether the link is a loopback device.
func (l Link) Loopback() bool { return l.Type == unix.ARPHRD_LOOPBACK }

// Ethernet reports whether the link carries Ethernet frames.
func (l Link) Ethernet() bool { return l.Type == unix.ARPHRD_ETHER }

// sameDevice guesses, when the events in between were lost, whether two Links
// of one index are the same device changed, or a new one that was given the
// index of a dead one: a device never changes its kind, and one that lost both
// its name and its address is more likely to be another.
func (l Link) sameDevice(m Link) bool {
	return l.Kind == m.Kind && l.Type == m.Type && (l.Name == m.Name || l.MAC == m.MAC)
}

// decodeLink reads the body of an RTM_NEWLINK or RTM_DELLINK. ok is false for a
// message that does not describe a link of this table: a bridge's view of its
// port (family AF_BRIDGE; its RTM_DELLINK means "left the bridge", not "gone"),
// or a driver's partial message without a name (wireless events).
//
// rtnetlink's LinkMessage decodes the header only: its attribute decoder has no
// IFLA_LINK_NETNSID, and refuses a whole message over a statistics block of a
// size that it has not met.
func decodeLink(b []byte) (l Link, ok bool, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, false, fmt.Errorf("decode link: %d bytes", len(b))
	}
	if b[0] != unix.AF_UNSPEC {
		return Link{}, false, nil
	}
	var m rtnetlink.LinkMessage
	if err := m.UnmarshalBinary(b[:unix.SizeofIfInfomsg]); err != nil {
		return Link{}, false, fmt.Errorf("decode link: %w", err)
	}
	l = Link{
		Index:   int(m.Index),
		Type:    m.Type,
		Up:      m.Flags&unix.IFF_UP != 0,
		Running: m.Flags&unix.IFF_RUNNING != 0,
		LowerUp: m.Flags&unix.IFF_LOWER_UP != 0,
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return Link{}, false, fmt.Errorf("decode link %d: %w", m.Index, err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_IFALIAS:
			l.Alias = ad.String()
		case unix.IFLA_ADDRESS:
			if len(ad.Bytes()) == len(l.MAC) {
				copy(l.MAC[:], ad.Bytes())
			}
		case unix.IFLA_MTU:
			l.MTU = int(ad.Uint32())
		case unix.IFLA_GROUP:
			l.Group = ad.Uint32()
		case unix.IFLA_LINK:
			l.Parent = int(ad.Uint32())
		case unix.IFLA_LINK_NETNSID:
			l.Foreign = true
		case unix.IFLA_MASTER:
			l.Master = int(ad.Uint32())
		case unix.IFLA_LINKINFO:
			ad.Nested(func(nad *netlink.AttributeDecoder) error {
				for nad.Next() {
					if nad.Type() == unix.IFLA_INFO_KIND {
						l.Kind = nad.String()
					}
				}
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return Link{}, false, fmt.Errorf("decode link %d: %w", m.Index, err)
	}
	if l.Kind == "veth" || l.Kind == "netkit" {
		l.Parent, l.Foreign = 0, false
	}
	return l, l.Index > 0 && l.Name != "", nil
}
