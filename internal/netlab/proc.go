package netlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to start on a host.
type Command struct {
	// Path of the program, or a name to be looked up in the PATH of the lab's
	// process. A relative path counts from the lab's working directory.
	Path string
	Args []string // without the program's own name
	// Env is added to the lab's environment, from which the variables of
	// systemd and of the lab are taken out.
	Env []string
	Dir string // working directory; default /
	// OnLine is called for each line of both streams, one call at a time, in
	// the order of Lines. It must not block for long, nor ask the Proc.
	OnLine func(Line)
}

// Line is one line of a program's output.
type Line struct {
	Stderr bool
	Text   string // without the line end
	At     time.Time
}

// linesKept bounds the output that is kept of one program; the oldest goes.
const linesKept = 20000

// Proc is a program on a host. It dies with its host at the latest, and so does
// everything that it started, in the background or not.
type Proc struct {
	host *Host
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has exited and its output was read
	outs [2]*outlet    // stdout, stderr

	mu      sync.Mutex
	lines   []Line        // guarded by mu
	changed chan struct{} // closed and replaced with every line; guarded by mu
	onLine  func(Line)    // called under mu
}

// outlet is one output stream of a program.
type outlet struct {
	pipe   *os.File
	ended  chan struct{} // closed when nobody can write any more, or at Close
	drainC chan struct{} // closed when all that was written before exit is read
}

// Start starts a program on the host.
func (h *Host) Start(c Command) (*Proc, error) {
	if h.holder == nil {
		return nil, fmt.Errorf("start %s on %s: a light host runs no programs", c.Path, h.name)
	}
	path, err := exec.LookPath(c.Path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", c.Path, h.name, err)
	}
	p := &Proc{host: h, name: filepath.Base(path), done: make(chan struct{}), changed: make(chan struct{}), onLine: c.OnLine}
	p.cmd = &exec.Cmd{
		Path: path, Args: append([]string{c.Path}, c.Args...), Env: environment(c.Env), Dir: c.Dir,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // Ctrl-C is for the lab
	}
	if c.Dir == "" {
		p.cmd.Dir = "/"
	}
	var writers [2]*os.File
	for i := range p.outs {
		in, out, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("start %s on %s: %w", c.Path, h.name, err)
		}
		defer out.Close()
		p.outs[i] = &outlet{pipe: in, ended: make(chan struct{}), drainC: make(chan struct{})}
		writers[i] = out
	}
	p.cmd.Stdout, p.cmd.Stderr = writers[0], writers[1]
	if err := h.Do(p.cmd.Start); err != nil {
		p.closePipes()
		return nil, fmt.Errorf("start %s on %s: %w", c.Path, h.name, err)
	}
	h.mu.Lock()
	h.procs = append(h.procs, p)
	h.mu.Unlock()
	for i, o := range p.outs {
		go p.read(o, i == 1)
	}
	go p.await()
	return p, nil
}

// environment is the lab's own, without what tells a program that systemd
// started it or that it is a holder, with more added.
func environment(more []string) []string {
	foreign := []string{"NOTIFY_SOCKET=", "SYSTEMD_EXEC_PID=", "INVOCATION_ID=", "JOURNAL_STREAM=",
		"WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_FDS=", "LISTEN_PID=", holderEnv + "="}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc(foreign, func(f string) bool { return strings.HasPrefix(v, f) })
	})
	return append(env, more...)
}

// await buries the program, then has its output read to the end.
func (p *Proc) await() {
	_ = p.cmd.Wait() // the state is in ProcessState
	for _, o := range p.outs {
		// A daemon in the background may hold the pipe open for ever, so there
		// is no waiting for its end: the reader is woken to read what is there.
		_ = o.pipe.SetReadDeadline(past())
		select {
		case <-o.drainC:
		case <-o.ended:
		}
	}
	close(p.done)
}

// read reads one stream until nobody can write to it any more.
func (p *Proc) read(o *outlet, stderr bool) {
	defer close(o.ended)
	r := bufio.NewReader(drainer{o})
	for {
		text, err := r.ReadString('\n')
		if text != "" {
			p.add(Line{Stderr: stderr, Text: strings.TrimSuffix(text, "\n"), At: now()})
		}
		if err != nil {
			return
		}
	}
}

