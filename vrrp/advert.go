package vrrp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Priorities with a meaning of their own (RFC 9568 section 5.2.4).
const (
	// PriorityResign says that the sender stops being master.
	PriorityResign = 0
	// PriorityOwner is that of the router whose own addresses the virtual ones are.
	PriorityOwner = 255
)

// MaxAddrs is what the count of one byte can state.
const MaxAddrs = 255

const (
	headerLen   = 8 // both versions, up to and including the checksum
	authDataLen = 8 // version 2, after the addresses

	typeAdvert = 1 // the only packet type of both versions

	// The units of the interval on the wire.
	unit2 = time.Second
	unit3 = 10 * time.Millisecond

	maxInterval2 = 255  // units; one byte
	maxInterval3 = 4095 // units; 12 bits below the reserved ones
)

// Advert is one ADVERTISEMENT. As a value to send it needs no more than the
// first block; Rules.Receive fills all of it.
type Advert struct {
	Version  uint8         // 2 or 3
	VRID     uint8         // 1..255
	Priority uint8         // 0..255
	AuthType uint8         // version 2: as on the wire; version 3: 0
	Interval time.Duration // as on the wire: v2 1 s..255 s, v3 10 ms..40.95 s
	// Addrs are the virtual addresses in the order of the wire, 1 to 255, of one
	// family. The storage is the caller's: Receive appends to Addrs[:0].
	Addrs []netip.Addr

	// LegacyChecksum: a version 3 advert over IPv4 with the checksum of RFC 5798.
	LegacyChecksum bool
	// IntervalDiffers: Interval is not the one that the Rules expect.
	IntervalDiffers bool
	// AddressesDiffer: Addrs are not the ones that the Rules expect, in any order.
	AddressesDiffer bool

	// Signed: a digest was there and is right. With TrailerAuth a packet without one
	// was accepted only because the mode lets it pass.
	Signed bool
	// ClockDiffers: the trailer's time is nearer to the end of the window than to ours.
	ClockDiffers bool
	// Sequence is the number of a packet whose digest is right; 0 without one.
	Sequence uint64
}

// Size is the length in bytes of a message with the given number of addresses:
// 16 + 4n for version 2 (with its Authentication Data), 8 + 4n for version 3 over
// IPv4, 8 + 16n over IPv6. For version 2 over IPv6, which no standard defines, it
// is the length that such a message would have.
func Size(version uint8, family Family, addrs int) int {
	n := headerLen + addrs*family.size()
	if version == 2 {
		n += authDataLen
	}
	return n
}

// AppendTo appends the message to dst and returns the extended slice. The
// addresses are those of the IP header: src, our primary address, and to, the
// group or a unicast peer. They decide the family; the checksum covers them over
// IPv6 and in the form RFC5798. Reserved bits and Authentication Data are zero: this
// is the message without authentication (AppendPayload for the others).
//
// It does not allocate when dst has room for Size more bytes. An Advert that the
// wire cannot carry is an error and leaves dst as it is.
func (a *Advert) AppendTo(dst []byte, src, to netip.Addr, form ChecksumForm) ([]byte, error) {
	return a.append(dst, src, to, form, AuthNone, zeroes[:authDataLen])
}

// AppendPayload appends the IP payload of an advert that is authenticated as auth
// says (nil: not at all): the message, with the password in it, or behind an
// Authentication Header, or with room for a trailer behind it. AuthType is not looked
// at. If auth is Numbered, SignPacket (HeaderAuth) or SignPayload (TrailerAuth)
// completes it, again for each time it is sent.
//
// It does not allocate when dst has room for Size and Overhead more bytes.
func (a *Advert) AppendPayload(dst []byte, src, to netip.Addr, form ChecksumForm, auth *Auth) ([]byte, error) {
	plain := *a
	plain.AuthType = AuthNone
	start := len(dst)
	dst = slices.Grow(dst, Size(a.Version, FamilyOf(src), len(a.Addrs))+auth.Overhead())
	kind, data := auth.wireType(), zeroes[:authDataLen]
	switch auth.Kind() {
	case PasswordAuth, HeaderAuth:
		if a.Version != 2 || !src.Is4() {
			return dst, fmt.Errorf("encode VRRPv%d advert of VRID %d: authentication %q is for version 2", a.Version, a.VRID, auth.Kind())
		}
		if auth.Kind() == HeaderAuth {
			dst = appendAH(dst, src)
		} else {
			data = auth.password[:]
		}
	}
	dst, err := plain.append(dst, src, to, form, kind, data)
	if err != nil {
		return dst[:start], err
	}
	if auth.signsTrailer() {
		dst = append(dst, make([]byte, trailerLen)...)
	}
	return dst, nil
}

