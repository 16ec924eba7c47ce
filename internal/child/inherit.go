package child

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a program inherits although nobody gave it: ignored and blocked signals,
// descriptors, and capabilities.

// settle makes the calling goroutine's thread one that programs can be started
// from: from here on no descriptor of the process is inherited by any program, not
// even those that the process itself was given by mistake; nor are the capabilities
// of a daemon that is not root. The goroutine keeps the thread, which ends with it.
func settle() error {
	runtime.LockOSThread()
	return errors.Join(sealDescriptors(), dropInheritable())
}

// withFreshSignals calls start so that the program it starts has no signal
// ignored and none blocked.
//
// exec(2) keeps an ignored signal ignored, and Go does nothing about it: a
// daemon that ignores SIGPIPE makes every "yes | head" in a script run for ever.
// Handled signals, though, become default ones. So what the process ignores is
// handled from here on, and discarded, which comes to the same for the process.
// It is not undone: a signal that is ignored when the next command starts would
// only have to be handled again, and in between a write to a closed stderr could
// end the daemon.
//
// The mask is that of the thread that forks.
func withFreshSignals(start func() error) error {
	if ignored := ignoredSignals(); len(ignored) > 0 {
		signal.Notify(make(chan os.Signal, 1), ignored...)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, &before); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return start()
}

// lastClassic is the last signal that is not a real-time one.
const lastClassic = 31

// ignoredSignals asks the kernel, because signal.Ignored does not know of
// SIGTTIN and its like when the process was started with them ignored. If the
// kernel does not answer there are none: better a command with SIGPIPE ignored
// than no command.
func ignoredSignals() []os.Signal {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:")
	field, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(field), 16, 64)
	if err != nil {
		return nil
	}
	var ignored []os.Signal
	for s := 1; s <= lastClassic; s++ {
		if mask&(1<<(s-1)) != 0 {
			ignored = append(ignored, syscall.Signal(s))
		}
	}
	return ignored
}

// firstInherited is the first descriptor that is not a standard one.
const firstInherited = 3

// sealDescriptors sets close-on-exec on everything that the process has open.
// What Go opens has it already; what the process inherited has not.
func sealDescriptors() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("find open descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= firstInherited {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// dropInheritable gives up the calling thread's ambient and inheritable
// capabilities. A service that runs as a user of its own has the daemon's there
// (AmbientCapabilities= of systemd), and every program that the thread starts
// would have them, too. What the thread itself may do stays as it is.
func dropInheritable() error {
	// EINVAL: a kernel before 4.3, which has no such thing.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of 32 capabilities each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if sets[0].Inheritable|sets[1].Inheritable == 0 {
		return nil
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("drop inheritable capabilities: %w", err)
	}
	return nil
}
