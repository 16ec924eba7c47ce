// Package footprint keeps a process that waits most of its life small, and the collector of
// garbage out of the way while it does not. It must never be used on the way to anything
// that is urgent; where memory is locked, nothing that gives back pages of the program.
package footprint

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// startPercent: what a start leaves for good lies among what it needs for a moment,
	// and the more of that there is at a time, the more memory is kept by it.
	startPercent = 50
	// roomyRoom is how much garbage may gather in a process that is Roomy, bytes.
	roomyRoom = 16 << 20
	// little garbage is left alone, bytes.
	little = 1 << 20
	// heapMinimum is what the runtime takes a smaller heap for, bytes.
	heapMinimum = 4 << 20
)

// roomy: see Roomy.
var roomy atomic.Bool

// Begin is for the very start of a process. The user's GOGC is respected.
func Begin() { collect(startPercent) }

// Roomy has the collector run rarely from now on, for a process that has begun: who asks it
// much makes much garbage. While it runs it has the world stop twice, and all who make
// garbage work for it; and a real-time thread that waits for an ordinary one, which is just
// looking at its stack, does that without sleeping, and may keep it from the processor.
// Somebody has to look for what is Littered when things are quiet again.
func Roomy() {
	if !roomy.Swap(true) {
		collect(percentage(roomyRoom))
	}
}

// percentage has the collector run after so much garbage, bytes.
func percentage(room uint64) int {
	live := measure("/gc/heap/live:bytes") + measure("/gc/scan/stack:bytes") + measure("/gc/scan/globals:bytes")
	return max(startPercent, int(room*100/max(live, heapMinimum)))
}

// room is how much garbage may gather.
func room() uint64 {
	if all := min(allExpected(), mostExpected); !roomy.Load() || all > roomyRoom {
		return all
	}
	return roomyRoom
}

// mostExpected bounds how much garbage may gather, bytes.
const mostExpected = 64 << 20

// expected is the garbage of a time of activity, by whose it is.
var expected = struct {
	sync.Mutex
	garbage map[any]uint64
}{garbage: map[any]uint64{}}

// Expect says how much garbage, in bytes, somebody in this process makes when it is busy; 0:
// none any more. Sweep has the collector rest for that much of all.
func Expect(who any, garbage uint64) {
	expected.Lock()
	defer expected.Unlock()
	if expected.garbage[who] = garbage; garbage == 0 {
		delete(expected.garbage, who)
	}
}

// Rest is a Sweep that gives back the pages of the program, too, that a time of activity has
// used. Those are in the page cache still, from where what is needed comes back with a fault
// of half a microsecond for 64 KiB.
func Rest() error {
	Sweep()
	return Release()
}

// Sweep gives garbage back to the machine. It stops the world, which the collector does not
// again until there is as much garbage as is expected of a time of activity: while commands
// are being started a stop of the world waits each time for a thread that waits for a new
// process.
func Sweep() {
	sweeping.Lock()
	defer sweeping.Unlock()
	asleep.Lock()
	asleep.times++ // who wakes up by what follows has been overtaken
	asleep.Unlock()
	debug.FreeOSMemory()
	percent := percentage(room())
	if ours() && os.Getenv("GOMEMLIMIT") == "" {
		sleep(percent, max(room(), measure("/gc/heap/live:bytes")*startPercent/100, leastRoom))
	} else {
		collect(percent)
	}
}

// sweeping is held for a whole collection: who Expects does not wait for it.
var sweeping sync.Mutex

// allExpected is what everybody expects.
func allExpected() (room uint64) {
	expected.Lock()
	defer expected.Unlock()
	for _, g := range expected.garbage {
		room += g
	}
	return room
}

// leastRoom is more than the runtime keeps clear of its limit, bytes.
const leastRoom = 4 << 20

// asleep counts the times that the collector was sent to sleep.
var asleep struct {
	sync.Mutex
	times int
}

// sleep has the collector do nothing before there is so much more memory, bytes; then it
// goes on at a percentage. Otherwise it runs every two minutes, whether there is garbage or
// not, and needs three MB of the program for it, which stay in memory.
func sleep(percent int, room uint64) {
	asleep.Lock()
	defer asleep.Unlock()
	debug.SetMemoryLimit(int64(measure("/memory/classes/total:bytes") - measure("/memory/classes/heap/released:bytes") + room))
	debug.SetGCPercent(-1)
	// What nobody refers to goes the first time that the collector runs, whyever.
	runtime.AddCleanup(new([64]byte), func(times int) {
		asleep.Lock()
		defer asleep.Unlock()
		if times == asleep.times {
			debug.SetGCPercent(percent)
			debug.SetMemoryLimit(math.MaxInt64)
		}
	}, asleep.times)
}

// Due reports that the collector will run by itself soon: who makes much garbage Collects
// before that, at a moment when nobody has anything to do who must not be kept waiting.
func Due() bool { return roomy.Load() && ours() && garbage() > int64(room()/4*3) }

// Collect runs the collector, unless that has become undue.
func Collect() {
	if Due() {
		runtime.GC()
	}
}

// Littered reports whether garbage has gathered that is worth a Sweep.
func Littered() bool { return garbage() > little }

// garbage is what may have become that since the collector has run.
func garbage() int64 {
	return int64(measure("/memory/classes/heap/objects:bytes")) - int64(measure("/gc/heap/live:bytes"))
}

// measure reads one of the runtime's numbers, without stopping anything.
func measure(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0 // a runtime that does not count it
	}
	return s[0].Value.Uint64()
}

// ours: the user does not say himself when the collector is to run.
func ours() bool { return os.Getenv("GOGC") == "" }

func collect(percent int) {
	if ours() {
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
