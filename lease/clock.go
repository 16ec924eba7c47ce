package lease

import "golang.org/x/sys/unix"

// boottime is CLOCK_BOOTTIME in ns, the clock of the deadlines.
func boottime() int64 {
	var ts unix.Timespec
	// It cannot fail for a clock that exists since Linux 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}
