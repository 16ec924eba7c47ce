package netlab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time that the process has used so far, in the kernel
// too, its threads that have ended included; to the nanosecond, unlike
// /proc/PID/stat.
func (p Process) CPU() (time.Duration, error) {
	// The clock of another process, as clock_getcpuclockid(3) makes it.
	const scheduled = 2
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^p.PID<<3|scheduled), &at); err != nil {
		return 0, fmt.Errorf("read the processor time of %d (%s): %w", p.PID, p.Args[0], err)
	}
	return time.Duration(at.Nano()), nil
}

// Memory is what a process keeps in memory, in bytes.
type Memory struct {
	RSS int64 // all of it
	PSS int64 // what it shares with others only in part
}

// Memory reads what the process keeps in memory now.
func (p Process) Memory() (Memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID))
	if err != nil {
		return Memory{}, fmt.Errorf("read the memory of %d (%s): %w", p.PID, p.Args[0], err)
	}
	_, table, _ := strings.Cut(string(text), "\n") // the first line names the range
	fields := statusFields(table)
	kB := func(name string) (int64, error) {
		n, err := strconv.ParseInt(strings.TrimSuffix(fields[name], " kB"), 10, 64)
		return n << 10, err
	}
	var m Memory
	var errRSS, errPSS error
	m.RSS, errRSS = kB("Rss")
	m.PSS, errPSS = kB("Pss")
	if err := errors.Join(errRSS, errPSS); err != nil {
		return Memory{}, fmt.Errorf("read the memory of %d (%s): %w", p.PID, p.Args[0], err)
	}
	return m, nil
}
