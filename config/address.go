package config

import (
	"net/netip"
	"strings"
)

// ParseAddress reads an address with or without a length; without one it has
// the length of a host. Bits outside the length are kept.
func ParseAddress(s string) (netip.Prefix, error) {
	text, length, found := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, usagef("%s: not an IP address; write it like 10.16.1.200 or 10.16.1.200/24", show(s))
	}
	if !found {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	bits, ok := whole(length)
	if !ok || bits < 1 || bits > addr.BitLen() {
		return netip.Prefix{}, usagef("%s: the length after the slash is a number of bits from 1 to %d, like 10.16.1.200/24", show(s), addr.BitLen())
	}
	return netip.PrefixFrom(addr, bits), nil
}

// FormatAddress writes an address as users do: without the length of a host.
func FormatAddress(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// badAddress says why nobody can be reached at an address, or "".
func badAddress(p netip.Prefix) string {
	addr := p.Addr()
	switch {
	case !p.IsValid():
		return "not an address with a length"
	case addr.Is4In6():
		return "an IPv4 address in IPv6 clothes; write " + addr.Unmap().String()
	case addr.IsUnspecified():
		return "the unspecified address; give the address that the machines are to share"
	case addr.IsLoopback():
		return "a loopback address never leaves its machine; give an address of the LAN"
	case addr.IsMulticast():
		return "a multicast address belongs to no machine; give a unicast address of the LAN"
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address; give a unicast address of the LAN"
	case addr.Is4() && addr.As4()[0] == 0:
		return "0.0.0.0/8 holds no address of a LAN; give a unicast address of the LAN"
	case p.Bits() == 0:
		return "the length cannot be 0; leave it away, or give that of the LAN, like /24"
	case addr.Is4() && p.Bits() <= withNetworkAddress:
		return badInNetwork(p)
	}
	return ""
}

// withNetworkAddress is the greatest IPv4 length under which the first and the
// last address are not those of hosts (RFC 3021 frees those of a /31).
const withNetworkAddress = 30

func badInNetwork(p netip.Prefix) string {
	network := p.Masked()
	b := p.Addr().As4()
	ones := true
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		ones = ones && b[bit/8]&(0x80>>(bit%8)) != 0
	}
	switch {
	case network.Addr() == p.Addr():
		return "that is the network itself; give the address of a host in it"
	case ones:
		return "that is the broadcast address of " + network.String() + "; give the address of a host in it"
	}
	return ""
}
