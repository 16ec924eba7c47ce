package vrrp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Packet is what arrived, without its link and IP headers.
type Packet struct {
	Src, Dst netip.Addr // of the IP header, without zone
	TTL      uint8      // or hop limit, of the IP header
	// Payload is the IP payload, cut to the length that the IP header states. It
	// is neither changed nor kept.
	Payload []byte

	// AH: the packet has protocol 51, and Payload begins with an Authentication
	// Header. Header is then the IP header, as it arrived.
	AH     bool
	Header []byte
	// Clock is the present time of day, for trailers.
	Clock Stamp
}

// Identify reads what tells whom a payload is for. The reasons are DropLength
// (shorter than a header), DropVersion (neither 2 nor 3), DropType,
// DropForeignCARP and DropVRID (VRID 0, which no virtual router can have). The
// version and VRID are those of the wire whenever the payload has a header, so
// that a report can name them.
func Identify(payload []byte) (version, vrid uint8, drop Drop) {
	if len(payload) < headerLen {
		return 0, 0, DropLength
	}
	version, vrid = payload[0]>>4, payload[1]
	switch {
	case version != 2 && version != 3:
		return version, vrid, DropVersion
	case payload[0]&0x0f != typeAdvert:
		return version, vrid, DropType
	case carp(payload):
		return version, vrid, DropForeignCARP
	case vrid == 0:
		return version, vrid, DropVRID
	}
	return version, vrid, DropNone
}

// carp recognises an advertisement of CARP, the protocol of the BSDs and of
// UCARP, which took over VRRP's protocol number, group, version and type. It is
// always 36 bytes:
//
//	0x21 | vhid | advskew | authlen = 7 | pad or demote | advbase | checksum |
//	counter, 8 bytes | SHA-1 HMAC, 20 bytes
//
// Where CARP states the length of counter and HMAC in words, VRRPv2 states the
// number of addresses, and a VRRPv2 message with seven of them has 44 bytes: no
// acceptable advert is mistaken for CARP. The checksum (plain over the 36 bytes,
// as IPv4 has it) tells it from damage; what remains alike is a VRRPv2 message with
// seven addresses whose Authentication Data, all zero, were cut off. Under its own
// name CARP does not raise the error counters that people watch, whatever its
// vhid; CARP that is not recognised here is dropped all the same, as DropLength or
// DropChecksum.
func carp(payload []byte) bool {
	const (
		size    = 36
		authLen = 7
	)
	return len(payload) == size && payload[0] == 0x21 && payload[3] == authLen &&
		fold(sum(payload)) == 0xffff
}

// Rules are what one virtual router expects of the adverts of its peers. They
// are read only, and may be shared if there is no authentication; Auth and Marks
// belong to one goroutine.
type Rules struct {
	Version  uint8         // 2 or 3
	VRID     uint8         // 1..255
	Family   Family        // IPv4; version 3 also IPv6
	Interval time.Duration // our own
	Addrs    []netip.Addr  // our virtual addresses, without zones, in any order

	// Beside2: Version is 3, and version 2 is heard as well (RFC 9568 section 8.4.2).
	// Its interval is then learned like that of version 3, not compared.
	Beside2 bool

	// MinTTL is the least TTL or hop limit that is taken; 0: 255, which no router lets
	// pass (RFC 9568 section 5.1.1.3). Less is for peers beyond routers.
	MinTTL uint8

	Auth  *Auth  // nil: NoAuth
	Marks *Marks // with HeaderAuth and TrailerAuth; moved by what is accepted
}

