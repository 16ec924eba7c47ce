package lan

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ethernet"
)

// Received is a VRRP message with what its headers say. Whether TTL is 255 is
// left to package vrrp, which counts per virtual router.
type Received struct {
	SrcMAC   [6]byte
	Src, Dst netip.Addr
	TTL      uint8
	// AH: the protocol is 51, and Payload begins with an Authentication Header.
	AH bool
	// Payload is the VRRP message without Ethernet padding, and Header the IP
	// header before it, which an Authentication Header signs too. They lie in the
	// port's buffer and are valid during the callback only.
	Payload, Header []byte
}

// Answer says that MAC claims IP: the sender fields of an ARP reply, or the target
// of a neighbour advertisement.
type Answer struct {
	MAC [6]byte
	IP  netip.Addr
	// To is whom everybody hears it told: see FarewellTo. The zero Addr: one machine
	// alone is told, or nobody in particular.
	To netip.Addr
}

// Drop says why a frame that the kernel's filter let through was not
// delivered. It is a closed list of words.
type Drop uint8

const (
	// Delivered: the frame was not dropped.
	Delivered Drop = iota
	// DropTruncated: the frame is shorter than its headers say.
	DropTruncated
	// DropHeader: version, header length, total length or header checksum
	// (IPv4) of the IP packet is wrong. The checksum is ours to verify, because a packet
	// socket stands before the kernel's IP layer.
	DropHeader
	// DropFragment: a part of an IP packet. Nobody needs to fragment an advert.
	DropFragment
	// DropDestination: not protocol 112 or 51, not to the group where nothing else is heard, or
	// a unicast address in a frame for many (RFC 1122 section 3.3.6).
	DropDestination
	// DropSource: an address that nobody can send from (RFC 1122 3.2.1.3).
	DropSource
	// DropARP: an ARP packet that is no reply for Ethernet and IPv4.
	DropARP
	// DropExtension: an IPv6 extension header that is cut short, or a route that
	// has not come to its end.
	DropExtension
	// DropNeighbour: an ICMPv6 packet that is no valid neighbour advertisement: its
	// hop limit is not 255, its checksum, length or an option is wrong.
	DropNeighbour

	drops
)

var dropWords = [drops]string{
	Delivered:       "none",
	DropTruncated:   "truncated",
	DropHeader:      "ip-header",
	DropFragment:    "fragment",
	DropDestination: "destination",
	DropSource:      "source",
	DropARP:         "arp-header",
	DropExtension:   "extension-header",
	DropNeighbour:   "neighbour-advertisement",
}

func (d Drop) String() string {
	if d < drops {
		return dropWords[d]
	}
	return "unknown"
}

// ParseAdvert takes an Ethernet frame apart, as a Port does with every frame
// that its filter lets through: protocol 112 or 51, to Group4 or Group6, or, with
// unicast, to any single machine. Received.Payload points into frame. The destination MAC of a
// packet to the group is not looked at: bridges and access points may send
// multicast to each member as unicast.
func ParseAdvert(frame []byte, unicast bool) (Received, Drop) {
	if len(frame) < ethernetSize+ipv4Size {
		return Received{}, DropTruncated
	}
	switch ethernet.EtherType(binary.BigEndian.Uint16(frame[12:])) {
	case ethernet.EtherTypeIPv4:
	case ethernet.EtherTypeIPv6:
		return parseAdvert6(frame, unicast)
	default:
		return Received{}, DropHeader
	}
	ip := frame[ethernetSize:]
	head := int(ip[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	switch {
	case ip[0]>>4 != 4 || head < ipv4Size || total < head:
		return Received{}, DropHeader
	case total > len(ip):
		return Received{}, DropTruncated
	case sum16(ip[:head]) != 0xffff:
		return Received{}, DropHeader
	case binary.BigEndian.Uint16(ip[6:])&0x3fff != 0: // more fragments, offset
		return Received{}, DropFragment
	case ip[9] != ProtocolVRRP && ip[9] != ProtocolAH:
		return Received{}, DropDestination
	}
	r := Received{
		SrcMAC:  [6]byte(frame[6:12]),
		Src:     netip.AddrFrom4([4]byte(ip[12:16])),
		Dst:     netip.AddrFrom4([4]byte(ip[16:20])),
		TTL:     ip[8],
		AH:      ip[9] == ProtocolAH,
		Payload: ip[head:total:total],
		Header:  ip[:head:head],
	}
	if r.Dst != Group4() && !toSingle(frame, r.Dst, unicast) {
		return Received{}, DropDestination
	}
	if !canSend(r.Src) {
		return Received{}, DropSource
	}
	return r, Delivered
}

// toSingle reports whether a packet to a single machine may be taken.
func toSingle(frame []byte, dst netip.Addr, unicast bool) bool {
	return unicast && frame[0]&1 == 0 && (dst.Is4() && canSend(dst) || dst.Is6() && canSend6(dst))
}

// ParseAnswer takes an ARP reply or a neighbour advertisement apart, as a Port
// does.
func ParseAnswer(frame []byte) (Answer, Drop) {
	if len(frame) < ARPSize {
		return Answer{}, DropTruncated
	}
	if binary.BigEndian.Uint16(frame[12:]) == uint16(ethernet.EtherTypeIPv6) {
		return parseNeighbour(frame)
	}
	arp := frame[ethernetSize:]
	if binary.BigEndian.Uint16(frame[12:]) != uint16(ethernet.EtherTypeARP) ||
		binary.BigEndian.Uint32(arp) != arpEthernetIPv4 ||
		binary.BigEndian.Uint16(arp[4:]) != arpLengths ||
		binary.BigEndian.Uint16(arp[6:]) != arpReply {
		return Answer{}, DropARP
	}
	a := Answer{MAC: [6]byte(arp[8:14]), IP: netip.AddrFrom4([4]byte(arp[14:18]))}
	if to := netip.AddrFrom4([4]byte(arp[24:28])); [6]byte(frame) == broadcast && to != a.IP && canSend(to) {
		a.To = to
	}
	if !canSend(a.IP) {
		return Answer{}, DropSource
	}
	return a, Delivered
}

// canSend reports whether a host can have this address: not 0.0.0.0, loopback,
// multicast or the reserved block that ends in the broadcast address.
func canSend(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}
