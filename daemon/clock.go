package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime is CLOCK_BOOTTIME in ns: it goes on while the machine is suspended,
// as the peers' clocks do, and no administrator can set it.
func boottime() int64 { return clock(unix.CLOCK_BOOTTIME) }

// asleep is how long the machine has been suspended since it was booted, ns. The
// clocks are read within a moment of each other, or again: a process that is
// stopped between the two has not slept.
func asleep() (slept int64) {
	const moment = int64(time.Millisecond)
	for range 8 {
		before := clock(unix.CLOCK_MONOTONIC)
		slept = boottime() - before
		if clock(unix.CLOCK_MONOTONIC)-before < moment {
			break
		}
	}
	return slept
}

// turns watches how the turns of the loop follow each other: one that comes late
// must first read what waits, and one after a suspend must not believe that what
// it did not hear was not said.
type turns struct {
	last  int64 // boottime ns
	slept int64 // ns the machine had been suspended, as last seen
}

// next reports whether a turn at now comes later than the interval after the one
// before, and for how long (0: not, or not for that long) the machine was
// suspended between the two. asleep is only called when it is late.
func (t *turns) next(now, interval int64, asleep func() int64) (late bool, suspended time.Duration) {
	late = now-t.last >= interval
	t.last = now
	if !late {
		return false, 0
	}
	s := asleep()
	slept := s - t.slept
	t.slept = s
	if slept <= interval {
		return true, 0
	}
	return true, time.Duration(slept)
}

func clock(id int32) int64 {
	var ts unix.Timespec
	// It cannot fail for a clock that exists since Linux 2.6.39.
	_ = unix.ClockGettime(id, &ts)
	return ts.Nano()
}
