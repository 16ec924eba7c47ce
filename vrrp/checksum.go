package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// ChecksumForm says what the checksum of a version 3 advert over IPv4 covers.
// Version 2 (the message) and IPv6 (the message and the pseudo-header of RFC
// 8200 section 8.1) have one form each, whatever is asked for.
type ChecksumForm uint8

const (
	// RFC9568 covers the message alone (RFC 9568 section 5.2.8). So do Cisco's
	// IOS and NX-OS, and holo.
	RFC9568 ChecksumForm = iota
	// RFC5798 puts an IPv4 pseudo-header before it, as keepalived, FRR and Arista
	// EOS do unless told otherwise. Receivers of one form alone and senders of the
	// other are two masters.
	RFC5798
)

func (f ChecksumForm) String() string {
	switch f {
	case RFC9568:
		return "rfc9568"
	case RFC5798:
		return "rfc5798"
	}
	return "unknown"
}

// sum adds the 16-bit words of b (RFC 1071), an odd last byte padded with zero.
// It takes four bytes at a time, which is congruent modulo 0xffff; the carries
// gather above them, with room for more words than a packet has.
func sum(b []byte) uint64 {
	var s uint64
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// pseudoSum is the sum of the pseudo-header: addresses, protocol and the length
// of the message. IPv4 (RFC 793) and IPv6 (RFC 8200 section 8.1) arrange them
// differently, which a sum does not see. Both addresses are of one family.
func pseudoSum(src, dst netip.Addr, length int) uint64 {
	s := uint64(Protocol) + uint64(length)
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		return s + sum(a[:]) + sum(b[:])
	}
	a, b := src.As16(), dst.As16()
	return s + sum(a[:]) + sum(b[:])
}

// fold ends a sum with its carries added in.
func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// checksum is the field of a message whose checksum field is zero.
func checksum(message []byte, version uint8, src, dst netip.Addr, form ChecksumForm) uint16 {
	s := sum(message)
	if src.Is6() || version == 3 && form == RFC5798 {
		s += pseudoSum(src, dst, len(message))
	}
	return ^fold(s)
}

// verify reports whether a received message is undamaged, and which form of the
// checksum says so. Accepting two forms finds all but 2^-15 of random damage
// instead of 2^-16.
func verify(message []byte, version uint8, src, dst netip.Addr) (ChecksumForm, bool) {
	s := sum(message)
	if src.Is6() {
		return RFC9568, fold(s+pseudoSum(src, dst, len(message))) == 0xffff
	}
	if fold(s) == 0xffff {
		return RFC9568, true
	}
	if version == 3 && fold(s+pseudoSum(src, dst, len(message))) == 0xffff {
		return RFC5798, true
	}
	return RFC9568, false
}
