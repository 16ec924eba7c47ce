package vmacif

import (
	"fmt"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// device is what has to be known of an interface to judge it.
type device struct {
	Index   int
	Name    string
	Kind    string // "macvlan", "bridge", ...; "" for a plain card and lo
	Alias   string
	Type    uint16 // ARPHRD_*
	MAC     [6]byte
	Group   uint32
	Parent  int  // interface underneath, zero if there is none
	Foreign bool // Parent is an index of another network namespace
	Master  int  // bridge, bond, team or VRF that it is enslaved to
	Up      bool
	Mode    uint32 // macvlan: MACVLAN_MODE_*
	GenMode int    // IPv6 address generation mode, -1 where there is no IPv6
	Balance string // bond: its mode if that is one that balances by changing MACs
	conf    conf   // settings, unless it is one of a list
	sum     sum    // of all of this, if it was asked for alone
}

// Values of the kernel's headers that golang.org/x/sys/unix lacks.
const (
	skipStats   = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	modeBridge  = 4      // MACVLAN_MODE_BRIDGE
	genModeNone = 1      // IN6_ADDR_GEN_MODE_NONE
	bondMode    = 1      // IFLA_BOND_MODE
)

// balances are the modes of a bond (linux/if_bonding.h) that device.Balance names.
var balances = map[uint8]string{5: "balance-tlb", 6: "balance-alb"}

// decodeDevice reads the body of an RTM_NEWLINK; ok is false for one that is
// not about a link as such (a bridge's view of its port). It takes the
// settings along, which a long list does without: withoutConf.
func decodeDevice(b []byte) (d device, ok bool, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return device{}, false, fmt.Errorf("decode link: %d bytes", len(b))
	}
	if b[0] != unix.AF_UNSPEC {
		return device{}, false, nil
	}
	// The library's own attribute decoder has neither IFLA_LINK_NETNSID nor
	// IFLA_AF_SPEC, and refuses a message over a statistics block of a new size.
	var m rtnetlink.LinkMessage
	if err := m.UnmarshalBinary(b[:unix.SizeofIfInfomsg]); err != nil {
		return device{}, false, fmt.Errorf("decode link: %w", err)
	}
	d = device{Index: int(m.Index), Type: m.Type, Up: m.Flags&unix.IFF_UP != 0, GenMode: -1}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return device{}, false, fmt.Errorf("decode link %d: %w", m.Index, err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			d.Name = ad.String()
		case unix.IFLA_IFALIAS:
			d.Alias = ad.String()
		case unix.IFLA_ADDRESS:
			if len(ad.Bytes()) == len(d.MAC) {
				copy(d.MAC[:], ad.Bytes())
			}
		case unix.IFLA_GROUP:
			d.Group = ad.Uint32()
		case unix.IFLA_LINK:
			d.Parent = int(ad.Uint32())
		case unix.IFLA_LINK_NETNSID:
			d.Foreign = true
		case unix.IFLA_MASTER:
			d.Master = int(ad.Uint32())
		case unix.IFLA_LINKINFO:
			ad.Nested(d.decodeInfo)
		case unix.IFLA_AF_SPEC:
			ad.Nested(d.decodeFamilies)
		}
	}
	if err := ad.Err(); err != nil {
		return device{}, false, fmt.Errorf("decode link %d: %w", m.Index, err)
	}
	return d, d.Index > 0 && d.Name != "", nil
}

// withoutConf is decodeDevice for the long list of all interfaces.
func withoutConf(b []byte) (d device, ok bool, err error) {
	d, ok, err = decodeDevice(b)
	d.conf = conf{}
	return d, ok, err
}

func (d *device) decodeInfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_INFO_KIND:
			d.Kind = ad.String()
		case unix.IFLA_INFO_DATA:
			ad.Nested(func(data *netlink.AttributeDecoder) error {
				for data.Next() { // the kernel has put the kind first
					switch {
					case d.Kind == "macvlan" && data.Type() == unix.IFLA_MACVLAN_MODE:
						d.Mode = data.Uint32()
					case d.Kind == "bond" && data.Type() == bondMode:
						d.Balance = balances[data.Uint8()]
					}
				}
				return nil
			})
		}
	}
	return nil
}

func (d *device) decodeFamilies(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.AF_INET:
			ad.Nested(func(inet *netlink.AttributeDecoder) error {
				for inet.Next() {
					if inet.Type() == inetConf {
						d.conf.v4 = inet.Bytes()
					}
				}
				return nil
			})
		case unix.AF_INET6:
			ad.Nested(func(inet6 *netlink.AttributeDecoder) error {
				for inet6.Next() {
					switch inet6.Type() {
					case unix.IFLA_INET6_ADDR_GEN_MODE:
						d.GenMode = int(inet6.Uint8())
					case inet6Conf:
						d.conf.v6 = inet6.Bytes()
					}
				}
				return nil
			})
		}
	}
	return nil
}

// addressFlags are set on a virtual address: no route for its prefix, which a /32
// would not get anyway, but see placed, and (IPv6) no duplicate address detection,
// during which it would not answer.
func addressFlags(p netip.Prefix) uint32 {
	if linkLocal(p.Addr()) {
		return unix.IFA_F_NODAD
	}
	return unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD
}

// held is one address of an interface.
type held struct {
	Index  int
	Prefix netip.Prefix // the local address, host bits kept
	Peer   netip.Addr   // point-to-point: the other end
	Scope  uint8
}

func decodeHeld(b []byte) (a held, ok bool, err error) {
	if len(b) == 0 || (b[0] != unix.AF_INET && b[0] != unix.AF_INET6) {
		return held{}, false, nil
	}
	var m rtnetlink.AddressMessage
	if err := m.UnmarshalBinary(b); err != nil {
		return held{}, false, fmt.Errorf("decode address: %w", err)
	}
	if m.Attributes == nil {
		return held{}, false, nil
	}
	remote, hasRemote := netip.AddrFromSlice(m.Attributes.Address)
	local, hasLocal := netip.AddrFromSlice(m.Attributes.Local)
	if !hasLocal {
		local, hasLocal = remote, hasRemote
	}
	if !hasLocal {
		return held{}, false, nil
	}
	a = held{Index: int(m.Index), Prefix: netip.PrefixFrom(local, int(m.PrefixLength)), Scope: m.Scope}
	if hasRemote && remote != local {
		a.Peer = remote
	}
	return a, true, nil
}

func linkBody(index int, flags, change uint32, attrs func(*netlink.AttributeEncoder)) ([]byte, error) {
	m := rtnetlink.LinkMessage{Index: uint32(index), Flags: flags, Change: change}
	b, err := m.MarshalBinary()
	if err != nil || attrs == nil {
		return b, err
	}
	ae := netlink.NewAttributeEncoder()
	attrs(ae)
	a, err := ae.Encode()
	return append(b, a...), err
}

func addrBody(a held, flags uint32) ([]byte, error) {
	ip := a.Prefix.Addr()
	m := rtnetlink.AddressMessage{
		Family:       familyOf(ip),
		PrefixLength: uint8(a.Prefix.Bits()),
		Scope:        a.Scope,
		Index:        uint32(a.Index),
		Attributes:   &rtnetlink.AddressAttributes{Local: ip.AsSlice(), Address: ip.AsSlice(), Flags: flags},
	}
	if a.Peer.IsValid() {
		m.Attributes.Address = a.Peer.AsSlice()
	}
	return m.MarshalBinary()
}

func familyOf(ip netip.Addr) uint8 {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
