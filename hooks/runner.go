package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"vrrpd/internal/child"
)

// DefaultLimit is how long a command may run.
const DefaultLimit = 60 * time.Second

// Options of a Runner. Except for Start the zero value is the default.
type Options struct {
	// Limit is how long a command may run before its whole process group is
	// killed; 0: DefaultLimit.
	Limit time.Duration
	// RunAs is who commands run as; nil: the same as the daemon.
	RunAs *child.Identity
	// Slots bounds how many commands of several Runners run side by side: one place
	// of its capacity each. nil: no bound.
	Slots chan struct{}
	// Start starts a command. It is required: child.Starter.Start of one that several share.
	Start func(context.Context, child.Command) (*child.Process, error)
	// Environ is the environment to start from; nil: that of the daemon.
	Environ []string
	// Output is called with every line that a command writes to stdout or
	// stderr, without its line end; nil: output is dropped.
	Output func(job Job, line string)
	// Done is called when a command has ended, could not be started, or will
	// not run any more; not for jobs that a newer one has made superfluous, and
	// not for those without a command. nil: nobody wants to know.
	//
	// Calls of Output and Done never overlap. Both delay the next command for as
	// long as they take. They may Post; they must not wait for Idle.
	Done func(Result)
}

// Runner runs the commands of one group of virtual routers.
type Runner struct {
	options Options
	bell    chan struct{}                   // rings in Run: something was posted
	timer   func(time.Duration) *time.Timer // time.NewTimer, or that of a test

	mu      sync.Mutex
	waiting queue
	running *Job          // nil: nothing runs
	busy    chan struct{} // closed when nothing runs or waits any more; nil: that is so
	state   runState
}

type runState uint8

const (
	notYet runState = iota
	inRun
	over
)

// New returns a Runner that starts nothing until Run is called.
func New(options Options) *Runner {
	if options.Limit == 0 {
		options.Limit = DefaultLimit
	}
	if options.Environ == nil {
		options.Environ = os.Environ()
	}
	return &Runner{options: options, bell: make(chan struct{}, 1), timer: time.NewTimer}
}

// Post puts a job down for Run. It never blocks, and may be called before Run;
// after Run has returned it does nothing.
func (r *Runner) Post(j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == over || len(j.Argv) == 0 && r.busy == nil {
		return // there is nothing to run, and nothing that it ends
	}
	r.waiting.push(j)
	if r.busy == nil {
		r.busy = make(chan struct{})
	}
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// Run executes what was posted, until the context is over: then the command
// that runs is killed with its process group, what waits is reported as not
// run (child.ErrStopped), and Run returns nil. Shutdown therefore waits for Idle
// first. Run may be called once.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	first := r.state == notYet
	if first {
		r.state = inRun
	}
	r.mu.Unlock()
	if !first {
		return errors.New("run hooks: a Runner runs once")
	}
	defer r.end()
	for ctx.Err() == nil {
		job, ok := r.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-r.bell:
			}
			continue
		}
		if len(job.Argv) == 0 {
			continue
		}
		if r.options.Slots != nil {
			r.options.Slots <- struct{}{} // a command that runs ends, by its limit at the latest
		}
		result := r.execute(ctx, job)
		if r.options.Slots != nil {
			<-r.options.Slots
		}
		r.report(result)
	}
	return nil
}

// execute runs the command of one job to its end.
func (r *Runner) execute(ctx context.Context, job Job) Result {
	c := child.Command{
		Argv: job.Argv, Environ: job.environ(r.options.Environ), RunAs: cmp.Or(job.RunAs, r.options.RunAs),
		Limit: r.options.Limit, Timer: r.timer,
	}
	if r.options.Output != nil {
		c.Output = func(line string) { r.options.Output(job, line) }
	}
	result := Result{Job: job, Result: child.Result{ExitCode: -1}}
	p, err := r.options.Start(ctx, c)
	if err != nil {
		result.Err = fmt.Errorf("run %s: %w", job, err)
		return result
	}
	result.Result = p.Wait(ctx)
	if result.Err != nil {
		result.Err = fmt.Errorf("run %s: %w", job, result.Err)
	}
	return result
}

// next takes the job to run now; without one the runner is idle.
func (r *Runner) next() (Job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	job, ok := r.waiting.pop()
	if !ok {
		r.rest()
		return Job{}, false
	}
	r.running = &job
	return job, true
}

// rest notes that nothing runs or waits. The lock is held.
func (r *Runner) rest() {
	r.running = nil
	if r.busy != nil {
		close(r.busy)
		r.busy = nil
	}
}

// end reports what will not run any more.
func (r *Runner) end() {
	r.mu.Lock()
	r.state = over
	left := r.waiting
	r.waiting = queue{}
	r.mu.Unlock()
	for job, ok := left.pop(); ok; job, ok = left.pop() {
		if len(job.Argv) > 0 {
			r.report(Result{Job: job, Result: child.Result{ExitCode: -1, Err: fmt.Errorf("run %s: not run: %w", job, child.ErrStopped)}})
		}
	}
	r.mu.Lock()
	r.rest()
	r.mu.Unlock()
}

func (r *Runner) report(result Result) {
	if r.options.Done != nil {
		r.options.Done(result)
	}
}

// Busy reports whether anything runs or waits.
func (r *Runner) Busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busy != nil
}

// Idle waits until nothing runs and nothing waits, and every result has been
// reported. If the context is over first, the error names what is in the way.
func (r *Runner) Idle(ctx context.Context) error {
	for {
		r.mu.Lock()
		busy := r.busy
		r.mu.Unlock()
		if busy == nil {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return r.inTheWay(ctx.Err())
		}
	}
}

func (r *Runner) inTheWay(cause error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.running != nil:
		return fmt.Errorf("wait for the %s: %w", r.running, cause)
	case r.waiting.n > 0:
		return fmt.Errorf("wait for the %s: not started: %w", r.waiting.jobs[0], cause)
	}
	return nil
}
