package control

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// However many ask at once, answers are begun four times as far apart as one takes; who asks
// now and then, or has gone, does not wait.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		start := time.Now()
		var mu sync.Mutex
		var begun []time.Duration
		ask := func() {
			if err := p.enter(t.Context()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			begun = append(begun, time.Since(start))
		}
		const each = paceRest * answerWork
		var all sync.WaitGroup
		for range 50 {
			all.Go(ask)
		}
		all.Wait()
		for i, at := range begun {
			if at != time.Duration(i)*each {
				t.Fatalf("answer %d is begun at %v: %v", i, at, begun)
			}
		}
		for _, c := range []struct{ taken, want time.Duration }{
			{10 * time.Millisecond, each + paceRest*10*time.Millisecond},
			{time.Hour, paceLongest}, // a machine that was suspended
		} {
			time.Sleep(time.Minute)
			p.leave(c.taken)
			start, begun = time.Now(), nil
			for range 3 {
				ask()
			}
			if want := []time.Duration{0, c.want, 2 * c.want}; !slices.Equal(begun, want) {
				t.Errorf("begun at %v, want %v", begun, want)
			}
		}
		// Who has gone does not wait.
		gone, leave := context.WithCancel(t.Context())
		leave()
		start = time.Now()
		if err := p.enter(gone); err == nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// What a slow reader takes of the time is no work.
func TestStopwatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stopwatch{w: slowWriter{}, began: time.Now()}
		time.Sleep(time.Millisecond)
		if n, err := s.Write(make([]byte, 7)); n != 7 || err != io.ErrShortWrite {
			t.Error(n, err)
		}
		time.Sleep(time.Millisecond)
		if d := s.elapsed(); d != 2*time.Millisecond {
			t.Error(d)
		}
	})
}

type slowWriter struct{}

func (slowWriter) Write(b []byte) (int, error) {
	time.Sleep(time.Second)
	return len(b), io.ErrShortWrite
}
