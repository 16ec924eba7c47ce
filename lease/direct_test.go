package lease

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The program for a parent, judged by the kernel's own test runs: what it drops, and
// that it drops nothing else.

// ipv4Frame is a frame with an IPv4 packet without a payload.
func ipv4Frame(src, dst netip.Addr) []byte {
	f := append(header(mac{2, 1}, mac{2, 2}, unix.ETH_P_IP), 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0)
	return append(append(f, src.AsSlice()...), dst.AsSlice()...)
}

func arpFrame(op byte, sender, target netip.Addr) []byte {
	f := append(header(everyone, mac{2, 2}, unix.ETH_P_ARP), 0, 1, 0x08, 0, 6, 4, 0, op, 2, 2, 0, 0, 0, 0)
	f = append(append(f, sender.AsSlice()...), 0, 0, 0, 0, 0, 0)
	return append(f, target.AsSlice()...)
}

func ipv6Frame(next byte, src, dst netip.Addr) []byte {
	f := append(header(mac{2, 1}, mac{2, 2}, unix.ETH_P_IPV6), 0x60, 0, 0, 0, 0, 0, next, 255)
	return append(append(f, src.AsSlice()...), dst.AsSlice()...)
}

// verdicts runs the programs of a guard over frames.
type verdicts struct {
	*lab
	block *block
}

func (l *lab) verdicts(d Direct, nearly int64) verdicts {
	l.Helper()
	b, err := makeBlock(place{1, d.Family, d.VRID}.prog(), 1, 1, func(array int) [2]asm.Instructions {
		return [2]asm.Instructions{d.program(array, true, nearly), d.program(array, false, nearly)}
	})
	l.must(err)
	l.Cleanup(func() { l.must(b.close()) })
	return verdicts{l, b}
}

// want judges a frame with the guard closed, open, and closed again by the clock.
func (v verdicts) want(what string, side int, frame []byte, drop bool) {
	v.Helper()
	for len(frame) < 60 {
		frame = append(frame, 0)
	}
	for until, closed := range map[int64]bool{0: true, -hour: true, boottime() - 1: true, boottime() + hour: false} {
		v.block.deadline.store(0, until)
		for range 2 { // the second finds what the first has remembered
			verdict, _, err := v.block.progs[side].Test(frame)
			v.must(err)
			if got, want := int32(verdict), map[bool]int32{false: -1, true: 2}[drop && closed]; got != want {
				v.Errorf("%s, %s, closed %t: verdict %d, want %d", what, hooks[side].side, closed, got, want)
			}
		}
	}
}

const in, out = 0, 1

