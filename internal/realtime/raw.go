package realtime

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// This is the one file with unsafe in it: system calls that cannot wait, and are therefore
// not announced to the runtime, which x/sys/unix does with all of those that it has a
// function for. Announcing one wakes the runtime's monitor from its sleep, which then
// looks around every 20 us for a millisecond or more: 200 us of a processor.

// Boottime is CLOCK_BOOTTIME in ns: it goes on while the machine is suspended, as the
// peers' clocks do, and no administrator can set it.
func Boottime() int64 { return Clock(unix.CLOCK_BOOTTIME) }

// Clock reads one of the kernel's clocks, ns.
func Clock(id int32) int64 {
	var ts unix.Timespec
	// It cannot fail for a clock that exists; of those here, since Linux 2.6.39.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// poll is epoll_wait that does not wait: how many events there are, 0 also for an error.
func poll(epfd uintptr, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, epfd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// wait is epoll_wait without a limit, which the runtime is told of. What there is is found
// again by poll: events has room for one, so that the others keep their turn.
func wait(epfd int, events []unix.EpollEvent) {
	_, _ = unix.EpollWait(epfd, events, -1) // EINTR: the caller looks around and waits again
}

func setTimer(fd int, to *unix.ItimerSpec) {
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(to)), 0, 0, 0)
}

// write and read are of an eventfd, which does not wait. EAGAIN: it has been rung so
// often that there is no room for more, so it rings; or not at all.
func write(fd int, number *[8]byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(number)), uintptr(len(number)))
}

func read(fd int, number *[8]byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(number)), uintptr(len(number)))
}
