// Package footprint keeps a process that waits most of its life small. It must never be
// used for memory that is locked, nor on the way to anything that is urgent.
package footprint

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// startPercent: what a start leaves for good lies among what it needs for a moment,
	// and the more of that there is at a time, the more memory is kept by it.
	startPercent = 50
	// restPercent lets little garbage gather. Hardly any is made at rest, so that the
	// collector runs once in minutes.
	restPercent = 25
)

// Begin is for the very start of a process. The user's GOGC is respected.
func Begin() { collect(startPercent) }

// Rest gives back to the machine what a time of activity has left: the garbage, and the
// pages of the program that it has used. Those are in the page cache still, from where
// what is needed comes back with a fault of half a microsecond for 64 KiB.
func Rest() error {
	collect(restPercent)
	debug.FreeOSMemory()
	return Release()
}

func collect(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// Release gives back the pages of the program and its constants.
func Release() error {
	all, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("release memory: %w", err)
	}
	for _, m := range shareable(all) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("release memory: %w", errno)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// shareable are the mappings of files that cannot be written to, and of which no page
// is other than the file: a program that is relocated when it is loaded has such pages.
func shareable(smaps []byte) (all []mapping) {
	var m mapping
	candidate := false
	for lines := bufio.NewScanner(bytes.NewReader(smaps)); lines.Scan(); {
		f := bytes.Fields(lines.Bytes())
		if from, to, ok := parseRange(f); ok {
			m = mapping{from, to}
			// from-to permissions offset device inode path
			candidate = len(f) >= 6 && len(f[1]) == 4 && f[1][1] == '-' && f[1][3] == 'p' && string(f[4]) != "0" && f[5][0] == '/' &&
				!bytes.HasSuffix(lines.Bytes(), []byte(" (deleted)")) // may be gone for good, on a file system of another machine
			continue
		}
		if candidate && len(f) == 3 && string(f[0]) == "Anonymous:" && string(f[1]) == "0" {
			all = append(all, m)
		}
	}
	return all
}

func parseRange(f [][]byte) (from, to uintptr, ok bool) {
	if len(f) < 5 {
		return 0, 0, false
	}
	a, b, found := bytes.Cut(f[0], []byte("-"))
	if !found {
		return 0, 0, false
	}
	x, err := strconv.ParseUint(string(a), 16, strconv.IntSize)
	if err != nil {
		return 0, 0, false
	}
	y, err := strconv.ParseUint(string(b), 16, strconv.IntSize)
	return uintptr(x), uintptr(y), err == nil
}
