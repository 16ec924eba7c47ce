package lan

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ethernet"
)

// IPv6 headers: how an advert is built into one, and how one that arrives is
// taken apart (RFC 9568 section 5.1.2, RFC 8200).

const (
	// ipv6Size is the bytes of an IPv6 header without extension headers.
	ipv6Size = 40

	// Next headers.
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	icmpv6      = 58
	destination = 60
)

// Group6 is where IPv6 adverts go: ff02::12 (RFC 9568 section 5.1.2.2).
func Group6() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12}) }

// allNodes is ff02::1, every host of the LAN (RFC 4291 section 2.7.1).
func allNodes() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1}) }

// SolicitedNode is the group on which neighbours ask for an IPv6 address: its last
// 24 bits behind ff02::1:ff00:0 (RFC 4291 section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// multicastMAC is the Ethernet address of a multicast group (RFC 1112 section 6.4,
// RFC 2464 section 7).
func multicastMAC(group netip.Addr) [6]byte {
	if group.Is4() {
		g := group.As4()
		return [6]byte{0x01, 0x00, 0x5e, g[1] & 0x7f, g[2], g[3]}
	}
	g := group.As16()
	return [6]byte{0x33, 0x33, g[12], g[13], g[14], g[15]}
}

// destinationMAC is that of a group; of a single machine nobody knows it here.
func destinationMAC(to netip.Addr) [6]byte {
	if to.IsMulticast() {
		return multicastMAC(to)
	}
	return [6]byte{}
}

// appendIPv6Header appends the Ethernet and IPv6 headers of a packet that no router
// may forward: hop limit 255, which neighbour discovery requires as well (RFC 4861
// section 7.1).
func appendIPv6Header(dst []byte, toMAC, fromMAC [6]byte, src, to netip.Addr, next byte, size int) []byte {
	s, t := src.As16(), to.As16()
	dst = append(dst, toMAC[:]...)
	dst = append(dst, fromMAC[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(ethernet.EtherTypeIPv6))
	// Version and traffic class lie across the byte boundary; no flow label.
	dst = append(dst, 6<<4|tosControl>>4, tosControl&0x0f<<4, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(size))
	dst = append(dst, next, 255)
	dst = append(dst, s[:]...)
	return append(dst, t[:]...)
}

func appendIPv6(dst []byte, vmac [6]byte, src, group netip.Addr, protocol byte, payload []byte) []byte {
	dst = appendIPv6Header(dst, destinationMAC(group), vmac, src, group, protocol, len(payload))
	return append(dst, payload...)
}

// parseAdvert6 is ParseAdvert for a frame with an IPv6 packet.
func parseAdvert6(frame []byte, unicast bool) (Received, Drop) {
	if len(frame) < ethernetSize+ipv6Size {
		return Received{}, DropTruncated
	}
	ip := frame[ethernetSize:]
	total := ipv6Size + int(binary.BigEndian.Uint16(ip[4:]))
	switch {
	case ip[0]>>4 != 6:
		return Received{}, DropHeader
	case total > len(ip):
		return Received{}, DropTruncated
	}
	next, head, drop := skipExtensions(ip[6], ip[:total])
	if drop != Delivered {
		return Received{}, drop
	}
	r := Received{
		SrcMAC:  [6]byte(frame[6:12]),
		Src:     netip.AddrFrom16([16]byte(ip[8:24])),
		Dst:     netip.AddrFrom16([16]byte(ip[24:40])),
		TTL:     ip[7],
		AH:      next == ProtocolAH,
		Payload: ip[head:total:total],
		Header:  ip[:head:head],
	}
	switch {
	case next != ProtocolVRRP && next != ProtocolAH, r.Dst != Group6() && !toSingle(frame, r.Dst, unicast):
		return Received{}, DropDestination
	case !canSend6(r.Src):
		return Received{}, DropSource
	}
	return r, Delivered
}

// skipExtensions finds what lies behind the extension headers of a packet. Options
// are for others to act on; the rules of RFC 8200 that concern who only listens are
// kept: a route that is not at its end does not mean us, and a fragment is no
// packet.
func skipExtensions(next byte, ip []byte) (protocol byte, at int, drop Drop) {
	at = ipv6Size
	for {
		switch next {
		case hopByHop, destination, routing:
		case fragment:
			return next, at, DropFragment
		default:
			return next, at, Delivered
		}
		if at+8 > len(ip) {
			return next, at, DropExtension
		}
		size := 8 + 8*int(ip[at+1])
		if at+size > len(ip) || next == routing && ip[at+3] != 0 {
			return next, at, DropExtension
		}
		next = ip[at]
		at += size
	}
}

// canSend6 reports whether a host can have this address: not unspecified, loopback,
// multicast or an IPv4 address in IPv6 clothes.
func canSend6(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.Is4In6()
}
