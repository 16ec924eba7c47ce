package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// The first address of an IPv6 virtual router is link-local (RFC 9568 section
// 5.2.9): hosts know their router by it, and router advertisements come from it.
// Users think of the address that they want to share, so it is made for them when
// they give none, and put first when they give it later.

// LinkLocal is the link-local address of an IPv6 virtual router whose user has
// given none: fe80::5652:5250:VRID, the last group being the VRID as people write
// it, so fe80::5652:5250:51 for VRID 51. 56 52 52 50 is "VRRP" in ASCII.
//
// It depends on the VRID alone, so that all routers of a virtual router have the
// same one. It cannot be the address that a kernel makes of a virtual MAC, whose
// interface identifier has ff:fe in the middle (RFC 4291 appendix A), nor one of
// those that IANA has reserved (RFC 5453).
func LinkLocal(vrid uint8) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 10: 'V', 11: 'R', 12: 'R', 13: 'P'}
	a[14] = vrid / 100
	a[15] = vrid/10%10<<4 | vrid%10
	return netip.AddrFrom16(a)
}

// familyOf is that of the first address; IPv4 without one.
func familyOf(addresses []netip.Prefix) uint8 {
	if len(addresses) > 0 && isIPv6(addresses[0]) {
		return 6
	}
	return 4
}

// isIPv6 leaves an IPv4 address in IPv6 clothes to Validate, which explains it.
func isIPv6(p netip.Prefix) bool { return p.Addr().Unmap().Is6() }

func isLinkLocal(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() }

// linkLocalFirst puts the first link-local address before all others, or makes one.
func (r *Router) linkLocalFirst() {
	at := slices.IndexFunc(r.Addresses, isLinkLocal)
	switch {
	case at < 0:
		made := LinkLocal(r.VRID)
		r.Generated = made
		r.Addresses = slices.Insert(r.Addresses, 0, netip.PrefixFrom(made, made.BitLen()))
	case at > 0:
		first := r.Addresses[at]
		r.Addresses = slices.Insert(slices.Delete(r.Addresses, at, at+1), 0, first)
	}
}

// GeneratedNote tells people of the address that was made; "" if none was.
func (r Router) GeneratedNote() string {
	if !r.Generated.IsValid() {
		return ""
	}
	return fmt.Sprintf("the link-local address %s was added as the first address of VRID %d: an IPv6 virtual router needs one, hosts use it as their router, and all machines have the same; give another one before the addresses to choose it yourself",
		r.Generated, r.VRID)
}
