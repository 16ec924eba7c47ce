package lan

import (
	"context"
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

// A burst at the pace of a flood is delivered completely, in much fewer looks than
// it has frames; and Run ends in the middle of a pause.
func TestFloodIsReadInBatches(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	const frames = 20000
	batches, got, done := 0, 0, make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- pb.Run(ctx, func(b Batch) {
			batches++
			if got += len(b.Adverts); got == frames {
				close(done)
			}
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
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("%d frames were delivered, %d overruns", got, pb.Counters().Overruns)
	}
	t.Logf("%d frames in %d batches", got, batches)
	if batches > frames/20 {
		t.Errorf("%d batches for %d frames", batches, frames)
	}
	at := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(at) > patience/2 {
		t.Errorf("Run ended with %v after %v", err, time.Since(at))
	}
}
