package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/internal/reexec"
)

// The program of a process is replaced by another one while it serves (atropos reexec):
// by execve, in the same process, with everything open that is worth keeping. This file
// is the part of the program that goes, resume.go that of the one that comes, keep.go
// what is handed over.
//
//  1. The other program is tried in a child, with a state that is as good as the one it
//     will get. Whatever it does not understand ends here.
//  2. All loops pause at once, each at a moment in which nothing is under way: no change
//     of sides, no command of the user, no work. Who is MASTER says one advert more, so
//     that guards and peers have a whole interval, or more, from here on. Sockets are not
//     read any more: what arrives waits.
//  3. execve. If it fails, the loops go on.

// Program is the program that this process runs.
type Program struct {
	Path        string   // of the program to go on as
	Args, Shown []string // its arguments, and as others may see them
	File        string   // configuration file; "": none
	Quiet       bool     // in the background: nobody reads its stderr
	// FlushLog waits until what was logged is written; nil: nothing is kept back.
	FlushLog func(context.Context) error

	replacing     sync.Mutex // one replacement at a time
	mu            sync.Mutex
	text, offered []byte
	cleaning      bool // what the last program has left is still being put away
}

// cleans and cleaned are the beginning and the end of that: a thread that waits for the
// kernel would have execve wait.
func (p *Program) cleans() {
	p.mu.Lock()
	p.cleaning = true
	p.mu.Unlock()
}

func (p *Program) cleaned() {
	p.mu.Lock()
	p.cleaning = false
	p.mu.Unlock()
}

func (p *Program) clean() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.cleaning
}

// Offer notes what the configuration file contains, Accept that it is in force.
func (p *Program) Offer(text []byte) {
	if p != nil {
		p.mu.Lock()
		p.offered = text
		p.mu.Unlock()
	}
}

// Accept is for what was offered last.
func (p *Program) Accept() {
	if p != nil {
		p.mu.Lock()
		p.text = p.offered
		p.mu.Unlock()
	}
}

func (p *Program) state(version string) *reexec.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &reexec.State{Version: version, Program: p.Path, Args: p.Args, Shown: p.Shown, File: p.File, Quiet: p.Quiet, Config: p.text}
}

const (
	// replacePatience is how long a moment of rest is waited for: commands of the user
	// may run for a minute, but whoever waits here does not.
	replacePatience = 10 * time.Second
	// replaceRetry is when the next one is looked for.
	replaceRetry = 20 * time.Millisecond
	// pauseAnswer is how long a loop may take to answer.
	pauseAnswer = 2 * time.Second
)

// pause asks loops to stand still.
type pause struct {
	answers chan paused
	resume  chan struct{} // closed: go on
	// fate is decided once: the program is replaced, or somebody goes on.
	fate atomic.Int32
}

const (
	undecided = iota
	replacing
	goingOn
)

// paused is the answer of a loop.
type paused struct {
	name            string
	why             string // what is under way; "": it stands still
	state, history  json.RawMessage
	files, children []int
	err             error
}

// replace is for a process that is one Daemon.
func (d *Daemon) replace(ctx context.Context, caller int) error {
	return replaceProgram(ctx, d.opt, d.notify, []*Daemon{d}, caller, nil)
}

