package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/sysd"
	"vrrpd/vrrp"
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
	r := d.routers[max(a.VR, 0)]
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
	d.feed.Publish(e)
	d.history = append(d.history, control.Transition{
		At: e.At, Epoch: a.Epoch, From: e.From, To: e.To, Reason: e.Reason, Peer: e.Peer,
	})
	if len(d.history) > historyLength {
		d.history = d.history[1:]
	}
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
	if d.cfg.Monitor > 0 {
		attrs = append(attrs, slog.String(sysd.KeyGroup, d.groupName))
	}
	d.log.Log(d.readers, level, sysd.TransitionMessage(from, a.To, a.Reason, a.Peer), attrs...)
	d.notifyStatus()
}

// planned: somebody wanted this machine to stop serving.
func planned(why election.Reason) bool {
	switch why {
	case election.Startup, election.Stop, election.MemberLeft, election.OperatorHold, election.Successor, election.NoSuccessor:
		return true
	}
	return false
}

func (d *Daemon) reportAlarm(r *router, a *election.Action, e control.Event) {
	e.Kind, e.Active = control.KindAlarm, a.On
	d.feed.Publish(e)
	d.keepAlarm(e)
	text := alarmText(a.Reason, a.Peer)
	if !a.On {
		text = "over: " + text
	}
	level := slog.LevelWarn
	if !a.On || a.Reason == election.SamePriorityPeer {
		level = slog.LevelInfo
	}
	d.log.Log(d.readers, level, text, d.about(r,
		slog.String(sysd.KeyMessageID, sysd.MessageAlarm),
		slog.String(sysd.KeyReason, a.Reason.String()),
		slog.String(sysd.KeyPeer, peerText(a.Peer)),
	)...)
}

// keepAlarm remembers the alarms that last, for status displays.
func (d *Daemon) keepAlarm(e control.Event) {
	for i, a := range d.alarms {
		if a.Reason == e.Reason && a.Peer == e.Peer && a.Interface == e.Interface || e.Reason == election.PartitionOver.String() &&
			(a.Reason == election.Partition.String() || a.Reason == election.MixedView.String()) {
			d.alarms = append(d.alarms[:i:i], d.alarms[i+1:]...)
			break
		}
	}
	if e.Active {
		d.alarms = append(d.alarms, control.Alarm{Interface: e.Interface, Reason: e.Reason, Peer: e.Peer, Since: e.At})
	}
	if len(d.alarms) > historyLength {
		d.alarms = d.alarms[1:]
	}
}

// alarmText is a sentence that ends with what to do.
func alarmText(why election.Reason, peer netip.Addr) string {
	p := peerText(peer)
	switch why {
	case election.PeerDeaf:
		return p + " goes on as MASTER with a lower priority: it does not hear our adverts; look at its switch port, its firewall and its VRRP version"
	case election.OwnAddressHeard:
		return "adverts with our own source address " + p + " arrive from elsewhere: give one of the two machines another address, or look for a loop in the network"
	case election.PriorityDiffers:
		return "the vrrpd processes of this machine have different priorities; the lowest counts: give all of them the same -p"
	case election.PreemptDiffers:
		return "only some vrrpd processes of this machine have -s; none of them preempts: give it to all or to none"
	case election.TooManyMembers:
		return "more vrrpd processes share this machine's state than -M says: count them and correct -M"
	case election.Partition:
		return "this LAN is silent while a master is heard on another one: the network between the machines is broken here"
	case election.MixedView:
		return "this LAN is silent while a master of lower priority is heard on another one: not preempting for now; a switch port may be blocked"
	case election.PartitionOver:
		return "every LAN is heard again"
	case election.SamePriorityPeer:
		return p + " has the same priority: the higher address becomes MASTER; give the machines different priorities (-p) if that matters"
	}
	return why.String()
}

// reportOddity tells people of a peer whose adverts are dropped, or accepted
// although they differ from ours.
func (d *Daemon) reportOddity(r *router, n note, peer peerAdvert) {
	text := oddityText(r.cfg, n, peer)
	d.log.Warn(text, d.about(r,
		slog.String(sysd.KeyMessageID, sysd.MessageAlarm),
		slog.String(sysd.KeyReason, n.what.String()),
		slog.String(sysd.KeyPeer, n.src.String()),
	)...)
	d.feed.Publish(control.Event{
		At: time.Now(), Kind: control.KindAlarm, Group: d.groupName, Interface: r.cfg.Name, Parent: r.cfg.Interface,
		VRID: r.cfg.VRID, Reason: n.what.String(), Peer: n.src.String(), Active: true, Message: text,
	})
}

// oddityText is a sentence that ends with what to do.
func oddityText(ours config.Router, n note, peer peerAdvert) string {
	src := n.src.String()
	switch n.what {
	case addressesDiffer:
		return fmt.Sprintf("%s uses our VRID %d with other addresses (%s): give both machines the same addresses, or another router another VRID",
			src, n.vrid, joinAddrs(peer.addrs))
	case intervalDiffers:
		return fmt.Sprintf("%s sends every %v, we every %v: give both machines the same -d", src, peer.interval, ours.Interval)
	}
	text := "adverts from " + src + " are ignored: "
	switch vrrp.Drop(n.what) {
	case vrrp.DropVersion:
		return text + fmt.Sprintf("it does not speak VRRP version %d; give both machines the same --vrrp-version", ours.Version)
	case vrrp.DropInterval:
		return text + fmt.Sprintf("its interval is %v, ours %v; version 2 wants the same -d on both machines", peer.interval, ours.Interval)
	case vrrp.DropAddressList:
		return text + fmt.Sprintf("its virtual addresses (%s) are not ours; give both machines the same ones, or another router another VRID", joinAddrs(peer.addrs))
	case vrrp.DropAuthType, vrrp.DropAuth:
		return text + "it uses authentication; switch it off there"
	case vrrp.DropTTL:
		return text + "the TTL is not 255: they were forwarded, or forged"
	}
	return text + n.what.String()
}

func joinAddrs(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}

// setFault posts a fault of a router to the election, and tells people if that
// is news.
func (d *Daemon) setFault(r *router, f election.Fault, on bool, detail string) {
	d.results = append(d.results, election.Event{Kind: election.EvFault, VR: r.vr, Fault: f, On: on})
	if on == (r.faults&f != 0) {
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

// followHolding keeps the status line true while the machine is held: what holds
// it may change without a transition (the link is back, the address is not).
func (d *Daemon) followHolding() {
	if d.told == election.Held && d.ready && d.machine.View().Holding != d.toldHolding {
		d.notifyStatus()
	}
}

// notifyStatus is the line that systemctl status shows.
func (d *Daemon) notifyStatus() {
	r := d.routers[0]
	v := d.machine.View()
	d.toldHolding = v.Holding
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
