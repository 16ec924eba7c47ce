package reexec

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignoreHangup has SIGHUP ignored, which the next program inherits until it has a handler;
// undo is for when there is none. The runtime of the next program unblocks what ends a
// process before it installs handlers, so that a SIGHUP that has waited would be its end.
//
// os/signal would take the handler away from whoever has one. That is why this is unsafe:
// the kernel writes what it had, and gets the same back.
func ignoreHangup() (undo func(), err error) {
	var ignore, before [8]uintptr // struct sigaction, which begins with the handler
	ignore[0] = 1                 // SIG_IGN
	if err := sigaction(unix.SIGHUP, &ignore, &before); err != nil {
		return nil, err
	}
	return func() { _ = sigaction(unix.SIGHUP, &before, &ignore) }, nil
}

func sigaction(sig unix.Signal, set, was *[8]uintptr) error {
	const maskSize = 8 // bytes, of the kernel's sigset_t
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(was)), maskSize, 0, 0)
	if errno != 0 {
		return fmt.Errorf("sigaction %v: %w", sig, errno)
	}
	return nil
}
