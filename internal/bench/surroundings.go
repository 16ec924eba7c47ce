package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// surroundings is the machine on which was measured.
type surroundings struct {
	Kernel, Processor string
	Processors        int
	Before, After     string // load averages over 1, 5 and 15 minutes
	Touched           int64  // bytes of memory; see touchMemory
}

func look() (s surroundings, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return s, fmt.Errorf("uname: %w", err)
	}
	s.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	s.Processors = runtime.NumCPU()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			s.Processor = strings.TrimSpace(value)
			break
		}
	}
	s.Before, err = load()
	return s, err
}

// load is the load average, as the kernel writes it.
func load() (string, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(string(text))[:3], " "), nil
}

// mostTouched bounds how much memory is touched, bytes.
const mostTouched = 8 << 30

// touchMemory writes to half of the memory that is free, mostTouched at most, and gives it
// back; it returns how much that was, in bytes. The memory of a virtual machine may be its
// host's until then: a processor that needs a page which was never used stands still while
// the host finds one, for 15 ms at worst, whoever is to run on it.
func touchMemory() (touched int64, err error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("sysinfo: %w", err)
	}
	const piece = 64 << 20
	free := int64(info.Freeram) * int64(info.Unit)
	var pieces [][]byte
	defer func() {
		for _, p := range pieces {
			err = errors.Join(err, os.NewSyscallError("munmap", unix.Munmap(p)))
		}
	}()
	for touched+piece <= min(free/2, mostTouched) {
		p, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			return touched, fmt.Errorf("mmap: %w", err)
		}
		pieces, touched = append(pieces, p), touched+piece
	}
	return touched, nil
}
