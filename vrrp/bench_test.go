package vrrp

import (
	"net/netip"
	"testing"
)

func TestNoAllocations(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			p, r := g.packet(), g.rules()
			buf := make([]byte, 0, 128)
			if n := testing.AllocsPerRun(100, func() {
				if _, err := g.advert.AppendTo(buf, p.Src, p.Dst, g.form); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				t.Errorf("encoding allocates %v times", n)
			}
			a := Advert{Addrs: make([]netip.Addr, 0, 2)}
			if n := testing.AllocsPerRun(100, func() {
				if _, _, drop := Identify(p.Payload); drop != DropNone {
					t.Error(drop)
				}
				if drop := r.Receive(p, &a); drop != DropNone {
					t.Error(drop)
				}
			}); n != 0 {
				t.Errorf("decoding allocates %v times", n)
			}
			// Nor does a flood of packets that are not accepted.
			p.Payload[7]++
			if n := testing.AllocsPerRun(100, func() { r.Receive(p, &a) }); n != 0 {
				t.Errorf("dropping allocates %v times", n)
			}
		})
	}
	var c Counters
	var total uint64
	if n := testing.AllocsPerRun(100, func() {
		c[DropTTL]++
		for _, v := range c.Drops() {
			total += v
		}
	}); n != 0 || total == 0 {
		t.Errorf("counting allocates %v times, total %d", n, total)
	}
}

func BenchmarkAppendTo(b *testing.B) {
	for _, g := range goldens {
		b.Run(g.name, func(b *testing.B) {
			p := g.packet()
			buf := make([]byte, 0, 128)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.advert.AppendTo(buf, p.Src, p.Dst, g.form); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, g := range goldens {
		b.Run(g.name, func(b *testing.B) {
			p, r := g.packet(), g.rules()
			var a Advert
			b.ReportAllocs()
			for b.Loop() {
				if drop := r.Receive(p, &a); drop != DropNone {
					b.Fatal(drop)
				}
			}
		})
	}
}

func BenchmarkIdentify(b *testing.B) {
	wire := goldens[2].bytes()
	for b.Loop() {
		if _, _, drop := Identify(wire); drop != DropNone {
			b.Fatal(drop)
		}
	}
}

// The dearest advert that an enemy on the LAN can send: as many addresses as
// fit, none where it is looked for first.
func BenchmarkReceiveWorst(b *testing.B) {
	src, group := netip.MustParseAddr("192.0.2.251"), IPv4.Group()
	a := Advert{Version: 3, VRID: 1, Priority: 100, Interval: unit3}
	r := Rules{Version: 3, VRID: 1, Family: IPv4, Interval: unit3}
	for i := range MaxAddrs {
		a.Addrs = append(a.Addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		r.Addrs = append(r.Addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(MaxAddrs - 1 - i)}))
	}
	wire, err := a.AppendTo(nil, src, group, RFC9568)
	if err != nil {
		b.Fatal(err)
	}
	p := Packet{Src: src, Dst: group, TTL: TTL, Payload: wire}
	for b.Loop() {
		if drop := r.Receive(p, &a); drop != DropNone {
			b.Fatal(drop)
		}
	}
}
