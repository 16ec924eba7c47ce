package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/sysd"
)

// priorityStep is what SIGTTIN and SIGTTOU change without -z and -x.
const priorityStep = 10

// waiter is an operator who wants to know how the hand-over went.
type waiter struct {
	verb  control.Verb
	epoch uint64 // when he asked
	reply chan control.Result
}

// Command implements control.Source.
func (d *Daemon) Command(ctx context.Context, c control.Command) (control.Result, error) {
	if c.Verb == control.Reload && d.opt.Reload != nil {
		d.log.Info("operator: "+string(c.Verb), d.aboutMachine(slog.Int("uid", int(c.UID)), slog.Int("pid", int(c.PID)))...)
		text, err := d.opt.Reload(ctx)
		if err != nil {
			return control.Result{Message: err.Error()}, nil
		}
		return control.Result{Done: true, Message: text}, nil
	}
	if c.Verb == control.Reexec {
		d.log.Info("operator: "+string(c.Verb), d.aboutMachine(slog.Int("uid", int(c.UID)), slog.Int("pid", int(c.PID)))...)
		replace := d.opt.replace
		if replace == nil {
			replace = d.replace
		}
		// It returns if it has failed.
		return control.Result{Message: replace(ctx, c.Caller).Error()}, nil
	}
	reply := make(chan control.Result, 1)
	d.inbox.call(func() { d.command(c, reply) })
	select {
	case r := <-reply:
		return r, nil
	case <-d.done:
		return control.Result{}, fmt.Errorf("%s: vrrpd is stopping", c.Verb)
	case <-ctx.Done():
		return control.Result{}, fmt.Errorf("%s: no outcome yet: %w", c.Verb, ctx.Err())
	}
}

// command carries out a wish. It runs on the loop.
func (d *Daemon) command(c control.Command, reply chan control.Result) {
	view := d.machine.View()
	d.log.Info("operator: "+string(c.Verb), d.aboutMachine(slog.Int("uid", int(c.UID)), slog.Int("pid", int(c.PID)))...)
	d.feed.Publish(control.Event{At: time.Now(), Kind: control.KindCommand, Group: d.groupName, Message: string(c.Verb), Epoch: view.Word.Epoch()})
	switch c.Verb {
	case control.Backup, control.Hold:
		kind := election.EvBackup
		if c.Verb == control.Hold {
			kind = election.EvHold
		}
		d.results = append(d.results, election.Event{Kind: kind})
		d.waiters = append(d.waiters, waiter{c.Verb, view.Word.Epoch(), reply})
	case control.Release:
		d.results = append(d.results, election.Event{Kind: election.EvRelease})
		reply <- control.Result{Done: true, Message: "released: the election decides again"}
	case control.Reduce, control.Increase:
		p := d.shiftPriority(c.Verb == control.Increase)
		said := fmt.Sprintf("priority is now %d, was %d", p, view.Base)
		if view.Priority != view.Base {
			said += fmt.Sprintf("; checks change it by %+d", int(view.Priority)-int(view.Base))
		}
		d.log.Info(said, d.aboutMachine(slog.Int(sysd.KeyPriority, int(p)))...)
		reply <- control.Result{Done: true, Message: said}
	case control.Reload:
		d.reloadOwn(func(text string, err error) {
			if err != nil {
				reply <- control.Result{Message: err.Error()}
				return
			}
			reply <- control.Result{Done: true, Message: text}
		})
	default:
		reply <- control.Result{Message: fmt.Sprintf("unknown command %q", c.Verb)}
	}
}

// shiftPriority lowers or raises the group's priority, without what checks do to it,
// and returns the new one.
func (d *Daemon) shiftPriority(up bool) uint8 {
	p := int(d.machine.View().Base)
	switch {
	case up && d.cfg.IncreasedPriority != 0:
		p = int(d.cfg.IncreasedPriority)
	case up:
		p = min(p+priorityStep, 254)
	case d.cfg.ReducedPriority != 0:
		p = int(d.cfg.ReducedPriority)
	default:
		p = max(p-priorityStep, 1)
	}
	d.results = append(d.results, election.Event{Kind: election.EvPriority, Priority: uint8(p)})
	return uint8(p)
}

// settled tells the operators who wait what has become of their wishes. It runs
// when the election has nothing left to do for the moment.
func (d *Daemon) settled() {
	if len(d.waiters) == 0 {
		return
	}
	v := d.machine.View()
	left := d.waiters[:0]
	for _, w := range d.waiters {
		if r, known := outcome(w, v); known {
			w.reply <- r
		} else {
			left = append(left, w)
		}
	}
	clear(d.waiters[len(left):])
	d.waiters = left
}

// outcome judges a hand-over; known is false while it is under way.
func outcome(w waiter, v election.View) (r control.Result, known bool) {
	s, why := v.Word.State(), v.Word.Reason()
	switch {
	case s == election.Linger, s == election.Prepare:
		return r, false
	case s == election.Master && v.Word.Epoch() == w.epoch:
		return r, false // not obeyed yet
	case s == election.Master:
		return control.Result{Message: "no successor was heard: this machine goes on serving as MASTER"}, true
	case v.Word.Epoch() == w.epoch:
		return control.Result{Done: true, Message: "this machine is " + s.String() + " already, and stays so: " + wished(w.verb)}, true
	case why == election.Successor:
		return control.Result{Done: true, Message: "handed over: the successor was heard; " + wished(w.verb)}, true
	case why == election.NoSuccessor:
		return control.Result{Done: true, Message: "nobody has taken over, and this machine has stopped serving: " + wished(w.verb)}, true
	}
	return control.Result{Done: true, Message: fmt.Sprintf("this machine is %s (%s); %s", s, why, wished(w.verb))}, true
}

func wished(v control.Verb) string {
	if v == control.Hold {
		return "held until atropos --release"
	}
	return "it does not preempt until it is promoted or released"
}
