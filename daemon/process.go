package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/internal/reexec"
	"vrrpd/sysd"
)

// Process is a vrrpd with a configuration file: one Daemon for each of its groups, each
// with its own loop, place in the run directory and control socket. Groups are what does
// not share a state, so nothing of one waits for another. What concerns the process is
// here: signals, the service manager, and reloading the file.
type Process struct {
	opt  Options
	load func() ([]config.Config, error)

	reloading sync.Mutex // one reload at a time

	mu      sync.Mutex
	groups  map[string]*member
	notify  *share
	ended   chan *member
	life    context.Context // of Run
	first   bool            // the start is over
	ending  bool
	state   *reexec.State          // left by another program, until every group goes on; nil: none. Of Run
	hangups atomic.Int32           // reloads that a signal has asked for and that are not done
	cost    replaced               // of having replaced another program, so far
	port    *control.MetricsServer // nil: there is none
}

// member is a group at work.
type member struct {
	*Daemon
	name    string
	ready   chan struct{} // closed when it is ready
	over    chan struct{} // closed when it has ended
	err     error         // of its end; read after over
	removed bool          // it was to end; under Process.mu
}

// NewProcess makes a process of what load has returned before; load reads the file
// again. It starts nothing.
//
// With Inherited it goes on with what another program has left, or says why it cannot.
func NewProcess(groups []config.Config, load func() ([]config.Config, error), opt Options) (*Process, error) {
	if opt.Warn == nil {
		opt.Warn = func(string) {}
	}
	if opt.Ready == nil {
		opt.Ready = func() {}
	}
	opt.lights, opt.lulls = new(lights), newLulls()
	p := &Process{opt: opt, load: load, groups: map[string]*member{}, ended: make(chan *member)}
	p.notify, p.state = newShare(opt.Notify), opt.Inherited
	for _, c := range groups {
		m, err := p.newMember(c)
		if err != nil {
			return nil, err
		}
		p.groups[m.name] = m
	}
	if p.opt.Inherited != nil {
		p.opt.Program.cleans()
		p.opt.Inherited = nil // who comes later is new
	}
	return p, nil
}

func (p *Process) newMember(c config.Config) (_ *member, err error) {
	m := &member{name: configName(c), ready: make(chan struct{}), over: make(chan struct{})}
	opt := p.opt
	opt.Supervised = true
	opt.Ready = func() { close(m.ready) }
	opt.Notify = p.notify.of(m.name)
	opt.Reload = p.Reload
	opt.replace = p.replace
	if opt.Inherited == nil {
		m.Daemon = New(c, opt)
		return m, nil
	}
	m.Daemon, err = inherit(c, opt, opt.Inherited, p.replaced)
	return m, err
}

// Run starts the groups and serves until a signal ends it. Its errors are those of
// Daemon.Run: nothing was changed on the machine if one group is refused.
func (p *Process) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 16)
	for _, m := range p.all() {
		m.signals = signals // which all of them are waited for in
	}
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTTIN, unix.SIGTTOU, unix.SIGHUP)
	defer signal.Stop(signals)
	p.life = ctx
	all := p.all()
	for i, m := range all {
		if m.heir != nil {
			continue // it was checked when it was started
		}
		if err := m.check(); err != nil {
			for _, m := range all[:i+1] {
				err = errors.Join(err, m.uncheck())
			}
			return err
		}
	}
	metrics, err := p.listenMetrics()
	if err != nil {
		for _, m := range all {
			err = errors.Join(err, m.uncheck())
		}
		return err
	}
	defer metrics()
	notifying, stopNotifying := context.WithCancel(context.Background())
	var told, reloads sync.WaitGroup
	if p.opt.Notify != nil {
		told.Go(func() { _ = p.opt.Notify.Run(notifying) })
	}
	defer told.Wait()
	defer stopNotifying()
	defer reloads.Wait()
	for _, m := range all {
		p.start(ctx, m)
	}
	var failed error
	starting, hungUp := len(all), false
	ready := make(chan struct{})
	for _, m := range all {
		go func() {
			select {
			case <-m.ready:
			case <-m.over:
			}
			ready <- struct{}{}
		}()
	}
	running := len(all)
	for running > 0 || starting > 0 {
		select {
		case s := <-signals:
			switch {
			case s != unix.SIGHUP:
				p.signal(s)
			case starting > 0:
				hungUp = true // it may have waited through execve
			default:
				reloads.Go(func() { p.hangup(ctx) })
			}
		case <-ready:
			if starting--; starting == 0 && failed == nil {
				if p.started() || hungUp {
					reloads.Go(func() { p.hangup(ctx) })
				}
			}
		case m := <-p.ended:
			p.mu.Lock()
			planned := m.removed || p.ending
			if p.groups[m.name] == m {
				delete(p.groups, m.name)
			}
			running = len(p.groups)
			p.mu.Unlock()
			if m.err != nil && failed == nil {
				failed = m.err
			}
			if !planned || m.err != nil {
				if !planned && m.err == nil && ctx.Err() == nil {
					p.opt.Log.Error("group " + m.name + " has ended: stopping, to be started anew")
				}
				p.signal(unix.SIGTERM)
			}
		}
	}
	return failed
}

