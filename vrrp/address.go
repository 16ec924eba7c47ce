package vrrp

import "net/netip"

// Protocol is the IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
const Protocol = 112

// TTL is the TTL or hop limit of every advert, sent and received: a packet that
// a router has forwarded cannot have it (RFC 9568 sections 5.1.1.3, 5.1.2.3).
const TTL = 255

// Family is an IP address family. The two have VRIDs, groups and virtual MAC
// addresses of their own. The zero value is no family.
type Family uint8

const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "no family"
}

// FamilyOf returns the family of an address as it stands in an IP header: an
// IPv4 address mapped into IPv6 is an IPv6 address, the invalid one has none.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return 0
}

// Group is the multicast address that adverts are sent to (RFC 9568 sections
// 5.1.1.2 and 5.1.2.2); the invalid address for no family.
func (f Family) Group() netip.Addr {
	switch f {
	case IPv4:
		return netip.AddrFrom4([4]byte{224, 0, 0, 18})
	case IPv6:
		return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
	}
	return netip.Addr{}
}

// GroupMAC is the Ethernet multicast address of Group (RFC 1112 section 6.4,
// RFC 2464 section 7); zero for no family.
func (f Family) GroupMAC() [6]byte {
	switch f {
	case IPv4:
		return [6]byte{0x01, 0x00, 0x5e, 0x00, 0x00, 0x12}
	case IPv6:
		return [6]byte{0x33, 0x33, 0x00, 0x00, 0x00, 0x12}
	}
	return [6]byte{}
}

// VMAC is the virtual router's MAC address (RFC 9568 section 7.3); zero for no
// family. VRID 0, which no virtual router has, is not refused.
func (f Family) VMAC(vrid uint8) [6]byte {
	switch f {
	case IPv4:
		return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, vrid}
	case IPv6:
		return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x02, vrid}
	}
	return [6]byte{}
}

// size is the length of one address on the wire.
func (f Family) size() int {
	if f == IPv6 {
		return 16
	}
	return 4
}

// linkLocal is netip's IsLinkLocalUnicast for IPv6 alone: a mapped 169.254.0.1
// is not link-local on the wire.
func linkLocal(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.IsLinkLocalUnicast()
}
