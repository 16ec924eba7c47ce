package realtime

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SpinLimit is for how long a real-time thread may run without ever waiting (a start, or
// a change of sides, of thousands of virtual routers is shorter).
const SpinLimit = 2 * time.Second

// spinning is the limit of this process for real-time threads (RLIMIT_RTTIME) as it was
// when it was started. Limits are the process's, and so is this.
var spinning limit

type limit struct {
	sync.Mutex
	limited  bool
	original unix.Rlimit
	forks    int // commands that are being started
}

// ours is the limit for this process itself. The kernel adds a second each time that it
// has told.
func (l *limit) ours() unix.Rlimit {
	r := l.original
	r.Cur = min(r.Cur, uint64(SpinLimit/time.Microsecond))
	return r
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

// Starting runs start, which starts a process that is not ours: it inherits the limit as
// this process was given it, so that a command may be real-time if it wants to.
func Starting(start func() error) error {
	s := &spinning
	s.Lock()
	if !s.limited {
		s.Unlock()
		return start()
	}
	var err error
	if s.forks++; s.forks == 1 {
		err = setSpinning(s.original)
	}
	s.Unlock()
	if err == nil {
		err = start()
	}
	s.Lock()
	defer s.Unlock()
	if s.forks--; s.forks == 0 {
		err = errors.Join(err, setSpinning(s.ours()))
	}
	return err
}
