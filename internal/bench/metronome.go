package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// metronomeEnv makes this program a metronome: a process that does nothing but wake up at
// every interval, with the priority of a daemon's loop. How late that is, is what the machine
// does to everybody on it.
const metronomeEnv = "VRRPD_BENCH_METRONOME"

// metronome is how late such a process was until stop.
func metronome(interval time.Duration, realtime int, stop <-chan struct{}) (late sample, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", metronomeEnv, interval, realtime))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	<-stop
	if err := in.Close(); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("metronome: %w", err)
	}
	late = make(sample, out.Len()/8)
	return late, binary.Read(&out, binary.NativeEndian, late)
}

// beMetronome is that process: until the end of stdin, then it tells.
func beMetronome(order string) error {
	var interval time.Duration
	var realtime int
	if _, err := fmt.Sscan(order, (*int64)(&interval), &realtime); err != nil {
		return err
	}
	debug.SetGCPercent(-1) // which would stop it
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return err
	}
	if realtime > 0 {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: uint32(realtime)}, 0); err != nil {
			return err
		}
	} else if err := syscall.Setpriority(syscall.PRIO_PROCESS, unix.Gettid(), -10); err != nil { // that of the daemons
		return err
	}
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	// The runtime is not told that it waits, and need not give back a processor of its own.
	now := func() int64 {
		var ts unix.Timespec
		_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ts)), 0)
		return ts.Nano()
	}
	var late sample
	for due := now(); !over.Load(); {
		due += int64(interval)
		until := unix.NsecToTimespec(due)
		for errno := unix.EINTR; errno == unix.EINTR; {
			_, _, errno = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&until)), 0, 0, 0)
		}
		late = append(late, time.Duration(now()-due))
	}
	return binary.Write(os.Stdout, binary.NativeEndian, late)
}
