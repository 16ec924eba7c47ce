package footprint

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"
)

const smaps = `00400000-00910000 r-xp 00000000 fe:00 9978265                            /usr/sbin/vrrpd
Size:               5184 kB
Rss:                4916 kB
Anonymous:             0 kB
00910000-00e48000 r--p 00510000 fe:00 9978265                            /usr/sbin/vrrpd
Anonymous:             8 kB
00e48000-00e9d000 rw-p 00a48000 fe:00 9978265                            /usr/sbin/vrrpd
Anonymous:             0 kB
32408c400000-32408dc00000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
7f6538400000-7f6538820000 r--s 00000000 00:2b 3                          /run/vrrpd/machine.member
Anonymous:             0 kB
7f6538820000-7f6538821000 r--p 00000000 00:2b 4                          /usr/lib/x y
Anonymous:             0 kB
7f6538822000-7f6538823000 r-xp 00000000 fe:00 9978266                            /usr/sbin/vrrpd (deleted)
Anonymous:             0 kB
7ffc1b5f3000-7ffc1b5f5000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`

func TestShareable(t *testing.T) {
	want := []mapping{{0x400000, 0x910000}, {0x7f6538820000, 0x7f6538821000}}
	if got := shareable([]byte(smaps)); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if got := shareable(nil); got != nil {
		t.Errorf("of nothing: %x", got)
	}
}

// The program goes on as before with less of it in memory.
func TestRelease(t *testing.T) {
	before := fileBacked(t)
	if err := Release(); err != nil {
		t.Fatal(err)
	}
	after := fileBacked(t)
	if after > before*3/4 {
		t.Errorf("%d KB of files before, %d after", before, after)
	}
}

// undisturbed has the collector as a process of ours finds it, until the test ends.
func undisturbed(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() {
		roomy.Store(false)
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(math.MaxInt64)
	})
}

// Roomy is for good, and does not wake up a collector that has been sent to sleep.
func TestRoomy(t *testing.T) {
	undisturbed(t)
	Begin()
	if n := percent(); n != startPercent {
		t.Errorf("%d%% at the start", n)
	}
	Roomy()
	if n := percent(); n != 100*roomyRoom/heapMinimum {
		t.Errorf("%d%% when it has begun", n)
	}
	Sweep()
	limit := debug.SetMemoryLimit(-1)
	if Roomy(); percent() != -1 || debug.SetMemoryLimit(-1) != limit {
		t.Errorf("the collector, which slept, works at %d%%", percent())
	}
	if live := int64(measure("/gc/heap/live:bytes")); limit < live+roomyRoom || limit > live+mostExpected {
		t.Errorf("it sleeps up to %d bytes, with %d in use", limit, live)
	}
}

// Who makes much garbage is told in time, and when the collector has run has time again.
func TestDue(t *testing.T) {
	undisturbed(t)
	debug.SetGCPercent(-1) // nobody else collects
	litter := func() {
		for range roomyRoom >> 20 {
			_ = bytes.Repeat([]byte{1}, 1<<20)
		}
	}
	if litter(); Due() {
		t.Error("before the process has begun")
	}
	roomy.Store(true)
	if !Due() {
		t.Error("not where garbage fills the room")
	}
	if Collect(); Due() {
		t.Error("when it has just run")
	}
	t.Setenv("GOGC", "100")
	if litter(); Due() {
		t.Error("where the user says when the collector runs")
	}
}

// The collector rests while there is less garbage than the headroom, and after a Sweep there
// is none.
func TestSweep(t *testing.T) {
	undisturbed(t)
	const headroom = 16 << 20
	// Two of them, and one that has gone.
	Expect(1, headroom/2)
	Expect(2, headroom/2)
	Expect(3, 1<<40)
	Expect(3, 0)
	defer Expect(1, 0)
	defer Expect(2, 0)
	Sweep()
	if Littered() {
		t.Error("garbage right after a Sweep")
	}
	if percent() != -1 {
		t.Error("the collector runs every two minutes")
	}
	runs := measure("/gc/cycles/total:gc-cycles")
	for made := 0; made < headroom/2; made += len(litter) {
		litter = make([]byte, 1<<16)
	}
	if now := measure("/gc/cycles/total:gc-cycles"); now != runs {
		t.Errorf("the collector ran %d times for half of the headroom", now-runs)
	}
	if !Littered() {
		t.Error("no garbage where much was made")
	}
	// A run that has begun is counted when it is over.
	now := runs
	for made := 0; now == runs && made < 64*headroom; made += len(litter) {
		litter = make([]byte, 1<<16)
		now = measure("/gc/cycles/total:gc-cycles")
	}
	if now == runs {
		t.Error("the collector never runs")
	}
	// It goes on as it was: by what it finds.
	for end := time.Now().Add(10 * time.Second); percent() < startPercent || debug.SetMemoryLimit(-1) != math.MaxInt64; {
		if time.Now().After(end) {
			t.Fatalf("the collector has run, and sleeps still: %d%%, limit %d", percent(), debug.SetMemoryLimit(-1))
		}
		runtime.Gosched()
	}
	Sweep()
	Sweep() // who was to wake up for the first one does not for the second
	if Littered() {
		t.Error("garbage after a Sweep")
	}
	if percent() != -1 {
		t.Error("after a second Sweep the collector runs every two minutes")
	}
	if measure("/no/such:bytes") != 0 {
		t.Error("something is measured that there is not")
	}
}

// percent is what the collector goes by; -1: it sleeps.
func percent() int { return int(int32(measure("/gc/gogc:percent"))) }

// litter is where garbage is made.
var litter []byte

// fileBacked is how much of this process is in memory that files have, too, in KB.
func fileBacked(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); string(f[0]) == "RssFile:" {
			n, err := strconv.Atoi(string(f[1]))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}
