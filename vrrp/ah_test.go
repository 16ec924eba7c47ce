package vrrp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// What keepalived 2.2.7 (Debian 12) multicast with auth_type AH, auth_pass s3cr3t51:
// IP packets, the last one of priority 0.
var ahGoldens = []string{
	"45c0004400010000ff33b075c633640ae0000012 70040000c633640a00000001 801e11d8dd769ee77c756e95 213364020201f3fec0000264c00002650000000000000000",
	"45c0004400020000ff33b074c633640ae0000012 70040000c633640a00000002 6ec81ea559b43786a0b3a04b 213364020201f3fec0000264c00002650000000000000000",
	"45c0004400090000ff33b06dc633640ae0000012 70040000c633640a00000009 af30917ab2a2785217455e0f 213364020201f3fec0000264c00002650000000000000000",
	"45c00044000a0000ff33b06cc633640ae0000012 70040000c633640a0000000a f24a16a67b1fa808673fa9a1 21330002020157ffc0000264c00002650000000000000000",
}

// The same with auth_type PASS.
var passGoldens = []string{
	"45c0002c00010000ff70b050c633640ae0000012 213364020101b5b3c0000264c00002657333637233743531",
	"45c0002c000a0000ff70b047c633640ae0000012 21330002010119b4c0000264c00002657333637233743531",
}

