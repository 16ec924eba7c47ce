package daemon

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A lull is when all loops of the process rest for long enough, and nobody waits for it for
// ever.
func TestLulls(t *testing.T) {
	l := newLulls()
	if !l.now() {
		t.Error("no lull where there is no loop")
	}
	a, b := new(atomic.Int64), new(atomic.Int64)
	l.join(a)
	l.join(b)
	const interval = time.Second
	long, short := func() int64 { return boottime() + int64(time.Hour) }, func() int64 { return boottime() + int64(lullTime)/2 }
	for _, c := range []struct {
		what string
		a, b func() int64
		want bool
	}{
		{"both rest", long, long, true},
		{"one rests, briefly", long, short, false},
		{"one works", long, func() int64 { return 0 }, false},
		{"both do nothing before something happens", func() int64 { return maxTime }, long, true},
	} {
		l.rest(a, c.a(), interval)
		l.rest(b, c.b(), interval)
		if l.now() != c.want {
			t.Errorf("%s: %v", c.what, !c.want)
		}
	}
	if l.rest(b, boottime()+int64(lullTime)/2, 0); !l.now() {
		t.Error("a short interval has no lull")
	}
	b.Store(0)
	l.leave(b)
	if !l.now() {
		t.Error("one that has ended is waited for")
	}
}

// Who waits for a lull is told when a loop rests.
func TestAwaitLull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, loop := newLulls(), new(atomic.Int64)
		l.join(loop)
		begin := time.Now()
		come := make(chan time.Duration, 2)
		for range cap(come) { // one after the other
			go func() {
				l.use(time.Hour, func() { come <- time.Since(begin) })
			}()
		}
		synctest.Wait()
		l.rest(loop, boottime(), time.Second) // a moment only
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(come) > 0 {
			t.Fatal("a moment is a lull")
		}
		l.rest(loop, maxTime, time.Second)
		synctest.Wait()
		if len(come) != cap(come) {
			t.Fatalf("%d of %d have noticed it", len(come), cap(come))
		}
		if took := <-come; took != time.Second {
			t.Errorf("after %v", took)
		}
		loop.Store(0)
		begin = time.Now()
		<-come
		l.use(time.Minute, func() { come <- time.Since(begin) })
		if took := <-come; took != time.Minute || l.wanted.Load() {
			t.Errorf("a loop that works all the time is waited for %v", took)
		}
	})
}