// replaceProgram has the process of these groups go on as the program that lies where
// this one was started from. It returns if that cannot be, with the reason. more puts in what
// is not a group's.
func replaceProgram(ctx context.Context, opt Options, notify Notifier, groups []*Daemon, caller int, more func(*reexec.State) error) error {
	p := opt.Program
	if p == nil {
		return errors.New("this process cannot be given another program")
	}
	if !p.replacing.TryLock() {
		return errors.New("nothing was changed: somebody else has asked for it, too, and it is under way")
	}
	defer p.replacing.Unlock()
	// Step 1.
	trial := p.state(opt.Version)
	for _, d := range groups {
		var one paused
		if err := d.loopSays(ctx, func() { one = d.putDown() }); err != nil {
			return err
		}
		if err := one.addTo(trial); err != nil {
			return err
		}
	}
	next, err := reexec.Try(ctx, p.Path, trial)
	if err != nil {
		return err
	}
	if err := heritable(); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	opt.Log.Info(fmt.Sprintf("replacing the program: %s, version %s -> %s", p.Path, opt.Version, next.Version))
	if notify != nil {
		notify.Reloading()
		defer notify.Ready()
		if f, ok := notify.(interface{ Flush(context.Context) error }); ok {
			flush(ctx, f.Flush)
		}
	}
	if p.FlushLog != nil {
		flush(ctx, p.FlushLog)
	}
	// Who watches is told, and comes again when the next program has its socket.
	for _, d := range groups {
		d.feed.Replace("the program is being replaced by version " + next.Version)
		defer d.socket.Hint()
	}
	// Steps 2 and 3.
	deadline := time.NewTimer(replacePatience)
	defer deadline.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	why := ""
	for {
		select {
		case <-retry.C:
		case <-deadline.C:
			return fmt.Errorf("nothing was changed: %s; try again later", why)
		case <-ctx.Done():
			return fmt.Errorf("nothing was changed: %w", ctx.Err())
		}
		if !p.clean() {
			why = "the program was replaced a moment ago"
			retry.Reset(replaceRetry)
			continue
		}
		if why, err = attempt(p, next, opt.Version, groups, caller, more); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
		retry.Reset(replaceRetry)
	}
}

// heritable says why another program would not have the capabilities of this one: those
// of root, and ambient ones, it has; those that a file has given, another file may not.
func heritable() error {
	if os.Geteuid() == 0 {
		return nil
	}
	for _, c := range [...]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW} {
		if is, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, c, 0, 0); err != nil || is != 1 {
			return errors.New("vrrpd has its capabilities from its file (setcap), and another file may have others: restart vrrpd instead")
		}
	}
	return nil
}

// flush waits a little.
func flush(ctx context.Context, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = f(ctx) // somebody who does not listen need not be waited for
}

// attempt replaces the program if every loop is at rest; else it says what is not.
func attempt(p *Program, next *reexec.Tried, version string, groups []*Daemon, caller int, more func(*reexec.State) error) (why string, err error) {
	state := p.state(version)
	state.Caller, state.Late = max(caller, 0), reexec.SlowToClose()
	all := &pause{answers: make(chan paused, len(groups)), resume: make(chan struct{})}
	defer close(all.resume)
	for _, d := range groups {
		d.inbox.call(func() { d.pausing = all })
	}
	limit := time.NewTimer(pauseAnswer)
	defer limit.Stop()
	for range groups {
		select {
		case one := <-all.answers:
			if one.why != "" {
				all.fate.CompareAndSwap(undecided, goingOn)
				return one.why, nil
			}
			err = errors.Join(err, one.addTo(state))
		case <-limit.C:
			all.fate.CompareAndSwap(undecided, goingOn)
			return "", errors.New("a group does not answer")
		}
	}
	if err == nil && more != nil {
		err = more(state)
	}
	if err != nil {
		all.fate.CompareAndSwap(undecided, goingOn)
		return "", err
	}
	if !all.fate.CompareAndSwap(undecided, replacing) {
		return "this machine was too slow", nil
	}
	// What has come since a loop stood still, a signal for instance, would be lost.
	err = reexec.Exec(next, state, func() error {
		for _, d := range groups {
			if !d.inbox.empty() || len(d.signals) > 0 {
				return errNews
			}
		}
		return nil
	})
	if errors.Is(err, errNews) || errors.Is(err, reexec.ErrStarting) {
		return err.Error(), nil
	}
	return "", err
}

// errNews: something has to be done first.
var errNews = errors.New("something has just happened")

// addTo puts what a group has said into a state.
func (p paused) addTo(s *reexec.State) error {
	if p.err != nil {
		return p.err
	}
	s.Files = append(s.Files, p.files...)
	s.Children = append(s.Children, p.children...)
	return errors.Join(s.SetPart(groupPart+p.name, p.state), s.SetPart(historyPart+p.name, p.history))
}

