package hooks

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/child"
)

func TestRunsOnce(t *testing.T) {
	b := start(t, Options{})
	b.do("true") // it runs
	if err := b.Run(context.Background()); err == nil || err.Error() != "run hooks: a Runner runs once" {
		t.Errorf("a second Run: %v", err)
	}
	b.end()
	if err := b.Run(context.Background()); err == nil {
		t.Error("Run after Run has returned")
	}
	b.Post(full("true"))
	b.idle() // it is over still
}

// watch returns a function that waits until a process is gone, even if nobody
// reaps it.
func watch(t *testing.T, pid string) func() {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if err != nil {
		t.Fatalf("watch %d: %v", n, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return func() {
		t.Helper()
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		for err == unix.EINTR {
			n, err = unix.Poll(fds, int(patience.Milliseconds()))
		}
		if n != 1 || err != nil {
			t.Errorf("process %s lives on (%v)", pid, err)
		}
	}
}

// TestLimit: the timer is in the test's hand, so that the child is there for
// certain when the limit is reached.
func TestLimit(t *testing.T) {
	b := prepare(t, Options{Limit: 7 * time.Second})
	timers := make(chan *time.Timer, 10)
	b.timer = func(d time.Duration) *time.Timer {
		if d != 7*time.Second {
			t.Errorf("the limit is %s", d)
		}
		timer := time.NewTimer(time.Hour)
		timers <- timer
		return timer
	}
	b.run()
	path := script(t, "trap '' TERM INT HUP\n"+family)
	b.Post(full(path))
	limit := receive(t, timers, "the timer")
	var gone []func()
	for _, pid := range strings.Fields(b.line()) {
		gone = append(gone, watch(t, pid))
	}
	if len(gone) != 2 {
		t.Fatalf("%d processes", len(gone))
	}
	limit.Reset(0)
	r := b.result()
	want := "run MASTER command " + path + ": time limit of 7s reached, its process group was killed"
	if !r.TimedOut || r.Signal != syscall.SIGKILL || r.ExitCode != -1 || r.Err == nil || r.Err.Error() != want {
		t.Errorf("got %+v", r)
	}
	for _, wait := range gone {
		wait()
	}
	if r, _ := b.do("true"); r.Err != nil || r.TimedOut {
		t.Errorf("the next one: %+v", r)
	}
}

// TestLimitIsReal: the limit counts real time, and the default is a minute.
func TestLimitIsReal(t *testing.T) {
	b := start(t, Options{Limit: time.Millisecond})
	if r, _ := b.do("exec sleep 3600"); !r.TimedOut || r.Duration < time.Millisecond {
		t.Errorf("got %+v", r)
	}
	if got := New(Options{}).options.Limit; got != time.Minute {
		t.Errorf("the default is %s", got)
	}
}

// TestStop: the end of the context kills what runs, whole, and reports what
// waits.
func TestStop(t *testing.T) {
	b := start(t, Options{})
	b.Post(full(script(t, family)))
	var gone []func()
	for _, pid := range strings.Fields(b.line()) {
		gone = append(gone, watch(t, pid))
	}
	b.Post(b.at('B', 2))
	b.Post(b.at('M', 3))
	b.end()
	for _, wait := range gone {
		wait()
	}
	for n := 1; n <= 3; n++ {
		r := b.result()
		if !errors.Is(r.Err, child.ErrStopped) || r.TimedOut || r.ExitCode != -1 {
			t.Errorf("%d: got %+v", n, r)
		}
		if ran := r.Signal == syscall.SIGKILL; ran != (n == 1) {
			t.Errorf("%d: got %+v", n, r)
		}
	}
	if got := b.said(); got != nil {
		t.Errorf("%q ran", got)
	}
}

// TestLeftBehind: a child that keeps the output open does not hold up the
// runner, and is not killed with its dead leader.
func TestLeftBehind(t *testing.T) {
	b := start(t, Options{})
	r, output := b.do("sleep 3600 &\necho $!")
	if r.Err != nil || r.ExitCode != 0 || len(output) != 1 {
		t.Fatalf("got %+v, output %q", r, output)
	}
	gone := watch(t, output[0])
	pid, _ := strconv.Atoi(output[0])
	if r, _ := b.do("true"); r.Err != nil {
		t.Error(r.Err)
	}
	status, err := os.ReadFile("/proc/" + output[0] + "/stat")
	if err != nil || strings.Contains(string(status), ") Z ") {
		t.Errorf("the child that was left behind is dead: %s %v", status, err)
	}
	unix.Kill(pid, unix.SIGKILL)
	gone()
}
