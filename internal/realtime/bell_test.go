package realtime

import (
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eitherWay runs a test with a bell that is waited at by means of the runtime, and with
// one that a thread waits at.
func eitherWay(t *testing.T, test func(t *testing.T, b *Bell)) {
	for name, onThread := range map[string]bool{"runtime": false, "thread": true} {
		t.Run(name, func(t *testing.T) {
			if onThread {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			b, err := NewBell(onThread)
			if err != nil {
				t.Fatal(err)
			}
			test(t, b)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			b.Ring() // nobody's
		})
	}
}

// soon is a moment that a test waits for, later one that it does not live to see.
func soon() int64  { return Boottime() + int64(5*time.Millisecond) }
func later() int64 { return Boottime() + int64(patience) }

// pipe is a descriptor to listen to and a function that makes it readable.
func pipe(t *testing.T) (fd int, write func()) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(p[0])
		unix.Close(p[1])
	})
	return p[0], func() {
		if _, err := unix.Write(p[1], []byte{1}); err != nil {
			t.Error(err)
		}
	}
}

func TestRing(t *testing.T) {
	eitherWay(t, func(t *testing.T, b *Bell) {
		limit := soon()
		if b.Wait(limit); Boottime() < limit {
			t.Error("it rang by itself")
		}
		b.Ring()
		b.Ring()
		limit = later()
		if b.Wait(limit); Boottime() > limit {
			t.Error("it did not ring")
		}
		limit = soon()
		if b.Wait(limit); Boottime() < limit {
			t.Error("rung twice: it has to ring once")
		}
		b.Ring()
		b.Quiet()
		limit = soon()
		if b.Wait(limit); Boottime() < limit {
			t.Error("it rings for what is known")
		}
		// Whoever rings while somebody falls asleep is heard.
		var all sync.WaitGroup
		heard := make(chan struct{})
		all.Go(func() {
			for range 1000 {
				b.Ring()
				<-heard
			}
		})
		limit = later()
		for range 1000 {
			if b.Wait(limit); Boottime() > limit {
				t.Fatal("a ringing was lost")
			}
			b.Quiet()
			heard <- struct{}{}
		}
		all.Wait()
	})
}

// The times of one waiting after the other, in any order, and of none.
func TestClock(t *testing.T) {
	eitherWay(t, func(t *testing.T, b *Bell) {
		for _, length := range []time.Duration{4, 2, 8, 0, -1, 1, 1} {
			until := Boottime() + int64(length*time.Millisecond)
			looked := b.Wait(until)
			if now := Boottime(); now < until || looked > now {
				t.Errorf("waited for %v: it was over at %d, looked at %d, asked for %d", length*time.Millisecond, now, looked, until)
			}
		}
		until := soon()
		b.Wait(until)
		rung := time.AfterFunc(5*time.Millisecond, b.Ring)
		defer rung.Stop()
		if b.Wait(math.MaxInt64); Boottime() < until+int64(4*time.Millisecond) {
			t.Error("a time that is over ended a waiting without one")
		}
	})
}

// Who has waited knows whether anybody has rung, before or meanwhile. A time that comes, and
// what is to be read, are no ringing.
func TestCalled(t *testing.T) {
	eitherWay(t, func(t *testing.T, b *Bell) {
		wait := func(what string, limit int64, want bool) {
			t.Helper()
			b.Wait(limit)
			if b.Called() != want {
				t.Errorf("%s: called %v", what, !want)
			}
		}
		wait("nothing", soon(), false)
		b.Ring()
		wait("before", later(), true)
		wait("that is over", soon(), false)
		rung := time.AfterFunc(5*time.Millisecond, b.Ring)
		defer rung.Stop()
		wait("meanwhile", later(), true)
		b.Ring()
		b.Quiet() // somebody has looked
		wait("seen", soon(), false)
		if _, err := b.Listen(pipeReadable(t), func() {}); err != nil {
			t.Fatal(err)
		}
		wait("something to read", later(), false)
	})
}