// Parts of the state.
const (
	groupPart   = "group "
	historyPart = "history of "
	processPart = "process"
)

// putDown makes this group's part of a state.
func (d *Daemon) putDown() paused {
	k, files, children := d.keep()
	p := paused{name: d.instance, files: files, children: children}
	if p.state, p.err = json.Marshal(k); p.err == nil {
		p.history, p.err = json.Marshal(d.keepHistory())
	}
	if p.err != nil {
		p.err = fmt.Errorf("write down the state of %s: %w", d.instance, p.err)
	}
	return p
}

// pause stands still if nothing is under way, and says so or why not.
func (d *Daemon) pause() {
	all := d.pausing
	d.pausing = nil
	d.standing = true
	defer func() { d.standing = false }()
	if why := d.underWay(); why != "" {
		all.answers <- paused{name: d.instance, why: why}
		return
	}
	d.machine.AdvertiseNow(boottime())
	d.turn()
	// Nobody but the loop reads, so what arrives from here on waits for the next program.
	// What has been read is judged here.
	for range 3 {
		if !d.inbox.empty() {
			d.turn()
			d.errands()
		}
	}
	if why := d.underWay(); why != "" || !d.inbox.empty() || d.overslept() {
		if why == "" {
			why = "it is busy"
		}
		all.answers <- paused{name: d.instance, why: why}
		return
	}
	if !d.health.Pause() {
		all.answers <- paused{name: d.instance, why: "the command of a check is being started"}
		return
	}
	defer d.health.Unpause()
	all.answers <- d.putDown()
	// Half an interval is what the leases have to spare besides what comes after it.
	patience := time.NewTimer(max(d.interval()/2, 10*time.Millisecond))
	defer patience.Stop()
	select {
	case <-all.resume:
	case <-patience.C:
		if !all.fate.CompareAndSwap(undecided, goingOn) && all.fate.Load() == replacing {
			<-all.resume
		}
	}
}

// underWay says what keeps the loop from standing still; "": nothing.
func (d *Daemon) underWay() string {
	switch {
	case !d.ready || d.exit || d.heir != nil:
		return "vrrpd is starting or stopping"
	case len(d.pieces.left) > 0:
		return "adverts are being sent"
	case len(d.results)+len(d.afterStep) > 0, !d.machine.Settled():
		return "the machine is changing sides"
	case len(d.waiters) > 0:
		return "a command of the operator is under way"
	case d.reload.leaving > 0 || d.reload.left != nil:
		return "a reload is under way"
	case d.announcer.active || d.announcer.urgent() || d.announcer.woke:
		return "addresses are being announced"
	case len(d.heldHooks) > 0 || d.hooksRun():
		return "a command (-U or -D) is running"
	case !d.agenda.idle() || !d.worker.idle() || d.surveys > 0:
		return "something is being done"
	}
	for _, x := range d.announcer.due[d.announcer.head:] {
		if x.r == nil {
			return "addresses are being announced"
		}
	}
	for _, p := range d.parents {
		if (p.port == nil) != (p.link.Index == 0) || p.port != nil && p.opened != p.link {
			return p.name + " has just changed"
		}
	}
	for _, r := range d.routers {
		switch {
		case r.auth.file != nil && !r.auth.file.idle():
			return "the numbers of adverts are being written"
		case r.prepared || r.lowering > 0 || r.repairPending || r.reforming || r.mending || r.filterMending,
			r.checking.Load() || r.inspecting.Load() || r.filterChecking.Load():
			return "something is being repaired"
		case d.machine.Facts(r.vr).Faults&election.FaultInterface == 0 && r.iface == nil && r.parent.link.Index != 0:
			return r.cfg.Name + " is being made"
		}
	}
	return ""
}

func (d *Daemon) hooksRun() bool {
	if d.hooks.Busy() {
		return true
	}
	for _, r := range d.routers {
		if r.hooks != nil && r.hooks.Busy() {
			return true
		}
	}
	return false
}
