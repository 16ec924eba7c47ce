package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// contender is one of the implementations that are compared.
type contender struct {
	name    string
	version string
	// daemon is the base name of the program that is killed and stopped.
	daemon string
	path   string // of the program
	host   netlab.HostOptions
	// commands prepare the host and return what starts it; whole: the routers share one
	// fate, as far as it can that.
	commands func(h *netlab.Host, routers []peers.Router, whole bool) ([]netlab.Command, error)
	// cleanUp is what its unit runs when a service manager finds it dead; nil: nothing.
	cleanUp func(routers []peers.Router) netlab.Command
	// flapless: it does not survive a flap of the parent, so its site is made anew after
	// one.
	flapless bool
	// most is how many virtual routers one machine is given at most, and why.
	most    int
	whyMost string
}

// contenders are ours and those of the others that are installed; missing names the
// rest.
func contenders(vrrpd string) (list []contender, missing []string, err error) {
	ours, err := vrrpdContender(vrrpd)
	if err != nil {
		return nil, nil, err
	}
	list = append(list, ours)
	for _, find := range []func() (contender, bool, error){keepalivedContender, frrContender} {
		c, found, err := find()
		switch {
		case err != nil:
			return nil, nil, err
		case found:
			list = append(list, c)
		default:
			missing = append(missing, c.name)
		}
	}
	return list, missing, nil
}

// say runs a program for what it says about itself, on either stream.
func say(path string, args ...string) (string, error) {
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", path, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// version is the first thing in a text that looks like one.
func version(text string) string { return regexp.MustCompile(`[0-9]+(\.[0-9]+)+`).FindString(text) }

func keepalivedContender() (contender, bool, error) {
	c := contender{name: "keepalived", daemon: "keepalived"}
	path, err := exec.LookPath(c.daemon)
	if err != nil {
		return c, false, nil
	}
	text, err := say(path, "--version")
	if err != nil {
		return c, false, err
	}
	c.version = version(text)
	c.commands = func(h *netlab.Host, routers []peers.Router, whole bool) ([]netlab.Command, error) {
		k := peers.Keepalived{Routers: routers, Group: whole && len(routers) > 1, Global: "    vrrp_version 3\n"}
		command, err := k.Command(h, "-P")
		return []netlab.Command{command}, err
	}
	return c, true, nil
}

func frrContender() (contender, bool, error) {
	c := contender{
		name: "FRR", daemon: "vrrpd", host: netlab.HostOptions{Private: []string{peers.FRRScratch}},
		// Issue 16995 of FRRouting/frr: the interface of a BACKUP stays up after it.
		flapless: true,
		most:     100, whyMost: "its time per advert grows with their number: see the row of 100",
	}
	path := peers.FRRDaemon
	if _, err := os.Stat(path); err != nil {
		return c, false, nil
	}
	text, err := say(path, "--version")
	if err != nil {
		return c, false, err
	}
	c.version = version(text)
	c.commands = func(h *netlab.Host, routers []peers.Router, _ bool) ([]netlab.Command, error) {
		limit, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		command, err := peers.FRR{Routers: routers}.Command(limit, h)
		return []netlab.Command{command}, err
	}
	return c, true, nil
}

// machine is a host that runs a contender.
type machine struct {
	*netlab.Host
	contender
	routers []peers.Router
	whole   bool
	procs   []*netlab.Proc // those of the last start
}

// start starts the contender, and returns when that began.
func (m *machine) start() (time.Time, error) {
	commands, err := m.commands(m.Host, m.routers, m.whole)
	if err != nil {
		return time.Time{}, err
	}
	m.procs = nil
	began := time.Now()
	for _, c := range commands {
		p, err := m.Start(c)
		if err != nil {
			return began, err
		}
		p.Hurry()
		m.procs = append(m.procs, p)
	}
	return began, nil
}

// all prepares a signal to all processes of the contender: to find them takes longer
// than what is measured.
func (m *machine) all(sig syscall.Signal) (func() error, error) {
	found, err := m.Find(m.daemon)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no %s on %s to send %v to", m.daemon, m.Name(), sig)
	}
	return func() error {
		var errs []error
		for _, p := range found {
			// keepalived's second process may go with the first.
			if err := p.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}, err
}

// dieAtOnce prepares the death of all processes in one instant: they stand still first,
// or one would see the other die and clean up after it, as a crash of the whole machine
// would not have it.
func (m *machine) dieAtOnce() (func() error, error) {
	still, err := m.all(syscall.SIGSTOP)
	if err != nil {
		return nil, err
	}
	dead, err := m.all(syscall.SIGKILL)
	return func() error { return errors.Join(still(), dead()) }, err
}

// dieManaged prepares the same under a service manager, which sees to what is left as soon
// as all of it is dead.
func (m *machine) dieManaged(ctx context.Context) (func() error, error) {
	die, err := m.dieAtOnce()
	return func() error {
		err := die()
		if err == nil {
			err = m.buried(ctx)
		}
		if err == nil {
			_, err = m.Start(m.cleanUp(m.routers))
		}
		return err
	}, err
}

// terminate is what a service manager does to stop it.
func (m *machine) terminate() error {
	var errs []error
	for _, p := range m.procs {
		errs = append(errs, p.Signal(syscall.SIGTERM))
	}
	return errors.Join(errs...)
}

// lastWords are the last lines that the processes of the last start have written.
func (m *machine) lastWords() (lines []string) {
	for _, p := range m.procs {
		said := p.Lines()
		for _, l := range said[max(0, len(said)-8):] {
			lines = append(lines, l.Text)
		}
	}
	return lines
}

// buried waits until the processes of the last start are gone.
func (m *machine) buried(ctx context.Context) error {
	for _, p := range m.procs {
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
