package vrrp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The vectors of draft-cassen-vrrp-auth-hmac: key 00..1f, id 1.
const (
	vector4 = "3133c80100644402c0000264 010100006800000080000000 1b84bc4e8e43892dc6d98448f8ee2265"
	vector6 = "3133c8010064a2e9fe800000000000000000000000000100 010100006800000080000000 c8c56146ebfd66ee10ec4d8186461b78"

	vectorSequence = Stamp(0x6800000080000000)
)

func vectorKey() []byte {
	var key []byte
	for i := range byte(32) {
		key = append(key, i)
	}
	return key
}

// signing is TrailerAuth with the vectors' key, under Monotonic because their time is
// long past.
func signing(change ...func(*AuthConfig)) AuthConfig {
	c := AuthConfig{
		Kind: TrailerAuth, Keys: []TrailerKey{{1, vectorKey()}}, Active: 1, Replay: Monotonic, Window: 5,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func byTime(c *AuthConfig) { c.Replay = ByTime }

func vectorPacket(family Family) Packet {
	if family == IPv6 {
		return Packet{Src: netip.MustParseAddr("fe80::10"), Dst: netip.MustParseAddr("fe80::20"), TTL: TTL, Payload: unhex(vector6), Clock: vectorSequence}
	}
	return Packet{Src: netip.MustParseAddr("198.51.100.10"), Dst: IPv4.Group(), TTL: TTL, Payload: unhex(vector4), Clock: vectorSequence}
}

func vectorRules(t testing.TB, family Family, c AuthConfig) Rules {
	r := Rules{Version: 3, VRID: 51, Family: family, Interval: time.Second, Auth: mustAuth(t, c), Marks: &Marks{}}
	if r.Addrs = addrs("192.0.2.100"); family == IPv6 {
		r.Addrs = addrs("fe80::100")
	}
	return r
}

func TestTrailerVectors(t *testing.T) {
	for _, family := range []Family{IPv4, IPv6} {
		p := vectorPacket(family)
		a := expect(t, vectorRules(t, family, signing()), p, DropNone)
		if !a.Signed || Stamp(a.Sequence) != vectorSequence || a.LegacyChecksum {
			t.Errorf("%+v", a)
		}
		// The other way round, to the last bit.
		a.Addrs = vectorRules(t, family, signing()).Addrs
		auth := mustAuth(t, signing())
		// keepalived's vector over IPv4 has the checksum of RFC 9568.
		got, err := a.AppendPayload(nil, p.Src, p.Dst, RFC9568, auth)
		if err != nil {
			t.Fatal(err)
		}
		auth.SignPayload(got, p.Src, p.Dst, vectorSequence)
		if !slices.Equal(got, p.Payload) {
			t.Errorf("got  %x\nwant %x", got, p.Payload)
		}
		if n := Size(3, family, 1) + auth.Overhead(); len(got) != n {
			t.Errorf("%d bytes, Size and Overhead say %d", len(got), n)
		}
	}
}

func TestTrailerOneBit(t *testing.T) {
	for _, c := range []struct {
		what string
		byte int
		want Drop
	}{
		{"priority", 2, DropAuth}, {"interval", 5, DropAuth}, {"address", 23, DropAuth}, {"checksum", 6, DropChecksum},
		{"type", 24, DropAuthMalformed}, {"key id", 25, DropAuthUnknownKey}, {"reserved", 26, DropAuthMalformed}, {"reserved", 27, DropAuthMalformed},
		{"seconds", 31, DropAuth}, {"fraction", 33, DropAuth}, {"counter", 35, DropAuth}, {"HMAC", 36, DropAuth}, {"HMAC", 51, DropAuth},
		{"VRID", 1, DropVRID}, {"version", 0, DropType},
	} {
		p := vectorPacket(IPv6)
		p.Payload[c.byte] ^= 1
		expect(t, vectorRules(t, IPv6, signing()), p, c.want)
	}
	// The checksum lies outside the HMAC: the digest alone says yes to any.
	p := vectorPacket(IPv6)
	p.Payload[6] ^= 1
	r := vectorRules(t, IPv6, signing())
	if drop := r.Auth.checkTrailer(p, r.Marks, &Advert{}); drop != DropNone {
		t.Errorf("another checksum: %v", drop)
	}
	p = vectorPacket(IPv6)
	p.Src = netip.MustParseAddr("fe80::11")
	expect(t, vectorRules(t, IPv6, signing()), p, DropAuth)
	p = vectorPacket(IPv6)
	p.Payload[1] = 52
	r = vectorRules(t, IPv6, signing())
	r.VRID = 52
	expect(t, r, p, DropAuth)
	// What is not signed: the destination. Over IPv6 the checksum covers it.
	p = vectorPacket(IPv4)
	p.Dst = netip.MustParseAddr("198.51.100.20")
	expect(t, vectorRules(t, IPv4, signing()), p, DropNone)
}

// A bad checksum behind a good HMAC: dropped, but its number is used.
func TestTrailerBurnsTheNumber(t *testing.T) {
	r := vectorRules(t, IPv4, signing())
	p := vectorPacket(IPv4)
	p.Payload[6] ^= 1
	expect(t, r, p, DropChecksum)
	expect(t, r, vectorPacket(IPv4), DropAuthReplay)
}

// signed is an advert from src as a peer with the configuration would send it.
func signed(t testing.TB, c AuthConfig, version uint8, src string, sequence Stamp) Packet {
	t.Helper()
	auth := mustAuth(t, c)
	p := Packet{Src: netip.MustParseAddr(src), TTL: TTL}
	p.Dst = FamilyOf(p.Src).Group()
	a := Advert{Version: version, VRID: 51, Priority: 100, Interval: time.Second, Addrs: addrs("192.0.2.100")}
	if p.Src.Is6() {
		a.Addrs = addrs("fe80::100")
	}
	var err error
	if p.Payload, err = a.AppendPayload(nil, p.Src, p.Dst, RFC5798, auth); err != nil {
		t.Fatal(err)
	}
	if auth.Numbered() {
		auth.SignPayload(p.Payload, p.Src, p.Dst, sequence)
	}
	return p
}

// Version 2: behind the Authentication Data, which are zero, with type 0; neither
// checksum nor count take it in.
func TestTrailerVersion2(t *testing.T) {
	p := signed(t, signing(), 2, "198.51.100.10", 7)
	if len(p.Payload) != 8+4+8+28 || p.Payload[4] != AuthNone || !slices.Equal(p.Payload[12:20], make([]byte, 8)) {
		t.Errorf("% x", p.Payload)
	}
	if fold(sum(p.Payload[:20])) != 0xffff {
		t.Error("the checksum is not that of the message alone")
	}
	r := vectorRules(t, IPv4, signing())
	r.Version = 2
	expect(t, r, p, DropNone)
	// Nobody can add a password to it.
	p = signed(t, signing(), 2, "198.51.100.10", 8)
	p.Payload[4] = AuthPassword
	expect(t, r, p, DropAuth)
}

// The order of the checks: malformed, stale, unknown key, HMAC, replay.
func TestTrailerOrder(t *testing.T) {
	r := vectorRules(t, IPv4, signing(byTime))
	p := vectorPacket(IPv4)
	expect(t, r, p, DropNone)
	t0 := p.Payload[12:]
	t0[0], t0[1], t0[16] = 2, 9, t0[16]^1
	p.Clock += 6 * second
	p.Payload[6] ^= 1
	expect(t, r, p, DropAuthMalformed)
	t0[0] = 1
	expect(t, r, p, DropAuthStale)
	p.Clock -= second
	expect(t, r, p, DropAuthUnknownKey)
	t0[1] = 1
	expect(t, r, p, DropAuth)
	t0[16] ^= 1
	expect(t, r, p, DropAuthReplay)
	binary.BigEndian.PutUint64(t0[4:], uint64(vectorSequence+1))
	expect(t, r, p, DropAuth)
	r.Marks = &Marks{}
	p = vectorPacket(IPv4)
	p.Payload[6] ^= 1
	expect(t, r, p, DropChecksum)
}

func TestTrailerModes(t *testing.T) {
	for mode, unsigned := range map[AuthMode]Drop{Enforce: DropAuthMissing, Permissive: DropNone, ReceiveOnly: DropNone} {
		c := signing(func(c *AuthConfig) { c.Mode = mode })
		for _, version := range []uint8{2, 3} {
			r := vectorRules(t, IPv4, c)
			r.Version = version
			plain := signed(t, AuthConfig{}, version, "198.51.100.10", 0)
			if a := expect(t, r, plain, unsigned); a.Signed {
				t.Error("signed without a trailer")
			}
			good := signed(t, signing(), version, "198.51.100.10", vectorSequence)
			if a := expect(t, r, good, DropNone); !a.Signed {
				t.Error("not signed with a trailer")
			}
			good.Payload[len(good.Payload)-1] ^= 1
			expect(t, r, good, DropAuth) // in every mode
			// What such a router sends itself.
			if own := signed(t, c, version, "198.51.100.10", 9); (len(own.Payload) == len(plain.Payload)) != (mode == ReceiveOnly) {
				t.Errorf("%v sends %d bytes", mode, len(own.Payload))
			}
		}
	}
	// Without keys a trailer is surplus, as for every old peer.
	r := vectorRules(t, IPv4, AuthConfig{})
	expect(t, r, vectorPacket(IPv4), DropLength)
	// Priority 0 needs a trailer as well.
	r = vectorRules(t, IPv4, signing())
	p := edit(signed(t, AuthConfig{}, 3, "198.51.100.10", 0), func(b []byte) { b[2] = 0 })
	expect(t, r, p, DropAuthMissing)
	// Any other surplus is none.
	for _, n := range []int{1, 24, 27, 29, 32} {
		p := signed(t, AuthConfig{}, 3, "198.51.100.10", 0)
		p.Payload = append(p.Payload, make([]byte, n)...)
		expect(t, r, p, DropLength)
	}
}

func TestTrailerWindow(t *testing.T) {
	for off, want := range map[int64]Drop{
		-300: DropAuthStale, -6: DropAuthStale, -5: DropNone, -3: DropNone, -2: DropNone, 0: DropNone,
		2: DropNone, 3: DropNone, 5: DropNone, 6: DropAuthStale, 1 << 31: DropAuthStale,
	} {
		r := vectorRules(t, IPv4, signing(byTime))
		p := vectorPacket(IPv4)
		p.Clock += Stamp(off) * second
		a := expect(t, r, p, want)
		if differs := want == DropNone && (off > 2 || off < -2); a.ClockDiffers != differs {
			t.Errorf("%d s: ClockDiffers is %v", off, a.ClockDiffers)
		}
		// Whole seconds: a fraction more changes nothing.
		p.Clock |= 0x7fffffff
		expect(t, vectorRules(t, IPv4, signing(byTime)), p, want)
	}
	// Monotonic minds no clock.
	p := vectorPacket(IPv4)
	p.Clock = 0
	expect(t, vectorRules(t, IPv4, signing()), p, DropNone)
	// Across the end of the 32 bits, in 2106.
	r := vectorRules(t, IPv4, signing(byTime))
	for i, at := range []Stamp{StampOf(1<<32-1, 0), StampOf(1<<32, 0), StampOf(1<<32+1, 0)} {
		p := signed(t, signing(), 3, "198.51.100.10", at)
		p.Clock = at + second
		if a := expect(t, r, p, DropNone); a.Sequence != uint64(at) {
			t.Errorf("%d: %+v", i, a)
		}
	}
}

func TestTrailerReplay(t *testing.T) {
	r := vectorRules(t, IPv4, signing())
	at := func(src string, s Stamp) Packet { return signed(t, signing(), 3, src, s) }
	expect(t, r, at("198.51.100.10", 100), DropNone)
	expect(t, r, at("198.51.100.10", 100), DropAuthReplay)
	expect(t, r, at("198.51.100.10", 99), DropAuthReplay)
	expect(t, r, at("198.51.100.11", 5), DropNone) // a mark for each
	expect(t, r, at("198.51.100.10", 101), DropNone)
	// An unsigned packet or one with a wrong HMAC moves nothing.
	forged := at("198.51.100.10", 1<<62)
	forged.Payload[20] ^= 1
	expect(t, r, forged, DropAuth)
	expect(t, r, at("198.51.100.10", 102), DropNone)
	// RFC 1982: the next half of the numbers is after, the other one before.
	expect(t, r, at("198.51.100.10", 102+1<<63-1), DropNone)
	expect(t, r, at("198.51.100.10", 103), DropAuthReplay)

	// Under ByTime a mark from a wrong clock is forgotten, on either side.
	r = vectorRules(t, IPv4, signing(byTime))
	now := StampOf(1_800_000_000, 0)
	hear := func(sent, clock Stamp, want Drop) {
		t.Helper()
		p := at("198.51.100.10", sent)
		p.Clock = clock
		expect(t, r, p, want)
	}
	hear(now+3600*second, now+3600*second, DropNone) // both clocks were wrong
	hear(now, now, DropNone)
	hear(now, now+second, DropAuthReplay)
	hear(now+4*second, now, DropNone)
	hear(now+2*second, now+second, DropAuthReplay) // within the window it counts
}

// The table is bounded; only valid packets touch it.
func TestMarks(t *testing.T) {
	r := vectorRules(t, IPv4, signing())
	source := func(i int) string { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String() }
	for i := range MaxMarks {
		expect(t, r, signed(t, signing(), 3, source(i+1), 10), DropNone)
	}
	expect(t, r, signed(t, signing(), 3, source(1), 11), DropNone) // now source 2 is the oldest
	bad := signed(t, signing(), 3, source(2), 12)
	bad.Payload[40-1] ^= 1
	expect(t, r, bad, DropAuth)
	expect(t, r, signed(t, signing(), 3, source(100), 10), DropNone)
	expect(t, r, signed(t, signing(), 3, source(1), 11), DropAuthReplay)
	expect(t, r, signed(t, signing(), 3, source(3), 10), DropAuthReplay)
	expect(t, r, signed(t, signing(), 3, source(2), 10), DropNone) // forgotten

	// Stored and put back, they are the same.
	var copied Marks
	for src, sequence := range r.Marks.All() {
		copied.Restore(src, sequence)
	}
	if copied != *r.Marks {
		t.Errorf("%+v\n%+v", copied, *r.Marks)
	}
	copied.Restore(netip.MustParseAddr("198.51.100.200"), 1) // one too many
	if copied != *r.Marks {
		t.Error("a full table took another one")
	}
}

func TestKeyRotation(t *testing.T) {
	old, next := TrailerKey{1, vectorKey()}, TrailerKey{2, slices.Repeat([]byte{7}, 64)}
	with := func(active uint8, keys ...TrailerKey) AuthConfig {
		return signing(func(c *AuthConfig) { c.Keys, c.Active = keys, active })
	}
	// Each step of a rotation beside its neighbours: nothing is ever dropped.
	steps := []AuthConfig{with(1, old), with(1, old, next), with(2, old, next), with(2, next)}
	sequence := Stamp(0)
	for i := range steps {
		for j := max(0, i-1); j <= min(i+1, len(steps)-1); j++ {
			sequence++
			expect(t, vectorRules(t, IPv4, steps[i]), signed(t, steps[j], 3, "198.51.100.10", sequence), DropNone)
		}
	}
	expect(t, vectorRules(t, IPv4, steps[0]), signed(t, steps[3], 3, "198.51.100.10", 99), DropAuthUnknownKey)
}

// What one packet has proven does not stick to the next.
func TestNothingSticks(t *testing.T) {
	r := vectorRules(t, IPv4, signing())
	var a Advert
	if drop := r.Receive(vectorPacket(IPv4), &a); drop != DropNone || !a.Signed {
		t.Fatal(drop)
	}
	for _, p := range []Packet{{}, {Src: a.Addrs[0], Dst: a.Addrs[0]}, {Src: a.Addrs[0], Dst: a.Addrs[0], AH: true}} {
		a.Signed, a.Sequence, a.ClockDiffers = true, 1, true
		if drop := r.Receive(p, &a); drop == DropNone || a.Signed || a.Sequence != 0 || a.ClockDiffers {
			t.Errorf("%v: %+v", drop, a)
		}
	}
}