func (a *Advert) append(dst []byte, src, to netip.Addr, form ChecksumForm, authType uint8, authData []byte) ([]byte, error) {
	interval, err := a.check(src, to)
	if err != nil {
		return dst, fmt.Errorf("encode VRRPv%d advert of VRID %d: %w", a.Version, a.VRID, err)
	}
	if form > RFC5798 {
		return dst, fmt.Errorf("encode VRRPv%d advert of VRID %d: unknown checksum form %d", a.Version, a.VRID, form)
	}
	start := len(dst)
	dst = slices.Grow(dst, Size(a.Version, FamilyOf(src), len(a.Addrs)))
	dst = append(dst, a.Version<<4|typeAdvert, a.VRID, a.Priority, uint8(len(a.Addrs)))
	if a.Version == 2 {
		dst = append(dst, authType, uint8(interval))
	} else {
		dst = binary.BigEndian.AppendUint16(dst, interval)
	}
	dst = append(dst, 0, 0) // checksum
	for _, addr := range a.Addrs {
		if addr.Is4() {
			b := addr.As4()
			dst = append(dst, b[:]...)
		} else {
			b := addr.As16()
			dst = append(dst, b[:]...)
		}
	}
	if a.Version == 2 {
		dst = append(dst, authData...)
	}
	message := dst[start:]
	binary.BigEndian.PutUint16(message[6:], checksum(message, a.Version, src, to, form))
	return dst, nil
}

// check says why the wire cannot carry the advert, or returns its interval in
// the unit of the wire.
func (a *Advert) check(src, to netip.Addr) (interval uint16, err error) {
	family := FamilyOf(src)
	switch {
	case a.Version != 2 && a.Version != 3:
		return 0, fmt.Errorf("version is %d, must be 2 or 3", a.Version)
	case a.VRID == 0:
		return 0, fmt.Errorf("VRID is 0, must be 1 to 255")
	case a.AuthType != AuthNone:
		return 0, fmt.Errorf("authentication type is %d, must be %d", a.AuthType, AuthNone)
	case family == 0:
		return 0, fmt.Errorf("no source address")
	case FamilyOf(to) != family:
		return 0, fmt.Errorf("destination %v is not %v like source %v", to, family, src)
	case a.Version == 2 && family != IPv4:
		return 0, fmt.Errorf("source is %v, VRRPv2 is for IPv4 only", src)
	case len(a.Addrs) == 0 || len(a.Addrs) > MaxAddrs:
		return 0, fmt.Errorf("%d addresses, must be 1 to %d", len(a.Addrs), MaxAddrs)
	}
	for _, addr := range a.Addrs {
		if FamilyOf(addr) != family || addr.Zone() != "" {
			return 0, fmt.Errorf("address %v is not %v without zone like source %v", addr, family, src)
		}
	}
	if family == IPv6 && !linkLocal(a.Addrs[0]) { // RFC 9568 section 5.2.9
		return 0, fmt.Errorf("first address %v is not link-local", a.Addrs[0])
	}
	unit, limit := unit2, time.Duration(maxInterval2)
	if a.Version == 3 {
		unit, limit = unit3, maxInterval3
	}
	if a.Interval < unit || a.Interval > limit*unit || a.Interval%unit != 0 {
		return 0, fmt.Errorf("interval is %v, must be a multiple of %v from %v to %v", a.Interval, unit, unit, limit*unit)
	}
	return uint16(a.Interval / unit), nil
}
