package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// authCase is one form of authentication at work: send makes the next packet, in a
// buffer that is reused.
type authCase struct {
	name  string
	rules Rules
	send  func() Packet
}

func authCases(t testing.TB) []authCase {
	var list []authCase
	add := func(name string, c AuthConfig, version uint8, src string, addresses ...string) {
		auth := mustAuth(t, c)
		from := netip.MustParseAddr(src)
		r := Rules{Version: version, VRID: 51, Family: FamilyOf(from), Interval: time.Second, Addrs: addrs(addresses...), Auth: mustAuth(t, c), Marks: &Marks{}}
		a := Advert{Version: version, VRID: 51, Priority: 100, Interval: time.Second, Addrs: r.Addrs}
		buf := make([]byte, ipv4Len, 256)
		copy(buf, unhex("45c0004400010000ff33b075c633640ae0000012"))
		var s Sequence
		clock := StampOf(1_800_000_000, 0)
		list = append(list, authCase{name, r, func() Packet {
			clock += second / 100
			packet, err := a.AppendPayload(buf[:ipv4Len], from, r.Family.Group(), RFC9568, auth)
			if err != nil {
				t.Fatal(err)
			}
			n := uint64(0)
			if auth.Numbered() {
				if n, err = auth.Next(&s, clock); err != nil {
					t.Fatal(err)
				}
			}
			switch auth.Kind() {
			case HeaderAuth:
				auth.SignPacket(packet, uint32(n))
			case TrailerAuth:
				auth.SignPayload(packet[ipv4Len:], from, r.Family.Group(), Stamp(n))
			}
			return Packet{
				Src: from, Dst: r.Family.Group(), TTL: TTL, Payload: packet[ipv4Len:], Header: packet[:ipv4Len],
				AH: auth.Kind() == HeaderAuth, Clock: clock,
			}
		}})
	}
	add("pass", passKey, 2, "198.51.100.10", "192.0.2.100")
	add("ah", ahKey, 2, "198.51.100.10", "192.0.2.100")
	add("hmac v2", signing(byTime), 2, "198.51.100.10", "192.0.2.100")
	add("hmac v3 IPv4", signing(byTime), 3, "198.51.100.10", "192.0.2.100")
	add("hmac v3 IPv6", signing(byTime), 3, "fe80::10", "fe80::100")
	return list
}

func TestAuthDoesNotAllocate(t *testing.T) {
	for _, c := range authCases(t) {
		a := Advert{Addrs: make([]netip.Addr, 0, 4)}
		if n := testing.AllocsPerRun(200, func() {
			if drop := c.rules.Receive(c.send(), &a); drop != DropNone {
				t.Error(drop)
			}
		}); n != 0 {
			t.Errorf("%s: sending and receiving allocates %v times", c.name, n)
		}
		p := c.send()
		p.Payload[2]++ // nor does what is forged
		if n := testing.AllocsPerRun(200, func() { c.rules.Receive(p, &a) }); n != 0 {
			t.Errorf("%s: dropping allocates %v times", c.name, n)
		}
	}
}

func BenchmarkAuth(b *testing.B) {
	for _, c := range authCases(b) {
		b.Run("send "+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.send()
			}
		})
		b.Run("receive "+c.name, func(b *testing.B) {
			b.ReportAllocs()
			p := c.send()
			a := Advert{Addrs: make([]netip.Addr, 0, 4)}
			for b.Loop() {
				*c.rules.Marks = Marks{}
				if drop := c.rules.Receive(p, &a); drop != DropNone {
					b.Fatal(drop)
				}
			}
		})
	}
}

// Whatever arrives: no panic, a known reason, and a mark only for who has the key.
func FuzzAuth(f *testing.F) {
	for _, c := range authCases(f) {
		p := c.send()
		f.Add(p.Payload, p.Header, p.AH, uint64(p.Clock))
	}
	f.Fuzz(func(t *testing.T, payload, header []byte, ah bool, clock uint64) {
		for _, c := range authCases(t) {
			src := c.send().Src
			before := *c.rules.Marks
			p := Packet{Src: src, Dst: c.rules.Family.Group(), TTL: TTL, Payload: payload, Header: header, AH: ah, Clock: Stamp(clock)}
			var a Advert
			drop := c.rules.Receive(p, &a)
			if drop >= numDrops {
				t.Fatalf("%s: reason %d", c.name, drop)
			}
			if !a.Signed && *c.rules.Marks != before {
				t.Errorf("%s: a mark without a digest", c.name)
			}
			if drop == DropNone && !a.Signed && c.name != "pass" {
				t.Errorf("%s: accepted without a digest", c.name)
			}
		}
	})
}
