package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// The trailer lies directly behind the message, which does not count it:
//
//	type = 1 | key id | reserved = 0, 2 | seconds, 4 | fraction, 2 | counter, 2 | HMAC, 16
//
// Seconds, fraction and counter are one number, which rises with each advert.
const (
	trailerLen      = 28
	trailerType     = 1 // HMAC-SHA256, cut to 128 bits
	trailerSequence = 4
	trailerHMAC     = 12
	hmacLen         = trailerLen - trailerHMAC
)

// Stamp is a time on the clock of the day as a trailer states it: seconds since 1970
// modulo 2^32, 1/65536 of a second, and a counter, which is zero in a fresh one. It
// wraps in 2106, so stamps are compared as RFC 1982 does.
type Stamp uint64

// second is the distance of two stamps that are a second apart.
const second = 1 << 32

// StampOf is the stamp of a time since 1970.
func StampOf(sec, nsec int64) Stamp {
	return Stamp(uint64(uint32(sec))<<32 | uint64(nsec)<<16/1e9<<16)
}

func (s Stamp) seconds() uint32 { return uint32(s >> 32) }

// after reports whether s comes after o.
func (s Stamp) after(o Stamp) bool { return int64(s-o) > 0 }

// away is the distance of two stamps in whole seconds, as their seconds state it.
func (s Stamp) away(o Stamp) int64 {
	d := int64(int32(s.seconds() - o.seconds()))
	return max(d, -d)
}

// SignPayload numbers an IP payload that ends in a trailer and fills in the HMAC, and
// over IPv6 the checksum, which covers the trailer. src and to are the addresses of
// the IP header; only src is signed. TrailerAuth that signs only.
func (a *Auth) SignPayload(payload []byte, src, to netip.Addr, sequence Stamp) {
	message, t := payload[:len(payload)-trailerLen], payload[len(payload)-trailerLen:]
	t[0], t[1], t[2], t[3] = trailerType, a.config.Keys[a.active].ID, 0, 0
	binary.BigEndian.PutUint64(t[trailerSequence:], uint64(sequence))
	copy(t[trailerHMAC:], a.hmac(a.keys[a.active], src, message, t))
	if src.Is6() {
		payload[6], payload[7] = 0, 0
		binary.BigEndian.PutUint16(payload[6:], checksum(payload, payload[0]>>4, src, to, RFC9568))
	}
}

// hmac is over a header made of family, version, VRID and source, the message without
// its checksum, and the trailer without its HMAC.
func (a *Auth) hmac(d digest, src netip.Addr, message, trailer []byte) []byte {
	// d.sum is scratch until end: it lives on the heap already.
	pseudo := d.sum[:20]
	clear(pseudo)
	pseudo[1], pseudo[2] = message[0]>>4, message[1]
	if src.Is4() {
		pseudo[0] = byte(IPv4)
		s := src.As4()
		copy(pseudo[4:], s[:])
	} else {
		pseudo[0] = byte(IPv6)
		s := src.As16()
		copy(pseudo[4:], s[:])
	}
	d.begin()
	d.add(pseudo)
	d.add(message[:6])
	d.add(zeroes[:2])
	d.add(message[headerLen:])
	d.add(trailer[:trailerHMAC])
	d.add(zeroes[:hmacLen])
	return d.end(hmacLen)
}

// checkTrailer judges a payload that ends in a trailer.
func (a *Auth) checkTrailer(p Packet, marks *Marks, into *Advert) Drop {
	message, t := p.Payload[:len(p.Payload)-trailerLen], p.Payload[len(p.Payload)-trailerLen:]
	if t[0] != trailerType || t[2] != 0 || t[3] != 0 {
		return DropAuthMalformed
	}
	c := &a.config
	sequence := Stamp(binary.BigEndian.Uint64(t[trailerSequence:]))
	if c.Replay == ByTime && sequence.away(p.Clock) > int64(c.Window) {
		return DropAuthStale
	}
	key := -1
	for i := range c.Keys {
		if c.Keys[i].ID == t[1] {
			key = i
		}
	}
	if key < 0 {
		return DropAuthUnknownKey
	}
	if !same(t[trailerHMAC:], a.hmac(a.keys[key], p.Src, message, t)) {
		return DropAuth
	}
	into.Signed, into.Sequence = true, uint64(sequence)
	into.ClockDiffers = c.Replay == ByTime && sequence.away(p.Clock) > int64(c.Window/2)
	mark, known := marks.of(p.Src)
	if known && c.Replay == ByTime && Stamp(mark).away(p.Clock) > int64(c.Window) {
		known = false // a clock was set since; the window alone has to do
	}
	if known && !sequence.after(Stamp(mark)) {
		marks.set(p.Src, mark)
		return DropAuthReplay
	}
	marks.set(p.Src, uint64(sequence))
	return DropNone
}
