package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/internal/child"
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
	ctx     context.Context
	stop    context.CancelFunc
	stopped chan error
	over    <-chan struct{} // its Starter has ended; nil: it is not its own
}

// starting is what New needs: a Starter at work until the context is over. over is closed
// when it has ended.
func starting(ctx context.Context) (start func(context.Context, child.Command) (*child.Process, error), over <-chan struct{}) {
	starter, done := child.NewStarter(), make(chan struct{})
	go func() { defer close(done); starter.Run(ctx) }()
	return starter.Start, done
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
	b.ctx, b.stop = context.WithCancel(context.Background())
	if o.Start == nil {
		o.Start, b.over = starting(b.ctx)
	}
	b.Runner = New(o)
	t.Cleanup(b.stop)
	return b
}

func (b *bench) run() {
	go func() { b.stopped <- b.Run(b.ctx) }()
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
	if b.over != nil {
		<-b.over
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
	ctx, cancel := context.WithCancel(context.Background())
	start, over := starting(ctx)
	r = New(Options{Start: start, Done: func(res Result) {
		results <- res
		if res.Job.State == election.Master {
			r.Post(Job{State: election.Backup, Argv: []string{"true"}})
		}
	}})
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
	<-over
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

// family is a script with a child in its process group; it says its own pid and
// the child's, and never ends.
const family = "sleep 3600 &\necho $$ $!\nwait"

// TestFlood: a command that writes without end is read without end, so that it
// is the limit that ends it, and not a full pipe that stops it.
func TestFlood(t *testing.T) {
	b := start(t, Options{})
	r, output := b.do(`i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done`)
	if r.Err != nil || len(output) != child.MaxLines+1 || output[child.MaxLines] != child.LastLine {
		t.Errorf("got %+v and %d lines", r, len(output))
	}
}

// Many runners, each with a command that runs, share the one thread that starts them, and
// none waits on a thread of its own.
func TestRunnersShareAThread(t *testing.T) {
	threads := func() int {
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	const many = 40
	ctx, cancel := context.WithCancel(context.Background())
	begin, over := starting(ctx)
	before := threads()
	var all []*bench
	for range many {
		b := start(t, Options{Start: begin})
		b.Post(full(script(t, "echo on; read line < "+fifo(t))))
		all = append(all, b)
	}
	for _, b := range all {
		if line := b.line(); line != "on" {
			t.Errorf("it said %q", line)
		}
	}
	if now := threads(); now-before >= many/2 {
		t.Errorf("%d threads more for %d runners", now-before, many)
	}
	for _, b := range all {
		b.end() // kills its command
		if r := b.result(); !errors.Is(r.Err, child.ErrStopped) {
			t.Errorf("a command that was stopped: %v", r.Err)
		}
	}
	cancel()
	<-over
	if _, err := begin(context.Background(), child.Command{Argv: []string{"true"}}); !errors.Is(err, child.ErrStopped) {
		t.Errorf("a program of a Starter that is over: %v", err)
	}
}

// fifo is a pipe that nobody ever writes to.
func fifo(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A change of sides without a command wakes nobody when there is nothing that it ends.
func TestNothingToRun(t *testing.T) {
	r := New(Options{})
	r.Post(Job{State: election.Backup})
	if r.Busy() {
		t.Error("something waits")
	}
	r.Post(Job{State: election.Master, Argv: []string{"/bin/true"}})
	r.Post(Job{State: election.Backup})
	if r.waiting.n != 2 {
		t.Errorf("%d jobs wait, want 2: the one without a command takes part", r.waiting.n)
	}
}