// drainer reads a pipe. When its deadline passes, which happens once, at the
// program's exit, it says so as soon as the pipe is empty, and reads on.
type drainer struct{ o *outlet }

func (d drainer) Read(b []byte) (int, error) {
	n, err := d.o.pipe.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	raw, err := d.o.pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	// The deadline stays until the pipe is empty; reading now asks the pipe
	// itself, not the poller.
	if err := d.o.pipe.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = unix.Read(int(fd), b)
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(readErr, unix.EAGAIN):
		close(d.o.drainC)
		return d.o.pipe.Read(b)
	case readErr != nil:
		return 0, readErr
	case n == 0:
		return 0, io.EOF
	}
	return n, d.o.pipe.SetReadDeadline(past()) // there may be more
}

func (p *Proc) add(l Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) >= linesKept {
		p.lines = slices.Delete(p.lines, 0, linesKept/4)
	}
	p.lines = append(p.lines, l)
	close(p.changed)
	p.changed = make(chan struct{})
	if p.onLine != nil {
		p.onLine(l)
	}
}

// PID returns the process id as the lab sees it.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has exited and its output was read.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the program, not to what it has started.
func (p *Proc) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %v to %s on %s: %w", sig, p.name, p.host.name, err)
	}
	return nil
}

// Wait waits until the program has exited, and returns how. What it wrote
// before is in Lines then.
func (p *Proc) Wait(ctx context.Context) (*os.ProcessState, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("await exit of %s on %s: %w; %s", p.name, p.host.name, ctx.Err(), p.tail(10))
	}
}

// Lines returns the output so far, both streams in order of arrival.
func (p *Proc) Lines() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// Text returns one stream so far.
func (p *Proc) Text(stderr bool) string {
	var b strings.Builder
	for _, l := range p.Lines() {
		if l.Stderr == stderr {
			b.WriteString(l.Text + "\n")
		}
	}
	return b.String()
}

// WaitLine returns the first line, written before or after the call, that
// fulfils cond; it gives up when the program has exited without.
func (p *Proc) WaitLine(ctx context.Context, cond func(Line) bool) (Line, error) {
	exited := false
	for {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		if i := slices.IndexFunc(lines, cond); i >= 0 {
			return lines[i], nil
		}
		if exited {
			return Line{}, fmt.Errorf("await a line of %s on %s: %v; %s", p.name, p.host.name, p.cmd.ProcessState, p.tail(10))
		}
		select {
		case <-changed:
		case <-p.done:
			exited = true // and look once more
		case <-ctx.Done():
			return Line{}, fmt.Errorf("await a line of %s on %s: %w; %s", p.name, p.host.name, ctx.Err(), p.tail(10))
		}
	}
}

// tail describes the last lines of output.
func (p *Proc) tail(n int) string {
	lines := p.Lines()
	lines = lines[max(0, len(lines)-n):]
	text := fmt.Sprintf("last output of %s (pid %d):", p.name, p.PID())
	for _, l := range lines {
		text += "\n    " + l.Text
	}
	if len(lines) == 0 {
		text += " none"
	}
	return text
}

// end waits for the program, which the death of the holder has killed, and for
// its readers.
func (p *Proc) end() error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		return fmt.Errorf("%s on %s (pid %d) does not die", p.name, p.host.name, p.PID())
	}
	p.closePipes()
	for _, o := range p.outs {
		<-o.ended
	}
	return nil
}

func (p *Proc) closePipes() {
	for _, o := range p.outs {
		if o != nil {
			o.pipe.Close()
		}
	}
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int // exit code, or -1 after a signal
}

// Run runs a command on the host to its end.
func (h *Host) Run(ctx context.Context, c Command) (Result, error) {
	p, err := h.Start(c)
	if err != nil {
		return Result{}, err
	}
	state, err := p.Wait(ctx)
	if err != nil {
		return Result{}, errors.Join(err, p.Signal(unix.SIGKILL))
	}
	return Result{Stdout: p.Text(false), Stderr: p.Text(true), Code: state.ExitCode()}, nil
}
