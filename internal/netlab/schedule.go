package netlab

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// maxNap bounds one sleep of a schedule, and so how late it notices its end.
const maxNap = 20 * time.Millisecond

// onSchedule calls act(0), act(1), ... at start, start+interval, ... of the
// monotonic clock until act returns false or stop is closed. What is late is
// made up for at once: no number is left out. It sleeps in the kernel to the
// microsecond, which the timers of Go do not. It ends its thread; call it as a
// goroutine.
func onSchedule(interval time.Duration, stop <-chan struct{}, act func(n int) bool) {
	runtime.LockOSThread() // and never unlock: its timer slack is not for others
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	start := monotonic()
	for n := 0; ; n++ {
		due := start + int64(interval)*int64(n)
		for {
			select {
			case <-stop:
				return
			default:
			}
			left := due - monotonic()
			if left <= 0 {
				break
			}
			until := unix.NsecToTimespec(due - left + min(left, int64(maxNap)))
			// EINTR included: the loop looks at the clock again.
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil)
		}
		if !act(n) {
			return
		}
	}
}

// monotonic returns the kernel's monotonic clock in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return ts.Nano()
}
