package acceptance

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vrrpd/internal/heapsites"
	"vrrpd/internal/netlab"
)

// vitals are what the processes that live for long use, by process.
type vitals map[int]*life

// life is what one process used after each fault.
type life struct {
	all []vital
	// from is where in all its heap begins to be measured: a program that has been
	// replaced, or has just begun, has to settle first.
	from int
	born int64
	// settled and last are what it had in use when its history was full, and in the end.
	settled, last heapsites.Sites
}

type vital struct {
	fds, threads, goroutines int
	heap, rss                int64 // bytes: in use; resident and not of a file
}

// counted has the daemons that are started from now on say what they have in use, to the
// byte (internal/heapsites). Their own figure, of the last collection, tells no leak from
// what the runtime keeps of goroutines that have ended: by that a daemon that is only asked
// for its status has grown by 60 kB in a minute, and others by 135 kB in 300 hand-overs, and
// hardly any of it was the program's own.
func counted(t *testing.T) {
	t.Helper()
	if os.Getenv(programsEnv) != "" {
		t.Skip("nothing can be built here")
	}
	dir, scratch := t.TempDir(), t.TempDir()
	flags, err := heapsites.Flags("../../cmd/vrrpd", scratch)
	check(t, err)
	check(t, buildOne(dir, "vrrpd", flags...))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// heap asks a process for what it has in use.
func (r *router) heap(p netlab.Process) (h heapsites.Heap) {
	r.site.t.Helper()
	check(r.site.t, r.Do(func() (err error) {
		h, err = heapsites.Ask(p.Own)
		return err
	}))
	return h
}

// look takes a sample of every process. The machines are at rest.
func (v vitals) look(s *site) {
	s.t.Helper()
	for _, r := range s.routers() {
		for _, l := range lans {
			st, err := r.tryStatus(l)
			check(s.t, err)
			p := r.daemon(l)
			one := vital{goroutines: st.Goroutines}
			fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd"))
			check(s.t, err)
			one.fds = len(fds)
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "status"))
			check(s.t, err)
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) > 1 {
					n, _ := strconv.Atoi(f[1])
					switch f[0] {
					case "Threads:":
						one.threads = n
					case "RssAnon:":
						one.rss = int64(n) << 10
					}
				}
			}
			h := r.heap(p)
			one.heap = h.Sites.Sum()
			if v[p.PID] == nil {
				v[p.PID] = &life{}
			}
			v[p.PID].add(one, h)
		}
	}
}

func (l *life) add(one vital, h heapsites.Heap) {
	if h.Born != l.born {
		l.born, l.from, l.settled = h.Born, len(l.all)+heapSettled, nil
	}
	l.all = append(l.all, one)
	l.last = h.Sites
	if l.settled == nil && len(l.all) > l.from {
		l.settled = h.Sites
	}
}

// settle has the heaps measured from now on: what the processes keep of the past is full.
func (v vitals) settle() {
	for _, l := range v {
		l.from, l.settled = len(l.all), nil
	}
}

// What is counted one by one is measured from the second quarter of a process's life, in
// which it has seen everything once, to the last; of each quarter the least counts,
// because what leaks is there at every moment.
const (
	// longLife is how many faults a process must have seen for that.
	longLife = 40
	// Of what is counted one by one none may be left behind.
	moreFDs, moreGoroutines, moreThreads = 1, 2, 4
	// moreResident is what one process may grow by: stacks and the pools of the
	// runtime, which it gives back late.
	moreResident = 3 << 20
)

// The heap is measured in one program's life from when its history is full: from there
// on it is level but for what leaks. Of each half of the rest the least counts.
const (
	// heapSettled is after how many faults that is for a program that begins later than
	// the second half of the soak (settle). What fills is, of some 480 kB, the history (32
	// transitions: 10 kB with the copy in the last status), what is known of 32 sources
	// of forged adverts (3 kB), and the encoder's tables of what is asked for the first
	// time. Few of the harmless faults make a transition.
	heapSettled = 60
	// heapPerFault is what may stay in use for each fault in the mean of all
	// processes: less than any goroutine's closure, timer, buffer, or log record that is
	// left behind at each.
	heapPerFault = 100
	// heapFaults is how many faults are needed to say so: texts in the history are
	// longer or shorter, and what was asked for last lies about, which is a kilobyte or
	// two.
	heapFaults = 100
)

