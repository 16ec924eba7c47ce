package daemon

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/vmacif"
)

// carryOut does what the election asks for, in its order. What comes of it is
// appended to d.results for the next step.
func (d *Daemon) carryOut(actions []election.Action) {
	for i := 0; i < len(actions); i++ {
		a := &actions[i]
		switch a.Kind {
		case election.DoAdvert:
			n := i + 1
			for n < len(actions) && actions[n].Kind == election.DoAdvert {
				n++
			}
			d.advertise(actions[i:n])
			i = n - 1
		case election.DoRenew:
			d.renew(d.byVR[a.VR], a.Epoch, a.Until)
		case election.DoCloseGuard:
			d.closeGuard(d.byVR[a.VR])
		case election.DoPrepare:
			n := i + 1
			for n < len(actions) && actions[n].Kind == election.DoPrepare {
				n++
			}
			d.raising.Store(true)
			d.prepareAll(actions[i:n])
			i = n - 1
		case election.DoPromote:
			d.raising.Store(true)
			d.promote(d.byVR[a.VR], a.Epoch)
			d.promotedAlone(d.byVR[a.VR], a)
		case election.DoDemote, election.DoUnprepare:
			n := i + 1
			for n < len(actions) && actions[n].Kind == a.Kind {
				n++
			}
			d.raising.Store(false)
			d.demoteAll(actions[i:n])
			i = n - 1
		case election.DoAnnounce:
			if r := d.byVR[a.VR]; !d.passed(a.Epoch) || d.board.Load().State().Serving() {
				d.announceAll(r)
			}
		case election.DoAnnounceOwn:
			d.farewell(d.byVR[a.VR])
			d.announceOwn(d.byVR[a.VR].parent)
		case election.DoProbe:
			d.probe(d.byVR[a.VR])
		case election.DoHook:
			d.runHook(a)
		case election.DoReport:
			d.report(a)
			if from, epoch := a.From, a.Epoch; a.To == election.Held && from != a.To && a.Reason == election.MemberStuck {
				d.afterStep = append(d.afterStep, func() { d.expel(from, epoch) })
			}
		case election.DoGone:
			d.gone(d.byVR[a.VR])
		case election.DoExit:
			// Deleting the interfaces may wait as setting them down does.
			d.agenda.add(d.leftAt+int64(downAfter), func() { d.exit = true })
		}
	}
}

// passed reports that the machine has changed since the action was decided:
// another process of it may have left while we were not looking.
func (d *Daemon) passed(epoch uint64) bool { return d.board.Load().Epoch() != epoch }

// advertise sends a run of adverts: those of one parent as one batch, in whatever order
// the run has them.
func (d *Daemon) advertise(run []election.Action) {
	left, begun := len(run), boottime()
	for at := 0; left > 0; at++ {
		if run[at].Kind != election.DoAdvert {
			continue // gone with its parent's batch
		}
		p, lan := d.byVR[run[at].VR].parent, d.lanOf[run[at].VR]
		d.batch, d.batched = d.batch[:0], d.batched[:0]
		// It is asked once for a batch: who is stopped later is judged by the clock
		// that is read after the send.
		late := d.overslept()
		for i := at; i < len(run); i++ {
			a := &run[i]
			if a.Kind != election.DoAdvert || d.lanOf[a.VR] != lan {
				continue
			}
			if left--; d.passed(a.Epoch) || a.Priority > 0 && late {
				a.Kind = 0
				continue
			}
			switch r := d.byVR[a.VR]; {
			case r.unicast():
				d.tell(p, r, a)
			case p.port == nil || !d.enqueue(r, a):
				d.unsent(a)
			}
			a.Kind = 0
		}
		d.sendBatch(p)
	}
	d.pieces.tookAtOnce(len(run), time.Duration(boottime()-begun))
}

// sending is what d.batch has been made of: a frame, and what it is part of.
type sending struct {
	*election.Action
	more bool // the other version's follows, and only both together are the advert
}

// enqueue puts an advert into the batch. One that cannot be made is not there at all.
func (d *Daemon) enqueue(r *router, a *election.Action) bool {
	f, err := r.ready(a.Priority)
	if err != nil {
		return false
	}
	if !r.style.beside2 {
		d.batch, d.batched = append(d.batch, f.bytes), append(d.batched, sending{a, false})
		return true
	}
	// Version 3 first: whoever hears both goes by it (RFC 9568 section 8.4.2).
	second, err := r.ready2(a.Priority)
	if err != nil {
		return false
	}
	d.batch = append(d.batch, f.bytes, second.bytes)
	d.batched = append(d.batched, sending{a, true}, sending{a, false})
	return true
}

// sendBatch sends d.batch; one frame that is refused does not keep back those
// behind it, but for the other half of the same advert.
func (d *Daemon) sendBatch(p *parent) {
	frames, parts := d.batch, d.batched
	for len(frames) > 0 {
		before := boottime()
		sent, err := p.port.Send(frames)
		after := boottime()
		for i := range parts[:sent] {
			a := parts[i]
			r := d.byVR[a.VR]
			r.sent.adverts++
			if a.Priority == 0 {
				r.sent.zero++
			}
			if a.more {
				continue
			}
			d.advertised(r, a.Action, before, after)
		}
		frames, parts = frames[sent:], parts[sent:]
		if err != nil && len(parts) > 0 {
			d.unsent(parts[0].Action)
			d.lastSendError = err
			n := 1
			if parts[0].more {
				n = 2
			}
			frames, parts = frames[n:], parts[n:]
		}
	}
}

