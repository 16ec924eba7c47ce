package lan

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

func prebuilt(n int) [][]byte {
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = advert(uint16(i))
	}
	return frames
}

// Steady state: a batch goes out, comes in and is parsed without allocating.
func TestNoAllocations(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	frames := append(prebuilt(200), AppendGratuitousARP(nil, vmac51, vip, true))
	got := 0
	pb.sink = func(b Batch) { got += len(b.Adverts) + len(b.Answers) }
	sends := testing.AllocsPerRun(20, func() {
		if n, err := pa.Send(frames); n != len(frames) || err != nil {
			t.Fatal(n, err)
		}
	})
	if sends != 0 {
		t.Errorf("Send allocates %v times", sends)
	}
	if _, err := pb.Drain(); err != nil { // what these have left
		t.Fatal(err)
	}
	before := pb.Counters().Overruns
	rounds := testing.AllocsPerRun(20, func() {
		got = 0
		if n, err := pa.Send(frames); n != len(frames) || err != nil {
			t.Fatal(n, err)
		}
		for deadline := boottime() + int64(patience); got < len(frames); {
			if _, err := pb.Drain(); err != nil || boottime() > deadline {
				t.Fatal("drained", got, err)
			}
		}
	})
	if rounds != 0 {
		t.Errorf("a round of send and receive allocates %v times", rounds)
	}
	if n := pb.Counters().Overruns - before; n != 0 {
		t.Errorf("%d overruns", n)
	}
}

// The path through the bell, one frame at a time.
func TestListeningDoesNotAllocate(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	arrived := make(chan struct{}, 1)
	done := make(chan error)
	ctx := t.Context()
	go func() {
		done <- run(ctx, pb, func(b Batch) {
			if len(b.Adverts) > 0 {
				arrived <- struct{}{}
			}
		})
	}()
	frames := prebuilt(1)
	n := testing.AllocsPerRun(200, func() {
		if _, err := pa.Send(frames); err != nil {
			t.Fatal(err)
		}
		<-arrived
	})
	if n != 0 {
		t.Errorf("an advert through the bell allocates %v times", n)
	}
	pb.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// cpu is the CPU time of this process so far, in ns, kernel work included.
func cpu() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkSend includes what veth does at the other end, where nobody listens. The sender
// does.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{1, 10, 250, 1000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			x, _ := newPair(b)
			p := x.open()
			bell, err := realtime.NewBell(false)
			if err != nil {
				b.Fatal(err)
			}
			defer bell.Close()
			if err := p.Listen(bell, func(Batch) {}, nil); err != nil {
				b.Fatal(err)
			}
			defer p.Leave()
			frames := prebuilt(size)
			b.ReportAllocs()
			before := cpu()
			for b.Loop() {
				if _, err := p.Send(frames); err != nil {
					b.Fatal(err)
				}
			}
			perFrame := float64(b.N * size)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/perFrame, "ns/frame")
			b.ReportMetric(float64(cpu()-before)/perFrame, "cpu-ns/frame")
		})
	}
}

// BenchmarkReceive measures Drain alone, on frames that wait in the socket.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{1, 10, 250, 1000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			x, y := newPair(b)
			px, py := x.open(), y.open()
			frames := prebuilt(size)
			got := 0
			py.sink = func(b Batch) { got += len(b.Adverts) }
			var spent, rounds int64
			b.ReportAllocs()
			for b.Loop() {
				got = 0
				if _, err := px.Send(frames); err != nil {
					b.Fatal(err)
				}
				// veth has delivered when sendmmsg returns, but for a remainder
				// that a busy kernel leaves to its own thread.
				start := boottime()
				for got < size {
					if _, err := py.Drain(); err != nil {
						b.Fatal(err)
					}
				}
				spent += boottime() - start
				rounds++
			}
			if n := py.Counters().Overruns; n > 0 {
				b.Fatal(n, "overruns")
			}
			b.ReportMetric(0, "ns/op") // the sender's share is in it
			b.ReportMetric(float64(spent)/float64(rounds*int64(size)), "ns/frame")
		})
	}
}

// BenchmarkThroughBell is the whole way, sender included, with the bell's
// wake-ups as they come.
func BenchmarkThroughBell(b *testing.B) {
	for _, size := range []int{1, 250} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			x, y := newPair(b)
			px, py := x.open(), y.open()
			frames := prebuilt(size)
			got, arrived, done := 0, make(chan struct{}, 1), make(chan error)
			go func() {
				done <- run(b.Context(), py, func(b Batch) {
					if got += len(b.Adverts); got == size {
						got = 0
						arrived <- struct{}{}
					}
				})
			}()
			b.ReportAllocs()
			before := cpu()
			for b.Loop() {
				if _, err := px.Send(frames); err != nil {
					b.Fatal(err)
				}
				<-arrived
			}
			perFrame := float64(b.N * size)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/perFrame, "ns/frame")
			b.ReportMetric(float64(cpu()-before)/perFrame, "cpu-ns/frame")
			py.Close()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}
