package child

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/pidfd"
	"vrrpd/internal/realtime"
)

// outputGrace is how long the output of a program is still read after its end,
// if a process that it left behind keeps it open. What the program itself wrote
// is in the pipe by then.
const outputGrace = 500 * time.Millisecond

// ErrStopped is in the Result of a program that was killed, or not started, because
// vrrpd is stopping.
var ErrStopped = errors.New("vrrpd is stopping")

// Command is a program to run.
type Command struct {
	Argv []string
	// Environ is its environment as it is; see also the function Environ.
	Environ []string
	// RunAs is who it runs as, whose USER, LOGNAME and HOME it gets; nil: the same
	// as the daemon.
	RunAs *Identity
	// Program: Argv is a program, and not a script without #! line.
	Program bool
	// Files are further descriptors that it gets, from 3 on.
	Files []*os.File
	// Limit is how long it may run before its whole process group is killed.
	Limit time.Duration
	// Output is called with every line that it writes to stdout or stderr, without
	// its line end; nil: output is dropped.
	Output func(line string)
	// Timer measures Limit; nil: time.NewTimer. For tests.
	Timer func(time.Duration) *time.Timer
}

// Process is a program that runs. Wait must be called.
type Process struct {
	command Command
	cmd     *exec.Cmd
	end     *pidfd.Process // nil: a thread waits for it
	output  *lines
	begin   time.Time
}

// Result is how a program ended.
type Result struct {
	// Err is nil if it ended with exit status 0. Otherwise it says what happened.
	Err error
	// ExitCode is its exit status; -1 if it did not start or did not exit by
	// itself.
	ExitCode int
	// Signal ended it; 0: none did.
	Signal syscall.Signal
	// Duration from the start to the end of the program itself.
	Duration time.Duration
	// TimedOut: it ran into the limit and was killed.
	TimedOut bool
}

// start starts a program. It must be called on a thread that has been settled; an error
// says what the user can do.
func start(c Command) (*Process, error) {
	p := &Process{command: c, output: &lines{emit: c.Output}, begin: time.Now()}
	p.exec(c.Argv)
	err := p.start()
	if errors.Is(err, unix.ENOEXEC) && !c.Program {
		// No #! line: the scripts of the original were run by a shell.
		p.exec(append([]string{"/bin/sh", p.cmd.Path}, c.Argv[1:]...))
		err = p.start()
	}
	if err != nil {
		return nil, explain(err, p.cmd.Path)
	}
	// Its number is its own until Wait. Not the descriptor that os/exec has: both would be
	// non-blocking, and os/exec waits by means of its own. Without one (a kernel before 5.3,
	// no descriptors are left) a thread waits for the program.
	p.end, _ = pidfd.Open(p.PID())
	return p, nil
}

func (p *Process) start() error {
	return realtime.Spawning(func() (pid int, err error) {
		if err = withFreshSignals(p.cmd.Start); err == nil {
			pid = p.cmd.Process.Pid
		}
		return pid, err
	})
}

func (p *Process) exec(argv []string) {
	c := &p.command
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = c.RunAs.environ(c.Environ)
	cmd.Stdout, cmd.Stderr = p.output, p.output // the same: one pipe keeps the order
	cmd.ExtraFiles = c.Files
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if as := c.RunAs; as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID, Groups: as.Groups}
	}
	p.cmd = cmd
}

// Find reports whether there is a program that could be started; an error says why
// not, in a few words.
func Find(program string) error {
	_, err := exec.LookPath(program)
	var path *fs.PathError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("no such program in PATH")
	case errors.As(err, &path):
		return path.Err
	case errors.Is(err, fs.ErrPermission):
		return fs.ErrPermission
	}
	return err
}

// explain turns the error of a start into what the user can do about it.
func explain(err error, path string) error {
	var cause *fs.PathError
	if !errors.As(err, &cause) {
		return err
	}
	switch _, missing := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist) && missing == nil:
		return fmt.Errorf("the program in its #! line does not exist, or the line ends in a carriage return: %w", cause.Err)
	case errors.Is(err, fs.ErrPermission) && missing == nil:
		return fmt.Errorf("not executable for vrrpd, try chmod +x: %w", cause.Err)
	}
	return cause.Err
}

// PID is the number of the process, and of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits until the program has ended, and kills its process group when its time
// or the context is over first. Any goroutine may wait.
func (p *Process) Wait(ctx context.Context) Result {
	killed := p.await(ctx)
	r := Result{Duration: time.Since(p.begin)}
	waited := p.cmd.Wait()
	p.output.flush()
	if p.end != nil {
		_ = p.end.Close()
	}

	if p.cmd.ProcessState == nil { // the kernel does not say how it ended
		r.ExitCode, r.Err = -1, waited
		return r
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.Signal = status.Signal()
	}
	r.ExitCode = p.cmd.ProcessState.ExitCode()
	r.TimedOut = errors.Is(killed, errTimedOut)
	switch {
	case killed != nil:
		r.Err = killed
	case r.Signal != 0:
		r.Err = fmt.Errorf("ended by %s (%s)", unix.SignalName(r.Signal), r.Signal)
	case r.ExitCode != 0:
		r.Err = fmt.Errorf("exit status %d", r.ExitCode)
	case waited != nil && !errors.Is(waited, exec.ErrWaitDelay):
		// A child left behind with the output open is how services are
		// started, and no failure.
		r.Err = waited
	}
	return r
}

// errTimedOut tells a limit that was reached from a stop.
var errTimedOut = errors.New("time limit")

// await returns when the process has ended, without reaping it. If the limit is
// reached or the context is over first, it kills the process group, and the
// error says so; the wait then goes on, for as long as the kernel needs.
//
// As long as the leader is not reaped its number cannot become that of another
// process group: that makes the kill safe, and it is why exec.CommandContext
// will not do.
func (p *Process) await(ctx context.Context) error {
	pid := p.cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if p.end != nil && p.end.Wait() == nil {
			return
		}
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	timer := p.command.Timer
	if timer == nil {
		timer = time.NewTimer
	}
	limit := timer(p.command.Limit)
	defer limit.Stop()

	var killed error
	select {
	case <-ended:
		return nil
	case <-limit.C:
		killed = fmt.Errorf("%w of %s reached", errTimedOut, p.command.Limit)
	case <-ctx.Done():
		killed = ErrStopped
	}
	select {
	case <-ended: // both at once: it made it
		return nil
	default:
	}
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil {
		killed = fmt.Errorf("%w, but kill process group %d: %w", killed, pid, err)
	} else {
		killed = fmt.Errorf("%w, its process group was killed", killed)
	}
	<-ended
	return killed
}
