package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/control/controltest"
)

const patience = 30 * time.Second

// terminal is both ends of one, and what was written to it.
type terminal struct {
	t           *testing.T
	user, slave *os.File

	mu      sync.Mutex
	text    strings.Builder
	written chan struct{} // capacity 1: there is more text
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no pseudo terminal here: %v", err)
	}
	user := os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminal here: %v", err)
	}
	x := &terminal{t: t, user: user, slave: slave, written: make(chan struct{}, 1)}
	x.resize(100, 30)
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := user.Read(buf)
			x.mu.Lock()
			x.text.Write(buf[:n])
			x.mu.Unlock()
			select {
			case x.written <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		slave.Close()
		user.Close()
		wg.Wait()
	})
	return x
}

func (x *terminal) resize(width, height uint16) {
	x.t.Helper()
	raw, err := x.user.SyscallConn()
	if err != nil {
		x.t.Fatal(err)
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	})
	if err != nil || ierr != nil {
		x.t.Fatal(err, ierr)
	}
}

func (x *terminal) settings() unix.Termios {
	x.t.Helper()
	s, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return *s
}

// mark is how much has been written so far.
func (x *terminal) mark() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.Len()
}

// until waits for words behind a mark.
func (x *terminal) until(mark int, words string) {
	x.t.Helper()
	for limit := time.After(patience); ; {
		x.mu.Lock()
		text := x.text.String()[mark:]
		x.mu.Unlock()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-x.written:
		case <-limit:
			x.t.Fatalf("%q is not on the terminal: %q", words, text)
		}
	}
}

// atropos runs the real program on the terminal.
func (x *terminal) atropos(runDir string, env ...string) *exec.Cmd {
	x.t.Helper()
	c := exec.Command("/proc/self/exe", "--watch")
	c.Args[0] = "atropos" // what testscript's programs go by
	c.Env = append(append(os.Environ(), "VRRPD_RUN_DIR="+runDir, "TERM=xterm"), env...)
	c.Stdin, c.Stdout, c.Stderr = x.slave, x.slave, x.slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c
}

func serveStatus(t *testing.T) (dir string, feed *control.Feed) {
	t.Helper()
	dir, feed = t.TempDir(), new(control.Feed)
	st := control.Status{Machine: control.Machine{Group: "lan", State: "MASTER", Phase: "MASTER", Reason: "preempted", Epoch: 3}}
	st.Routers = []control.Router{{Interface: "vrrp51", Parent: "eth0", VRID: 51, State: "master"}}
	controltest.Serve(t, dir, &control.Server{Source: &process{status: st}, Feed: feed})
	return dir, feed
}

// The table on a terminal: it is drawn in place as things happen and as the window
// changes, and whatever ends it, the terminal is as it was.
func TestWatchOnATerminal(t *testing.T) {
	const entered, left = "\x1b[?1049h", "\x1b[?1049l"
	for _, c := range []struct {
		name string
		end  func(*terminal, *exec.Cmd)
	}{
		{"q", func(x *terminal, _ *exec.Cmd) { x.user.WriteString("q") }},
		{"ctrl-c", func(x *terminal, _ *exec.Cmd) { x.user.WriteString("\x03") }},
		{"SIGTERM", func(_ *terminal, c *exec.Cmd) { c.Process.Signal(syscall.SIGTERM) }},
		{"SIGHUP", func(_ *terminal, c *exec.Cmd) { c.Process.Signal(syscall.SIGHUP) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, feed := serveStatus(t)
			x := openTerminal(t)
			before := x.settings()
			cmd := x.atropos(dir)
			x.until(0, entered)
			x.until(0, "MASTER since")
			x.until(0, "lan: is MASTER: preempted")
			if during := x.settings(); during.Lflag&(unix.ECHO|unix.ICANON) != 0 {
				t.Error("keys are shown")
			}
			mark := x.mark()
			feed.Publish(control.Event{Kind: control.KindTransition, Group: "lan", From: "MASTER", To: "HELD", Reason: "link-down", Epoch: 4, Message: "eth1"})
			x.until(mark, "MASTER -> HELD: link-down (eth1)")
			x.until(mark, "\x1b[H") // in place
			mark = x.mark()
			x.resize(20, 10)
			x.until(mark, "MASTER since 0001-0~")
			c.end(x, cmd)
			if err := cmd.Wait(); err != nil {
				t.Errorf("atropos: %v", err)
			}
			x.until(mark, left)
			if x.settings() != before {
				t.Errorf("the terminal was %+v, and is %+v", before, x.settings())
			}
		})
	}
}

// Ctrl-Z gives the terminal back, fg takes it again.
func TestWatchIsSuspended(t *testing.T) {
	dir, _ := serveStatus(t)
	x := openTerminal(t)
	before := x.settings()
	cmd := x.atropos(dir)
	x.until(0, "lan: is MASTER: preempted")
	// As the terminal would, were there a shell: the session's own group is orphaned.
	cmd.Process.Signal(syscall.SIGTSTP)
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("%v, %v", ws, err)
	}
	x.until(0, "\x1b[?1049l")
	if x.settings() != before {
		t.Error("a suspended program keeps the terminal")
	}
	mark := x.mark()
	cmd.Process.Signal(syscall.SIGCONT)
	x.until(mark, "\x1b[?1049h")
	x.until(mark, "MASTER since")
	x.user.WriteString("q")
	if err := cmd.Wait(); err != nil {
		t.Errorf("atropos: %v", err)
	}
}

// On a terminal that cannot be drawn upon, there are lines.
func TestWatchOnADumbTerminal(t *testing.T) {
	dir, _ := serveStatus(t)
	x := openTerminal(t)
	cmd := x.atropos(dir, "TERM=dumb")
	x.until(0, "lan: is MASTER: preempted\r\n")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("atropos: %v", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if strings.Contains(x.text.String(), "\x1b") {
		t.Errorf("%q", x.text.String())
	}
}
