package daemon

import (
	"context"
	"fmt"
	"time"

	"vrrpd/election"
)

// loop is the one goroutine that owns the machine. It returns when the election
// says that everything is left in order.
func (d *Daemon) loop(ctx context.Context) {
	defer d.thread()()
	d.opt.lulls.join(&d.lull)
	defer d.opt.lulls.leave(&d.lull)

	if d.heir == nil {
		if d.turns.last == 0 {
			d.listening()
		}
		d.actions = d.machine.Start(d.turns.last, d.actions[:0])
	} else {
		d.catchUp()
	}
	d.patrol(0)
	defer context.AfterFunc(ctx, d.bell.Ring)()
	for first := true; ; first = false {
		if first || !d.breathe() && !d.aside() {
			d.turn()
			if d.pausing != nil {
				d.pause()
			}
			if d.exit && d.burials == 0 {
				d.errands() // how the last commands have ended is told still
				// Others that would clean up after the dead, vrrpd --release among them,
				// leave to it what this process has begun.
				return
			}
			d.becomeReady()
			d.alive()
			d.verdictAt = d.machine.Deadline()
		}
		d.errands()
		if ctx.Err() != nil {
			return // the ring for it may have been taken for another
		}
		d.turns.due = d.due()
		d.opt.lulls.rest(&d.lull, d.turns.due, d.interval())
		d.turns.looked = d.bell.Wait(d.turns.due)
		d.lull.Store(0)
		if ctx.Err() != nil {
			// Nobody waits for a successor any more.
			return
		}
		d.serve() // who hears posts
	}
}

// listening notes that the election begins now: whoever is master is heard from here on.
func (d *Daemon) listening() {
	now := boottime()
	d.turns = turns{last: now, looked: now, due: maxTime, slept: d.asleep()}
}

// due is when the loop must run again if nothing happens.
func (d *Daemon) due() int64 {
	return min(d.verdictAt, d.breathAt(), d.pieceAt(), d.announceAt(), d.elseAt())
}

// elseAt is when something is due that may change what the election knows.
func (d *Daemon) elseAt() int64 {
	t := d.agenda.next()
	if d.watchdog > 0 {
		t = min(t, d.barked+int64(d.watchdog))
	}
	return t
}

// turn takes what waits, steps the election until nothing is left to carry out.
func (d *Daemon) turn() {
	for {
		d.lookIfLate()
		d.events, d.calls = d.inbox.take(d.events[:0], d.calls[:0])
		for i, call := range d.calls {
			call()
			d.calls[i] = nil
		}
		// Results of earlier actions come before what arrived since.
		d.results = append(d.results, d.events...)
		d.events, d.results, d.pieces.sent = d.results, d.events[:0], 0
		d.actions = d.machine.Step(boottime(), d.events, d.actions)
		d.realise(election.State.Serving)
		d.nextPiece(d.actions)
		if d.inPieces(d.actions) {
			d.nextPiece(nil)
		} else {
			d.carryOut(d.actions)
		}
		d.actions = d.actions[:0]
		for i := 0; i < len(d.afterStep); i++ { // it may grow
			d.afterStep[i]()
		}
		clear(d.afterStep)
		d.afterStep = d.afterStep[:0]
		// After the election: who comes late must not say again what it said
		// when it was MASTER.
		d.agenda.run(boottime())
		if d.untold() || len(d.results)+len(d.afterStep) == 0 {
			break
		}
	}
	if d.shrinking && len(d.results)+len(d.pieces.left) == 0 {
		d.shrink()
	}
	d.realise(func(election.State) bool { return true })
	d.announceSome()
	d.followHolding()
	d.settled()
}

// errands runs those that wait, after the calls that do.
func (d *Daemon) errands() {
	if d.inbox.errands.empty() || d.inbox.news() {
		return
	}
	d.bell.Quiet()
	d.calls = d.inbox.errands.take(d.calls[:0])
	for i, f := range d.calls {
		f()
		d.calls[i] = nil
	}
	if d.inbox.news() {
		d.bell.Ring() // it may have been quiet about that
	}
}

// realise records for whoever may have to clean up after this process whether it
// serves: that it does before its first advert, that it does not when its
// addresses have gone. A process that is killed in between is resigned for once
// too often, which does no harm; not to resign would cost the peers a master-down
// interval.
func (d *Daemon) realise(may func(election.State) bool) {
	if w := d.board.Load(); w != d.realised && may(w.State()) && w == d.machine.View().Word {
		d.realised = w
		d.serves.Store(w.State().Serving())
		d.group.Realise(w)
	}
}

// overslept reports that so much time has passed since the election was last
// given its events that it must be given new ones before anything is said.
func (d *Daemon) overslept() bool { return boottime()-d.turns.last >= int64(d.interval()) }

// lookIfLate: a process that was stopped, or a machine that was suspended,
// must see what waited in the sockets before it decides anything. That may happen
// between any two instructions, so every step begins with it, not every turn. So must
// who is to conclude something from a silence: a socket that has rung may have been read
// a while ago, and one that is flooded is read at intervals.
func (d *Daemon) lookIfLate() {
	now, last := boottime(), d.turns.last
	late, suspended := d.turns.next(now, int64(d.interval()), d.asleep)
	if !late {
		if now >= d.verdictAt && d.machine.RestsOnSilence() {
			d.drain()
		}
		return
	}
	d.announcer.slept(now-last, d.interval())
	for _, r := range d.routers {
		d.checkUntold(r)
	}
	d.drain()
	if suspended > 0 {
		d.log.Warn(fmt.Sprintf("the machine was suspended for %v", suspended.Round(time.Millisecond)), d.aboutMachine()...)
		d.results = append(d.results, election.Event{Kind: election.EvSuspended})
	}
}

// drain takes what waits in the sockets of adverts and answers.
func (d *Daemon) drain() {
	for _, p := range d.parents {
		if p.port != nil {
			_, _ = p.port.Drain() // it listens
		}
	}
	// In a flood that takes its time, by which the election is no older.
	d.turns.last = boottime()
	d.turns.looked = d.turns.last
}

// interval is the advertisement interval, which all routers of a group share.
func (d *Daemon) interval() time.Duration { return d.first().cfg.Interval }

// alive tells the service manager that the loop turns. It is here and nowhere
// else, so that a stuck loop is noticed.
func (d *Daemon) alive() {
	if now := boottime(); d.watchdog > 0 && now-d.barked >= int64(d.watchdog) {
		d.barked = now
		d.notify.Watchdog()
	}
}
