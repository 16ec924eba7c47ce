package vrrp

import "iter"

// Drop says why a packet was not accepted. It is a closed list, without the last
// block in the order of the checks: the first one that fails names the packet.
type Drop uint8

const (
	DropNone Drop = iota // accepted

	// Before the message is looked at, by the receiving side.
	DropIPHeader    // the IP header is broken, or its addresses are not of one family
	DropFragment    // a fragment: an advert is never large enough
	DropDestination // not to the group, nor to us from a configured peer

	// By Identify.
	DropLength      // shorter than the header; or not exactly as long as its count states
	DropVersion     // neither 2 nor 3, or not the one that the virtual router speaks
	DropType        // not an ADVERTISEMENT
	DropForeignCARP // not VRRP: CARP of a BSD or UCARP, harmless (see carp)
	DropVRID        // no such virtual router on this interface
	DropPeer        // from a machine that is none of the virtual router's peers

	// By Rules.Receive.
	DropTTL          // TTL or hop limit is not 255: forwarded, or forged from afar
	DropChecksum     // damaged
	DropCount        // no addresses
	DropAuthType     // not the authentication type of the virtual router
	DropAuth         // wrong password, or a digest that no key of ours makes
	DropIntervalZero // an interval of zero
	DropFamily       // not the family of the virtual router
	DropLinkLocal    // the first IPv6 address is not link-local
	DropInterval     // version 2: not our interval
	DropAddressList  // version 2: not our addresses, and the sender is not their owner

	// By Rules.Receive, of an Authentication Header or trailer (in this order, with
	// DropAuthType before and DropAuth before the last; all before the checksum).
	DropAuthMissing    // no trailer, and Enforce wants one
	DropAuthMalformed  // a header or trailer of a kind that nobody makes
	DropAuthStale      // the sender's clock is too far from ours, or it was recorded
	DropAuthUnknownKey // signed with a key whose id we do not have
	DropAuthReplay     // a number that was used before
	// By whoever receives more than one virtual router can have to say.
	DropFlood // valid, and one too many

	numDrops
)

var dropWords = [numDrops]string{
	DropNone:         "none",
	DropIPHeader:     "ip-header",
	DropFragment:     "fragment",
	DropDestination:  "destination",
	DropLength:       "length",
	DropVersion:      "version",
	DropType:         "type",
	DropForeignCARP:  "foreign-carp",
	DropVRID:         "vrid",
	DropPeer:         "not-a-peer",
	DropTTL:          "ttl",
	DropChecksum:     "checksum",
	DropCount:        "count",
	DropAuthType:     "auth-type",
	DropAuth:         "auth",
	DropIntervalZero: "interval-zero",
	DropFamily:       "family",
	DropLinkLocal:    "link-local",
	DropInterval:     "interval",
	DropAddressList:  "address-list",

	DropAuthMissing:    "auth-missing",
	DropAuthMalformed:  "auth-malformed",
	DropAuthStale:      "auth-stale",
	DropAuthUnknownKey: "auth-unknown-key",
	DropAuthReplay:     "auth-replay",
	DropFlood:          "flood",
}

func (d Drop) String() string {
	if d < numDrops {
		return dropWords[d]
	}
	return "unknown"
}

// Counters counts packets by what became of them; index DropNone counts the
// accepted ones. The zero value is ready. It is a plain array of whoever owns it:
// a copy is a snapshot, and it must not be shared between goroutines.
type Counters [numDrops]uint64

// Drops yields every reason but DropNone with its count, zero or not, in the
// order of the checks, so that a rendering has the same keys every time.
func (c *Counters) Drops() iter.Seq2[Drop, uint64] {
	return func(yield func(Drop, uint64) bool) {
		for d := DropNone + 1; d < numDrops; d++ {
			if !yield(d, c[d]) {
				return
			}
		}
	}
}

// Dropped is the number of packets that were not accepted, for any reason.
func (c *Counters) Dropped() uint64 {
	var n uint64
	for _, v := range c[DropNone+1:] {
		n += v
	}
	return n
}
