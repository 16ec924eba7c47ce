package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/internal/child"
	"vrrpd/rtnl"
	"vrrpd/sysd"
)

// healthChecks are the checks of a configuration, with users that exist here. runAs is
// whom commands run as that name nobody.
func healthChecks(cfg config.Config, runAs *child.Identity) ([]health.Check, error) {
	all := plainChecks(cfg)
	for i, c := range cfg.Checks {
		if !c.Command.Given() {
			continue
		}
		all[i].RunAs = runAs
		if c.User != "" {
			id, err := commandUser(fmt.Sprintf("check %s: user %s", c.Name, c.User), c.User)
			if err != nil {
				return nil, err
			}
			all[i].RunAs = id
		}
	}
	return all, nil
}

// plainChecks are the checks of a configuration, without whom their commands run as.
func plainChecks(cfg config.Config) []health.Check {
	all := make([]health.Check, len(cfg.Checks))
	for i, c := range cfg.Checks {
		all[i] = health.Check{
			Name: c.Name, Weight: c.Weight, Interval: c.Interval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall,
			Command: c.Command.Argv, Interface: c.Interface, Addresses: c.Addresses,
			Process: health.Process{PIDFile: c.PIDFile, Name: c.Process},
		}
	}
	return all
}

// lookupChecks finds out what is wrong with the checks on this machine.
func (d *Daemon) lookupChecks() (err error) {
	d.checks, err = healthChecks(d.cfg, d.runAs)
	for _, w := range checkDoubts(d.checks) {
		d.opt.Warn(w)
		d.log.Warn(w, d.aboutMachine()...)
	}
	return err
}

// checkDoubts are what may be wrong with checks on this machine: it may come later.
func checkDoubts(checks []health.Check) (all []string) {
	for _, c := range checks {
		if c.Interface != "" {
			if _, err := net.InterfaceByName(c.Interface); err != nil {
				all = append(all, fmt.Sprintf("check %s cannot pass: there is no interface %s", c.Name, c.Interface))
			}
		}
		if c.Process.Name != "" && health.Hidden() {
			all = append(all, fmt.Sprintf("check %s cannot pass: vrrpd does not see the processes of others: ProtectProc=default in its unit, or no hidepid for /proc", c.Name))
		}
		if len(c.Command) == 0 {
			continue
		}
		if err := child.Find(c.Command[0]); err != nil {
			all = append(all, fmt.Sprintf("check %s cannot pass: %s: %v", c.Name, c.Command[0], err))
		}
	}
	return all
}

// startChecks begins to watch what the user has asked for.
func (d *Daemon) startChecks(later func(func())) {
	d.health = d.newHealth()
	d.applyChecks(health.Pending)
	d.runChecks(later)
}

func (d *Daemon) newHealth() *health.Set {
	return health.New(health.Options{
		Serving: d.serves.Load,
		Start:   d.starter.Start,
		Changed: func(r health.Report) { d.inbox.call(func() { d.checkChanged(r) }) },
	})
}

func (d *Daemon) runChecks(later func(func())) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.health.Run(ctx) })
	later(func() {
		cancel()
		wg.Wait()
	})
}

// applyChecks puts d.checks in force; those that are new begin with the verdict.
func (d *Daemon) applyChecks(begin health.Verdict) {
	d.judgeChecks(d.health.Apply(d.checks, begin))
	for i := range d.checks {
		if name := d.checks[i].Interface; name != "" {
			d.tellInterface(name)
		}
	}
}

// judgeChecks has the election know what the checks come to.
func (d *Daemon) judgeChecks(sum health.Sum) {
	if sum == d.checkSum {
		return
	}
	d.checkSum = sum
	d.results = append(d.results, election.Event{Kind: election.EvChecks, Weight: sum.Weight, On: sum.Hold})
}

// checkChanged tells the election and people that a check has another verdict.
func (d *Daemon) checkChanged(r health.Report) {
	// By now others may have changed, too, or a reload may have taken some away.
	d.judgeChecks(d.health.Sum())
	level, text := slog.LevelWarn, "check "+r.Check.Name+" fails"
	if r.Now == health.Passing {
		level, text = slog.LevelInfo, "check "+r.Check.Name+" passes"
	}
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	if effect := checkEffect(r.Check.Weight, r.Now); effect != "" {
		text += "; " + effect
	}
	d.log.Log(d.readers, level, text, d.aboutMachine(
		slog.String(sysd.KeyMessageID, sysd.MessageCheck), slog.String(sysd.KeyReason, election.CheckFailed.String()))...)
	d.feed.Publish(control.Event{
		At: time.Now(), Kind: control.KindCheck, Group: d.groupName, Reason: r.Check.Name, Active: r.Now != health.Passing, Message: text,
	})
}

// checkEffect is what a verdict does to the machine, in words.
func checkEffect(weight int, v health.Verdict) string {
	switch passes := v == health.Passing; {
	case weight == 0 && !passes:
		return "it holds this machine"
	case weight < 0 && !passes:
		return fmt.Sprintf("it takes %d from the priority", -weight)
	case weight > 0 && passes:
		return fmt.Sprintf("it adds %d to the priority", weight)
	}
	return ""
}

// tellInterface hands on what is known of the interface with this name.
func (d *Daemon) tellInterface(name string) {
	var is health.Interface
	for _, l := range d.links {
		if l.Name == name {
			is = health.Interface{Link: l, Addrs: append([]rtnl.Addr(nil), d.addrs[l.Index]...)}
		}
	}
	d.health.Tell(name, is)
}

// tellChecks hands on what the kernel has told, of interfaces that are checked.
func (d *Daemon) tellChecks(changes []rtnl.Change) {
	if d.health == nil || len(d.checks) == 0 {
		return // startChecks looks at everything
	}
	names := map[string]bool{}
	for i := range changes {
		c := &changes[i]
		if c.Kind == rtnl.AddrAdded || c.Kind == rtnl.AddrGone {
			l, _ := d.links.Get(c.Addr.Index)
			names[l.Name] = true
		} else {
			names[c.Old.Name], names[c.New.Name] = true, true
		}
	}
	delete(names, "")
	for name := range names {
		if d.health.Wants(name) {
			d.tellInterface(name)
		}
	}
}

// checksHolding say why the checks hold the machine; "": they do not.
func (d *Daemon) checksHolding() string {
	if !d.checkSum.Hold {
		return ""
	}
	return holdingText(d.health.Status())
}

// holdingText names those of all checks that hold a machine.
func holdingText(checks []health.Status) string {
	var all []string
	for _, s := range checks {
		switch {
		case s.Check.Weight != 0:
		case s.Verdict == health.Failing:
			all = append(all, "check "+s.Check.Name+": "+s.Detail)
		case s.Verdict == health.Pending:
			all = append(all, "check "+s.Check.Name+" has said nothing yet")
		}
	}
	return strings.Join(all, "; ")
}
