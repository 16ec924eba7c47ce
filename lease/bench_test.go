package lease

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	netlib "github.com/vishvananda/netlink"
)

// BenchmarkRenew is what an advert pays: the clock, and the store.
func BenchmarkRenew(b *testing.B) {
	l := newLab(b)
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
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
	l := newLab(b)
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
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
	l := newLab(b)
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			g := l.attach(r)
			for b.Loop() {
				l.must(g.Verify())
			}
		})
	}
}

// BenchmarkProgram is the guard alone, as the kernel measures it.
func BenchmarkProgram(b *testing.B) {
	l := newLab(b)
	g := l.attach(Clsact)
	_, d, err := g.block.prog.Benchmark(make([]byte, 64), b.N, b.ResetTimer)
	l.must(err)
	b.ReportMetric(float64(d.Nanoseconds()), "ns/frame")
}

// BenchmarkFrame sends frames from one namespace to the virtual MAC in another,
// by turns to an interface with an open guard and to one without, and reports
// what the guard adds. The frames are of no known protocol, so they end behind
// the guard; the sender's system call receives them.
func BenchmarkFrame(b *testing.B) {
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			l := newLab(b)
			l.kernelHas(r)
			g := l.attach(r)
			l.renew(g, boottime()+hour)
			const turn = 256
			send := func(to mac) time.Duration {
				frame := append(header(to, l.near.mac, testProto), make([]byte, 50)...)
				start := time.Now()
				for range turn {
					l.near.send(frame)
				}
				return time.Since(start)
			}
			var with, without []time.Duration
			for b.Loop() {
				with, without = append(with, send(vmac)), append(without, send(ctlMAC))
			}
			b.ReportMetric(float64(median(without).Nanoseconds())/turn, "ns/bare")
			b.ReportMetric(float64((median(with)-median(without)).Nanoseconds())/turn, "ns/guard")
		})
	}
}

func median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
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
