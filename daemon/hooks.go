package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/hooks"
	"vrrpd/sysd"
)

// checkScriptUser finds the user of --script-user, so that a mistake is told at
// the start and not at the first failover.
func (d *Daemon) checkScriptUser() error {
	name := d.cfg.ScriptUser
	if name == "" {
		return nil
	}
	id, err := hooks.LookupIdentity(name)
	if err != nil {
		return config.UsageError(fmt.Sprintf("--script-user %s: %v", name, err))
	}
	if own := os.Geteuid(); own != 0 {
		if id.UID != uint32(own) {
			return config.UsageError(fmt.Sprintf("--script-user %s: only root can run commands as somebody else, and this is user %d, as whom they run anyway; leave it away",
				name, own))
		}
		return nil // no setgroups without root, and nothing to change
	}
	d.runAs = id
	return nil
}

// runHook posts the user's command for a change of sides. It does not wait.
func (d *Daemon) runHook(a *election.Action) {
	r := d.routers[0]
	command := d.cfg.OnBackup
	if a.Up {
		command = d.cfg.OnMaster
	}
	group := ""
	if d.cfg.Monitor > 0 {
		group = d.groupName
	}
	d.postHook(a.Up, hooks.Job{
		Argv: command.Argv, State: a.To, Reason: a.Reason, VRID: r.cfg.VRID,
		Interface: r.cfg.Name, Parent: r.cfg.Interface, Addresses: r.cfg.Addresses,
		Priority: d.machine.View().Priority, Group: group, Peer: d.lastPeer,
	})
}

// postHook keeps a command for MASTER back until the addresses have been
// announced, which takes some milliseconds if there are many.
func (d *Daemon) postHook(up bool, job hooks.Job) {
	d.heldHooks = append(d.heldHooks, job)
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
	for _, job := range d.heldHooks {
		d.hooks.Post(job)
	}
	clear(d.heldHooks)
	d.heldHooks = d.heldHooks[:0]
}

// hookDone records how a command ended.
func (d *Daemon) hookDone(h hooks.Result) {
	result := &control.HookResult{
		State: h.Job.State.Outward().String(), Command: h.Job.Argv[0],
		Started: time.Now().Add(-h.Duration), MS: h.Duration.Milliseconds(), ExitCode: h.ExitCode,
	}
	i := 0
	if h.Job.State.Serving() {
		i = 1
	}
	d.hookLog[i] = result
	e := control.Event{
		At: time.Now(), Kind: control.KindHook, Group: d.groupName, Interface: h.Job.Interface, Parent: h.Job.Parent,
		VRID: h.Job.VRID, To: result.State, Message: h.Job.Argv[0] + " is done",
	}
	if h.Err != nil {
		result.Error = h.Err.Error()
		e.Message = result.Error
		d.log.Error(result.Error, d.about(d.routers[0],
			slog.String(sysd.KeyMessageID, sysd.MessageHookFailed), slog.String(sysd.KeyState, result.State))...)
	}
	d.feed.Publish(e)
}

func (d *Daemon) hookResults() []control.HookResult {
	var out []control.HookResult
	for _, h := range d.hookLog {
		if h != nil {
			out = append(out, *h)
		}
	}
	return out
}