// Receive judges a packet. The checks and their order (a packet is named after
// the first that fails; RFC 9568 section 7.1 with its errata 8299 to 8301, RFC
// 3768 section 7.1):
//
//	length, version, type, VRID   as Identify, and the router's own (Beside2: also 2)
//	TTL or hop limit              255, or what MinTTL says
//	Authentication Header         there if and only if we want one: type, form, ICV, number
//	trailer, if we have keys      there, in form, in time, its key, HMAC, number
//	checksum                      of a complete message; version 3 over IPv4: either form
//	count                         at least 1
//	length                        exactly that of count addresses
//	authentication type           ours; without one, Authentication Data are ignored
//	password                      all 8 bytes
//	interval                      not zero
//	family                        the router's; the first IPv6 address is link-local
//	version 2: interval           ours (RFC 3768 section 7.1: MUST discard); not with Beside2
//	version 2: addresses          ours, unless the sender's priority is 255
//
// Version 3 learns the interval and does not mind the addresses: differences are
// only flagged (RFC 9568 section 7.1).
//
// The address check of version 2 is a MAY of RFC 2338 and RFC 3768 (section 7.1),
// but who makes it MUST drop what fails, unless the priority is the owner's. Here
// it is always made: two masters are noticed at once, an address that nobody
// serves since the last change of sides is not. It deviates from the text in
// comparing sets where that says lists: the same addresses in another order are
// the same addresses.
//
// A message shorter than its count states is DropLength even when its checksum
// is wrong: the sum cannot be made without the missing bytes. A message with
// something behind it passes the checksum with or without the surplus (senders of
// an HMAC trailer leave it out over IPv4 and take it in over IPv6), to be named
// after its length.
//
// What is signed moves the sender's mark as soon as its digest is right, whatever the
// later checks say: a number is used once.
//
// Surplus bytes are a trailer if they are as long as one and we have keys; otherwise
// DropLength, as for every receiver that does not know them.
//
// a.Addrs is reused, and nothing is allocated once it is large enough. From the
// authentication type on a holds what was received, also when it is dropped, so
// that a report can say what a peer wants; before that it is left as it was, except
// that a.AuthType is right with every DropAuthType.
func (r *Rules) Receive(p Packet, a *Advert) Drop {
	a.Signed, a.ClockDiffers, a.Sequence = false, false, 0
	family := FamilyOf(p.Src)
	if family == 0 || FamilyOf(p.Dst) != family {
		return DropIPHeader
	}
	message := p.Payload
	if p.AH {
		var drop Drop
		if message, drop = AfterAH(p.Payload); drop != DropNone {
			return drop
		}
	}
	version, vrid, drop := Identify(message)
	switch {
	case drop != DropNone:
		return drop
	case version != r.Version && !(version == 2 && r.Beside2):
		return DropVersion
	case vrid != r.VRID:
		return DropVRID
	case p.TTL < r.minTTL():
		return DropTTL
	}

	count := int(message[3])
	size := Size(version, family, count)
	if drop := r.authenticate(p, message, size, a); drop != DropNone {
		return drop
	}
	whole, covered := message, size // the checksum is over whole[:covered]
	if r.Auth.Kind() == TrailerAuth && len(message) == size+trailerLen {
		message = message[:size]
		if family == IPv6 {
			covered += trailerLen
		}
	}
	form := RFC9568
	if len(message) >= size {
		var ok bool
		form, ok = verify(whole[:covered], version, p.Src, p.Dst)
		if !ok && len(message) > size {
			_, ok = verify(message, version, p.Src, p.Dst)
		}
		if !ok {
			return DropChecksum
		}
	}
	switch {
	case count == 0:
		return DropCount
	case len(message) != size:
		return DropLength
	}

	a.decode(message, family)
	a.LegacyChecksum = form == RFC5798
	a.IntervalDiffers = a.Interval != r.Interval
	if version == 2 && r.Beside2 { // less than a second is one second there
		a.IntervalDiffers = a.Interval != max(r.Interval, unit2)
	}
	a.AddressesDiffer = !sameAddrs(a.Addrs, r.Addrs)
	switch {
	case a.AuthType != r.Auth.wireType():
		return DropAuthType
	case r.Auth.Kind() == PasswordAuth && !same(message[size-authDataLen:], r.Auth.password[:]):
		return DropAuth
	case a.Interval == 0:
		return DropIntervalZero
	case family != r.Family || version == 2 && family != IPv4:
		return DropFamily
	case family == IPv6 && !linkLocal(a.Addrs[0]):
		return DropLinkLocal
	case version == 2 && a.IntervalDiffers && !r.Beside2:
		return DropInterval
	case version == 2 && a.AddressesDiffer && a.Priority != PriorityOwner:
		return DropAddressList
	}
	return DropNone
}

