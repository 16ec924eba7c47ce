package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/hooks"
	"vrrpd/internal/child"
	"vrrpd/sysd"
)

// checkScriptUser finds the user of --script-user, so that a mistake is told at
// the start and not at the first failover.
func (d *Daemon) checkScriptUser() (err error) {
	d.runAs, err = scriptUser(d.cfg.ScriptUser)
	return err
}

// scriptUser is whom commands run as; nil: as the daemon.
func scriptUser(name string) (*child.Identity, error) {
	if name == "" {
		return nil, nil
	}
	return commandUser("--script-user "+name, name)
}

// commandUser is a user whom commands run as; as is how messages call the setting.
func commandUser(as, name string) (*child.Identity, error) {
	id, err := child.LookupIdentity(name)
	if err != nil {
		return nil, config.UsageError(fmt.Sprintf("%s: %v", as, err))
	}
	if own := os.Geteuid(); own != 0 {
		if id.UID != uint32(own) {
			return nil, config.UsageError(fmt.Sprintf("%s: only root can run commands as somebody else, and this is user %d, as whom they run anyway; leave it away",
				as, own))
		}
		return nil, nil // no setgroups without root, and nothing to change
	}
	return id, nil
}

// scriptsAtOnce is how many commands of one group may run side by side: those of the
// group and of its virtual routers wait for each other beyond that.
const scriptsAtOnce = 8

// addressesTold is how many virtual addresses a command is told: an environment has a
// limit.
const addressesTold = 2000

// hookKey is whose command it was.
type hookKey struct {
	iface string // "": the group's
	up    bool
}

// startHooks runs the user's commands; at the end the last ones may finish. Those of checks
// are started by the same thread.
func (d *Daemon) startHooks(later func(func())) {
	ctx, cancel := context.WithCancel(context.Background())
	var starting sync.WaitGroup
	starting.Go(func() { d.starter.Run(ctx) })
	later(func() {
		cancel()
		starting.Wait()
	})
	d.hooks = d.newRunner(later, hookKey{})
	for _, r := range d.routers {
		d.startOwnHooks(r)
	}
	later(func() {
		// Side by side: each has a minute at most.
		var wg sync.WaitGroup
		for _, r := range d.routers {
			wg.Go(r.end)
		}
		wg.Wait()
	})
}

// startOwnHooks makes ready for the commands of a virtual router, if it has any.
func (d *Daemon) startOwnHooks(r *router) {
	if r.hooks == nil && (r.cfg.OnMaster.Given() || r.cfg.OnBackup.Given()) {
		r.hooks = d.newRunner(func(f func()) { r.ending = append(r.ending, f) }, hookKey{iface: r.cfg.Name})
	}
}

// end ends what belongs to a router alone.
func (r *router) end() {
	for i := len(r.ending) - 1; i >= 0; i-- {
		r.ending[i]()
	}
	r.ending = nil
}

