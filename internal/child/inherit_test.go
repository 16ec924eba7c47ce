package child

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBlockedSignals needs a thread of its own with a mask; it dies with the
// goroutine.
func TestBlockedSignals(t *testing.T) {
	type masks struct{ during, after unix.Sigset_t }
	done := make(chan masks)
	go func() {
		runtime.LockOSThread()
		var m masks
		blocked := unix.Sigset_t{}
		blocked.Val[0] = 1 << (unix.SIGUSR1 - 1)
		unix.PthreadSigmask(unix.SIG_SETMASK, &blocked, nil)
		withFreshSignals(func() error { return unix.PthreadSigmask(unix.SIG_SETMASK, nil, &m.during) })
		unix.PthreadSigmask(unix.SIG_SETMASK, nil, &m.after)
		done <- m
	}()
	m := <-done
	if m.during.Val[0] != 0 {
		t.Errorf("%#x is blocked at the start of a program", m.during.Val[0])
	}
	if m.after.Val[0] != 1<<(unix.SIGUSR1-1) {
		t.Errorf("%#x is blocked afterwards", m.after.Val[0])
	}
}
