package realtime

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SpinLimit is for how long a real-time thread may run without ever waiting (a start, or
// a change of sides, of thousands of virtual routers is shorter).
const SpinLimit = 2 * time.Second

// spinning is what commands inherit as it was when this process was started: the limit for
// real-time threads (RLIMIT_RTTIME) and the nice value. Limits are the process's, and so is this.
var spinning limit

type limit struct {
	sync.Mutex
	limited  bool
	original unix.Rlimit
	forks    int  // commands that are being started
	nice     int  // nice value that the process was started with
	favoured bool // its threads have a better one
}

// ours is the limit for this process itself. The kernel adds a second each time that it
// has told.
func (l *limit) ours() unix.Rlimit {
	r := l.original
	r.Cur = min(r.Cur, uint64(SpinLimit/time.Microsecond))
	return r
}

// window is the time in force.
func (l *limit) window() time.Duration {
	l.Lock()
	defer l.Unlock()
	return max(time.Duration(l.ours().Cur)*time.Microsecond, SpinLimit/20)
}

// usage is what threads have had of processors, by id, and when they were asked.
type usage map[int]used

type used struct {
	at  time.Time
	cpu int64 // ns
}

// spins reports whether a thread has run for nearly all of the time since it was asked
// last.
func (t *Threads) spins(before usage) (yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(before, func(id int, _ used) bool { _, is := t.members[id]; return !is })
	for id := range t.members {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", id))
		if err != nil {
			continue // a kernel that does not count
		}
		now := used{at: time.Now()}
		field, _, _ := strings.Cut(string(text), " ")
		if now.cpu, err = strconv.ParseInt(field, 10, 64); err != nil {
			continue
		}
		if last, known := before[id]; known && now.cpu-last.cpu > int64(now.at.Sub(last.at))/10*9 {
			yes = true
		}
		before[id] = now
	}
	return yes
}

// limitSpinning has the kernel tell of a thread that takes a processor for itself. A
// stricter limit that the process was given stays.
func limitSpinning() error {
	s := &spinning
	s.Lock()
	defer s.Unlock()
	if s.limited {
		return nil
	}
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &s.original); err != nil {
		return fmt.Errorf("read RLIMIT_RTTIME: %w", err)
	}
	var err error
	if s.nice, err = niceness(); err != nil {
		return fmt.Errorf("read nice value: %w", err)
	}
	if err := setSpinning(s.ours()); err != nil {
		return err
	}
	s.limited = true
	return nil
}

func setSpinning(l unix.Rlimit) error {
	if err := unix.Prlimit(0, unix.RLIMIT_RTTIME, &l, nil); err != nil {
		return fmt.Errorf("set RLIMIT_RTTIME: %w", err)
	}
	return nil
}

// Starting runs start, which makes another program of this process: it inherits the limit as
// this process was given it, so that a command may be real-time if it wants to, and its nice
// value.
func Starting(start func() error) error {
	return spinning.lifted(func(nice int, favoured bool) error {
		if favoured {
			return ordinarily(nice, start)
		}
		return start()
	})
}

// Spawning is Starting for a start that makes a process with a group of its own, and returns
// its number.
func Spawning(start func() (pid int, err error)) error {
	return spinning.lifted(func(nice int, favoured bool) error {
		pid := 0
		own := func() (err error) {
			pid, err = start()
			return err
		}
		switch {
		case favoured && renices():
			if err := own(); err != nil {
				return err
			}
			// It runs, whatever becomes of its nice value.
			_ = unfavour(pid, nice)
			return nil
		case favoured:
			return ordinarily(nice, own)
		}
		return own()
	})
}

// lifted runs start without the limit. It is told the nice value that this process was
// started with, and whether its threads have a better one.
func (l *limit) lifted(start func(nice int, favoured bool) error) error {
	l.Lock()
	if !l.limited {
		l.Unlock()
		return start(0, false)
	}
	var err error
	if l.forks++; l.forks == 1 {
		err = setSpinning(l.original)
	}
	nice, favoured := l.nice, l.favoured
	l.Unlock()
	if err == nil {
		err = start(nice, favoured)
	}
	l.Lock()
	defer l.Unlock()
	if l.forks--; l.forks == 0 {
		err = errors.Join(err, setSpinning(l.ours()))
	}
	return err
}