// newRunner runs commands until everything, or what they belong to, ends.
func (d *Daemon) newRunner(later func(func()), key hookKey) *hooks.Runner {
	runner := hooks.New(hooks.Options{
		Slots: d.scripts,
		Start: d.starter.Start,
		Output: func(j hooks.Job, line string) {
			d.log.Info(j.Argv[0]+": "+line, slog.String(sysd.KeyInterface, j.Interface), slog.String(sysd.KeyParent, j.Parent),
				slog.String(sysd.KeyVRID, strconv.Itoa(int(j.VRID))))
		},
		Done: func(r hooks.Result) { d.inbox.errand(func() { d.hookDone(key, r) }) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = runner.Run(ctx) })
	later(func() {
		patience, done := context.WithTimeout(context.Background(), hooks.DefaultLimit+time.Second)
		if err := runner.Idle(patience); err != nil {
			d.log.Error("stopping without waiting any longer", "err", err)
		}
		done()
		cancel()
		wg.Wait()
	})
	return runner
}

// runHook posts the user's commands for a change of sides: that of the group, then
// those of the virtual routers. It does not wait.
func (d *Daemon) runHook(a *election.Action) {
	first := d.first()
	all := d.hookJob(first, of(a.Up, d.cfg.OnMaster, d.cfg.OnBackup), a)
	if len(d.routers) > 1 && len(all.Argv) > 0 {
		var addresses []netip.Prefix
		for _, r := range d.routers {
			addresses = append(addresses, r.cfg.Addresses...)
		}
		if len(addresses) <= addressesTold {
			all.Addresses = addresses
		}
	}
	d.postHook(a.Up, d.hooks, all)
	for _, r := range d.routers {
		if a.Up && (!r.wanted || r.hookedIn == a.Epoch) {
			continue // it has yet to join, or has been told
		}
		d.postOwnHook(r, a)
	}
}

// postOwnHook posts the command of a virtual router itself, if it has any.
func (d *Daemon) postOwnHook(r *router, a *election.Action) {
	if r.hooks != nil {
		d.postHook(a.Up, r.hooks, d.hookJob(r, of(a.Up, r.cfg.OnMaster, r.cfg.OnBackup), a))
	}
}

func of(up bool, onMaster, onBackup config.Command) config.Command {
	if up {
		return onMaster
	}
	return onBackup
}

func (d *Daemon) hookJob(r *router, c config.Command, a *election.Action) hooks.Job {
	j := hooks.Job{
		Argv: c.Argv, RunAs: d.runAs, State: a.To, Reason: a.Reason, VRID: r.cfg.VRID,
		Interface: r.cfg.Name, Parent: r.cfg.Interface, Addresses: r.cfg.Addresses,
		Priority: d.machine.View().Priority, Peer: d.lastPeer,
	}
	if d.cfg.Monitor > 0 || d.cfg.Group != "" {
		j.Group = d.groupName
	}
	return j
}

// heldHook is a command that waits for the announcements.
type heldHook struct {
	runner *hooks.Runner
	job    hooks.Job
}

// postHook keeps a command for MASTER back until the addresses have been
// announced, which takes some milliseconds if there are many.
func (d *Daemon) postHook(up bool, runner *hooks.Runner, job hooks.Job) {
	d.heldHooks = append(d.heldHooks, heldHook{runner, job})
	if !up {
		d.releaseHooks()
	}
}

// postHeldHooks posts what waited for the announcements.
func (d *Daemon) postHeldHooks() {
	if len(d.heldHooks) > 0 && !d.announcer.urgent() {
		d.releaseHooks()
	}
}

func (d *Daemon) releaseHooks() {
	for _, h := range d.heldHooks {
		h.runner.Post(h.job)
	}
	clear(d.heldHooks)
	d.heldHooks = d.heldHooks[:0]
}

// hookDone records how a command ended.
func (d *Daemon) hookDone(key hookKey, h hooks.Result) {
	result := &control.HookResult{
		Interface: key.iface,
		State:     h.Job.State.Outward().String(), Command: h.Job.Argv[0],
		Started: time.Now().Add(-h.Duration), MS: h.Duration.Milliseconds(), ExitCode: h.ExitCode,
	}
	key.up = h.Job.State.Serving()
	d.hookLog[key] = result
	e := control.Event{
		At: time.Now(), Kind: control.KindHook, Group: d.groupName, Interface: h.Job.Interface, Parent: h.Job.Parent,
		VRID: h.Job.VRID, To: result.State, Message: h.Job.Argv[0] + " is done",
	}
	if h.Err != nil {
		result.Error = h.Err.Error()
		e.Message = result.Error
		d.log.Error(result.Error, slog.String(sysd.KeyInterface, h.Job.Interface), slog.String(sysd.KeyParent, h.Job.Parent),
			slog.String(sysd.KeyVRID, strconv.Itoa(int(h.Job.VRID))),
			slog.String(sysd.KeyMessageID, sysd.MessageHookFailed), slog.String(sysd.KeyState, result.State))
	}
	d.feed.Publish(e)
}

// lookupGroup finds the group of the control socket; "" is 0, the process's own.
func lookupGroup(name string) (gid int, err error) {
	if name == "" {
		return 0, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		if n, nerr := strconv.Atoi(name); nerr == nil && n >= 0 {
			return n, nil
		}
		return 0, config.UsageError(fmt.Sprintf("socket_group %q: there is no such group", name))
	}
	return strconv.Atoi(g.Gid)
}
