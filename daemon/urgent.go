package daemon

import (
	"fmt"
	"log/slog"
	"strings"

	"vrrpd/internal/realtime"
	"vrrpd/sysd"
)

// checkUrgent refuses what the user has asked for and this process cannot have. It
// changes nothing.
func (d *Daemon) checkUrgent() error {
	if err := realtime.Try(d.cfg.Realtime); err != nil {
		return err
	}
	if d.cfg.LockMemory {
		return realtime.MemoryLockable()
	}
	return nil
}

// urgent has this process not wait for others: neither for a processor nor for memory.
// It comes before everything that has a thread.
func (d *Daemon) urgent(later func(func())) error {
	if d.cfg.LockMemory {
		if err := realtime.LockMemory(); err != nil {
			return err
		}
	}
	realtime.Spare()
	if err := realtime.Brief(); err != nil {
		d.log.Debug("threads may have to wait for others to finish their time slice", "err", err)
	}
	threads, err := realtime.NewThreads(d.cfg.Realtime)
	if err != nil {
		return err
	}
	bell, err := realtime.NewBell(threads != nil)
	if err != nil {
		return err
	}
	d.realtime, d.bell = threads, bell
	if d.serve == nil {
		d.serve = bell.Serve
	}
	d.inbox.bell.Store(bell)
	later(func() { _ = bell.Close() })
	later(threads.Watch(func() {
		d.log.Error(fmt.Sprintf("a real-time thread has run for %v without waiting: all have the ordinary priority now, until vrrpd is restarted; "+
			"this should be reported, with what SIGABRT makes vrrpd write", realtime.SpinLimit), d.aboutMachine()...)
	}))
	return nil
}

// thread makes the calling goroutine's thread the one that hears and speaks. Without
// --realtime that is nothing: who waits by means of the runtime is woken at less cost if
// any thread may go on for it.
func (d *Daemon) thread() (leave func()) {
	leave, err := d.realtime.Enter()
	if err != nil {
		// It could be had at the start.
		d.log.Error("the thread that hears and speaks has the ordinary priority", d.aboutMachine("err", err)...)
	}
	return leave
}

// sayUrgent tells what was asked for and is in force.
func (d *Daemon) sayUrgent() {
	var all []string
	if p := d.realtime.Priority(); p != 0 {
		all = append(all, fmt.Sprintf("the thread that hears and speaks has real-time priority %d", p))
		if err := d.realtime.Favour(); err != nil {
			d.log.Warn(err.Error(), d.aboutMachine()...)
		}
	}
	if d.cfg.LockMemory {
		all = append(all, "memory is not paged out")
	}
	if len(all) > 0 {
		d.log.Info(strings.Join(all, "; "), d.aboutMachine(slog.String(sysd.KeyMessageID, sysd.MessageStarted))...)
	}
}
