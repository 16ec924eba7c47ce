package daemon

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/election"
)

// catchSignals installs the handlers of the original's signals, first thing at
// start: none of them may kill a router that is half set up. A burst of equal
// signals is one signal.
func (d *Daemon) catchSignals() (stop func()) {
	ch := make(chan os.Signal, 16)
	d.signals = ch
	signal.Notify(ch, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTTIN, unix.SIGTTOU, unix.SIGHUP)
	quit := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-ch:
				d.inbox.call(func() { d.signal(s) })
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(quit)
	}
}

// signal does what the manual says of a signal. It runs on the loop.
func (d *Daemon) signal(s os.Signal) {
	d.log.Info("signal "+unix.SignalName(s.(unix.Signal)), d.aboutMachine()...)
	switch s {
	case unix.SIGTERM, unix.SIGINT:
		d.notify.Stopping()
		d.results = append(d.results, election.Event{Kind: election.EvStop})
	case unix.SIGUSR1:
		d.writeState()
	case unix.SIGUSR2:
		d.results = append(d.results, election.Event{Kind: election.EvBackup})
	case unix.SIGTTIN, unix.SIGTTOU:
		p := d.shiftPriority(s == unix.SIGTTOU)
		d.log.Info(fmt.Sprintf("priority is now %d", p), d.aboutMachine()...)
	case unix.SIGHUP:
		d.notify.Reloading()
		d.reloadOwn(func(text string, err error) {
			if err == nil {
				d.log.Info(text, d.aboutMachine()...)
			}
			d.notify.Ready()
		})
	}
}

// reloadOwn reads again what a process without a file of its own has in files.
func (d *Daemon) reloadOwn(done func(string, error)) {
	if d.keysInFiles() {
		d.reloadKeys(done)
		return
	}
	done("nothing to reload: this instance is configured by its command line", nil)
}

// writeState writes the state to the log and to INSTANCE.state.
func (d *Daemon) writeState() {
	s := d.snapshot()
	m := s.Machine
	line := fmt.Sprintf("%s since %s: %s, priority %d", m.Phase, m.Since.Format("2006-01-02 15:04:05"), m.Reason, m.Priority.Effective)
	if m.Peer != "" {
		line += ", peer " + m.Peer
	}
	d.log.Info("state: "+line, d.aboutMachine()...)
	text := line + "\n"
	for _, r := range s.Routers {
		text += fmt.Sprintf("%s %s vrid %d %s %v: sent %d, received %d\n", r.Interface, r.Parent, r.VRID, r.State,
			append(r.VirtualIPv4Addresses, r.VirtualIPv6Addresses...), r.Statistics.AdvertisementSent, r.Statistics.AdvertisementRcvd)
	}
	path := filepath.Join(d.cfg.RunDir, d.instance+stateSuffix)
	d.work(func() {
		if err := replaceFile(path, text); err != nil {
			d.log.Error("cannot write the state file", "err", err)
		}
	})
}

// Interface checks.
var _ control.Source = (*Daemon)(nil)