// all are the groups, by name.
func (p *Process) all() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.groups), func(a, b *member) int { return strings.Compare(a.name, b.name) })
}

func (p *Process) start(ctx context.Context, m *member) {
	go func() {
		m.err = m.Daemon.Run(ctx)
		p.notify.leave(m.name)
		close(m.over)
		p.ended <- m
	}()
}

// started: every group is ready. It reports whether a reload is due.
func (p *Process) started() (reload bool) {
	p.mu.Lock()
	p.first = true
	cost := p.cost
	p.mu.Unlock()
	p.notify.ready()
	p.opt.Ready()
	if p.state == nil {
		return false
	}
	var own keptProcess
	if err := p.state.Part(processPart, &own); err != nil {
		p.opt.Log.Error(err.Error())
	}
	settleReplacement(p.opt, p.state, cost)
	p.state = nil
	return own.Reload
}

// replaced is told of each group that goes on; that it is ready comes after it.
func (p *Process) replaced(cost replaced) {
	p.mu.Lock()
	p.cost = p.cost.and(cost)
	p.mu.Unlock()
}

// replace has the process go on as another program; see replace.go.
func (p *Process) replace(ctx context.Context, caller int) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	p.mu.Lock()
	busy := !p.first || p.ending
	p.mu.Unlock()
	if busy {
		return errors.New("nothing was changed: vrrpd is starting or stopping")
	}
	var groups []*Daemon
	for _, m := range p.all() {
		groups = append(groups, m.Daemon)
	}
	return replaceProgram(ctx, p.opt, p.opt.Notify, groups, caller, func(s *reexec.State) error {
		own := keptProcess{Reload: p.hangups.Load() > 0}
		if p.port != nil {
			if fd := p.port.Descriptor(); fd > 0 { // else it is lost, and the next program opens another
				own.Metrics = fd
				s.Files = append(s.Files, fd)
			}
		}
		return s.SetPart(processPart, own)
	})
}

// keptProcess is what is left of the process itself.
type keptProcess struct {
	Reload  bool // one was asked for meanwhile
	Metrics int  // listening socket; 0: none
}

// signal passes a signal on to every group.
func (p *Process) signal(s os.Signal) {
	if s == unix.SIGTERM || s == unix.SIGINT {
		p.mu.Lock()
		p.ending = true
		p.mu.Unlock()
		p.notify.stopping()
	}
	for _, m := range p.all() {
		m.inbox.call(func() { m.Daemon.signal(s) })
	}
}

func (p *Process) hangup(ctx context.Context) {
	p.hangups.Add(1)
	defer p.hangups.Add(-1)
	text, err := p.Reload(ctx)
	if err != nil {
		p.opt.Log.Error(err.Error(), sysd.KeyMessageID, sysd.MessageReload)
		return
	}
	p.opt.Log.Info("reloaded: "+text, sysd.KeyMessageID, sysd.MessageReload)
}

