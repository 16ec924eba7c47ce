package lease

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// BenchmarkRenew is what an advert pays: the clock, and the store.
func BenchmarkRenew(b *testing.B) {
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			l := newLab(b)
			l.kernelHas(r)
			g := l.attach(r)
			b.ReportAllocs()
			for b.Loop() {
				if err := g.Renew(boottime() + hour); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("clock only", func(b *testing.B) {
		for b.Loop() {
			boottime()
		}
	})
}

// BenchmarkAttach is Attach and Detach of an interface that has no guard.
func BenchmarkAttach(b *testing.B) {
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			l := newLab(b)
			l.kernelHas(r)
			g := l.guards(r)
			var attach, detach time.Duration
			for b.Loop() {
				start := time.Now()
				x, err := g.Attach(l.index)
				attached := time.Now()
				l.must(err)
				l.must(x.Detach())
				attach += attached.Sub(start)
				detach += time.Since(attached)
			}
			b.ReportMetric(float64(attach.Microseconds())/float64(b.N), "us/attach")
			b.ReportMetric(float64(detach.Microseconds())/float64(b.N), "us/detach")
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			l := newLab(b)
			l.kernelHas(r)
			g := l.attach(r)
			for b.Loop() {
				l.must(g.Verify())
			}
		})
	}
}

// BenchmarkProgram is the program alone, as the kernel measures it (of that 33 ns
// are its own), for a frame of the loopback interface, whose deadline is open: far
// away, and so near that the clock is read for every frame.
func BenchmarkProgram(b *testing.B) {
	for _, c := range []struct {
		name   string
		nearly int64
	}{{"far", int64(stallTicks * kernelTick())}, {"near", 2 * hour}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLab(b)
			l.kernelHas(Clsact)
			block, err := newBlockNear(0, c.nearly)
			l.must(err)
			defer block.close()
			const loopback = 1
			block.deadline.store(entryWords*loopback, boottime()+hour)
			verdict, d, err := block.progs[0].Benchmark(make([]byte, 64), max(b.N, 1_000_000), nil)
			l.must(err)
			if int32(verdict) != -1 {
				b.Fatalf("the frame has not passed: %d", int32(verdict))
			}
			b.ReportMetric(float64(d.Nanoseconds()), "ns/frame")
		})
	}
}

// BenchmarkFrame sends frames from one namespace to the virtual MAC in another,
// by turns to an interface with an open guard and to one without, and reports
// what the guard adds. The frames are of no known protocol, so they end behind
// the guard; the sender's system call receives them. What distinguishes the two
// interfaces without any guard is measured first, and subtracted. "neighbour" is
// what the interface without a guard pays for there being one on the machine. The
// quickest turns count: on a machine that others use, too, the rest is theirs.
func BenchmarkFrame(b *testing.B) {
	for _, c := range []struct {
		name string
		rung Rung
		lead int64 // of the deadline, ns
	}{
		{"clsact", Clsact, hour},
		{"clsact-near", Clsact, int64(2 * kernelTick())}, // the clock is read for every frame
		{"tcx", TCX, hour},
		{"tcx-near", TCX, int64(2 * kernelTick())},
		{"nftables", Nftables, hour},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := newLab(b)
			l.kernelHas(c.rung)
			var g *Guard
			const turn = 64
			send := func(to mac) time.Duration {
				frame := append(header(to, l.near.mac, testProto), make([]byte, 50)...)
				addr := &unix.SockaddrLinklayer{Ifindex: l.nearIndex, Halen: 6}
				copy(addr.Addr[:], to[:])
				if g != nil {
					l.renew(g, boottime()+c.lead)
				}
				start := time.Now()
				for range turn {
					l.must(unix.Sendto(l.raw, frame, 0, addr))
				}
				return time.Since(start)
			}
			compare := func(turns int) (bare, more float64) {
				var with, without []time.Duration
				for range turns {
					with, without = append(with, send(vmac)), append(without, send(ctlMAC))
				}
				bare = float64(quick(without)) / turn
				return bare, float64(quick(with))/turn - bare
			}
			l.rawSocket()
			turns := max(b.N, 2000)
			alone, bias := compare(turns)
			g = l.attach(c.rung)
			b.ResetTimer()
			bare, more := compare(turns)
			b.ReportMetric(bare, "ns/bare")
			b.ReportMetric(more-bias, "ns/guard")
			b.ReportMetric(bare-alone, "ns/neighbour")
		})
	}
}

// quick is the duration that one in twenty does not reach.
func quick(all []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(all))[len(all)/20]
}

// rawSocket opens a packet socket of the client that only sends.
func (l *lab) rawSocket() {
	l.Helper()
	l.abroad(func() {
		ifi, err := net.InterfaceByName("far0")
		l.must(err)
		l.nearIndex = ifi.Index
		l.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		l.must(err)
		l.must(unix.SetsockoptInt(l.raw, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1))
	})
	l.must(l.near.conn.Close()) // no copies for anybody
	l.must(l.far.conn.Close())
	l.Cleanup(func() { _ = unix.Close(l.raw) })
}

// resident is the process's memory in kB, without what the collector would
// give back.
func resident(l *lab) float64 {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	l.must(err)
	_, after, _ := bytes.Cut(status, []byte("VmRSS:"))
	var kb float64
	_, err = fmt.Fscan(strings.NewReader(string(after)), &kb)
	l.must(err)
	return kb
}

// BenchmarkThousand attaches a thousand guards.
func BenchmarkThousand(b *testing.B) {
	const count = 1000
	l := newLab(b)
	l.kernelHas(Clsact)
	parent := l.link("eth0").Attrs().Index
	var indexes []int
	for i := range count {
		attrs := netlib.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex, attrs.Index = fmt.Sprint("v", i), parent, 1000+i
		l.must(l.nl.LinkAdd(&netlib.Macvlan{LinkAttrs: attrs, Mode: netlib.MACVLAN_MODE_BRIDGE}))
		indexes = append(indexes, attrs.Index)
	}
	for b.Loop() {
		before := resident(l)
		g, err := Open(Config{Ladder: []Rung{Clsact}})
		l.must(err)
		guards := make([]*Guard, 0, count)
		start := time.Now()
		for _, i := range indexes {
			x, err := g.Attach(i)
			l.must(err)
			guards = append(guards, x)
		}
		took := time.Since(start)
		l.must(l.renewAll(guards))
		after := resident(l)
		start = time.Now()
		l.must(l.renewAll(guards))
		renewed := time.Since(start)
		b.ReportMetric(float64(took.Milliseconds()), "ms/1000-attach")
		b.ReportMetric(float64(renewed.Nanoseconds())/count, "ns/renew")
		b.ReportMetric(after-before, "kB-RSS")
		b.ReportMetric(float64(len(g.Descriptors())), "arrays")
		for _, x := range guards {
			l.must(x.Detach())
		}
		l.must(g.Close())
	}
}

func (l *lab) renewAll(guards []*Guard) error {
	for _, x := range guards {
		if err := x.Renew(boottime() + hour); err != nil {
			return err
		}
	}
	return nil
}
