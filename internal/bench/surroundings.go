package main

import (
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
