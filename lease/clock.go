package lease

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime is CLOCK_BOOTTIME in ns, the clock of the deadlines.
func boottime() int64 {
	var ts unix.Timespec
	// It cannot fail for a clock that exists since Linux 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}

// kernelTick is the time between two ticks of the kernel: the resolution of its
// coarse clocks.
func kernelTick() time.Duration {
	const longest = 10 * time.Millisecond // HZ=100
	var ts unix.Timespec
	if unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts) != nil || ts.Nano() <= 0 {
		return longest
	}
	return time.Duration(ts.Nano())
}
