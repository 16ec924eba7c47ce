// Package screen is a terminal that is drawn upon as a whole, again and again, and is
// given back as it was: at the end, when the user suspends the program, and whatever
// ends it short of SIGKILL. It knows nothing of what is drawn.
package screen

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// The other screen, no cursor, no wrapping of long lines; and back.
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"

	home, endOfLine, endOfScreen = "\x1b[H", "\x1b[K", "\x1b[J"
)

// Is reports whether a file is a terminal that can be drawn upon. term is the
// environment's TERM.
func Is(f *os.File, term string) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && term != "" && term != "dumb"
}

// Screen is a terminal in use.
type Screen struct {
	in, out *os.File
	changed chan struct{}  // capacity 1
	keys    chan byte      // closed when no more will come
	signals chan os.Signal // of the terminal
	quit    [2]int         // pipe whose end ends the reader of keys
	readers sync.WaitGroup

	mu    sync.Mutex    // guards what follows, and what is written
	saved *unix.Termios // of in, as it was; nil: it is no terminal
	open  bool
}

// Open takes the terminal out, and the keys of in if that is one, too.
func Open(in, out *os.File) (*Screen, error) {
	s := &Screen{in: in, out: out, changed: make(chan struct{}, 1), keys: make(chan byte, 64), signals: make(chan os.Signal, 8)}
	if err := unix.Pipe2(s.quit[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	signal.Notify(s.signals, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT)
	if err := s.take(); err != nil {
		signal.Stop(s.signals)
		return nil, errors.Join(err, unix.Close(s.quit[0]), unix.Close(s.quit[1]))
	}
	keyboard := s.saved != nil
	s.readers.Go(s.listen)
	s.readers.Go(func() { s.readKeys(keyboard) })
	return s, nil
}

// take sets the terminal up: keys come one by one and are not shown; those that send a
// signal still do.
func (s *Screen) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = nil
	if t, err := unix.IoctlGetTermios(int(s.in.Fd()), unix.TCGETS); err == nil {
		raw := *t
		raw.Lflag &^= unix.ICANON | unix.ECHO
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETS, &raw); err != nil {
			return fmt.Errorf("set the terminal up: %w", err)
		}
		s.saved = t
	}
	s.open = true
	_, err := s.out.WriteString(enter)
	return err
}

// give gives the terminal back. Called with mu held.
func (s *Screen) give() error {
	if !s.open {
		return nil
	}
	s.open = false
	_, err := s.out.WriteString(leave)
	if s.saved != nil {
		err = errors.Join(err, unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETSF, s.saved))
	}
	return err
}

// Close gives the terminal back.
func (s *Screen) Close() error {
	signal.Stop(s.signals)
	close(s.signals)
	s.mu.Lock()
	err := s.give()
	s.mu.Unlock()
	unix.Close(s.quit[1])
	s.readers.Wait()
	return errors.Join(err, unix.Close(s.quit[0]))
}

// Size is how many columns and lines there are.
func (s *Screen) Size() (width, height int) {
	w, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return 80, 24
	}
	return int(w.Col), int(w.Row)
}

// Changed tells that the size has changed or the screen was away: draw again.
func (s *Screen) Changed() <-chan struct{} { return s.changed }

// Keys are the keys that were pressed; it is closed when there will be no more.
func (s *Screen) Keys() <-chan byte { return s.keys }

// Draw replaces what is shown. Nothing flickers: each line is written over the one
// before, all of them at once.
func (s *Screen) Draw(lines []string) error {
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + endOfLine)
	}
	b.WriteString(endOfScreen)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil
	}
	_, err := s.out.WriteString(b.String())
	return err
}

// listen follows what happens to the terminal.
func (s *Screen) listen() {
	for sig := range s.signals {
		if sig == unix.SIGTSTP && !s.suspend() {
			return
		}
		if sig == unix.SIGCONT {
			continue // of a stop that was not ours: SIGWINCH follows if it matters
		}
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// suspend gives the terminal to the shell until the user wants this program back; false
// means that it is being closed.
func (s *Screen) suspend() bool {
	s.mu.Lock()
	_ = s.give()
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
	s.mu.Unlock()
	for sig := range s.signals {
		if sig == unix.SIGCONT {
			return s.take() == nil
		}
	}
	return false
}

// readKeys hands keys on, until the file or the screen ends.
func (s *Screen) readKeys(keyboard bool) {
	defer close(s.keys)
	if !keyboard {
		return
	}
	buf := make([]byte, 16)
	for {
		fds := []unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}, {Fd: int32(s.quit[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents == 0 {
			continue
		}
		n, err := unix.Read(int(s.in.Fd()), buf)
		if n <= 0 && err != unix.EINTR && err != unix.EAGAIN {
			return
		}
		for i := range max(n, 0) {
			select {
			case s.keys <- buf[i]:
			default: // more than anybody means
			}
		}
	}
}
