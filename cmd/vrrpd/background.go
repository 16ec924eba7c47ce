package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vrrpd/config"
)

// A process of Go cannot fork, so going to the background is starting the same
// program again, in a session of its own, with a pipe on which it says how its
// start went. The parent waits for that: the command of an init script returns
// when the instance is ready, or has failed with its message and exit code.

// pipeEnv names the descriptor of the pipe in the child, argsEnv that of a pipe with
// its real arguments: with a key in them, those that the list of processes shows have
// it hidden.
const (
	pipeEnv = "VRRPD_START_FD"
	argsEnv = "VRRPD_ARGS_FD"
)

// What is said on the pipe: one line each.
const (
	sayWarning = 'w' // a text for the user
	sayReady   = 'r'
	sayFailed  = 'e' // the exit code, a space, a text for the user
)

// stayForeground: with -F, and under a service manager that waits for this very
// process. INVOCATION_ID does not tell that, because rc.local and cron inherit
// it.
func stayForeground(cfg config.Config) bool {
	return cfg.Foreground || os.Getenv("NOTIFY_SOCKET") != "" ||
		os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid())
}

// goBackground starts the child, with the whole path of the configuration file, and returns what its start came to.
func goBackground(args []string, file string) int {
	code, err := startChild(args, file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vrrpd:", err)
		return exitFailed
	}
	return code
}

func startChild(args []string, file string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("go to the background: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("go to the background: %w", err)
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("go to the background: %w", err)
	}
	defer r.Close()
	env := append(os.Environ(), pipeEnv+"=3")
	if file != "" {
		env = append(env, fileEnv+"="+file)
	}
	files := []*os.File{null, null, null, w}
	shown := config.HideKeys(args)
	hide := !slices.Equal(shown, args)
	var tell *os.File
	if hide {
		hear, say, err := os.Pipe()
		if err != nil {
			return 0, fmt.Errorf("go to the background: %w", err)
		}
		defer hear.Close()
		defer say.Close()
		env, files, tell = append(env, argsEnv+"=4"), append(files, hear), say
	}
	child, err := os.StartProcess(self, append([]string{os.Args[0]}, shown...), &os.ProcAttr{
		Dir:   "/", // keeps no file system busy; see fileEnv
		Env:   env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return 0, fmt.Errorf("go to the background: %w", err)
	}
	if hide {
		// If it fails the child is dead, and listen says how that came.
		_, _ = tell.WriteString(strings.Join(args, "\x00"))
		tell.Close()
	}
	code, err := listen(r)
	if err != nil {
		// It is gone without a word; its status is the only thing left to tell.
		state, werr := child.Wait()
		if werr == nil {
			err = fmt.Errorf("%w: %s", err, state)
		}
		return 0, err
	}
	return code, child.Release()
}

// listen passes on what the child says until its start is over.
func listen(r io.Reader) (int, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		kind, text := lines.Text()[:1], lines.Text()[1:]
		switch kind[0] {
		case sayWarning:
			fmt.Fprintln(os.Stderr, "vrrpd: warning:", text)
		case sayReady:
			return 0, nil
		case sayFailed:
			number, message, _ := strings.Cut(text, " ")
			code, err := strconv.Atoi(number)
			if err != nil {
				return 0, fmt.Errorf("start in the background: odd answer %q", text)
			}
			fmt.Fprintln(os.Stderr, "vrrpd:", message)
			return code, nil
		}
	}
	return 0, errors.New("the process in the background died during its start")
}

// starter is the child's end of the pipe. A nil starter is a process in the
// foreground, which says the same on stderr.
type starter struct{ pipe *os.File }

// inherited returns the starter of a background child, or nil.
func inherited() *starter {
	fd, err := strconv.Atoi(os.Getenv(pipeEnv))
	if err != nil || fd < 3 {
		return nil
	}
	os.Unsetenv(pipeEnv) // not for the scripts
	syscall.CloseOnExec(fd)
	return &starter{os.NewFile(uintptr(fd), "start")}
}

// args returns the real arguments of a background child, and any other process's own.
func (s *starter) args(own []string) ([]string, error) {
	fd, err := strconv.Atoi(os.Getenv(argsEnv))
	if s == nil || err != nil || fd < 3 {
		return own, nil
	}
	os.Unsetenv(argsEnv)
	pipe := os.NewFile(uintptr(fd), "arguments")
	defer pipe.Close()
	text, err := io.ReadAll(pipe)
	if err != nil {
		return nil, fmt.Errorf("read the arguments: %w", err)
	}
	return strings.Split(string(text), "\x00"), nil
}

func (s *starter) say(kind byte, text string) {
	if s == nil || s.pipe == nil {
		return
	}
	// The parent may have been interrupted; that does not concern us.
	_, _ = fmt.Fprintf(s.pipe, "%c%s\n", kind, strings.ReplaceAll(text, "\n", " "))
}

func (s *starter) warn(text string) {
	if s == nil {
		fmt.Fprintln(os.Stderr, "vrrpd: warning:", text)
		return
	}
	s.say(sayWarning, text)
}

// ready ends the start.
func (s *starter) ready() {
	if s == nil || s.pipe == nil {
		return
	}
	s.say(sayReady, "")
	s.pipe.Close()
	s.pipe = nil
}

// failed says why to the user and returns the exit code.
func (s *starter) failed(err error) int {
	code := exitCode(err)
	if s == nil {
		fmt.Fprintln(os.Stderr, "vrrpd:", err)
	} else {
		s.say(sayFailed, fmt.Sprintf("%d %s", code, err))
	}
	return code
}
