package lan

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		name   string
		frames int   // each time
		every  int64 // ns
		want   bool
	}{
		{"one advert per second", 1, 1000 * ms, false},
		{"one virtual router at 10 ms", 1, 10 * ms, false},
		{"forty at 10 ms, one by one", 1, 10 * ms / 40, false},
		{"flood, one by one", 1, ms / 100, true},
		{"flood, in batches", 200, 2 * ms, true},
	} {
		var p pace
		got := false
		for now := int64(1e9); now < 1e9+3000*ms; now += c.every {
			got = p.flooded(c.frames, now)
		}
		if got != c.want {
			t.Errorf("%s: flooded %v", c.name, got)
		}
		if c.want && p.flooded(0, 1e9+3001*ms) {
			t.Errorf("%s: a pause although nothing has come", c.name)
		}
		if p.flooded(1, 1e9+9000*ms) {
			t.Errorf("%s: still flooded 6 s later", c.name)
		}
	}
}

// Many virtual routers that speak at every interval are gathered from the first frame on, once
// they have been heard; a single frame long after them is not.
func TestPaceOfCrowd(t *testing.T) {
	const interval = time.Second
	p := newPace(interval)
	for n := range int64(3) {
		at := n * int64(interval)
		if got := p.flooded(1, 1e9+at); got != (n > 0) {
			t.Errorf("round %d: a pause after the first frame: %v", n, got)
		}
		at += int64(p.length)
		if !p.flooded(249, 1e9+at) {
			t.Errorf("round %d: no pause after 250 frames", n)
		}
		at += int64(p.length)
		if p.flooded(0, 1e9+at) {
			t.Errorf("round %d: a pause although nothing has come", n)
		}
	}
	if p.flooded(1, 1e9+5*int64(interval)) {
		t.Error("a pause long after them")
	}
}

// A burst at the pace of a flood is delivered, in much fewer looks than it has frames,
// and what a reader without a processor could not take is counted; and listening ends in
// the middle of a pause.
func TestFloodIsReadInBatches(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	const frames = 20000
	var batches, got atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, pb, func(b Batch) {
			batches.Add(1)
			got.Add(int64(len(b.Adverts)))
		})
	}()
	one := prebuilt(1)
	begin := time.Now()
	for n := range frames {
		for time.Since(begin) < time.Duration(n)*10*time.Microsecond {
		}
		if _, err := pa.Send(one); err != nil {
			t.Fatal(err)
		}
	}
	lost := pb.Counters().Overruns
	for limit := time.Now().Add(patience); got.Load()+int64(lost) < frames; lost = pb.Counters().Overruns {
		if time.Now().After(limit) {
			t.Fatalf("%d frames were delivered, %d overruns", got.Load(), lost)
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d frames in %d batches, %d overruns", got.Load(), batches.Load(), lost)
	if n := got.Load(); n == 0 || batches.Load() > n/20 {
		t.Errorf("%d batches for %d frames", batches.Load(), n)
	}
	at := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(at) > patience/2 {
		t.Errorf("listening ended with %v after %v", err, time.Since(at))
	}
}
