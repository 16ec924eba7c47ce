package daemon

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

// boottime is CLOCK_BOOTTIME in ns: it goes on while the machine is suspended,
// as the peers' clocks do, and no administrator can set it.
func boottime() int64 { return realtime.Boottime() }

// asleep is how long the machine has been suspended since it was booted, ns. The
// clocks are read within a moment of each other, or again: a process that is
// stopped between the two has not slept.
func asleep() (slept int64) {
	const moment = int64(time.Millisecond)
	for range 8 {
		before := realtime.Clock(unix.CLOCK_MONOTONIC)
		slept = boottime() - before
		if realtime.Clock(unix.CLOCK_MONOTONIC)-before < moment {
			break
		}
	}
	return slept
}

// turns watches how the turns of the loop follow each other: one that comes late
// must first read what waits, and one after a suspend must not believe that what
// it did not hear was not said. Times are boottime ns.
type turns struct {
	last   int64
	looked int64 // who waits in the sockets was asked here
	due    int64 // of the present turn, unless something has happened before; later: that was judged
	slept  int64 // ns the machine had been suspended, as last seen
}

// next reports whether a turn at now comes half an interval, or more, after it was due or
// after the sockets were looked into, and for how long (0: not, or not for an interval)
// the machine was suspended since the one before. asleep is only called when it is late.
func (t *turns) next(now, interval int64, asleep func() int64) (late bool, suspended time.Duration) {
	late = now-min(t.looked, t.due) >= interval/2
	t.last = now
	if !late {
		return false, 0
	}
	t.looked, t.due = now, math.MaxInt64
	s := asleep()
	slept := s - t.slept
	t.slept = s
	if slept <= interval {
		return true, 0
	}
	return true, time.Duration(slept)
}
