package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"vrrpd/control"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"atropos": main})
}

// leakChecked runs the tests and then looks for goroutines left behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		println(err.Error())
		return 1
	}
	return code
}

// The scripts run the real atropos against servers in this process:
//
//	vrrpd INSTANCE FILE [REFUSAL]  a process that reports the status in FILE,
//	                               and refuses commands if REFUSAL is given
//	dead INSTANCE                  the socket of a process that was killed
//	stuck INSTANCE                 the socket of a process that is stopped
//	commands INSTANCE [VERB...]    asserts what the process was told
//	exits CODE PROGRAM [ARG...]    like exec, and asserts the exit code
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			run := env.WorkDir + "/run"
			env.Setenv("VRRPD_RUN_DIR", run)
			env.Setenv("TZ", "UTC")
			env.Values[runKey{}] = make(map[string]*process)
			return os.Mkdir(run, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vrrpd":    startProcess,
			"dead":     leaveDead,
			"stuck":    startStuck,
			"commands": checkCommands,
			"exits":    checkExit,
		},
	})
}

type runKey struct{}

func running(ts *testscript.TestScript) map[string]*process {
	return ts.Value(runKey{}).(map[string]*process)
}

func path(ts *testscript.TestScript, instance string) string {
	return control.SocketPath(ts.Getenv("VRRPD_RUN_DIR"), instance)
}

// process is a control.Source that is read from a script.
type process struct {
	status  control.Status
	refusal string
	told    chan control.Verb
}

func (p *process) Status() control.Status { return p.status }

func (p *process) Command(_ context.Context, c control.Command) (control.Result, error) {
	p.told <- c.Verb
	if p.refusal != "" {
		return control.Result{Message: p.refusal}, nil
	}
	return control.Result{Done: true, Message: string(c.Verb) + " is done"}, nil
}

func startProcess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: vrrpd INSTANCE FILE [REFUSAL]")
	}
	p := &process{told: make(chan control.Verb, 100)}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &p.status))
	if len(args) == 3 {
		p.refusal = args[2]
	}
	s := &control.Server{Source: p, Feed: new(control.Feed)}
	ts.Check(s.Listen(path(ts, args[0])))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	running(ts)[args[0]] = p
	ts.Defer(func() {
		cancel()
		ts.Check(<-done)
	})
}

func checkCommands(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: commands INSTANCE [VERB...]")
	}
	p := running(ts)[args[0]]
	for _, want := range args[1:] {
		select {
		case got := <-p.told:
			if string(got) != want {
				ts.Fatalf("%s was told %s, want %s", args[0], got, want)
			}
		default:
			ts.Fatalf("%s was not told %s", args[0], want)
		}
	}
	if n := len(p.told); n > 0 {
		ts.Fatalf("%s was told %d things more", args[0], n)
	}
}

func checkExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if got := strconv.Itoa(code); got != args[0] {
		ts.Fatalf("%v exits with %s, want %s", args[1:], got, args[0])
	}
}

func leaveDead(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: dead INSTANCE")
	}
	l, err := net.Listen("unix", path(ts, args[0]))
	ts.Check(err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	ts.Check(l.Close())
}

func startStuck(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stuck INSTANCE")
	}
	l, err := net.Listen("unix", path(ts, args[0]))
	ts.Check(err)
	ts.Defer(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			ts.Check(err)
		}
	})
}
