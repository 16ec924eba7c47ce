package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrrpd/election"
)

func TestMain(m *testing.M) {
	if os.Getenv(ambientEnv) != "" {
		runAmbient()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// bench is a Runner at work, and what it says.
type bench struct {
	*Runner
	t       *testing.T
	output  chan string
	results chan Result
	stop    context.CancelFunc
	stopped chan error
}

// start runs a Runner until the end of the test.
func start(t *testing.T, o Options) *bench {
	b := prepare(t, o)
	b.run()
	return b
}

func prepare(t *testing.T, o Options) *bench {
	b := &bench{t: t, output: make(chan string, 1000), results: make(chan Result, 1000), stopped: make(chan error, 1)}
	o.Output = func(_ Job, line string) { b.output <- line }
	o.Done = func(r Result) { b.results <- r }
	b.Runner = New(o)
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.stopped <- b.Run(ctx) }()
	b.t.Cleanup(b.end)
}

// end stops the runner and waits until it has.
func (b *bench) end() {
	b.stop()
	if b.stopped == nil {
		return
	}
	if err := receive(b.t, b.stopped, "the end of Run"); err != nil {
		b.t.Errorf("Run: %v", err)
	}
	b.stopped = nil
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func (b *bench) line() string   { b.t.Helper(); return receive(b.t, b.output, "a line of output") }
func (b *bench) result() Result { b.t.Helper(); return receive(b.t, b.results, "a result") }

// idle waits for Idle.
func (b *bench) idle() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Idle(ctx); err != nil {
		b.t.Fatal(err)
	}
}

// said returns the lines that have come so far.
func (b *bench) said() []string {
	var lines []string
	for {
		select {
		case line := <-b.output:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

// do runs one script to its end and returns its result and output.
func (b *bench) do(body string) (Result, []string) {
	b.t.Helper()
	b.Post(full(script(b.t, body)))
	result := b.result()
	return result, b.said()
}

// script writes a program that /bin/sh runs.
func script(t *testing.T, body string) string {
	t.Helper()
	return file(t, "#!/bin/sh\n"+body+"\n", 0o755)
}

func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook.sh")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// gate is a fifo: a script that reads it waits until open is called.
type gate struct {
	t    *testing.T
	path string
}

func newGate(t *testing.T) gate {
	g := gate{t, filepath.Join(t.TempDir(), "gate")}
	if err := unix.Mkfifo(g.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g gate) open() {
	g.t.Helper()
	f, err := os.OpenFile(g.path, os.O_RDWR, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	// Kept open: the reader must find the byte, and a reader.
	g.t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString("go\n"); err != nil {
		g.t.Fatal(err)
	}
}

func TestEnvironmentOfACommand(t *testing.T) {
	b := start(t, Options{Environ: []string{"PATH=/usr/bin:/bin", "NOTIFY_SOCKET=/n", "LISTEN_FDS=1", "PWD=/root"}})
	b.Post(full("env"))
	if r := b.result(); r.Err != nil {
		t.Fatal(r.Err)
	}
	got, want := b.said(), full().environ([]string{"PATH=/usr/bin:/bin"})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}

func TestDefaultEnvironment(t *testing.T) {
	t.Setenv("HOOKS_TEST", "yes")
	b := start(t, Options{})
	if _, got := b.do("echo $HOOKS_TEST"); !slices.Equal(got, []string{"yes"}) {
		t.Errorf("got %q", got)
	}
}

// TestSurroundings: working directory, stdin, arguments, process group,
// descriptors, signals.
func TestSurroundings(t *testing.T) {
	// Something that the daemon was given by mistake, without close-on-exec, at
	// a number that no shell uses itself.
	leak, err := unix.FcntlInt(0, unix.F_DUPFD, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGTTIN)
	t.Cleanup(func() { signal.Reset(syscall.SIGPIPE, syscall.SIGTTIN) })

	b := start(t, Options{})
	// The shell reads its status itself: while it forks it blocks everything.
	b.Post(full(script(t, `pwd
readlink /proc/self/fd/0
echo $# "$1"
[ $$ = "$(cut -d ' ' -f 5 /proc/$$/stat)" ] && echo leads its group
[ -e /proc/$$/fd/`+strconv.Itoa(leak)+` ] && echo has a leak
while read -r line; do case $line in SigBlk*|SigIgn*) echo "$line";; esac; done < /proc/$$/status`), "a b"))
	if r := b.result(); r.Err != nil {
		t.Fatal(r.Err)
	}
	got := b.said()
	for i, line := range got {
		// The signals above the classic ones are the C library's own; whoever
		// starts the tests may have them ignored, and Go cannot change that.
		if name, mask, ok := strings.Cut(line, ":\t00000000"); ok {
			if n, err := strconv.ParseUint(mask, 16, 32); err == nil {
				got[i] = fmt.Sprintf("%s %x", name, n&(1<<lastClassic-1))
			}
		}
	}
	want := []string{"/", "/dev/null", "1 a b", "leads its group", "SigBlk 0", "SigIgn 0"}
	if !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}

// TestIgnoredStaysHarmless: the daemon does not feel that SIGPIPE is no longer
// ignored but handled.
func TestIgnoredStaysHarmless(t *testing.T) {
	signal.Ignore(syscall.SIGPIPE)
	t.Cleanup(func() { signal.Reset(syscall.SIGPIPE) })
	b := start(t, Options{})
	b.do("true")
	if err := unix.Kill(os.Getpid(), unix.SIGPIPE); err != nil {
		t.Fatal(err)
	}
	if r, _ := b.do("true"); r.Err != nil { // still here
		t.Error(r.Err)
	}
}

// TestBlockedSignals needs a thread of its own with a mask; it dies with the
// goroutine.
func TestBlockedSignals(t *testing.T) {
	type masks struct{ during, after unix.Sigset_t }
	done := make(chan masks)
	go func() {
		runtime.LockOSThread()
		var m masks
		blocked := unix.Sigset_t{}
		blocked.Val[0] = 1 << (unix.SIGUSR1 - 1)
		unix.PthreadSigmask(unix.SIG_SETMASK, &blocked, nil)
		withFreshSignals(func() error { return unix.PthreadSigmask(unix.SIG_SETMASK, nil, &m.during) })
		unix.PthreadSigmask(unix.SIG_SETMASK, nil, &m.after)
		done <- m
	}()
	m := receive(t, done, "the mask")
	if m.during.Val[0] != 0 {
		t.Errorf("%#x is blocked at the start of a command", m.during.Val[0])
	}
	if m.after.Val[0] != 1<<(unix.SIGUSR1-1) {
		t.Errorf("%#x is blocked afterwards", m.after.Val[0])
	}
}

func TestOutcomes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.sh")
	for name, c := range map[string]struct {
		argv   []string
		err    string // with %s for the program
		exit   int
		signal syscall.Signal
		output []string
	}{
		"success":       {argv: []string{script(t, "echo out; echo err >&2; echo -n end")}, output: []string{"out", "err", "end"}},
		"exit status":   {argv: []string{script(t, "echo no; exit 3")}, exit: 3, err: "run MASTER command %s: exit status 3", output: []string{"no"}},
		"signal":        {argv: []string{script(t, "kill -TERM $$")}, exit: -1, signal: syscall.SIGTERM, err: "run MASTER command %s: ended by SIGTERM (terminated)"},
		"missing":       {argv: []string{missing}, exit: -1, err: "run MASTER command %s: no such file or directory"},
		"not in PATH":   {argv: []string{"vrrpd-no-such-program"}, exit: -1, err: `run MASTER command %s: exec: "vrrpd-no-such-program": executable file not found in $PATH`},
		"directory":     {argv: []string{t.TempDir()}, exit: -1, err: "run MASTER command %s: not executable for vrrpd, try chmod +x: permission denied"},
		"not a program": {argv: []string{file(t, "#!/bin/sh\n", 0o644)}, exit: -1, err: "run MASTER command %s: not executable for vrrpd, try chmod +x: permission denied"},
		"DOS line ends": {argv: []string{file(t, "#!/bin/sh\r\necho\r\n", 0o755)}, exit: -1, err: "run MASTER command %s: the program in its #! line does not exist, or the line ends in a carriage return: no such file or directory"},
		"no #! line":    {argv: []string{file(t, "echo $0 is \"$1\"\n", 0o755), "a  b"}, output: []string{"%s is a  b"}},
		"empty file":    {argv: []string{file(t, "", 0o755)}},
		"quiet":         {argv: []string{"true"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, Options{})
			b.Post(full(c.argv...))
			r := b.result()
			got := ""
			if r.Err != nil {
				got = r.Err.Error()
			}
			if want := strings.ReplaceAll(c.err, "%s", c.argv[0]); got != want {
				t.Errorf(" got %s\nwant %s", got, want)
			}
			if r.ExitCode != c.exit || r.Signal != c.signal || r.TimedOut {
				t.Errorf("got %+v", r)
			}
			if !slices.Equal(r.Job.Argv, c.argv) || r.Job.VRID != 51 {
				t.Errorf("the result is that of %+v", r.Job)
			}
			var want []string
			for _, line := range c.output {
				want = append(want, strings.ReplaceAll(line, "%s", c.argv[0]))
			}
			if output := b.said(); !slices.Equal(output, want) {
				t.Errorf("output %q, want %q", output, want)
			}
			// Nothing that went wrong keeps the next one from running.
			if r, _ := b.do("true"); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
}

// TestNoReaders: both callbacks may be missing.
func TestNoReaders(t *testing.T) {
	r := New(Options{})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- r.Run(ctx) }()
	r.Post(full(script(t, "echo a")))
	r.Post(Job{State: election.Backup, Argv: []string{script(t, "exit 1")}})
	wait, done := context.WithTimeout(context.Background(), patience)
	defer done()
	if err := r.Idle(wait); err != nil {
		t.Error(err)
	}
	cancel()
	if err := receive(t, stopped, "the end of Run"); err != nil {
		t.Error(err)
	}
}

// at is a job that says its number and, if it has a gate, waits there.
func (b *bench) at(letter byte, n int, gates ...gate) Job {
	body := fmt.Sprintf("echo %c%d", letter, n)
	for _, g := range gates {
		body += "; read x < " + g.path
	}
	return Job{State: sides[letter], VRID: uint8(n), Argv: []string{script(b.t, body)}}
}

func TestOrder(t *testing.T) {
	b := prepare(t, Options{})
	b.Post(b.at('M', 1)) // before Run
	b.run()
	for n := 2; n <= 20; n++ {
		b.result()
		b.Post(b.at("MB"[(n+1)%2], n))
	}
	b.result()
	var want []string
	for n := 1; n <= 20; n++ {
		want = append(want, fmt.Sprintf("%c%d", "MB"[(n+1)%2], n))
	}
	if got := b.said(); !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}

// TestCollapse posts while the first command runs, and looks at what runs then.
func TestCollapse(t *testing.T) {
	for _, c := range []struct{ meanwhile, want string }{
		{"", ""},
		{"B", "B2"},
		{"BM", "B2 M3"},
		{"BMB", "B4"},
		{"BMBM", "B4 M5"},
		{"BMBMBMBMB", "B10"},
		{"M", "M2"},
		{"MM", "M3"},
	} {
		t.Run("M"+c.meanwhile, func(t *testing.T) {
			b := start(t, Options{})
			g := newGate(t)
			b.Post(b.at('M', 1, g))
			if got := b.line(); got != "M1" { // it runs
				t.Fatalf("%s ran first", got)
			}
			for i := range len(c.meanwhile) {
				b.Post(b.at(c.meanwhile[i], i+2))
			}
			if got := b.said(); got != nil {
				t.Errorf("%s ran beside the first", got)
			}
			g.open()
			b.idle()
			if got := strings.Join(b.said(), " "); got != c.want {
				t.Errorf("then %q ran, want %q", got, c.want)
			}
			if got, want := len(b.results), 1+len(strings.Fields(c.want)); got != want {
				t.Errorf("%d results, want %d", got, want)
			}
		})
	}
}

// TestWithoutACommand: a transition without a command runs nothing, but makes
// an older one that waits superfluous.
func TestWithoutACommand(t *testing.T) {
	b := start(t, Options{})
	g := newGate(t)
	b.Post(b.at('M', 1, g))
	b.line()
	b.Post(Job{State: election.Backup})
	b.Post(b.at('M', 2))
	b.Post(Job{State: election.Backup})
	g.open()
	b.idle()
	if got := b.said(); got != nil {
		t.Errorf("%q ran, but the machine is BACKUP", got)
	}
	b.Post(b.at('M', 3))
	b.idle()
	if got := b.said(); !slices.Equal(got, []string{"M3"}) {
		t.Errorf("%q ran", got)
	}
	if len(b.results) != 2 {
		t.Errorf("%d results, want 2", len(b.results))
	}
}

// TestPostNeverBlocks: not even if nobody runs anything.
func TestPostNeverBlocks(t *testing.T) {
	r := New(Options{})
	for n := range 10000 {
		r.Post(Job{State: sides["MB"[n%2]], Argv: []string{"false"}})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Idle(ctx); err == nil || err.Error() != "wait for the MASTER command false: not started: context canceled" {
		t.Errorf("Idle: %v", err)
	}
}

// TestPostFromDone: a callback may post.
func TestPostFromDone(t *testing.T) {
	var r *Runner
	results := make(chan Result, 10)
	r = New(Options{Done: func(res Result) {
		results <- res
		if res.Job.State == election.Master {
			r.Post(Job{State: election.Backup, Argv: []string{"true"}})
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- r.Run(ctx) }()
	r.Post(full("true"))
	for range 2 {
		if res := receive(t, results, "a result"); res.Err != nil {
			t.Error(res.Err)
		}
	}
	cancel()
	receive(t, stopped, "the end of Run")
}

func TestIdle(t *testing.T) {
	b := start(t, Options{})
	b.idle() // nothing was ever posted
	g := newGate(t)
	job := b.at('M', 1, g)
	b.Post(job)
	b.line()
	b.Post(b.at('B', 2))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	want := "wait for the MASTER command " + job.Argv[0] + ": context canceled"
	if err := b.Idle(ctx); err == nil || err.Error() != want || !errors.Is(err, context.Canceled) {
		t.Errorf(" got %v\nwant %s", err, want)
	}
	g.open()
	b.idle()
	if got := len(b.results); got != 2 {
		t.Errorf("idle with %d of 2 results reported", got)
	}
	b.end()
	b.idle() // nothing can come any more
	b.Post(job)
	b.idle()
}

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

// family is a script with a child in its process group; it says its own pid and
// the child's, and never ends.
const family = "sleep 3600 &\necho $$ $!\nwait"

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
		if !errors.Is(r.Err, ErrStopped) || r.TimedOut || r.ExitCode != -1 {
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

// TestFlood: a command that writes without end is read without end, so that it
// is the limit that ends it, and not a full pipe that stops it.
func TestFlood(t *testing.T) {
	b := start(t, Options{})
	r, output := b.do(`i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done`)
	if r.Err != nil || len(output) != MaxLines+1 || output[MaxLines] != lastLine {
		t.Errorf("got %+v and %d lines", r, len(output))
	}
}

func TestRunAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: setuid")
	}
	b := start(t, Options{RunAs: &Identity{UID: 65534, GID: 65533, Groups: []uint32{65532}}})
	b.Post(full("grep", "-E", "^(Uid|Gid|Groups|CapEff)", "/proc/self/status"))
	if r := b.result(); r.Err != nil {
		t.Fatal(r.Err)
	}
	var got []string
	for _, line := range b.said() {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"Uid: 65534 65534 65534 65534", "Gid: 65533 65533 65533 65533", "Groups: 65532", "CapEff: 0000000000000000"}
	if !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}
