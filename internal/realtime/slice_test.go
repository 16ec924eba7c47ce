package realtime

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Threads that exist, and those that they make later, have the short slice, and are otherwise
// scheduled as before; real-time ones are left alone.
func TestBrief(t *testing.T) {
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if before.Runtime == 0 {
		t.Skip("this kernel does not tell of slices (before Linux 6.12)")
	}
	if err := Brief(); err != nil {
		t.Fatal(err)
	}
	made := make(chan *unix.SchedAttr)
	go func() {
		runtime.LockOSThread()
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
		}
		made <- a
	}()
	now, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	check := func(a *unix.SchedAttr) {
		if a.Runtime != uint64(slice) || a.Policy != before.Policy || a.Nice != before.Nice {
			t.Errorf("%+v, before %+v", a, before)
		}
	}
	check(now)
	if a := <-made; before.Flags&unix.SCHED_FLAG_RESET_ON_FORK == 0 { // what another test has left
		check(a)
	}
	if Try(1) != nil {
		return
	}
	if err := schedule(unix.SCHED_RR, 1); err != nil {
		t.Fatal(err)
	}
	if err := Brief(); err != nil {
		t.Error(err)
	}
	if a, err := unix.SchedGetAttr(0, 0); err != nil || a.Policy != unix.SCHED_RR || a.Priority != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}
