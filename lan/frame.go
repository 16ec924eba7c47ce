package lan

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ethernet"
)

// The builders write into the caller's buffer, so that a router's frames are
// built once and sent as they are. ethernet.Frame gives the type numbers only:
// its MarshalBinary allocates, and its Frame wants slices of MAC addresses.

const (
	// ProtocolVRRP is the IP protocol number of an advert (RFC 9568 5.1.1.4).
	ProtocolVRRP = 112
	// ProtocolAH is that of an advert behind an IP Authentication Header (RFC 2338
	// section 5.3.6, RFC 2402).
	ProtocolAH = 51

	// ethernetSize, ipv4Size and arpSize are the bytes of an Ethernet header,
	// of an IPv4 header without options and of an ARP packet for IPv4.
	ethernetSize = 14
	ipv4Size     = 20
	arpSize      = 28

	// tosControl is DSCP CS6, network control (RFC 2474 4.2.2.2): routers and
	// NICs queue it before everybody's traffic.
	tosControl = 0xc0

	arpRequest = 1
	arpReply   = 2

	// arpEthernetIPv4 and arpLengths are the first six bytes of every ARP
	// packet that concerns us: Ethernet, IPv4, 6-byte and 4-byte addresses.
	arpEthernetIPv4 = 1<<16 | uint32(ethernet.EtherTypeIPv4)
	arpLengths      = 6<<8 | 4
)

// ARPSize is how many bytes the ARP builders append.
const ARPSize = ethernetSize + arpSize

// Group4 is where IPv4 adverts go: 224.0.0.18 (RFC 9568 5.1.1.2).
func Group4() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 18}) }

// AppendAdvert appends an Ethernet frame with an IPv4 or IPv6 packet of protocol
// 112 and TTL or hop limit 255 (RFC 9568 5.1.1, 5.1.2) around payload, the VRRP
// message. src is the primary address of the parent (IPv6: a link-local one),
// group a multicast address of the same family (Group4, Group6), which also gives
// the destination MAC, or the address of a single machine, which leaves that empty:
// such a frame is for SendUnicast. It panics on addresses of two families: these never
// come from the wire. ipID is IPv4's. Frames are not
// padded to Ethernet's minimum; drivers do that.
func AppendAdvert(dst []byte, vmac [6]byte, src, group netip.Addr, ipID uint16, payload []byte) []byte {
	return appendIP(dst, vmac, src, group, ipID, ProtocolVRRP, payload)
}

// AppendAdvertAH is AppendAdvert for a payload that begins with an Authentication
// Header. It is signed over the packet as a whole: IPPacket, SetID.
func AppendAdvertAH(dst []byte, vmac [6]byte, src, group netip.Addr, ipID uint16, payload []byte) []byte {
	return appendIP(dst, vmac, src, group, ipID, ProtocolAH, payload)
}

// IPPacket is the IP packet in a frame of these builders, from its header on. It
// is a part of the frame: who writes to it writes to the frame.
func IPPacket(frame []byte) []byte { return frame[ethernetSize:] }

// Payload is what the IP packet in a frame of these builders carries.
func Payload(frame []byte) []byte {
	if frame[ethernetSize]>>4 == 6 {
		return frame[ethernetSize+ipv6Size:]
	}
	return frame[ethernetSize+ipv4Size:]
}

// SetID gives a frame of these builders, with an IPv4 packet, another
// identification.
func SetID(frame []byte, ipID uint16) {
	ip := frame[ethernetSize:]
	binary.BigEndian.PutUint16(ip[4:], ipID)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:ipv4Size]))
}