func TestDirectProgram4(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	virtual := netip.MustParseAddr("192.0.2.210")
	zero := netip.IPv4Unspecified()
	for _, distance := range []int64{0, hour, nearly()} {
		v := l.verdicts(Direct{Family: 4, VRID: 51, Addresses: []netip.Addr{virtual}}, distance)
		v.want("to it", in, ipv4Frame(client, virtual), true)
		v.want("from it", out, ipv4Frame(virtual, client), true)
		v.want("an answer", out, arpFrame(2, virtual, client), true)
		v.want("a question in its name", out, arpFrame(1, virtual, client), true)
		v.want("an announcement", out, arpFrame(1, virtual, virtual), true)

		// As a BACKUP, this machine uses the address of the other.
		v.want("from the other machine", in, ipv4Frame(virtual, client), false)
		v.want("to the other machine", out, ipv4Frame(client, virtual), false)
		v.want("the other's answer", in, arpFrame(2, virtual, client), false)
		v.want("the other's announcement", in, arpFrame(1, virtual, virtual), false)
		v.want("our question", out, arpFrame(1, zero, virtual), false)
		v.want("own traffic", in, ipv4Frame(client, vip), false)
		v.want("own traffic", out, ipv4Frame(vip, client), false)
		v.want("own ARP", out, arpFrame(2, vip, client), false)
		v.want("IPv6", in, ipv6Frame(58, netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")), false)
	}
}

func TestDirectProgram6(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	virtual, own, other := netip.MustParseAddr("fe80::5652:5250:51"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::9")
	// The same at the end, in the middle, in the beginning.
	near := []netip.Addr{netip.MustParseAddr("2001:db8::5250:51"), netip.MustParseAddr("fe80::1:0:5652:5250:51"), netip.MustParseAddr("fe80::5652:5250:52")}
	for _, distance := range []int64{0, hour, nearly()} {
		v := l.verdicts(Direct{Family: 6, VRID: 51, Addresses: []netip.Addr{virtual, netip.MustParseAddr("2001:db8::200")}}, distance)
		v.want("to it", in, ipv6Frame(58, other, virtual), true)
		v.want("to the other one", in, ipv6Frame(6, other, netip.MustParseAddr("2001:db8::200")), true)
		v.want("from it: advertisements, too", out, ipv6Frame(58, virtual, other), true)
		v.want("a report of groups", out, ipv6Frame(0, virtual, netip.MustParseAddr("ff02::16")), false)
		v.want("from the other machine", in, ipv6Frame(58, virtual, own), false)
		v.want("to the other machine", out, ipv6Frame(58, own, virtual), false)
		v.want("own traffic", in, ipv6Frame(58, other, own), false)
		v.want("own traffic", out, ipv6Frame(58, own, other), false)
		for _, a := range near {
			v.want("nearly it: "+a.String(), in, ipv6Frame(58, other, a), false)
			v.want("nearly it: "+a.String(), out, ipv6Frame(58, a, other), false)
		}
		v.want("IPv4", in, ipv4Frame(client, vip), false)
	}
}

// Any number of addresses, whatever they are: these and no others.
func TestDirectProgramOfMany(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, n := range []int{2, 4, 5, 9, 64, 255} {
		for _, family := range []uint8{4, 6} {
			d := Direct{Family: family, VRID: 1}
			chosen := map[netip.Addr]bool{}
			for len(d.Addresses) < n {
				var b [16]byte
				binary.BigEndian.PutUint64(b[:], 0x20010db8<<32|rng.Uint64N(4))
				binary.BigEndian.PutUint64(b[8:], rng.Uint64N(2)<<32|rng.Uint64()&0x80000fff)
				a := netip.AddrFrom16(b)
				if family == 4 {
					a = netip.AddrFrom4([4]byte(b[12:]))
				}
				if !chosen[a] {
					chosen[a] = true
					d.Addresses = append(d.Addresses, a)
				}
			}
			v := l.verdicts(d, nearly())
			for _, a := range d.Addresses {
				for _, x := range []netip.Addr{a, a.Next(), a.Prev()} {
					if !x.IsValid() {
						continue // nothing is before the first one, or behind the last
					}
					frame := ipv4Frame(client, x)
					if family == 6 {
						frame = ipv6Frame(58, netip.MustParseAddr("fe80::9"), x)
					}
					verdict, _, err := v.block.progs[in].Test(append(frame, make([]byte, 20)...))
					l.must(err)
					if dropped := int32(verdict) == 2; dropped != chosen[x] {
						t.Fatalf("seed %d: %d addresses: %v is dropped: %t", seed, n, x, dropped)
					}
				}
			}
		}
	}
}

func TestDirectRefuses(t *testing.T) {
	l := newLab(t)
	eth0 := l.link("eth0").Attrs().Index
	g := l.guards()
	for _, d := range []Direct{
		{Family: 4, VRID: 51},
		{Family: 5, VRID: 51, Addresses: []netip.Addr{vip}},
		{Family: 6, VRID: 51, Addresses: []netip.Addr{vip}},
		{Family: 6, VRID: 51, Addresses: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")}},
	} {
		if _, err := g.AttachDirect(eth0, d); err == nil {
			t.Errorf("%+v was taken", d)
		}
	}
	d := Direct{Family: 4, VRID: 51, Addresses: []netip.Addr{vip}}
	if _, err := g.AttachDirect(9999, d); !gone(err) {
		t.Errorf("no interface: %v", err)
	}
	if _, err := l.guards(Nftables).AttachDirect(eth0, d); err == nil {
		t.Error("nftables was taken")
	}
}

// onEth0 is a virtual address on the parent, own the parent's own one.
var (
	onEth0 = netip.MustParseAddr("192.0.2.210")
	own    = netip.MustParseAddr("192.0.2.1")
)

// asked tells whether an address of eth0 is answered for by ARP; it fails if the own
// one is not.
func (l *lab) asked(ip netip.Addr) bool {
	l.Helper()
	ask, serial := l.arpRequest(everyone, ip)
	control, last := l.arpRequest(everyone, own)
	l.near.send(ask)
	l.near.send(control)
	return slices.Contains(l.near.await(arpAnswer, serial, last), serial)
}

// echoed tells the same of ICMP echo requests to the parent's MAC.
func (l *lab) echoed(ip netip.Addr) bool {
	l.Helper()
	to := mac(l.link("eth0").Attrs().HardwareAddr)
	request := func(dst netip.Addr) ([]byte, uint32) {
		l.serial++
		f := header(to, l.near.mac, unix.ETH_P_IP)
		f = append(f, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 1, 0, 0)
		f = append(append(f, client.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(f[24:], ^sum(f[14:34]))
		icmp := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0, 0, 0, 0, 0}, l.serial)
		binary.BigEndian.PutUint16(icmp[2:], ^sum(icmp))
		return append(f, icmp...), l.serial
	}
	ask, serial := request(ip)
	control, last := request(own)
	l.near.send(ask)
	l.near.send(control)
	return slices.Contains(l.near.await(func(f []byte) uint32 {
		if len(f) < 46 || f[23] != 1 || f[34] != 0 {
			return 0
		}
		return binary.BigEndian.Uint32(f[42:])
	}, serial, last), serial)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	s = s>>16 + s&0xffff
	return uint16(s + s>>16)
}

func (l *lab) wantDirect(what string, open bool) {
	l.Helper()
	if arp, echo := l.asked(onEth0), l.echoed(onEth0); arp != open || echo != open {
		l.Errorf("%s: ARP %t, echo %t, want %t", what, arp, echo, open)
	}
}

func direct(vrid uint8) Direct { return Direct{Family: 4, VRID: vrid, Addresses: []netip.Addr{onEth0}} }

// A guard on a parent silences the virtual address, and leaves everything else as it
// is, in the end the parent, too.
func TestDirectGuard(t *testing.T) {
	for _, r := range []Rung{Clsact, TCX} {
		t.Run(r.String(), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(r)
			eth0 := l.link("eth0").Attrs().Index
			l.addr("eth0", onEth0.String()+"/32")
			before := l.guarded()
			l.wantDirect("no guard", true)
			guards := l.guards(r)
			g, err := guards.AttachDirect(eth0, direct(51))
			l.must(err)
			if g.Rung() != r || g.Index() != eth0 {
				t.Errorf("rung %v on %d: %v", g.Rung(), g.Index(), g.Skipped())
			}
			l.wantDirect("closed", false)
			l.renew(g, boottime()+hour)
			l.wantDirect("open", true)
			l.must(g.Close())
			l.wantDirect("closed again", false)
			l.must(g.Verify())

			// Another virtual router's guard is another guard.
			other := direct(52)
			other.Addresses = []netip.Addr{client}
			g2, err := guards.AttachDirect(eth0, other)
			l.must(err)
			l.must(g.Verify())
			l.renew(g, boottime()+hour)
			l.wantDirect("open beside another", true)
			l.must(g2.Detach())
			l.must(g.Verify())

			// Somebody takes it away.
			l.must(guards.RemoveDirect(eth0, 4, 51, Bare{Qdisc: true, Queue: 1000}))
			if g.Verify() == nil {
				t.Error("nothing is missing")
			}
			l.must(g.Repair())
			l.must(g.Verify())
			l.wantDirect("repaired, still open", true)

			// The process dies; another one puts its own in its place.
			again := l.guards(r)
			g3, err := again.AttachDirect(eth0, direct(51))
			l.must(err)
			l.renew(g, boottime()+hour) // it wakes up
			l.wantDirect("taken over", false)
			l.must(g3.Detach())
			l.wantDirect("detached", true)
			if after := l.guarded(); !slices.Equal(after, before) {
				t.Errorf("left:\n%v\n%v", after, before)
			}
		})
	}
}

// A queueing discipline that was there before stays, and one that was not goes, even
// if the process that made it has died.
func TestDirectQdisc(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		t.Run(fmt.Sprintf("theirs=%t", theirs), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(Clsact)
			eth0 := l.link("eth0").Attrs().Index
			if theirs {
				l.must(l.nl.QdiscAdd(qdisc(eth0)))
			}
			before := l.guarded()
			_, err := l.guards(Clsact).AttachDirect(eth0, direct(51))
			l.must(err)
			second := l.guards(Clsact)
			g51, err := second.AttachDirect(eth0, direct(51))
			l.must(err)
			g52, err := second.AttachDirect(eth0, direct(52))
			l.must(err)
			l.must(g51.Detach())
			l.must(g52.Verify())
			l.must(g52.Detach())
			if after := l.guarded(); !slices.Equal(after, before) {
				t.Errorf("left:\n%v\n%v", after, before)
			}
		})
	}
}

// BenchmarkDirectProgram is the program for a parent, as the kernel measures it.
func BenchmarkDirectProgram(b *testing.B) {
	for _, n := range []int{1, 20, 255} {
		d := Direct{Family: 4, VRID: 1}
		for i := range n {
			d.Addresses = append(d.Addresses, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		for what, frame := range map[string][]byte{"others": ipv4Frame(client, beyond), "virtual": ipv4Frame(client, d.Addresses[n-1])} {
			b.Run(fmt.Sprintf("addresses=%d/%s", n, what), func(b *testing.B) {
				l := newLab(b)
				l.kernelHas(Clsact)
				v := l.verdicts(d, nearly())
				v.block.deadline.store(0, boottime()+hour)
				_, took, err := v.block.progs[in].Benchmark(append(frame, make([]byte, 30)...), max(b.N, 1_000_000), nil)
				l.must(err)
				b.ReportMetric(float64(took.Nanoseconds()), "ns/frame")
			})
		}
	}
}

// A process that was killed while it attached has left half a guard, which nothing but
// the memory of what was there tells from somebody else's.
func TestRestoreAfterHalfAGuard(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		t.Run(fmt.Sprintf("theirs=%t", theirs), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(Clsact)
			k := l.link("eth0")
			eth0 := k.Attrs().Index
			if theirs {
				l.must(l.nl.QdiscAdd(qdisc(eth0)))
				l.must(l.nl.LinkSetTxQLen(k, 1000))
			} else {
				l.must(l.nl.LinkSetTxQLen(k, 0))
			}
			before := l.guarded()
			g := l.guards()
			was, err := g.Bare(eth0)
			l.must(err)
			if was.Qdisc != theirs || (was.Queue != 0) != theirs {
				t.Errorf("%+v", was)
			}
			if !theirs {
				l.must(l.nl.QdiscAdd(qdisc(eth0)))
				if got := l.link("eth0").Attrs().TxQLen; got == 0 {
					t.Error("the kernel gives no queue length: this test is blind")
				}
			}
			l.must(g.RemoveDirect(eth0, 4, 51, was))
			if after := l.guarded(); !slices.Equal(after, before) {
				t.Errorf("left:\n%v\n%v", after, before)
			}
			if got := l.link("eth0").Attrs().TxQLen; got != was.Queue {
				t.Errorf("queue length %d, was %d", got, was.Queue)
			}
			// What others have put there meanwhile stays.
			if !theirs {
				_, err := g.AttachDirect(eth0, direct(52))
				l.must(err)
				l.must(g.RemoveDirect(eth0, 4, 51, was))
				l.must(g.RemoveDirect(9999, 4, 51, was))
				if got, err := ingress(l.nl, l.link("eth0")); err != nil || got != "clsact" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
}