func (r *Rules) minTTL() uint8 {
	if r.MinTTL == 0 {
		return TTL
	}
	return r.MinTTL
}

// authenticate judges what lies outside a message of the given size: an Authentication
// Header before it or a trailer behind it. A message of another length is left to the
// checks that follow, and moves no mark.
func (r *Rules) authenticate(p Packet, message []byte, size int, a *Advert) Drop {
	kind := r.Auth.Kind()
	if p.AH != (kind == HeaderAuth) || p.AH && message[4] != AuthHeader {
		a.AuthType = AuthNone
		if p.AH && message[4] == AuthHeader || message[0]>>4 == 2 && !p.AH {
			a.AuthType = message[4]
		}
		return DropAuthType
	}
	switch {
	case kind == HeaderAuth && len(message) != size:
		return DropLength
	case kind == HeaderAuth:
		return r.Auth.checkHeader(p, r.Marks, a)
	case kind == TrailerAuth && len(message) == size+trailerLen:
		return r.Auth.checkTrailer(p, r.Marks, a)
	case kind == TrailerAuth && len(message) == size && r.Auth.config.Mode == Enforce:
		return DropAuthMissing
	}
	return DropNone
}

// decode fills the first block of a from a message of known version and exact
// length.
func (a *Advert) decode(message []byte, family Family) {
	a.Version = message[0] >> 4
	a.VRID = message[1]
	a.Priority = message[2]
	if a.Version == 2 {
		a.AuthType = message[4]
		a.Interval = time.Duration(message[5]) * unit2
	} else {
		// The upper four bits are reserved and some vendors leave garbage there
		// (RFC 9568 section 5.2.6).
		a.AuthType = AuthNone
		a.Interval = time.Duration(binary.BigEndian.Uint16(message[4:])&maxInterval3) * unit3
	}
	a.Addrs = a.Addrs[:0]
	rest := message[headerLen:]
	for range message[3] {
		if family == IPv4 {
			a.Addrs = append(a.Addrs, netip.AddrFrom4([4]byte(rest)))
			rest = rest[4:]
		} else {
			a.Addrs = append(a.Addrs, netip.AddrFrom16([16]byte(rest)))
			rest = rest[16:]
		}
	}
}

// fewAddrs is up to how many addresses comparing each with each is the fastest way.
const fewAddrs = 8

// sameAddrs compares without regard to order, with regard to repetition. got is
// off the wire and has at most MaxAddrs.
func sameAddrs(got, want []netip.Addr) bool {
	if slices.Equal(got, want) {
		return true
	}
	switch {
	case len(got) != len(want) || len(want) > MaxAddrs:
		return false
	case len(want) <= fewAddrs:
		return sameFew(got, want)
	}
	// A table of what is wanted, twice as large as it has to be, in which the place
	// of an address follows from its bits: a long list costs microseconds, as a
	// peer that keeps its addresses in another order sends it with every advert.
	var table [2 * (MaxAddrs + 1)]uint8 // 1 + index in want; 0: free
	for i, w := range want {
		at := place(w) % len(table)
		for table[at] != 0 {
			at = (at + 1) % len(table)
		}
		table[at] = uint8(i + 1)
	}
	var taken [MaxAddrs]bool
	for _, g := range got {
		at := place(g) % len(table)
		for table[at] != 0 && (want[table[at]-1] != g || taken[table[at]-1]) {
			at = (at + 1) % len(table)
		}
		if table[at] == 0 {
			return false
		}
		taken[table[at]-1] = true
	}
	return true
}

// place spreads addresses over a table. Whoever forges addresses that meet at one
// place makes us compare each with each, as for a short list.
func place(a netip.Addr) int {
	b := a.As16()
	h := binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(b[8:])
	h *= 0xff51afd7ed558ccd
	return int(h >> 40)
}

func sameFew(got, want []netip.Addr) bool {
	var taken [fewAddrs]bool
next:
	for _, g := range got {
		for i, w := range want {
			if g == w && !taken[i] {
				taken[i] = true
				continue next
			}
		}
		return false
	}
	return true
}
