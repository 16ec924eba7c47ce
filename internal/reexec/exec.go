package reexec

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

// variable names the descriptor of the state in the environment.
const variable = "VRRPD_STATE_FD"

// held are signals that must not end the process between two programs. They wait until
// the next one has its handlers, but for those that end a process of Go: see ignoreHangup.
var held = [...]unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTTIN, unix.SIGTTOU}

// ErrStarting: another program is being started; a moment later it may not be.
var ErrStarting = errors.New("a command is being started")

// Exec puts a program in the place of this one, if it is still the one that was tried. It returns only if that
// failed, and then nothing has changed. Meanwhile no other program is started.
//
// Whoever calls has made sure that nobody will miss what this program would do from here
// on: no goroutine of it runs on. last is called when everything else is done; its error
// ends it.
func Exec(p *Tried, s *State, last func() error) error {
	if file, err := check(p.path); err != nil {
		return err
	} else if file != p.file {
		return fmt.Errorf("%s is not the program any more that was tried a moment ago", p.path)
	}
	s.Late = slices.DeleteFunc(slices.Clone(s.Late), func(fd int) bool {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err != nil || slices.Contains(s.Files, fd) // closed since
	})
	state, err := memory(s)
	if err != nil {
		return err
	}
	defer state.Close()
	fd := int(state.Fd())
	open := append(s.open(), fd)
	env := append(environ(os.Environ()), variable+"="+strconv.Itoa(fd))
	argv := append([]string{os.Args[0]}, s.Shown...)

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, before unix.Sigset_t
	for _, sig := range held {
		n := uint(sig) - 1
		set.Val[n/strconv.IntSize] |= 1 << (n % strconv.IntSize)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)

	undo, err := ignoreHangup()
	if err != nil {
		return err
	}
	defer undo()

	// os/exec takes it, too: nobody inherits what is open for a moment. It is not waited
	// for: a program on a disk that hangs is being started for as long as that takes.
	if !syscall.ForkLock.TryLock() {
		return ErrStarting
	}
	defer syscall.ForkLock.Unlock()
	defer closeOnExec(open, true)
	if err := closeOnExec(open, false); err != nil {
		return err
	}
	err = realtime.Starting(func() error {
		if err := last(); err != nil {
			return err
		}
		return fmt.Errorf("execute %s: %w", p.path, execute(p.path, argv, env))
	})
	return err
}

// execute is execve. syscall.Exec gives the next program the limit of descriptors that
// this one was started with, and leaves it at that if execve fails. It also forgets that
// limit: commands have ours from then on.
func execute(path string, argv, env []string) error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	return errors.Join(syscall.Exec(path, argv, env), unix.Setrlimit(unix.RLIMIT_NOFILE, &files))
}

// environ is the environment without what is this package's.
func environ(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(v string) bool { return strings.HasPrefix(v, variable+"=") })
}

// closeOnExec sets the flag of descriptors, or takes it away.
func closeOnExec(fds []int, on bool) error {
	flag := 0
	if on {
		flag = unix.FD_CLOEXEC
	}
	var errs []error
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			errs = append(errs, fmt.Errorf("descriptor %d: fcntl: %w", fd, err))
		}
	}
	return errors.Join(errs...)
}

// SlowToClose are the descriptors whose closing waits for the kernel, 7 ms and more each:
// inotify and packet sockets. What the next program does not go on with it has time to
// close later (State.Late).
func SlowToClose() (all []int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil // then it takes longer
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < firstOwn {
			continue
		}
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		switch {
		case err != nil:
		case strings.HasPrefix(to, "anon_inode:inotify"):
			all = append(all, fd)
		case strings.HasPrefix(to, "socket:"):
			if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_PACKET {
				all = append(all, fd)
			}
		}
	}
	return all
}

// Inherits reports that there is something for Inherited to read, or to ask for.
func Inherits() bool { return os.Getenv(variable) != "" }

// Inherited returns the state that another program has left to this one; nil: none has.
// It comes first of all: from then on no program inherits what came with it.
func Inherited() (*State, error) {
	fd, err := strconv.Atoi(os.Getenv(variable))
	if err != nil || fd < firstOwn {
		return nil, nil
	}
	os.Unsetenv(variable)
	f := os.NewFile(uintptr(fd), "state")
	defer f.Close()
	unix.CloseOnExec(fd)
	s, err := read(f)
	if err != nil {
		return nil, err
	}
	return s, closeOnExec(s.open(), true)
}

// open are the descriptors that come with the state.
func (s *State) open() []int {
	all := append(slices.Clone(s.Files), s.Late...)
	if s.Caller > 0 {
		all = append(all, s.Caller)
	}
	return all
}

// CloseLate closes what is slow to close. It takes some milliseconds, for whoever comes
// first and for everybody else.
func (s *State) CloseLate() {
	s.late.Do(func() {
		for _, fd := range s.Late {
			unix.Close(fd)
		}
	})
}

// Reap ends the children and waits for them, for whoever comes first and for everybody
// else. That takes as long as the kernel needs.
func (s *State) Reap() { s.reaped.Do(s.reap) }

func (s *State) reap() {
	var ended []int
	for _, pid := range s.Children {
		// Only as long as it is not waited for its number is its own.
		if unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil {
			_ = unix.Kill(-pid, unix.SIGKILL)
			ended = append(ended, pid)
		}
	}
	for _, pid := range ended {
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}
