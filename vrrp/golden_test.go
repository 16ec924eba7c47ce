package vrrp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// golden is a message as other implementations put it on the wire, and what it
// says.
type golden struct {
	name     string
	wire     string // hex
	src, dst string
	form     ChecksumForm
	advert   Advert
}

var goldens = []golden{
	{
		name: "v2 owner-less default", wire: "2101640100 01ba52 c0a80001 0000000000000000",
		src: "192.168.0.30", dst: "224.0.0.18",
		advert: Advert{Version: 2, VRID: 1, Priority: 100, Interval: time.Second, Addrs: addrs("192.168.0.1")},
	},
	{
		name: "v2 VRID 51", wire: "21331e0100 01b5c5 0a000105 0000000000000000",
		src: "10.0.1.2", dst: "224.0.0.18",
		advert: Advert{Version: 2, VRID: 51, Priority: 30, Interval: time.Second, Addrs: addrs("10.0.1.5")},
	},
	{
		name: "v2 two addresses", wire: "210ac8020001 92ed c0000201 c0000202 0000000000000000",
		src: "192.0.2.251", dst: "224.0.0.18",
		advert: Advert{Version: 2, VRID: 10, Priority: 200, Interval: time.Second, Addrs: addrs("192.0.2.1", "192.0.2.2")},
	},
	{
		name: "v3 IPv4 RFC 9568", wire: "310ac8020064 828a c0000201 c0000202",
		src: "192.0.2.251", dst: "224.0.0.18",
		advert: Advert{Version: 3, VRID: 10, Priority: 200, Interval: time.Second, Addrs: addrs("192.0.2.1", "192.0.2.2")},
	},
	{
		name: "v3 IPv4 RFC 5798", wire: "310ac8020064 defb c0000201 c0000202",
		src: "192.0.2.251", dst: "224.0.0.18", form: RFC5798,
		advert: Advert{Version: 3, VRID: 10, Priority: 200, Interval: time.Second, Addrs: addrs("192.0.2.1", "192.0.2.2"), LegacyChecksum: true},
	},
	{
		// The message of the HMAC draft's IPv4 vector, whose checksum leaves the
		// trailer out.
		name: "v3 IPv4 draft-cassen", wire: "3133c80100644402c0000264",
		src: "198.51.100.10", dst: "224.0.0.18",
		advert: Advert{Version: 3, VRID: 51, Priority: 200, Interval: time.Second, Addrs: addrs("192.0.2.100")},
	},
	{
		// Both IPv6 checksums were made apart from this package.
		name: "v3 IPv6 two addresses", wire: "310ac8020064 d9d3 fe800000000000000000000000000001 20010db8000000000000000000000001",
		src: "fe80::251", dst: "ff02::12",
		advert: Advert{Version: 3, VRID: 10, Priority: 200, Interval: time.Second, Addrs: addrs("fe80::1", "2001:db8::1")},
	},
	{
		name: "v3 IPv6 owner at the longest interval", wire: "31ffff010fff c248 fe8000000000000000000000000a000b",
		src: "fe80::1:2", dst: "ff02::12",
		advert: Advert{Version: 3, VRID: 255, Priority: 255, Interval: 40950 * time.Millisecond, Addrs: addrs("fe80::a:b")},
	},
}

func (g *golden) bytes() []byte { return unhex(g.wire) }

func (g *golden) packet() Packet {
	return Packet{Src: netip.MustParseAddr(g.src), Dst: netip.MustParseAddr(g.dst), TTL: TTL, Payload: g.bytes()}
}

// rules are those of a router that agrees with the golden's sender.
func (g *golden) rules() Rules {
	return Rules{
		Version: g.advert.Version, VRID: g.advert.VRID, Family: FamilyOf(netip.MustParseAddr(g.src)),
		Interval: g.advert.Interval, Addrs: slices.Clone(g.advert.Addrs),
	}
}

// goldenNamed is a golden of its own, to be broken.
func goldenNamed(t *testing.T, name string) (Rules, Packet) {
	t.Helper()
	for _, g := range goldens {
		if g.name == name {
			return g.rules(), g.packet()
		}
	}
	t.Fatalf("no golden packet %q", name)
	panic("unreachable")
}

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// reseal gives a changed message a right checksum, over the whole payload.
func reseal(p Packet, form ChecksumForm) Packet {
	b := slices.Clone(p.Payload)
	b[6], b[7] = 0, 0
	binary.BigEndian.PutUint16(b[6:], checksum(b, b[0]>>4, p.Src, p.Dst, form))
	p.Payload = b
	return p
}