// advertised: an advert has really left, and lets this machine serve on.
func (d *Daemon) advertised(r *router, a *election.Action, before, after int64) {
	if a.Lease > 0 {
		d.renew(r, a.Epoch, before+int64(a.Lease))
		d.lookAtLight(r, after)
	}
	d.pieces.sent++
	d.results = append(d.results, election.Event{
		Kind: election.EvSent, VR: a.VR, Priority: a.Priority, At: before, After: after,
	})
}

func (d *Daemon) unsent(a *election.Action) {
	d.byVR[a.VR].sent.failed++
	d.results = append(d.results, election.Event{Kind: election.EvSendFailed, VR: a.VR, Priority: a.Priority})
}

// promote brings the interface up with its addresses.
func (d *Daemon) promote(r *router, epoch uint64) {
	ready := r.prepared
	r.wanted, r.prepared = true, false
	r.masters++
	if d.passed(epoch) && !d.board.Load().State().Serving() {
		return // the step that obeys the new epoch takes it down anyway
	}
	if ready {
		d.checkUntold(r)
		return // what has happened to it since is repaired
	}
	d.raise(r)
}

// raise makes the interface what a MASTER's is: 80 us, so on the loop. It
// reports whether that is done; if not, what is wrong is on its way to the
// election.
func (d *Daemon) raise(r *router) bool {
	if r.iface == nil {
		d.setFault(r, election.FaultInterface, true, "the virtual interface does not exist")
		d.retryInterface(r)
		return false
	}
	r.round++
	return d.raised(r, r.iface.Up(context.Background()))
}

// raised judges what has become of it.
func (d *Daemon) raised(r *router, err error) bool {
	if errors.Is(err, unix.ENODEV) {
		// Somebody deletes it, or its parent, just now: that event follows, and
		// with it the repair, or the fault with its right name.
		return false
	}
	if err != nil {
		d.setFault(r, election.FaultInterface, true, err.Error())
		d.retryInterface(r)
		return false
	}
	for _, a := range r.vips {
		r.present.add(a)
	}
	return true
}

// demoteAll takes every address off the interfaces at once, and has the worker take them
// down: that waits for the kernel (16 ms, and more when there are many).
func (d *Daemon) demoteAll(run []election.Action) {
	var ifaces []*vmacif.Iface
	var whose []*router
	for _, a := range run {
		r := d.byVR[a.VR]
		if r.until != 0 { // the election has had it closed already
			d.closeGuard(r)
		}
		r.wanted, r.prepared, r.announced, r.overtaken = false, false, false, false
		d.announcer.stop(r)
		if r.iface == nil {
			continue
		}
		r.round++
		if iface, own := r.iface.(*vmacif.Iface); own {
			ifaces, whose = append(ifaces, iface), append(whose, r)
		} else {
			d.bared(r, r.iface.RemoveAddrs())
		}
	}
	for n, err := range d.hands.RemoveAddrsAll(ifaces) {
		d.bared(whose[n], err)
	}
	d.leftAt = boottime()
}

// bared: the interface has no addresses any more, or err says why it may have.
func (d *Daemon) bared(r *router, err error) {
	if err != nil {
		d.log.Error("cannot remove the virtual addresses", d.about(r, "err", err)...)
	}
	r.present = r.present[:0]
	d.takeDown(r)
}

// downAfter is how long an interface without addresses stays up. Taking it down
// holds the kernel's RTNL mutex for 16 to 28 ms; the other processes of the
// machine, which have just been told to leave, need that mutex to remove their
// addresses.
const downAfter = 20 * time.Millisecond

// takeDown has the worker set the interface down, a little later. A promotion
// may overtake it; then what it undid is done again. What it has not begun by then it
// leaves: of many interfaces each waits for the kernel, and the promotion of each would
// wait for one of them.
func (d *Daemon) takeDown(r *router) {
	iface := r.iface
	d.agenda.add(boottime()+int64(downAfter), func() {
		if r.up() || r.iface != iface {
			return
		}
		r.lowering++
		d.work(func() {
			if d.raising.Load() {
				d.inbox.call(func() {
					r.lowering--
					d.agenda.add(boottime()+int64(downAgain), func() {
						if !r.up() && r.iface == iface {
							d.takeDown(r)
						}
					})
				})
				return
			}
			err := iface.Down()
			d.inbox.call(func() {
				r.lowering--
				d.isDown(r, iface, err)
			})
		})
	})
}

// downAgain is when an interface is taken down after all that a promotion of the others
// has left up.
const downAgain = time.Second

func (d *Daemon) isDown(r *router, iface carrier, err error) {
	if err != nil {
		d.log.Error("cannot take the virtual interface down", d.about(r, "err", err)...)
	}
	if !r.up() || r.iface != iface {
		return
	}
	// The promotion came while it was going down. What else has come since is
	// judged first.
	r.overtaken = true
	d.afterStep = append(d.afterStep, func() {
		switch {
		case !r.up() || r.iface != iface:
		case d.passed(d.machine.View().Word.Epoch()):
			d.inbox.call(func() { d.isDown(r, iface, nil) }) // when that has been obeyed
		case d.raise(r) && r.announced:
			d.announceAll(r)
		}
	})
}
