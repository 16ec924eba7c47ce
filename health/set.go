package health

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"vrrpd/internal/child"
	"vrrpd/rtnl"
)

// Options of a Set. Except for Start the zero value is the default.
type Options struct {
	// Environ is what commands inherit; nil: what the daemon has, less what is not
	// their business.
	Environ []string
	// Serving tells whether the machine is MASTER; nil: it never is.
	Serving func() bool
	// Changed is told of each verdict that changes, in order. It must not wait, and
	// must not call the Set. nil: nobody wants to know.
	Changed func(Report)
	// Start starts a command of a check. It is required: child.Starter.Start of one that
	// others share.
	Start func(context.Context, child.Command) (*child.Process, error)

	// In the hands of tests; the zero value is the real thing.
	open  func(index int, name string, family uint8) (asker, error)
	watch func(path string) (*fileWatch, error)
}

// Interface is what the kernel says of one.
type Interface struct {
	Link  rtnl.Link // the zero Link: it does not exist
	Addrs []rtnl.Addr
}

// Set runs checks. Its methods may be called from any goroutine; none but Run waits
// for anything but another of them.
type Set struct {
	options  Options
	begin    time.Time
	starting sync.RWMutex // held to read by who starts a command, until its number is known

	mu      sync.Mutex
	ctx     context.Context // of Run; nil: it has not begun, or is over
	over    bool
	watches []*watch
	ifaces  map[string]Interface
	tasks   sync.WaitGroup
}

// watch is a check at work.
type watch struct {
	set   *Set
	check Check
	stop  context.CancelFunc // nil: it does not run
	bell  chan struct{}      // what is known of the interface has changed

	// Guarded by the Set's mu.
	gone           bool
	gauge          Gauge
	since, last    time.Time
	seen           observation
	count, failing uint64
	pid            int // of the command that runs; 0: none
}

// New returns a Set without checks that does nothing until Run.
func New(options Options) *Set {
	if options.Environ == nil {
		options.Environ = child.Environ(os.Environ())
	}
	if options.Serving == nil {
		options.Serving = func() bool { return false }
	}
	if options.Changed == nil {
		options.Changed = func(Report) {}
	}
	s := &Set{options: options, begin: time.Now(), ifaces: map[string]Interface{}}
	if s.options.open == nil {
		s.options.open = openAsker
	}
	if s.options.watch == nil {
		s.options.watch = watchFile
	}
	return s
}

// Apply makes these the checks, whose names must differ, and returns their Sum. One
// that is there already goes on as if nothing had happened; a new one begins with the
// given verdict, and so does one that is changed unless it has another. After Run has
// returned it does nothing.
func (s *Set) Apply(checks []Check, begin Verdict) Sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return Sum{}
	}
	old := s.watches
	s.watches = make([]*watch, 0, len(checks))
	for _, c := range checks {
		first := begin
		if i := slices.IndexFunc(old, func(w *watch) bool { return w.check.Name == c.Name }); i >= 0 {
			w := old[i]
			if w.check.equal(&c) {
				s.watches = append(s.watches, w)
				old = slices.Delete(slices.Clone(old), i, i+1)
				continue
			}
			if v := w.gauge.Verdict(); v != Pending {
				first = v
			}
		}
		w := &watch{set: s, check: c, bell: make(chan struct{}, 1), gauge: NewGauge(c.Rise, c.Fall, c.Interval, first)}
		s.watches = append(s.watches, w)
	}
	for _, w := range old {
		w.gone = true
		if w.stop != nil {
			w.stop()
		}
	}
	s.startAll()
	return s.sum()
}

// Run runs the checks until the context is over; commands that run then are killed.
// It may be called once.
func (s *Set) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ctx != nil || s.over {
		s.mu.Unlock()
		return errors.New("run checks: a Set runs once")
	}
	s.ctx = ctx
	s.startAll()
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ctx, s.over = nil, true
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}

// startAll starts what does not run yet. The lock is held.
func (s *Set) startAll() {
	if s.ctx == nil {
		return
	}
	for _, w := range s.watches {
		if w.stop != nil {
			continue
		}
		ctx, stop := context.WithCancel(s.ctx)
		w.stop = stop
		s.tasks.Go(func() { w.run(ctx) })
	}
}

