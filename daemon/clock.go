package daemon

import "golang.org/x/sys/unix"

// boottime is CLOCK_BOOTTIME in ns: it goes on while the machine is suspended,
// as the peers' clocks do, and no administrator can set it.
func boottime() int64 { return clock(unix.CLOCK_BOOTTIME) }

// asleep is how long the machine has been suspended since it was booted, ns.
func asleep() int64 { return boottime() - clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) int64 {
	var ts unix.Timespec
	// It cannot fail for a clock that exists since Linux 2.6.39.
	_ = unix.ClockGettime(id, &ts)
	return ts.Nano()
}
