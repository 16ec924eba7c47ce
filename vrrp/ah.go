package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// ProtocolAH is the IP protocol number of the Authentication Header (RFC 2402).
const ProtocolAH = 51

// The header lies between the IP header and the message:
//
//	next header = 112 | payload length = 4 | reserved, 2 | SPI, 4 | sequence, 4 | ICV, 12
const (
	headerAuthLen = 24
	ahWords       = headerAuthLen/4 - 2 // RFC 2402 section 2.2
	ahSPI         = 4
	ahSequence    = 8
	ahICV         = 12
	icvLen        = 12 // HMAC-MD5-96, RFC 2403

	ipv4Len = 20 // without options

	// lastAHSequence is the highest number that is sent: one more would block every
	// peer for good (RFC 2402 section 3.3.2: it must not cycle).
	lastAHSequence = 1<<32 - 2
)

// zeroes stand in for what a digest leaves out. Nothing writes them.
var zeroes [16]byte

// AfterAH takes the Authentication Header off an IP payload of protocol 51: the
// message behind it tells whom it is for. It does not judge the ICV. The reasons
// are DropLength and DropAuthMalformed (not VRRP, or not HMAC-MD5-96).
func AfterAH(payload []byte) (message []byte, drop Drop) {
	switch {
	case len(payload) < headerAuthLen:
		return nil, DropLength
	case payload[0] != Protocol || payload[1] != ahWords:
		return nil, DropAuthMalformed
	}
	return payload[headerAuthLen:], DropNone
}

// appendAH appends a header whose sequence number and ICV Sign fills in. The SPI is
// the source address, which is what keepalived wants it to be.
func appendAH(dst []byte, src netip.Addr) []byte {
	s := src.As4()
	dst = append(dst, Protocol, ahWords, 0, 0, s[0], s[1], s[2], s[3])
	return append(dst, zeroes[:headerAuthLen-8]...)
}

// SignPacket numbers an IPv4 packet (from its IP header on) with an Authentication
// Header and an advert, and fills in the ICV. The IP header must be complete, its
// identification above all, and without options; its checksum is not covered.
// HeaderAuth only.
func (a *Auth) SignPacket(packet []byte, sequence uint32) {
	ah := packet[ipv4Len:]
	binary.BigEndian.PutUint32(ah[ahSequence:], sequence)
	copyTTL := a.config.ICV == ICVKeepalived && packet[16]&0xf0 == 0xe0
	copy(ah[ahICV:headerAuthLen], a.icv(packet[:ipv4Len], ah, copyTTL))
}

// icv is the integrity check value: HMAC-MD5-96 over the packet with zero in its
// place and in what routers change (RFC 2402 section 3.3.3.1.1.1). keepalived leaves
// the TTL in when it multicasts.
func (a *Auth) icv(header, payload []byte, withTTL bool) []byte {
	// In one piece: of many short ones the calls would cost as much as the sum.
	b := append(a.packet[:0], header...)
	b[1] = 0          // type of service
	b[6], b[7] = 0, 0 // flags, fragment offset
	if !withTTL {
		b[8] = 0
	}
	b[10], b[11] = 0, 0 // checksum
	b = append(b, payload[:ahICV]...)
	b = append(b, zeroes[:icvLen]...)
	d := a.header
	d.begin()
	d.add(b)
	d.add(payload[headerAuthLen:])
	return d.end(icvLen)
}

// checkHeader judges the header of a packet whose payload AfterAH has understood.
func (a *Auth) checkHeader(p Packet, marks *Marks, into *Advert) Drop {
	if len(p.Header) != ipv4Len {
		return DropAuthMalformed // options, some of which routers change
	}
	got := p.Payload[ahICV:headerAuthLen]
	if !same(got, a.icv(p.Header, p.Payload, true)) && !same(got, a.icv(p.Header, p.Payload, false)) {
		return DropAuth
	}
	sequence := binary.BigEndian.Uint32(p.Payload[ahSequence:])
	into.Signed, into.Sequence = true, uint64(sequence)
	mark, known := marks.of(p.Src)
	if known && uint64(sequence) <= mark {
		marks.set(p.Src, mark)
		return DropAuthReplay
	}
	marks.set(p.Src, uint64(sequence))
	return DropNone
}
