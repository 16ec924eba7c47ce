package rtnl

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"
)

// Addr is one IPv4 or IPv6 address of an interface. It is comparable.
type Addr struct {
	Index  int          // the interface
	Prefix netip.Prefix // the address itself (host bits kept) and its length
	Peer   netip.Addr   // the other end of a point-to-point address; invalid: none
	Scope  uint8        // RT_SCOPE_*: 0 universe, 253 link, 254 host

	// Secondary: IPv4: another address of the same subnet came first and the
	// kernel prefers that one; IPv6: a temporary (privacy) address.
	Secondary  bool
	Deprecated bool // preferred lifetime is over
	Tentative  bool // IPv6: duplicate address detection is not over, or failed
}

// same reports whether a and b are the same address, whatever their flags say.
func (a Addr) same(b Addr) bool {
	return a.Index == b.Index && a.Prefix == b.Prefix && a.Peer == b.Peer
}

// PrimaryIPv4 chooses the address that adverts are sent from among those of one
// interface, given in the kernel's order. It is the first address that is
// neither secondary nor deprecated, in three rounds: global ones that have a
// subnet, global ones that stand alone (/32), then link-scope ones. Host-scope
// and loopback addresses never qualify. A secondary one is chosen when there is
// no other: it is about to be promoted, because the kernel says that the primary
// one has gone a moment before it says what takes its place. The kernel keeps its order when
// addresses are added, so the source of our adverts does not change under the
// peers because of an addition; a lower number is not "better".
//
// except names addresses that are not the machine's own: virtual addresses that
// sit on the parent itself because no virtual MAC is used.
func PrimaryIPv4(addrs []Addr, except ...netip.Addr) (netip.Addr, bool) {
	rounds := [...]func(Addr) bool{
		func(a Addr) bool { return !a.Secondary && a.Scope < unix.RT_SCOPE_LINK && a.Prefix.Bits() < 32 },
		func(a Addr) bool { return !a.Secondary && a.Scope < unix.RT_SCOPE_LINK },
		func(a Addr) bool { return !a.Secondary && a.Scope == unix.RT_SCOPE_LINK },
		func(a Addr) bool { return a.Secondary && a.Scope < unix.RT_SCOPE_LINK },
	}
	for _, fits := range rounds {
		for _, a := range addrs {
			ip := a.Prefix.Addr()
			if !ip.Is4() || a.Deprecated || ip.IsLoopback() || !fits(a) || slices.Contains(except, ip) {
				continue
			}
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// PrimaryIPv6 chooses the link-local address that IPv6 adverts are sent from (RFC
// 9568 section 5.1.2.1): the one that they are sent from now as long as it may be,
// so that the peers do not see another router, else the first one. An address that is
// tentative may not be used yet, or is somebody else's; a temporary or deprecated one
// will not stay. except is as for PrimaryIPv4.
func PrimaryIPv6(addrs []Addr, now netip.Addr, except ...netip.Addr) (netip.Addr, bool) {
	return primary6(addrs, now, except, netip.Addr.IsLinkLocalUnicast)
}

// GlobalIPv6 is PrimaryIPv6 among the addresses that routers forward: what adverts to
// peers beyond the LAN are sent from.
func GlobalIPv6(addrs []Addr, now netip.Addr, except ...netip.Addr) (netip.Addr, bool) {
	return primary6(addrs, now, except, netip.Addr.IsGlobalUnicast)
}

func primary6(addrs []Addr, now netip.Addr, except []netip.Addr, fits func(netip.Addr) bool) (netip.Addr, bool) {
	var best netip.Addr
	for _, a := range addrs {
		ip := a.Prefix.Addr()
		if !ip.Is6() || !fits(ip) || a.Tentative || a.Secondary || a.Deprecated || slices.Contains(except, ip) {
			continue
		}
		if ip == now {
			return ip, true
		}
		if !best.IsValid() {
			best = ip
		}
	}
	return best, best.IsValid()
}

// decodeAddr reads the body of an RTM_NEWADDR or RTM_DELADDR; ok is false for
// an address family that vrrpd does not know.
func decodeAddr(b []byte) (a Addr, ok bool, err error) {
	if len(b) == 0 || (b[0] != unix.AF_INET && b[0] != unix.AF_INET6) {
		return Addr{}, false, nil
	}
	var m rtnetlink.AddressMessage
	if err := m.UnmarshalBinary(b); err != nil {
		return Addr{}, false, fmt.Errorf("decode address: %w", err)
	}
	if m.Attributes == nil {
		return Addr{}, false, nil
	}
	// IFA_LOCAL is the interface's own address. Where it is missing (plain
	// IPv6) or equal, IFA_ADDRESS is the same; otherwise it is the peer's.
	local, okLocal := addrOf(m.Attributes.Local)
	remote, okRemote := addrOf(m.Attributes.Address)
	if !okLocal {
		local, okLocal = remote, okRemote
	}
	if !okLocal {
		return Addr{}, false, nil
	}
	flags := uint32(m.Flags) | m.Attributes.Flags
	a = Addr{
		Index:      int(m.Index),
		Prefix:     netip.PrefixFrom(local, int(m.PrefixLength)),
		Scope:      m.Scope,
		Secondary:  flags&unix.IFA_F_SECONDARY != 0,
		Deprecated: flags&unix.IFA_F_DEPRECATED != 0,
		Tentative:  flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0,
	}
	if okRemote && remote != local {
		a.Peer = remote
	}
	return a, true, nil
}

func addrOf(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}