func mustAuth(t testing.TB, c AuthConfig) *Auth {
	t.Helper()
	a, err := NewAuth(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ipPacket takes an IPv4 packet apart as package lan does.
func ipPacket(b []byte) Packet {
	return Packet{
		Src: netip.AddrFrom4([4]byte(b[12:])), Dst: netip.AddrFrom4([4]byte(b[16:])), TTL: b[8],
		AH: b[9] == ProtocolAH, Header: b[:ipv4Len], Payload: b[ipv4Len:],
	}
}

// capturedRules are those of a peer of the captured keepalived.
func capturedRules(t testing.TB, c AuthConfig) Rules {
	return Rules{
		Version: 2, VRID: 51, Family: IPv4, Interval: time.Second, Addrs: addrs("192.0.2.100", "192.0.2.101"),
		Auth: mustAuth(t, c), Marks: &Marks{},
	}
}

var (
	ahKey   = AuthConfig{Kind: HeaderAuth, Key: []byte("s3cr3t51")}
	passKey = AuthConfig{Kind: PasswordAuth, Key: []byte("s3cr3t51")}
)

// RFC2338-5.3.6-2 and 7.1: the digest, its number, or discard.
func TestKeepalivesHeadersAreAccepted(t *testing.T) {
	r := capturedRules(t, ahKey)
	for i, wire := range ahGoldens {
		a := expect(t, r, ipPacket(unhex(wire)), DropNone)
		if want := []uint64{1, 2, 9, 10}[i]; a.Sequence != want || !a.Signed || a.AuthType != AuthHeader {
			t.Errorf("%+v, want number %d", a, want)
		}
	}
	for _, wire := range ahGoldens {
		expect(t, r, ipPacket(unhex(wire)), DropAuthReplay)
	}
	// Somebody else's numbers are his own.
	other := unhex(ahGoldens[0])
	copy(other[12:], []byte{198, 51, 100, 11})
	r.Auth.SignPacket(other, 1)
	expect(t, r, ipPacket(other), DropNone)
}

// What we send is to the last bit what keepalived sends.
func TestHeaderIsKeepalives(t *testing.T) {
	auth := mustAuth(t, ahKey)
	for _, wire := range ahGoldens {
		want := unhex(wire)
		p := ipPacket(want)
		advert := Advert{Version: 2, VRID: 51, Priority: want[46], Interval: time.Second, Addrs: addrs("192.0.2.100", "192.0.2.101")}
		got, err := advert.AppendPayload(slices.Clone(want[:ipv4Len]), p.Src, p.Dst, RFC9568, auth)
		if err != nil {
			t.Fatal(err)
		}
		auth.SignPacket(got, binary.BigEndian.Uint32(want[28:]))
		if !slices.Equal(got, want) {
			t.Errorf("got  %x\nwant %x", got, want)
		}
		if n := Size(2, IPv4, 2) + auth.Overhead(); len(got) != ipv4Len+n {
			t.Errorf("%d bytes, Size and Overhead say %d", len(got), ipv4Len+n)
		}
	}
}

// The form of RFC 2402, which keepalived uses when it speaks to one peer.
func TestICVWithoutTTL(t *testing.T) {
	rfc := ahKey
	rfc.ICV = ICVRFC2402
	r := capturedRules(t, ahKey)
	b := unhex(ahGoldens[0])
	mustAuth(t, rfc).SignPacket(b, 1)
	if slices.Equal(b, unhex(ahGoldens[0])) {
		t.Error("both forms are the same")
	}
	expect(t, r, ipPacket(b), DropNone)

	unicast := unhex(ahGoldens[0])
	copy(unicast[16:], []byte{198, 51, 100, 20})
	mustAuth(t, ahKey).SignPacket(unicast, 2)
	again := slices.Clone(unicast)
	mustAuth(t, rfc).SignPacket(again, 2)
	if !slices.Equal(unicast, again) {
		t.Error("to one peer the forms must not differ")
	}
}

func TestHeaderOneBit(t *testing.T) {
	for _, c := range []struct {
		what string
		byte int
		want Drop
	}{
		{"type of service", 1, DropNone}, {"identification", 5, DropAuth}, {"flags", 6, DropNone}, {"header checksum", 10, DropNone},
		{"source", 15, DropAuth}, {"destination", 19, DropAuth}, {"total length", 3, DropAuth},
		{"next header", 20, DropAuthMalformed}, {"payload length", 21, DropAuthMalformed}, {"reserved", 22, DropAuth}, {"SPI", 27, DropAuth},
		{"number", 31, DropAuth}, {"ICV", 43, DropAuth}, {"priority", 46, DropAuth}, {"checksum", 50, DropAuth}, {"address", 55, DropAuth},
		{"authentication data", 67, DropAuth}, {"authentication type", 48, DropAuthType},
	} {
		b := unhex(ahGoldens[0])
		b[c.byte] ^= 1
		r := capturedRules(t, ahKey)
		if a := (Advert{}); r.Receive(ipPacket(b), &a) != c.want {
			t.Errorf("%s: %v, want %v", c.what, r.Receive(ipPacket(b), &a), c.want)
		}
		if c.want != DropNone {
			expect(t, r, ipPacket(unhex(ahGoldens[0])), DropNone) // no mark was made
		}
	}
	wrong := ahKey
	wrong.Key = []byte("s3cr3t52")
	expect(t, capturedRules(t, wrong), ipPacket(unhex(ahGoldens[0])), DropAuth)
	options := ipPacket(unhex(ahGoldens[0]))
	options.Header = append(slices.Clone(options.Header), 1, 1, 1, 1)
	expect(t, capturedRules(t, ahKey), options, DropAuthMalformed)
	short := ipPacket(unhex(ahGoldens[0]))
	short.Payload = short.Payload[:23]
	expect(t, capturedRules(t, ahKey), short, DropLength)
	for n := headerAuthLen; n < len(short.Payload); n++ {
		short.Payload = ipPacket(unhex(ahGoldens[0])).Payload[:n]
		expect(t, capturedRules(t, ahKey), short, DropLength)
	}
}

// Everybody's adverts at everybody else: the wrong type is called so.
func TestWrongType(t *testing.T) {
	none := AuthConfig{}
	plain := unhex(passGoldens[0])
	plain[24], plain[26], plain[27] = 0, 0, 0
	clear(plain[36:])
	binary.BigEndian.PutUint16(plain[26:], checksum(plain[20:], 2, netip.Addr{}, netip.Addr{}, RFC9568))
	packets := map[AuthKind][]byte{NoAuth: plain, PasswordAuth: unhex(passGoldens[0]), HeaderAuth: unhex(ahGoldens[0])}
	for ours, c := range map[AuthKind]AuthConfig{NoAuth: none, PasswordAuth: passKey, HeaderAuth: ahKey} {
		for theirs, b := range packets {
			want := DropAuthType
			if ours == theirs {
				want = DropNone
			}
			a := expect(t, capturedRules(t, c), ipPacket(b), want)
			if a.AuthType != uint8(theirs) {
				t.Errorf("%v at %v: type %d", theirs, ours, a.AuthType)
			}
		}
	}
	// The type of the header without the header.
	fake := unhex(passGoldens[0])
	fake[24]++
	fake[27]-- // the checksum is right
	expect(t, capturedRules(t, ahKey), ipPacket(fake), DropAuthType)
}

// RFC2338-5.3.6-1 and 7.1: equality of all bytes, or discard.
func TestPassword(t *testing.T) {
	for _, wire := range passGoldens {
		want := unhex(wire)
		expect(t, capturedRules(t, passKey), ipPacket(want), DropNone)
		p := ipPacket(want)
		advert := Advert{Version: 2, VRID: 51, Priority: want[22], Interval: time.Second, Addrs: addrs("192.0.2.100", "192.0.2.101")}
		got, err := advert.AppendPayload(nil, p.Src, p.Dst, RFC9568, mustAuth(t, passKey))
		if err != nil || !slices.Equal(got, p.Payload) {
			t.Errorf("got  %x, %v\nwant %x", got, err, p.Payload)
		}
	}
	// All eight bytes count, those that a shorter password leaves empty too.
	for i := range PasswordLen {
		p := ipPacket(unhex(passGoldens[0]))
		expect(t, capturedRules(t, passKey), edit(p, func(b []byte) { b[len(b)-1-i] ^= 0x20 }), DropAuth)
	}
	short := AuthConfig{Kind: PasswordAuth, Key: []byte("s3cr3t5")}
	expect(t, capturedRules(t, short), ipPacket(unhex(passGoldens[0])), DropAuth)
	p := ipPacket(unhex(passGoldens[0]))
	expect(t, capturedRules(t, short), edit(p, func(b []byte) { b[len(b)-1] = 0 }), DropNone)
}

func TestAuthErrorsHideKeys(t *testing.T) {
	key := []byte("unspeakable-1 unspeakable-2 secret")
	for _, c := range []AuthConfig{
		{Kind: PasswordAuth}, {Kind: PasswordAuth, Key: key}, {Kind: HeaderAuth}, {Kind: HeaderAuth, Key: slices.Repeat(key, 3)},
		{Kind: HeaderAuth, Key: key, ICV: 7}, {Kind: 9, Key: key},
		{Kind: TrailerAuth}, {Kind: TrailerAuth, Keys: []TrailerKey{{0, key}}},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key[:31]}}, Active: 1, Window: 5},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, slices.Repeat(key, 2)[:65]}}, Active: 1, Window: 5},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key}, {1, key}}, Active: 1, Window: 5},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key}}, Active: 2, Window: 5},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key}}, Active: 1},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key}}, Active: 1, Window: 301},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key}}, Active: 1, Window: 5, Mode: 3},
		{Kind: TrailerAuth, Keys: []TrailerKey{{1, key}}, Active: 1, Window: 5, Replay: 2},
	} {
		a, err := NewAuth(c)
		if err == nil || a != nil {
			t.Errorf("%+v is accepted", c)
			continue
		}
		if slices.ContainsFunc(strings.Fields(string(key)), func(word string) bool {
			return len(word) > 4 && strings.Contains(err.Error(), word)
		}) {
			t.Errorf("%q shows a part of the key", err)
		}
	}
	// The old kinds belong to version 2.
	v3 := Advert{Version: 3, VRID: 1, Interval: time.Second, Addrs: addrs("192.0.2.1")}
	for _, c := range []AuthConfig{ahKey, passKey} {
		if _, err := v3.AppendPayload(nil, netip.MustParseAddr("192.0.2.2"), IPv4.Group(), RFC9568, mustAuth(t, c)); err == nil {
			t.Errorf("version 3 with %v", c.Kind)
		}
	}
}