// judge compares the quarters, and the halves.
func (v vitals) judge(t *testing.T) {
	t.Helper()
	judged, faults := 0, 0
	var heap int64
	for pid, l := range v {
		if n := len(l.all); n >= longLife {
			judged++
			l.judge(t, pid)
		}
		if more, n := l.heapGrowth(); n > 0 {
			t.Logf("process %d: its heap has grown by %d bytes within %d faults", pid, more, n)
			if more > heapPerFault*int64(n) {
				t.Logf("since it had settled:\n\t%s", strings.Join(l.last.Growth(l.settled, 10), "\n\t"))
			}
			heap += more
			faults += n
		}
	}
	t.Logf("%d of %d processes lived long enough to be judged", judged, len(v))
	if faults == 0 {
		return
	}
	t.Logf("for each of %d faults their heaps have grown by %d bytes", faults, heap/int64(faults))
	if faults >= heapFaults && heap > heapPerFault*int64(faults) {
		t.Errorf("the heaps grow by %d bytes within %d faults", heap, faults)
	}
}

// least is the least value of a part of a life.
func least(list []vital, of func(vital) int64) int64 {
	return of(slices.MinFunc(list, func(a, b vital) int { return cmp.Compare(of(a), of(b)) }))
}

func (l *life) judge(t *testing.T, pid int) {
	t.Helper()
	n := len(l.all)
	early, late := l.all[n/4:n/2], l.all[3*n/4:]
	for _, c := range []struct {
		what string
		of   func(vital) int64
		more int64
	}{
		{"descriptors", func(x vital) int64 { return int64(x.fds) }, moreFDs},
		{"goroutines", func(x vital) int64 { return int64(x.goroutines) }, moreGoroutines},
		{"threads", func(x vital) int64 { return int64(x.threads) }, moreThreads},
		{"resident bytes", func(x vital) int64 { return x.rss }, moreResident},
	} {
		if g := least(late, c.of) - least(early, c.of); g > c.more {
			t.Errorf("process %d: %s grow by %d within %d faults", pid, c.what, g, n)
		}
	}
	t.Logf("process %d: %d faults, heap %d and %d bytes, resident %d and %d", pid, n,
		early[0].heap, late[len(late)-1].heap, early[0].rss, late[len(late)-1].rss)
}

// heapGrowth is by how much the heap has grown within so many faults; 0: the program has
// not lived long enough to say so.
func (l *life) heapGrowth() (bytes int64, faults int) {
	settled := l.all[min(l.from, len(l.all)):]
	faults = len(settled) / 2
	if faults < heapSettled/2 {
		return 0, 0
	}
	heap := func(x vital) int64 { return x.heap }
	return least(settled[len(settled)-faults:], heap) - least(settled[:faults], heap), faults
}

// heaps are what the processes of a site have in use, by their places.
func (v vitals) heaps(s *site) (list []string) {
	s.t.Helper()
	for _, r := range s.routers() {
		for _, l := range lans {
			p := r.daemon(l)
			if life := v[p.PID]; life != nil {
				list = append(list, fmt.Sprintf("%s %s (%d): %d", r.Name(), l.instance(), p.PID, life.all[len(life.all)-1].heap))
			}
		}
	}
	return list
}

// What fills for sixty faults is no growth, nor is another program; what leaks is, by as
// much as it leaks, also between samples that happen to be larger.
func TestHeapGrowth(t *testing.T) {
	lived := func(faults int, heap func(n int) int) *life {
		l := &life{}
		for n := range faults {
			born := int64(1)
			if n >= 20 {
				born = 2
			}
			l.add(vital{heap: int64(heap(n))}, heapsites.Heap{Born: born})
		}
		return l
	}
	for what, c := range map[string]struct {
		heap   func(n int) int
		faults int
		want   int64 // for each fault
	}{
		"filling":                   {func(n int) int { return 480_000 + 250*min(n, 20+heapSettled) }, 200, 0},
		"another program":           {func(n int) int { return 480_000 + 130_000*min(n/20, 1) }, 200, 0},
		"a leak":                    {func(n int) int { return 480_000 + 200*n }, 200, 200},
		"a leak, and samples apart": {func(n int) int { return 480_000 + 200*n + 20_000*min(n%3, 1) }, 201, 200},
	} {
		more, n := lived(c.faults, c.heap).heapGrowth()
		if n != (c.faults-20-heapSettled)/2 {
			t.Errorf("%s: judged within %d faults", what, n)
		} else if got := more / int64(n); got < c.want-10 || got > c.want+10 {
			t.Errorf("%s: %d bytes for each fault, want %d", what, got, c.want)
		}
	}
	if _, n := lived(20+heapSettled+heapSettled-2, func(n int) int { return n }).heapGrowth(); n != 0 {
		t.Errorf("what has hardly lived is judged, within %d faults", n)
	}
}