// edit changes a copy of the payload and reseals it.
func edit(p Packet, change func(b []byte)) Packet {
	p.Payload = slices.Clone(p.Payload)
	change(p.Payload)
	return reseal(p, RFC9568)
}

func equalAdverts(a, b Advert) bool {
	addrsA, addrsB := a.Addrs, b.Addrs
	a.Addrs, b.Addrs = nil, nil
	type plain struct {
		version, vrid, priority, authType uint8
		interval                          time.Duration
		legacy, interval2, addresses      bool
	}
	p := func(a Advert) plain {
		return plain{a.Version, a.VRID, a.Priority, a.AuthType, a.Interval, a.LegacyChecksum, a.IntervalDiffers, a.AddressesDiffer}
	}
	return p(a) == p(b) && slices.Equal(addrsA, addrsB)
}

// expect fails unless the packet is judged as wanted, and returns the advert.
func expect(t *testing.T, r Rules, p Packet, want Drop) Advert {
	t.Helper()
	var a Advert
	if got := r.Receive(p, &a); got != want {
		t.Errorf("Receive(% x) = %v, want %v", p.Payload, got, want)
	}
	return a
}

func TestGoldenEncode(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			p := g.packet()
			got, err := g.advert.AppendTo([]byte("before"), p.Src, p.Dst, g.form)
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), g.bytes()...); !bytes.Equal(got, want) {
				t.Errorf("got  % x\nwant % x", got, want)
			}
			if n := Size(g.advert.Version, FamilyOf(p.Src), len(g.advert.Addrs)); n != len(g.bytes()) {
				t.Errorf("Size = %d, want %d", n, len(g.bytes()))
			}
		})
	}
}

func TestGoldenDecode(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			version, vrid, drop := Identify(g.bytes())
			if version != g.advert.Version || vrid != g.advert.VRID || drop != DropNone {
				t.Errorf("Identify = %d, %d, %v", version, vrid, drop)
			}
			if got := expect(t, g.rules(), g.packet(), DropNone); !equalAdverts(got, g.advert) {
				t.Errorf("got  %+v\nwant %+v", got, g.advert)
			}
		})
	}
}

// Every bit of an advert but the reserved ones and the Authentication Data is
// either meant or damage: flipping it must not leave the same advert accepted.
func TestGoldenDamage(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			rules, clean := g.rules(), g.packet()
			for bit := range 8 * len(clean.Payload) {
				p := g.packet()
				p.Payload[bit/8] ^= 0x80 >> (bit % 8)
				var a Advert
				if drop := rules.Receive(p, &a); drop == DropNone {
					t.Errorf("bit %d flipped: accepted", bit)
				}
			}
			for n := range clean.Payload {
				p := g.packet()
				p.Payload = p.Payload[:n]
				expect(t, rules, p, DropLength)
			}
		})
	}
}

// Truncation and surplus are named after the length, with the checksum that the
// sender of the whole message or of the whole payload gave it.
func TestSurplus(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			for _, n := range []int{1, 4, 8, 24, 28, 30} {
				p := g.packet()
				p.Payload = append(p.Payload, bytes.Repeat([]byte{0xa5}, n)...)
				expect(t, g.rules(), p, DropLength)
				expect(t, g.rules(), reseal(p, g.form), DropLength)
				p.Payload[6] ^= 0x10
				expect(t, g.rules(), p, DropChecksum)
			}
		})
	}
}

// The vectors of the HMAC draft, as keepalived 2.4.3 sends them: a router without
// the key says what is wrong with them.
func TestHMACTrailerIsALengthError(t *testing.T) {
	p4 := Packet{
		Src: netip.MustParseAddr("198.51.100.10"), Dst: netip.MustParseAddr("224.0.0.18"), TTL: TTL,
		Payload: unhex("3133c80100644402c0000264 010100006800000080000000 1b84bc4e8e43892dc6d98448f8ee2265"),
	}
	expect(t, Rules{Version: 3, VRID: 51, Family: IPv4, Interval: time.Second, Addrs: addrs("192.0.2.100")}, p4, DropLength)
	p6 := Packet{
		Src: netip.MustParseAddr("fe80::10"), Dst: netip.MustParseAddr("fe80::20"), TTL: TTL,
		Payload: unhex("3133c8010064a2e9fe800000000000000000000000000100 010100006800000080000000 c8c56146ebfd66ee10ec4d8186461b78"),
	}
	r6 := Rules{Version: 3, VRID: 51, Family: IPv6, Interval: time.Second, Addrs: addrs("fe80::100")}
	expect(t, r6, p6, DropLength)
	p6.Payload[30] ^= 1 // the trailer is under the checksum over IPv6
	expect(t, r6, p6, DropChecksum)
}
