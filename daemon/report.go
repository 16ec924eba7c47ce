package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/sysd"
)

// historyLength is how many transitions are remembered for atropos --why.
const historyLength = 32

// wallTime is when a boottime was on the clock that people read.
func wallTime(at int64) time.Time {
	return time.Now().Add(time.Duration(at - boottime()))
}

// about are the attributes that say which virtual router a record is about.
func (d *Daemon) about(r *router, more ...any) []any {
	return append([]any{
		slog.String(sysd.KeyInterface, r.cfg.Name),
		slog.String(sysd.KeyParent, r.cfg.Interface),
		slog.String(sysd.KeyVRID, strconv.Itoa(int(r.cfg.VRID))),
	}, more...)
}

// report makes a DoReport a log record, an event for atropos --watch, and, if
// it is a transition, history.
func (d *Daemon) report(a *election.Action) {
	r := d.first()
	if a.VR >= 0 && d.byVR[a.VR] != nil {
		r = d.byVR[a.VR]
	}
	e := control.Event{
		At: time.Now(), Group: d.groupName, Interface: r.cfg.Name, Parent: r.cfg.Interface, VRID: r.cfg.VRID,
		Reason: a.Reason.String(), Peer: peerText(a.Peer), Epoch: a.Epoch,
	}
	if a.From == a.To {
		d.reportAlarm(r, a, e)
		return
	}
	// PREPARE is a step of a promotion; what people are told is where the
	// machine came from.
	if a.To == election.Prepare {
		d.log.Debug(sysd.TransitionMessage(a.From, a.To, a.Reason, a.Peer), d.about(r)...)
		return
	}
	from := d.told
	d.told = a.To
	if from == a.To && a.Reason == election.Vetoed {
		return
	}
	e.Kind, e.From, e.To = control.KindTransition, from.String(), a.To.String()
	if a.VR < 0 && len(d.routers) > 1 {
		e.Interface, e.Parent, e.VRID = "", "", 0
	}
	t := control.Transition{At: e.At, Epoch: a.Epoch, From: e.From, To: e.To, Reason: e.Reason, Peer: e.Peer}
	t.Where, t.Detail = d.culprit(a.Reason)
	if e.Message = t.Where; t.Detail != "" && t.Detail != t.Where {
		e.Message = strings.TrimPrefix(t.Where+": "+t.Detail, ": ")
	}
	d.feed.Publish(e)
	d.record(t)
	d.lastPeer = a.Peer
	for _, p := range d.parents {
		p.forget()
	}
	level := slog.LevelInfo
	if a.To == election.Held && !planned(a.Reason) {
		level = slog.LevelWarn
	}
	attrs := d.about(r,
		slog.String(sysd.KeyMessageID, sysd.TransitionMessageID(a.To)),
		slog.String(sysd.KeyState, a.To.String()),
		slog.String(sysd.KeyOldState, from.String()),
		slog.String(sysd.KeyReason, a.Reason.String()),
		slog.Int(sysd.KeyPriority, int(a.Priority)),
		slog.String(sysd.KeyPeer, peerText(a.Peer)),
		slog.Uint64(sysd.KeyEpoch, a.Epoch),
	)
	if d.cfg.Monitor > 0 || d.cfg.Group != "" {
		attrs = append(attrs, slog.String(sysd.KeyGroup, d.groupName))
	}
	if a.Reason == election.SendFailed && d.lastSendError != nil {
		attrs = append(attrs, slog.Any("err", d.lastSendError))
	}
	d.log.Log(d.readers, level, sysd.TransitionMessage(from, a.To, a.Reason, a.Peer), attrs...)
	d.notifyStatus()
	d.tidyLater()
}

// record keeps a transition for atropos --why, and counts it.
func (d *Daemon) record(t control.Transition) {
	if len(d.history) >= historyLength {
		// Moved down: a window that wanders through its array needs twice the room, and
		// another array each time that it comes to the end of it.
		n := copy(d.history, d.history[len(d.history)-historyLength+1:])
		clear(d.history[n:])
		d.history = d.history[:n]
	}
	d.history = append(d.history, t)
	d.count(control.TransitionCount{To: t.To, Reason: t.Reason, Count: 1})
}

func (d *Daemon) count(t control.TransitionCount) {
	for i := range d.counts {
		if c := &d.counts[i]; c.To == t.To && c.Reason == t.Reason {
			c.Count += t.Count
			return
		}
	}
	d.counts = append(d.counts, t)
}

// goneLately is for how long a sibling that has gone may be why this machine changes.
const goneLately = time.Second

// culprit is the parent interface, and what is known of the fault, that a transition
// for this reason is about: "" if it is about none, or about another process's.
func (d *Daemon) culprit(why election.Reason) (where, detail string) {
	switch why {
	case election.NoReason:
		return "", ""
	case election.CheckFailed:
		return "", d.checksHolding()
	case election.MemberDead, election.MemberLeft:
		// Who obeys another process that was faster may not know yet; what it knows of
		// an earlier one is another story.
		if boottime()-d.lastGone.at < int64(goneLately) {
			return "", d.lastGone.name
		}
		return "", ""
	}
	for _, r := range d.routers {
		if d.machine.Facts(r.vr).Faults.Reason() == why {
			if why == election.SendFailed && d.lastSendError != nil {
				return r.cfg.Interface, d.lastSendError.Error()
			}
			return r.cfg.Interface, r.detail
		}
	}
	return "", ""
}

