// Package heapsites says of a process, from outside, what it has in use and where in
// the program that was made: every object counts, and what the runtime keeps for itself
// does not. A test builds it into a program, whose own source does not know it (Flags);
// it must never be in one that is shipped.
//
// The runtime's own are the descriptors of goroutines and threads that have ended, and
// what goroutines wait with. It keeps some for each of its processors, and makes new
// ones where one processor has none left, although others have: they go on becoming
// more, up to 64 goroutines of 480 bytes and 128 waiters of 112 for each of, say, six
// processors, which is 270 kB. Beside that a leak of a few hundred bytes now and then
// cannot be seen.
package heapsites

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Heap is what a program has in use.
type Heap struct {
	// Born is when the program began to serve, in ns of its clock: another one may have
	// the number of the process.
	Born  int64
	Sites Sites
}

// Sites are the bytes in use by where they were allocated: functions and lines, the
// innermost one first.
type Sites map[string]int64

// Sum is all that is in use.
func (s Sites) Sum() (bytes int64) {
	for _, n := range s {
		bytes += n
	}
	return bytes
}

// deep is how many callers, at most, tell one site from another.
const deep = 12

// answerLimit is for a caller who does not read.
const answerLimit = 10 * time.Second

// Serve answers from now on who connects to the socket of this process. It counts what
// is allocated after it was called, which should be before main.
func Serve() error {
	runtime.MemProfileRate = 1
	l, err := net.Listen("unix", name(os.Getpid()))
	if err != nil {
		return fmt.Errorf("heapsites: %w", err)
	}
	go answer(l, time.Now().UnixNano())
	return nil
}

// Flags are what go build needs in addition for a program, whose source is in dir, that
// serves. They are good for as long as scratch, a directory, is there.
func Flags(dir, scratch string) ([]string, error) {
	const file = "heapsites.go"
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("heapsites: %w", err)
	}
	from, overlay := filepath.Join(scratch, file), filepath.Join(scratch, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(dir, file): from}})
	if err != nil {
		return nil, fmt.Errorf("heapsites: %w", err)
	}
	if err := errors.Join(os.WriteFile(from, []byte(wiring), 0o644), os.WriteFile(overlay, text, 0o644)); err != nil {
		return nil, fmt.Errorf("heapsites: %w", err)
	}
	return []string{"-overlay", overlay}, nil
}

// wiring is the file that such a program has in addition. It serves before main, which
// would go on as another program at once, or try one.
const wiring = `package main

import "vrrpd/internal/heapsites"

var _ = func() bool {
	if err := heapsites.Serve(); err != nil {
		panic(err)
	}
	return true
}()
`

// name is that of a process's socket, which its network namespace has to itself: there is
// no file, and execve closes it.
func name(pid int) string { return "@heapsites-" + strconv.Itoa(pid) }

func answer(l net.Listener, born int64) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(answerLimit))
		b := bufio.NewWriter(c)
		fmt.Fprintf(b, "%d\t\n", born)
		for site, n := range Take() {
			fmt.Fprintf(b, "%d\t%s\n", n, site)
		}
		b.Flush()
		c.Close()
	}
}

// Ask asks the process that has this number in its own namespace. The caller is in its
// network namespace.
func Ask(pid int) (Heap, error) {
	c, err := net.DialTimeout("unix", name(pid), answerLimit)
	if err != nil {
		return Heap{}, fmt.Errorf("ask process %d for its heap: %w", pid, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(answerLimit))
	return read(c)
}

func read(r io.Reader) (Heap, error) {
	h := Heap{Sites: Sites{}}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text, site, _ := strings.Cut(lines.Text(), "\t")
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return Heap{}, fmt.Errorf("heapsites: %q: %w", lines.Text(), err)
		case site == "":
			h.Born = n
		default:
			h.Sites[site] += n
		}
	}
	if err := lines.Err(); err != nil {
		return Heap{}, fmt.Errorf("heapsites: %w", err)
	}
	if h.Born == 0 {
		return Heap{}, errors.New("heapsites: the answer has no beginning: the process has ended")
	}
	return h, nil
}

// Growth says where bytes have become more since before, most first, n sites at most.
func (s Sites) Growth(before Sites, n int) []string {
	more := map[string]int64{}
	for site, bytes := range s {
		if bytes > before[site] {
			more[site] = bytes - before[site]
		}
	}
	sites := slices.SortedFunc(maps.Keys(more), func(a, b string) int {
		return cmp.Or(cmp.Compare(more[b], more[a]), strings.Compare(a, b))
	})
	lines := []string{}
	for _, site := range sites[:min(n, len(sites))] {
		lines = append(lines, fmt.Sprintf("%d bytes: %s", more[site], site))
	}
	return lines
}

// Take collects the garbage of this process and says what is left.
func Take() Sites {
	// What a pool of the process holds is let go of by the second collection, and what
	// waited to be finalized until the first one by the next.
	for range 3 {
		runtime.GC()
	}
	const more = 100 // sites that appear in between
	n, _ := runtime.MemProfile(nil, false)
	records := make([]runtime.MemProfileRecord, n+more)
	n, ok := runtime.MemProfile(records, false)
	for !ok {
		records = make([]runtime.MemProfileRecord, n+more)
		n, ok = runtime.MemProfile(records, false)
	}
	all := Sites{}
	for i := range records[:n] {
		if site := site(records[i].Stack()); site != "" {
			all[site] += records[i].InUseBytes()
		}
	}
	return all
}

// kept are the functions that make what the runtime keeps.
var kept = []string{"runtime.malg", "runtime.allgadd", "runtime.allocm", "runtime.acquireSudog"}

// site is where something was allocated; "": by the runtime for itself, or here.
func site(stack []uintptr) string {
	var names []string
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		for _, k := range kept {
			if f.Function == k {
				return ""
			}
		}
		if strings.HasPrefix(f.Function, here+".answer") || strings.HasPrefix(f.Function, here+".Take") {
			return ""
		}
		if !strings.HasPrefix(f.Function, "runtime.") && len(names) < deep {
			names = append(names, f.Function+":"+strconv.Itoa(f.Line))
		}
		if !more {
			return strings.Join(names, " < ")
		}
	}
}

// here is this package.
const here = "vrrpd/internal/heapsites"
