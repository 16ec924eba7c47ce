package lan

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ethernet"
)

// Neighbour discovery (RFC 4861): what ARP is to IPv4. The question is a
// solicitation, the answer and the announcement are advertisements.

const (
	solicitation  = 135
	advertisement = 136

	sourceMAC = 1 // options: the link-layer address of who asks,
	targetMAC = 2 // of who is asked for

	flagRouter   = 0x80
	flagOverride = 0x20

	// neighbourSize is the bytes of a solicitation or an advertisement with one
	// option, neighbourHead those without.
	neighbourHead = 24
	neighbourSize = neighbourHead + 8
)

// NeighbourSize is how many bytes the builders of neighbour discovery append.
const NeighbourSize = ethernetSize + ipv6Size + neighbourSize

// AppendAnnouncement appends the unsolicited neighbour advertisement that ip, an
// IPv6 address, lives at mac: to all nodes, with ip as source and mac as Ethernet
// source, so that switches learn the port too. It overrides what the neighbours
// know (RFC 9568 section 6.4.2); router says that the machine forwards, and hosts
// that take ip for their router stop doing so if it is missing.
func AppendAnnouncement(dst []byte, mac [6]byte, ip netip.Addr, router bool) []byte {
	flags := byte(flagOverride)
	if router {
		flags |= flagRouter
	}
	to := allNodes()
	return appendNeighbour(dst, multicastMAC(to), mac, ip, to, advertisement, flags, ip, targetMAC)
}

// AppendFarewell6 is AppendFarewell over IPv6: the advertisement that own lives at
// physMAC, to the solicited-node group of vip.
func AppendFarewell6(dst []byte, physMAC [6]byte, own, vip netip.Addr, router bool) []byte {
	flags := byte(flagOverride)
	if router {
		flags |= flagRouter
	}
	to := SolicitedNode(vip)
	return appendNeighbour(dst, multicastMAC(to), physMAC, own, to, advertisement, flags, own, targetMAC)
}

// AppendSolicitation appends the question who has target, to its solicited-node
// group. src is the link-local address of the parent and physMAC its MAC: who asks
// with the unspecified address looks for a duplicate, and a backup that asked with
// the virtual MAC would draw the switch's entry to itself.
func AppendSolicitation(dst []byte, physMAC [6]byte, src, target netip.Addr) []byte {
	group := SolicitedNode(target)
	return appendNeighbour(dst, multicastMAC(group), physMAC, src, group, solicitation, 0, target, sourceMAC)
}

// AppendSolicitationTo appends the same question to the machine that has mac, which
// the switch delivers also where it forwards no groups that nobody has joined.
func AppendSolicitationTo(dst []byte, mac, physMAC [6]byte, src, target netip.Addr) []byte {
	return appendNeighbour(dst, mac, physMAC, src, target, solicitation, 0, target, sourceMAC)
}

func appendNeighbour(dst []byte, toMAC, fromMAC [6]byte, src, to netip.Addr, kind, flags byte, target netip.Addr, option byte) []byte {
	dst = appendIPv6Header(dst, toMAC, fromMAC, src, to, icmpv6, neighbourSize)
	t := target.As16()
	at := len(dst)
	dst = append(dst, kind, 0, 0, 0, flags, 0, 0, 0)
	dst = append(dst, t[:]...)
	dst = append(dst, option, 1)
	dst = append(dst, fromMAC[:]...)
	binary.BigEndian.PutUint16(dst[at+2:], ^icmpSum(dst[at-ipv6Size:]))
	return dst
}

// icmpSum is the ones' complement sum of an ICMPv6 message with its pseudo-header
// (RFC 8200 section 8.1), given the IPv6 packet without extension headers and of
// even length: 0xffff if its checksum is right.
func icmpSum(ip []byte) uint16 {
	s := uint32(sum16(ip[8:ipv6Size])) + uint32(sum16(ip[ipv6Size:])) + uint32(len(ip)-ipv6Size) + icmpv6
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// isAnswer reports whether a frame that the filter has let through, with a whole header,
// is ARP or an advertisement of a neighbour rather than one of VRRP.
func isAnswer(frame []byte) bool {
	switch ethernet.EtherType(binary.BigEndian.Uint16(frame[12:])) {
	case ethernet.EtherTypeARP:
		return true
	case ethernet.EtherTypeIPv6:
		return len(frame) > ethernetSize+ipv6Size && frame[ethernetSize+6] == icmpv6 && frame[ethernetSize+ipv6Size] == advertisement
	}
	return false
}

// familyOf is the IP version of a frame with a whole header.
func familyOf(frame []byte) uint8 {
	if ethernet.EtherType(binary.BigEndian.Uint16(frame[12:])) == ethernet.EtherTypeIPv6 {
		return 6
	}
	return 4
}

// parseNeighbour is ParseAnswer for a neighbour advertisement (RFC 4861 section
// 7.1.2). One without the option claims the MAC that it comes from.
func parseNeighbour(frame []byte) (Answer, Drop) {
	if len(frame) < ethernetSize+ipv6Size+neighbourHead {
		return Answer{}, DropTruncated
	}
	ip := frame[ethernetSize:]
	total := ipv6Size + int(binary.BigEndian.Uint16(ip[4:]))
	switch {
	case binary.BigEndian.Uint16(frame[12:]) != uint16(ethernet.EtherTypeIPv6), ip[0]>>4 != 6:
		return Answer{}, DropHeader
	case total > len(ip):
		return Answer{}, DropTruncated
	case ip[6] != icmpv6, ip[7] != 255, total < ipv6Size+neighbourHead, total%8 != 0,
		ip[ipv6Size] != advertisement, ip[ipv6Size+1] != 0, icmpSum(ip[:total]) != 0xffff:
		return Answer{}, DropNeighbour
	}
	a := Answer{MAC: [6]byte(frame[6:12]), IP: netip.AddrFrom16([16]byte(ip[ipv6Size+8:]))}
	for options := ip[ipv6Size+neighbourHead : total]; len(options) > 0; {
		size := 8 * int(options[1])
		if size == 0 || size > len(options) {
			return Answer{}, DropNeighbour
		}
		if options[0] == targetMAC {
			a.MAC = [6]byte(options[2:8])
		}
		options = options[size:]
	}
	if to := netip.AddrFrom16([16]byte(ip[24:40])); to.IsMulticast() && to != allNodes() {
		a.To = to
	}
	if !canSend6(a.IP) || !canSend6(netip.AddrFrom16([16]byte(ip[8:24]))) {
		return Answer{}, DropSource
	}
	return a, Delivered
}