// planned: somebody wanted this machine to stop serving.
func planned(why election.Reason) bool {
	switch why {
	case election.Startup, election.Stop, election.MemberLeft, election.OperatorHold, election.Successor, election.NoSuccessor:
		return true
	}
	return false
}

// setFault posts a fault of a router to the election, and tells people if that
// is news.
func (d *Daemon) setFault(r *router, f election.Fault, on bool, detail string) {
	d.results = append(d.results, election.Event{Kind: election.EvFault, VR: r.vr, Fault: f, On: on})
	if on == (r.faults&f != 0) {
		if on && f == election.FaultInterface {
			r.detail = detail // another attempt may have met something else
		}
		return
	}
	word := f.Reason().String()
	level, text := slog.LevelWarn, "fault: "+word
	if on {
		r.faults |= f
		r.detail = detail
	} else {
		r.faults &^= f
		level, text = slog.LevelInfo, "fault is over: "+word
	}
	if detail != "" {
		text += ": " + detail
	}
	d.log.Log(d.readers, level, text, d.about(r,
		slog.String(sysd.KeyMessageID, sysd.MessageFault), slog.String(sysd.KeyReason, word))...)
	d.feed.Publish(control.Event{
		At: time.Now(), Kind: control.KindFault, Group: d.groupName, Interface: r.cfg.Name, Parent: r.cfg.Interface,
		VRID: r.cfg.VRID, Reason: word, Active: on, Message: detail,
	})
}

// followHolding tells what holds the machine if that is not why it became HELD
// (the link is back, the address is not): the status line at once, the journal
// when it lasts, because a start goes through several of them in a moment.
func (d *Daemon) followHolding() {
	v := d.machine.View()
	if d.told != election.Held {
		v.Holding = election.NoReason
	}
	if v.Holding == d.holding {
		return
	}
	d.holding = v.Holding
	if v.Holding == election.NoReason {
		return
	}
	if d.ready {
		d.notifyStatus()
	}
	if v.Holding == v.Word.Reason() {
		return
	}
	d.agenda.idly(boottime()+int64(holdingLasts), func() {
		now := d.machine.View()
		if d.holding != v.Holding || now.Word.Epoch() != v.Word.Epoch() {
			return
		}
		d.log.Warn("still HELD: "+d.holdingWords(now).String(), d.aboutMachine(
			slog.String(sysd.KeyMessageID, sysd.MessageHeld),
			slog.String(sysd.KeyState, election.Held.String()),
			slog.String(sysd.KeyReason, v.Holding.String()))...)
	})
}

// holdingLasts is after what time people are told of what holds the machine, if
// that is not why it became HELD.
const holdingLasts = time.Second

// holdingWords say what holds the machine, and what to do about it.
func (d *Daemon) holdingWords(v election.View) words {
	w := words{what: v.Holding.String()}
	switch v.Holding {
	case election.Recovered:
		left := time.Duration(v.HoldUntil - boottime()).Round(100 * time.Millisecond)
		return words{what: fmt.Sprintf("nothing is wrong, and the hold-down lasts for another %v", left)}
	case election.MemberMissing, election.MemberDead, election.MemberLeft:
		w.what += fmt.Sprintf(": %d of %d vrrpd processes run here", d.cfg.Monitor-v.Missing, d.cfg.Monitor)
		w.do = "start the missing one, or correct -M"
	case election.OperatorHold:
		w.do = "atropos --release ends it"
	case election.CheckFailed:
		if why := d.checksHolding(); why != "" {
			w.what += ": " + why
		}
	default:
		for _, r := range d.routers {
			if r.faults != 0 && r.detail != "" {
				w.what += ": " + r.detail
				break
			}
		}
	}
	return w
}

// notifyStatus is the line that systemctl status shows, from when this process is
// ready on.
func (d *Daemon) notifyStatus() {
	if !d.ready {
		return
	}
	r := d.first()
	v := d.machine.View()
	what := r.cfg.Name + " (" + r.cfg.Interface + ")"
	if n := len(d.routers); n > 1 {
		what += fmt.Sprintf(" and %d more", n-1)
	}
	since := wallTime(v.Since).Format("2006-01-02 15:04:05")
	switch s := d.told; {
	case s == election.Held:
		d.notify.Status(fmt.Sprintf("HELD (%s) for %s since %s", v.Holding, what, since))
	case s == election.Backup && d.lastPeer.IsValid():
		d.notify.Status(fmt.Sprintf("BACKUP of %s since %s, master %s", what, since, d.lastPeer))
	default:
		d.notify.Status(fmt.Sprintf("%s of %s since %s", s, what, since))
	}
}

func peerText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
