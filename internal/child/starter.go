package child

import "context"

// Starter starts programs, one after the other, from one thread that gives nothing on to
// them. However many wait for a program of theirs, there is one such thread, and none
// before the first program.
type Starter struct {
	orders chan order
	over   chan struct{}
}

type order struct {
	command Command
	done    chan<- started
}

type started struct {
	process *Process
	err     error
}

// NewStarter returns a Starter that starts nothing before Run.
func NewStarter() *Starter { return &Starter{make(chan order), make(chan struct{})} }

// Run starts what is asked for until the context is over. It may be called once, and needs
// a goroutine of its own.
func (s *Starter) Run(ctx context.Context) {
	defer close(s.over)
	settled := false
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-s.orders:
			var result started
			if !settled {
				result.err = settle()
				settled = result.err == nil
			}
			if settled {
				result.process, result.err = start(o.command)
			}
			o.done <- result
		}
	}
}

// Start starts a program; an error says what the user can do. ErrStopped: the context is
// over, or that of Run.
func (s *Starter) Start(ctx context.Context, c Command) (*Process, error) {
	done := make(chan started, 1)
	select {
	case s.orders <- order{c, done}:
	case <-s.over:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ErrStopped
	}
	result := <-done
	return result.process, result.err
}
