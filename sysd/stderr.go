package sysd

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stderrSink writes lines for people. It uses the bare system call, so that a
// reader that went away costs records and not the process, and waits for room
// with poll, so that a stuck reader cannot hold it longer than it wants.
type stderrSink struct {
	file  *os.File
	fd    int
	stamp string // time layout, "" for none
	level bool   // <N> before each line, which the journal reads as the priority
}

func newStderrSink(f *os.File, inJournal bool) *stderrSink {
	s := &stderrSink{file: f, fd: int(f.Fd()), stamp: "2006-01-02T15:04:05.000Z07:00 ", level: inJournal}
	if inJournal {
		s.stamp = ""
	} else if _, err := unix.IoctlGetTermios(s.fd, unix.TCGETS); err == nil {
		s.stamp = "15:04:05.000 "
	}
	return s
}

func (s *stderrSink) write(e *entry, by time.Time) error {
	var b []byte
	if s.level {
		b = append(b, '<')
		b = strconv.AppendInt(b, int64(priority(e.level)), 10)
		b = append(b, '>')
	}
	if s.stamp != "" {
		at := e.time
		if at.IsZero() {
			at = time.Now()
		}
		b = at.Local().AppendFormat(b, s.stamp)
	}
	b = append(b, e.line(!s.level)...)
	b = append(b, '\n')
	for len(b) > 0 {
		if err := s.waitRoom(by); err != nil {
			return err
		}
		n, err := unix.Write(s.fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("write to %s: %w", s.file.Name(), err)
		}
		b = b[max(n, 0):]
	}
	return nil
}

func (s *stderrSink) waitRoom(by time.Time) error {
	for {
		left := max(time.Until(by), 0)
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("poll %s: %w", s.file.Name(), err)
		case n == 0:
			return fmt.Errorf("write to %s: %w", s.file.Name(), os.ErrDeadlineExceeded)
		}
		return nil
	}
}

// close does nothing: stderr belongs to the process.
func (s *stderrSink) close() {}

// SurviveSIGPIPE makes writes to a stdout or stderr whose reader went away
// return an error instead of killing the process. Call it first thing in main.
// It catches the signal rather than ignoring it, because an ignored signal is
// inherited by the scripts that the process starts. The result undoes it.
func SurviveSIGPIPE() (undo func()) {
	// Nobody reads: os/signal drops what the channel cannot take.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}