// sum is that of all checks. The lock is held.
func (s *Set) sum() Sum {
	var sum Sum
	for _, w := range s.watches {
		sum.Add(w.check.Weight, w.gauge.Verdict())
	}
	return sum
}

// Sum is that of all checks now.
func (s *Set) Sum() Sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum()
}

// Wants reports whether a check is about the interface with this name.
func (s *Set) Wants(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.watches, func(w *watch) bool { return w.check.Interface == name })
}

// Tell says what the kernel says of an interface. Until it is told once, checks of
// the interface are what they were in the beginning.
func (s *Set) Tell(name string, is Interface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ifaces[name] = is
	for _, w := range s.watches {
		if w.check.Interface == name {
			select {
			case w.bell <- struct{}{}:
			default:
			}
		}
	}
}

// Status returns the checks in the order of Apply.
func (s *Set) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, len(s.watches))
	for i, w := range s.watches {
		all[i] = Status{
			Check: w.check, Verdict: w.gauge.Verdict(), Since: w.since, Detail: w.seen.detail, Last: w.last,
			Observations: w.count, Failures: w.failing,
		}
	}
	return all
}

// iface is what was told of the watch's interface; false: nothing yet.
func (w *watch) iface() (Interface, bool) {
	w.set.mu.Lock()
	defer w.set.mu.Unlock()
	is, told := w.set.ifaces[w.check.Interface]
	return is, told
}

// observe counts what was seen, and tells of it if the verdict changes. It reports
// whether anything speaks against the verdict still.
func (w *watch) observe(o observation) (settled bool) {
	s := w.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.gone || s.over {
		return true
	}
	was := w.gauge.Verdict()
	w.seen, w.last = o, time.Now()
	w.count++
	if !o.ok {
		w.failing++
	}
	if w.gauge.Observe(w.last.Sub(s.begin), o.ok, s.options.Serving()) {
		w.since = w.last
		s.options.Changed(Report{Check: w.check, Was: was, Now: w.gauge.Verdict(), Detail: o.detail, Sum: s.sum()})
	}
	return w.gauge.Settled()
}

// run observes until the context is over.
func (w *watch) run(ctx context.Context) {
	defer w.stop()
	switch w.check.Kind() {
	case KindCommand:
		w.ask(ctx, w.command)
	case KindAddress:
		t := target{watch: w}
		defer t.close()
		w.ask(ctx, t.observe)
	case KindInterface:
		w.follow(ctx, w.followInterface)
	case KindProcess:
		w.follow(ctx, w.followProcess)
	}
}

// ask observes at once and then every interval; what takes longer than that leaves
// some out.
func (w *watch) ask(ctx context.Context, once func(context.Context) (observation, bool)) {
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.bell: // what it could not look at may be there now
			if time.Now().Before(next) && w.known() {
				continue
			}
		}
		o, known := once(ctx)
		if ctx.Err() != nil {
			return
		}
		if known {
			w.observe(o)
		}
		now := time.Now()
		if late := now.Sub(next); late >= 0 {
			next = now.Add(w.check.Interval - late%w.check.Interval)
		}
		timer.Reset(next.Sub(now))
	}
}

// known reports whether anything was observed yet.
func (w *watch) known() bool {
	w.set.mu.Lock()
	defer w.set.mu.Unlock()
	return w.count > 0
}

// follow observes what it is told, if that is another thing than before, and for as
// long as something speaks against the verdict the same again every interval.
func (w *watch) follow(ctx context.Context, source func(ctx context.Context, tell func(observation))) {
	told := make(chan observation)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks.Go(func() {
		var last observation
		first := true
		source(ctx, func(o observation) {
			if !first && o == last {
				return
			}
			first, last = false, o
			select {
			case told <- o:
			case <-ctx.Done():
			}
		})
	})
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	var last observation
	for {
		select {
		case <-ctx.Done():
			return
		case last = <-told:
		case <-timer.C:
		}
		if w.observe(last) {
			timer.Stop()
		} else {
			timer.Reset(w.check.Interval)
		}
	}
}
