package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/sysd"
)

// words are an alarm in plain language: what is the matter, and what a person can
// do about it ("": nothing need be done).
type words struct{ what, do string }

func (w words) String() string {
	if w.do == "" {
		return w.what
	}
	return w.what + "; what to do: " + w.do
}

// reportAlarm tells people of an alarm of the election that begins or is over.
func (d *Daemon) reportAlarm(r *router, a *election.Action, e control.Event) {
	if a.Reason == election.OwnAddressHeard {
		return // who judges the packets tells of these, and counts them
	}
	w := d.alarmWords(a)
	text, level := w.String(), slog.LevelWarn
	if !a.On || a.Reason == election.SamePriorityPeer {
		level = slog.LevelInfo
	}
	if !a.On {
		text = w.what
	}
	if ofMachine(a.Reason) {
		e.Interface, e.Parent, e.VRID = "", "", 0
	}
	e.Kind, e.Active, e.Message = control.KindAlarm, a.On, text
	d.feed.Publish(e)
	d.keepAlarm(e, w)
	if !a.On && a.Reason != election.PartitionOver {
		text = "over: " + text
	}
	d.log.Log(d.readers, level, text, d.about(r,
		slog.String(sysd.KeyMessageID, sysd.MessageAlarm),
		slog.String(sysd.KeyReason, a.Reason.String()),
		slog.String(sysd.KeyPeer, peerText(a.Peer)),
	)...)
}

// ofMachine: the alarm is about the machine, not about one of its interfaces.
func ofMachine(why election.Reason) bool {
	switch why {
	case election.PriorityDiffers, election.PreemptDiffers, election.TooManyMembers,
		election.Partition, election.MixedView, election.PartitionOver:
		return true
	}
	return false
}

// ofViews: the alarms that PartitionOver ends, of which one at most is true.
func ofViews(reason string) bool {
	return reason == election.Partition.String() || reason == election.MixedView.String()
}

// keepAlarm remembers the alarms that last, for status displays. That a peer has
// our priority is the default, and no trouble that lasts.
func (d *Daemon) keepAlarm(e control.Event, w words) {
	views := ofViews(e.Reason) || e.Reason == election.PartitionOver.String()
	d.alarms = slices.DeleteFunc(slices.Clone(d.alarms), func(a control.Alarm) bool {
		return a.Reason == e.Reason && a.Peer == e.Peer && a.Interface == e.Interface || views && ofViews(a.Reason)
	})
	if e.Active && e.Reason != election.SamePriorityPeer.String() {
		d.alarms = append(d.alarms, control.Alarm{
			Interface: e.Interface, Reason: e.Reason, Peer: e.Peer, Since: e.At, Message: w.what, Do: w.do,
		})
	}
	if len(d.alarms) > historyLength {
		d.alarms = d.alarms[1:]
	}
}

// alarmWords say what the matter is, and what to do about it.
func (d *Daemon) alarmWords(a *election.Action) words {
	p := peerText(a.Peer)
	switch a.Reason {
	case election.PeerDeaf:
		return words{p + " goes on as MASTER although its priority is lower than ours: it does not hear our adverts, so two machines serve",
			"look at its switch port, its firewall (protocol 112) and its VRRP version"}
	case election.PriorityDiffers:
		return words{"the vrrpd processes of this machine have different priorities, and the lowest counts", "give all of them the same -p"}
	case election.PreemptDiffers:
		return words{"only some vrrpd processes of this machine have -s, so none of them preempts", "give it to all or to none"}
	case election.TooManyMembers:
		return words{"more vrrpd processes share this machine's state than -M says", "count them and correct -M"}
	case election.Partition, election.MixedView, election.PartitionOver:
		return d.viewWords(a.Reason, a.To)
	case election.SamePriorityPeer:
		return words{p + " has the same priority, so the higher address becomes MASTER",
			"give the machines different priorities (-p) if it matters which of them serves"}
	}
	if a.Reason == election.StaysOut {
		return words{"this virtual router was added, and stays out as long as " + p + " serves it",
			"give the other machine the same configuration, or stop what serves there"}
	}
	return words{what: a.Reason.String()}
}

// view is what one LAN of the machine looks like.
type view struct {
	name   string     // eth0 (VRID 51)
	parent string     // eth0
	silent bool       // nobody has been heard for a master-down interval
	master netip.Addr // who was heard there; invalid: nobody
}

// views are those of all LANs of the machine, whichever process is there.
func (d *Daemon) views() []view {
	now := boottime()
	var all []view
	look := func(f *election.Facts, parent string) {
		if f.Joining == 1 {
			return
		}
		v := view{name: fmt.Sprintf("%s (VRID %d)", parent, f.VRID), parent: parent, silent: f.Deaf(now)}
		if !v.silent {
			v.master = f.AccSrc.Addr()
		}
		all = append(all, v)
	}
	for _, r := range d.routers {
		look(d.machine.Facts(r.vr), r.cfg.Interface)
	}
	for _, m := range d.group.Members() {
		for i := range m.Facts {
			if i < len(m.Routers) {
				look(&m.Facts[i], m.Routers[i].Parent)
			}
		}
	}
	slices.SortFunc(all, func(a, b view) int { return strings.Compare(a.name, b.name) })
	return all
}

// viewWords name both facts that contradict each other, whichever process of the
// machine says it: where nobody is heard, and who is heard elsewhere.
func (d *Daemon) viewWords(why election.Reason, state election.State) words {
	var silent, parents, masters []string
	for _, v := range d.views() {
		switch {
		case v.silent:
			silent = append(silent, v.name)
			parents = append(parents, v.parent)
		case v.master.IsValid():
			masters = append(masters, v.master.String()+" on "+v.name)
		}
	}
	where, who := strings.Join(silent, ", "), strings.Join(masters, ", ")
	look := "look at cable, switch port and switches of " + strings.Join(parents, ", ") + " between the two machines"
	switch {
	case why == election.Partition:
		return words{fmt.Sprintf("no master is heard on %s, while %s is MASTER; nothing is taken over", where, who), look}
	case why == election.MixedView:
		return words{fmt.Sprintf("no master is heard on %s, while %s is MASTER with a lower priority; not preempting for up to 60 s, because the port may only be blocked (spanning tree)", where, who), look}
	}
	over := "the partition is over: "
	if slices.ContainsFunc(d.alarms, func(a control.Alarm) bool { return a.Reason == election.MixedView.String() }) {
		over = "the mixed view is over: "
	}
	switch {
	case state != election.Backup:
		return words{what: over + "this machine is not BACKUP any more"}
	case len(silent) == 0:
		return words{what: over + "every network of this machine is heard again"}
	}
	return words{what: over + "nobody is heard anywhere any more"}
}