func TestListen(t *testing.T) {
	eitherWay(t, func(t *testing.T, b *Bell) {
		fd, write := pipe(t)
		other, writeOther := pipe(t)
		var buf [16]byte
		got, others := 0, 0
		ear, err := b.Listen(fd, func() {
			if n, err := unix.Read(fd, buf[:1]); err == nil {
				got += n
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.Listen(other, func() { others++ })
		if err != nil {
			t.Fatal(err)
		}
		serve := func(limit int64) {
			b.Wait(limit)
			b.Serve()
		}
		write()
		write()
		if serve(later()); got != 1 {
			t.Fatalf("read %d", got)
		}
		if serve(later()); got != 2 { // who leaves something is called again
			t.Fatalf("read %d", got)
		}
		if serve(soon()); got != 2 || others != 0 {
			t.Fatalf("nothing was there, read %d, %d", got, others)
		}

		// In a pause nothing is heard, and at its end whatever has come.
		until := Boottime() + int64(20*time.Millisecond)
		ear.Pause(until)
		write()
		for Boottime() < until {
			before := Boottime()
			if serve(later()); got != 2 && before < until && Boottime() < until {
				t.Error("heard in a pause")
			}
		}
		for limit := later(); got == 2 && Boottime() < limit; {
			serve(limit)
		}
		if got != 3 {
			t.Errorf("after the pause read %d", got)
		}
		write()
		if serve(later()); got != 4 {
			t.Errorf("after the pause it is deaf: read %d", got)
		}

		// One that cannot hear again is read now and then until it can.
		for _, fails := range []bool{true, false} {
			write()
			ear.Pause(1)
			if ear.fd = fd; fails {
				ear.fd = -1
			}
			before := got
			for limit := later(); got == before && Boottime() < limit; {
				serve(limit)
			}
			if got == before || (ear.until != 0) != fails {
				t.Errorf("after a pause, failing %v: read %d, paused until %d", fails, got-before, ear.until)
			}
		}
		got = 4

		// One that leaves in the name of another is not called any more.
		third, err := b.Listen(pipeReadable(t), func() { t.Error("called after it has left") })
		if err != nil {
			t.Fatal(err)
		}
		writeOther()
		b.Wait(later())
		if err := third.Leave(); err != nil {
			t.Error(err)
		}
		b.Serve()
		if serve(later()); others == 0 {
			t.Error("the other was not heard")
		}
		for _, e := range []*Ear{ear, second} {
			e.Pause(later())
			if err := e.Leave(); err != nil {
				t.Error(err)
			}
			if err := e.Leave(); err != nil {
				t.Error(err)
			}
		}
		write()
		if serve(soon()); got != 4 {
			t.Error("heard after it has left")
		}
	})
}

// What comes while an ear is covered is found by the next waiting.
func TestCover(t *testing.T) {
	eitherWay(t, func(t *testing.T, b *Bell) {
		fd, write := pipe(t)
		got := 0
		var buf [16]byte
		ear, err := b.Listen(fd, func() {
			n, _ := unix.Read(fd, buf[:])
			got += n
		})
		if err != nil {
			t.Fatal(err)
		}
		serve := func(until int64) int {
			b.Wait(until)
			b.Serve()
			return got
		}
		ear.Cover()
		write()
		if b.Wait(Boottime()); b.found != 0 {
			t.Error("a covered ear was heard")
		}
		ear.Uncover()
		if serve(later()) != 1 {
			t.Error("what came meanwhile was not heard")
		}

		// One that pauses goes on pausing.
		until := later()
		ear.Pause(until)
		ear.Cover()
		write()
		ear.Uncover()
		if serve(soon()) != 1 || ear.until != until {
			t.Error("a pause was ended")
		}
		ear.Pause(Boottime())
		if serve(later()) != 2 {
			t.Error("the pause did not end")
		}

		// One that cannot hear again is read all the same.
		ear.Cover()
		write()
		ear.fd = -1
		ear.Uncover()
		ear.fd = fd
		if serve(later()) != 3 || ear.until != 0 {
			t.Errorf("read %d, paused until %d", got, ear.until)
		}

		if err := ear.Leave(); err != nil {
			t.Fatal(err)
		}
		ear.Cover()
		ear.Uncover()
		write()
		if b.Wait(Boottime()); b.Called() || len(b.ready) > 0 {
			t.Error("heard after it has left")
		}
	})
}

func pipeReadable(t *testing.T) int {
	fd, write := pipe(t)
	write()
	return fd
}

// Waiting costs no garbage.
func TestWaitAllocates(t *testing.T) {
	eitherWay(t, func(t *testing.T, b *Bell) {
		fd := pipeReadable(t)
		if _, err := b.Listen(fd, func() {}); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			b.Ring()
			b.Wait(later())
			b.Wait(Boottime() + 1000)
			b.Serve()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// Waiting must not keep the monitor of the runtime busy: it looks around every 20 us for a
// while whenever a call that might wait is announced.
func TestWaitingIsQuiet(t *testing.T) {
	b, err := NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	switches := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return u.Nvcsw
	}
	const rounds = 50
	// Others of the process may be busy for a moment; not five times. (Announced, it is three for each waiting.)
	var all []int64
	for range 5 {
		before := switches()
		for range rounds {
			b.Wait(Boottime() + int64(2*time.Millisecond))
		}
		n := switches() - before
		if n < 2*rounds {
			return
		}
		all = append(all, n)
	}
	t.Errorf("%d waitings: threads have waited %d times", rounds, all)
}
