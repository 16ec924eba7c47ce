package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/pidfd"
)

// followProcess tells whether the process runs. As long as it does nothing is
// looked at: its pidfd tells of its end, and inotify of another number in its pid
// file. While it does not, what inotify cannot tell is looked for once an interval.
func (w *watch) followProcess(ctx context.Context, tell func(observation)) {
	p := w.check.Process
	var file *fileWatch // nil: by name, or no inotify is left; then only the interval tells
	var changed <-chan struct{}
	if p.PIDFile != "" {
		if f, err := w.set.options.watch(p.PIDFile); err == nil {
			defer f.Close()
			file, changed = f, f.bell
		}
	}
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	var now *running
	defer func() { now.close() }()
	for {
		if file != nil {
			file.rearm()
		}
		next, why := p.find(now)
		if next != now {
			now.close()
			now = next
		}
		var ended <-chan struct{}
		again.Stop()
		if now != nil {
			tell(good("%s runs (pid %d)", p, now.pid))
			ended = now.ended
		} else {
			tell(bad("%s", why))
			again.Reset(w.check.Interval)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again.C:
		case <-ended:
			now.close()
			now = nil
		}
	}
}

// find returns the process that is meant: now, if that is still it, or another one,
// or nil and why.
func (p Process) find(now *running) (*running, string) {
	if now != nil && now.Over() {
		now = nil
	}
	if p.PIDFile != "" {
		return p.inFile(now)
	}
	if now != nil {
		return now, ""
	}
	for range 8 { // what is found may end before it is watched
		pid := oldest(p.Name)
		if pid == 0 {
			break
		}
		if next, err := p.open(pid); err == nil {
			return next, ""
		} else if !errors.Is(err, unix.ESRCH) {
			return nil, err.Error()
		}
	}
	return nil, fmt.Sprintf("no process %s runs", p.Name)
}

// inFile is find with a pid file. That the file has gone, or names nobody, is no
// reason to give up a process that runs.
func (p Process) inFile(now *running) (*running, string) {
	pid, why := readPID(p.PIDFile)
	if pid != 0 && now != nil && pid == now.pid {
		return now, ""
	}
	if pid != 0 {
		next, err := p.open(pid)
		switch {
		case err == nil:
			return next, ""
		case errors.Is(err, errNamed):
			why = fmt.Sprintf("%s says %d, which is not %s", p.PIDFile, pid, p.Name)
		case errors.Is(err, unix.ESRCH):
			why = fmt.Sprintf("%s does not run any more (pid %d)", p, pid)
		default:
			why = err.Error()
		}
	}
	return now, why
}

// errNamed: it is another process.
var errNamed = fmt.Errorf("another name: %w", unix.ESRCH)

// open watches the process with that number, if it has the name.
func (p Process) open(pid int) (*running, error) {
	r, err := open(pid)
	if err != nil {
		return nil, err
	}
	its := p.Name == "" || named(pid, p.Name)
	switch { // as long as it lives the number is its own
	case r.Over():
		err = unix.ESRCH
	case !its:
		err = errNamed
	default:
		return r, nil
	}
	r.close()
	return nil, err
}

// running is a process whose end is told.
type running struct {
	*pidfd.Process
	pid   int
	ended chan struct{}
	done  chan struct{}
}

// open watches a process; unix.ESRCH: there is none, or it is a zombie.
func open(pid int) (*running, error) {
	p, err := pidfd.Open(pid)
	if err == nil && p.Over() {
		p.Close()
		err = unix.ESRCH
	}
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	r := &running{Process: p, pid: pid, ended: make(chan struct{}), done: make(chan struct{})}
	go r.wait()
	return r, nil
}

// wait closes ended when the process has ended; closing it ends it as well.
func (r *running) wait() {
	defer close(r.done)
	if r.Wait() == nil {
		close(r.ended)
	}
}

func (r *running) close() {
	if r != nil {
		r.Close()
		<-r.done
	}
}