func appendIP(dst []byte, vmac [6]byte, src, group netip.Addr, ipID uint16, protocol byte, payload []byte) []byte {
	if src.Is4() != group.Is4() {
		panic("lan: advert from " + src.String() + " to " + group.String() + ", which is of another family")
	}
	if group.Is6() {
		return appendIPv6(dst, vmac, src, group, protocol, payload)
	}
	s, g := src.As4(), group.As4()
	mac := destinationMAC(group)
	dst = append(dst, mac[:]...)
	dst = append(dst, vmac[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(ethernet.EtherTypeIPv4))

	ip := len(dst)
	dst = append(dst, 4<<4|ipv4Size/4, tosControl)
	dst = binary.BigEndian.AppendUint16(dst, uint16(ipv4Size+len(payload)))
	dst = binary.BigEndian.AppendUint16(dst, ipID)
	// No flags, no offset; the checksum is filled in below.
	dst = append(dst, 0, 0, 255, protocol, 0, 0)
	dst = append(dst, s[:]...)
	dst = append(dst, g[:]...)
	binary.BigEndian.PutUint16(dst[ip+10:], ^sum16(dst[ip:ip+ipv4Size]))
	return append(dst, payload...)
}

// AppendGratuitousARP appends the announcement that ip, an IPv4 address, lives
// at mac (RFC 5227 section 3), to everybody and with mac as Ethernet source, so
// that switches learn the port too.
//
// The request form has a target MAC of zero. The reply form, for hosts that
// learn from replies only, carries mac as target MAC as well: RFC 5944 section
// 4.6 asks for it, and Linux takes a reply for gratuitous only then.
func AppendGratuitousARP(dst []byte, mac [6]byte, ip netip.Addr, reply bool) []byte {
	a := ip.As4()
	if reply {
		return appendARP(dst, arpReply, mac, a, mac, a)
	}
	return appendARP(dst, arpRequest, mac, a, [6]byte{}, a)
}

// AppendARPProbe appends the question who has target, an IPv4 address, in the
// form that changes nobody's cache: sender address 0.0.0.0 (RFC 5227 section
// 2.1.1). The MAC is that of the parent: a backup that asked with the virtual
// MAC would draw the switch's entry to itself.
func AppendARPProbe(dst []byte, physMAC [6]byte, target netip.Addr) []byte {
	return appendARP(dst, arpRequest, physMAC, [4]byte{}, [6]byte{}, target.As4())
}

// AppendARPRequest appends the question who has target, an IPv4 address, in the
// name of source, the interface's own; without one (the zero Addr) it is
// AppendARPProbe. It goes to everybody (ff:ff:ff:ff:ff:ff), or to the MAC that is
// thought to have it (RFC 1122 section 2.3.2.1).
func AppendARPRequest(dst []byte, to, physMAC [6]byte, source, target netip.Addr) []byte {
	var sender [4]byte
	if source.Is4() {
		sender = source.As4()
	}
	at := len(dst)
	dst = appendARP(dst, arpRequest, physMAC, sender, [6]byte{}, target.As4())
	copy(dst[at:], to[:])
	return dst
}

// AppendFarewell appends what a machine says that has just ceased to serve vip: to
// everybody, that own, its own IPv4 address, lives at physMAC, as a reply to whoever has
// vip and vmac now. Nobody replies to himself: who has preempted that machine, and knows
// it by own, is told that it has heard so, and need not ask. All else in it is what the
// gratuitous reply for own says.
func AppendFarewell(dst []byte, physMAC [6]byte, own netip.Addr, vmac [6]byte, vip netip.Addr) []byte {
	return appendARP(dst, arpReply, physMAC, own.As4(), vmac, vip.As4())
}

// FarewellTo is where the farewell of who has served vip goes to: Answer.To. Of IPv6
// that is a group, which another address may share.
func FarewellTo(vip netip.Addr) netip.Addr {
	if vip.Is4() {
		return vip
	}
	return SolicitedNode(vip)
}

// broadcast is the MAC of everybody.
var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func appendARP(dst []byte, op uint16, senderMAC [6]byte, sender [4]byte, targetMAC [6]byte, target [4]byte) []byte {
	dst = append(dst, broadcast[:]...)
	dst = append(dst, senderMAC[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(ethernet.EtherTypeARP))
	dst = binary.BigEndian.AppendUint32(dst, arpEthernetIPv4)
	dst = binary.BigEndian.AppendUint16(dst, arpLengths)
	dst = binary.BigEndian.AppendUint16(dst, op)
	dst = append(dst, senderMAC[:]...)
	dst = append(dst, sender[:]...)
	dst = append(dst, targetMAC[:]...)
	return append(dst, target[:]...)
}

// sum16 is the ones' complement sum of RFC 1071 over an even number of bytes:
// 0xffff over an IP header whose checksum is right.
func sum16(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}
