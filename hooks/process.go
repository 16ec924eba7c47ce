package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputGrace is how long the output of a command is still read after its end,
// if a process that it left behind keeps it open. What the command itself wrote
// is in the pipe by then.
const outputGrace = 500 * time.Millisecond

// execute runs the command of one job to its end.
func (r *Runner) execute(ctx context.Context, job Job) Result {
	result := Result{Job: job, ExitCode: -1}
	output := &lines{}
	if r.options.Output != nil {
		output.emit = func(line string) { r.options.Output(job, line) }
	}
	begin := time.Now()
	cmd, err := r.start(job, output)
	if err != nil {
		result.Err = fmt.Errorf("run %s: %w", job, err)
		return result
	}
	killed := r.await(ctx, cmd.Process.Pid)
	result.Duration = time.Since(begin)
	waited := cmd.Wait()
	output.flush()

	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		result.Signal = status.Signal()
	}
	result.ExitCode = cmd.ProcessState.ExitCode()
	result.TimedOut = errors.Is(killed, errTimedOut)
	switch {
	case killed != nil:
		result.Err = fmt.Errorf("run %s: %w", job, killed)
	case result.Signal != 0:
		result.Err = fmt.Errorf("run %s: ended by %s (%s)", job, unix.SignalName(result.Signal), result.Signal)
	case result.ExitCode != 0:
		result.Err = fmt.Errorf("run %s: exit status %d", job, result.ExitCode)
	case waited != nil && !errors.Is(waited, exec.ErrWaitDelay):
		// A child left behind with the output open is how services are
		// started, and no failure.
		result.Err = fmt.Errorf("run %s: %w", job, waited)
	}
	return result
}

// start starts the command of a job.
func (r *Runner) start(job Job, output *lines) (*exec.Cmd, error) {
	cmd := r.command(job, job.Argv, output)
	err := withFreshSignals(cmd.Start)
	if errors.Is(err, unix.ENOEXEC) {
		// No #! line: the scripts of the original were run by a shell.
		cmd = r.command(job, append([]string{"/bin/sh", cmd.Path}, job.Argv[1:]...), output)
		err = withFreshSignals(cmd.Start)
	}
	if err != nil {
		return nil, explain(err, cmd.Path)
	}
	return cmd, nil
}

func (r *Runner) command(job Job, argv []string, output *lines) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	as := cmp.Or(job.RunAs, r.options.RunAs)
	cmd.Env = job.environ(as.environ(r.options.Environ))
	cmd.Stdout, cmd.Stderr = output, output // the same: one pipe keeps the order
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID, Groups: as.Groups}
	}
	return cmd
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

// errTimedOut tells a limit that was reached from a stop.
var errTimedOut = errors.New("time limit")

// await returns when the process has ended, without reaping it. If the limit is
// reached or the context is over first, it kills the process group, and the
// error says so; the wait then goes on, for as long as the kernel needs.
//
// As long as the leader is not reaped its number cannot become that of another
// process group: that makes the kill safe, and it is why exec.CommandContext
// will not do.
func (r *Runner) await(ctx context.Context, pid int) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	limit := r.timer(r.options.Limit)
	defer limit.Stop()

	var killed error
	select {
	case <-ended:
		return nil
	case <-limit.C:
		killed = fmt.Errorf("%w of %s reached", errTimedOut, r.options.Limit)
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