// Reload reads the file again and puts it in force; see reload.go. It returns when that
// is done, in words, or why nothing was changed.
func (p *Process) Reload(ctx context.Context) (string, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	p.notify.reloading()
	defer p.notify.ready()
	text, err := p.reload(ctx)
	if err != nil {
		return "", fmt.Errorf("the configuration was not reloaded: %w", err)
	}
	p.opt.Program.Accept()
	return text, nil
}

func (p *Process) reload(ctx context.Context) (string, error) {
	p.mu.Lock()
	busy := !p.first || p.ending
	p.mu.Unlock()
	if busy {
		return "", errors.New("vrrpd is starting or stopping")
	}
	configs, err := p.load()
	if err != nil {
		return "", err
	}
	present := map[string]*member{}
	has := map[routerKey]string{}
	for _, m := range p.all() {
		present[m.name] = m
		if err := m.loopSays(ctx, func() {
			for _, r := range m.routers {
				has[keyOf(*r.asked)] = m.name
			}
		}); err != nil {
			return "", err
		}
	}
	// First everything is looked at.
	plans, fresh := map[string]*plan{}, []*member{}
	for _, c := range configs {
		name := configName(c)
		moved := func(r config.Router) bool { other, known := has[keyOf(r)]; return known && other != name }
		if m := present[name]; m != nil {
			if plans[name], err = m.plan(ctx, c, moved); err != nil {
				return "", errors.Join(err, forgetAll(fresh))
			}
			continue
		}
		m, err := p.newMember(c)
		if err != nil {
			return "", errors.Join(err, forgetAll(fresh))
		}
		m.moved = moved
		fresh = append(fresh, m)
		if err := m.check(); err != nil {
			return "", errors.Join(err, forgetAll(fresh))
		}
	}
	// Then what goes and what changes, everywhere; then what comes.
	left := map[string]chan struct{}{}
	for name, m := range present {
		gone := make(chan struct{})
		left[name] = gone
		if plan := plans[name]; plan != nil {
			m.inbox.call(func() { m.begin(plan, func() { close(gone) }) })
			continue
		}
		p.mu.Lock()
		m.removed = true
		p.mu.Unlock()
		m.inbox.call(func() { m.results = append(m.results, election.Event{Kind: election.EvStop}) })
	}
	for name, m := range present {
		select {
		case <-left[name]:
		case <-m.over:
			if plans[name] != nil {
				return "", errors.New("vrrpd is stopping")
			}
		}
	}
	var said []string
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(present)) {
		m, plan := present[name], plans[name]
		if plan == nil {
			said = append(said, "group "+name+" removed")
			continue
		}
		added := make(chan error, 1)
		m.inbox.call(func() { m.finish(plan, func(err error) { added <- err }) })
		select {
		case err := <-added:
			failed = append(failed, err)
		case <-m.over:
			failed = append(failed, errors.New("vrrpd is stopping"))
		}
		said = append(said, groupText(name, len(configs))+plan.summary())
	}
	for _, m := range fresh {
		p.mu.Lock()
		ending := p.ending
		if !ending {
			p.groups[m.name] = m
			p.start(p.life, m)
		}
		p.mu.Unlock()
		if ending {
			return "", errors.Join(errors.New("vrrpd is stopping"), m.uncheck())
		}
		select {
		case <-m.ready:
			said = append(said, fmt.Sprintf("group %s added, with %d virtual routers", m.name, len(m.cfg.Routers)))
		case <-m.over:
			failed = append(failed, m.err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		// It was looked at before, so that is a change of the machine meanwhile; what is
		// missing is tried again.
		p.opt.Log.Error("what was reloaded is not complete", slog.Any("err", err))
	}
	return strings.Join(said, "; "), nil
}

func groupText(name string, groups int) string {
	if groups == 1 {
		return ""
	}
	return name + ": "
}

// forgetAll undoes the checks of groups that are not started.
func forgetAll(groups []*member) error {
	var errs []error
	for _, m := range groups {
		errs = append(errs, m.uncheck())
	}
	return errors.Join(errs...)
}

// uncheck gives back what check has opened.
func (d *Daemon) uncheck() error {
	var errs []error
	if d.hands != nil {
		errs = append(errs, d.hands.Close())
	}
	if d.guards != nil {
		errs = append(errs, d.guards.Close())
	}
	return errors.Join(errs...)
}
