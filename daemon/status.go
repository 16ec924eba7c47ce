package daemon

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/lease"
	"vrrpd/vrrp"
)

// snapshot describes everything as it stands, in one go. It runs on the loop.
func (d *Daemon) snapshot() control.Status {
	y := survey{}
	for !y.piece(d, len(d.routers)+1) {
	}
	return y.status
}

// wholeStatus is a status but for its routers.
func (d *Daemon) wholeStatus(v election.View) control.Status {
	return control.Status{
		Instance: d.instance, PID: os.Getpid(), Program: "vrrpd " + d.opt.Version, Time: time.Now(),
		Machine:     d.machineStatus(v),
		Realtime:    d.realtime.Priority(),
		MemoryLock:  d.cfg.LockMemory,
		Hooks:       d.hookResults(),
		Checks:      d.checkStatus(),
		Transitions: slices.Clone(d.history),
		Counts:      slices.Clone(d.counts),
		Started:     d.started,
		LogLost:     d.logLost(),
	}
}

func (d *Daemon) logLost() uint64 {
	if d.opt.LogLost == nil {
		return 0
	}
	return d.opt.LogLost()
}

func (d *Daemon) machineStatus(v election.View) control.Machine {
	state := v.Word.State()
	configured := d.first().cfg.Priority
	for _, r := range d.routers {
		configured = min(configured, r.cfg.Priority)
	}
	m := control.Machine{
		Group: d.groupName, State: state.Outward().String(), Phase: state.String(),
		Reason: v.Word.Reason().String(), Peer: peerText(d.lastPeer),
		Since: wallTime(v.Since), AgoMS: (boottime() - v.Since) / int64(time.Millisecond), Epoch: v.Word.Epoch(),
		Priority:  control.Priority{Effective: v.Priority, Configured: configured, Checks: int(v.Priority) - int(v.Base)},
		Wishes:    control.Wishes{Soft: v.Wishes.Soft, Hold: v.Wishes.Hold},
		Processes: control.Processes{Alive: max(d.cfg.Monitor, 1) - v.Missing, Wanted: max(d.cfg.Monitor, 1)},
		Faults:    []control.Fault{},
		Partition: v.Parted == election.Partition, MixedView: v.Parted == election.MixedView,
		Alarms: d.allAlarms(),
	}
	if state == election.Held {
		// Why it is held now may not be why it once became so.
		m.Reason = v.Holding.String()
		if left := v.HoldUntil - boottime(); v.Holding == election.Recovered && left > 0 {
			m.HeldMS = left / int64(time.Millisecond)
			m.Reason = v.Word.Reason().String()
		}
	}
	for _, r := range d.routers {
		if why := d.machine.Facts(r.vr).Faults.Reason(); why != election.NoReason && why != election.CheckFailed {
			detail := r.detail
			if why == election.SendFailed && d.lastSendError != nil {
				detail = d.lastSendError.Error()
			}
			m.Faults = append(m.Faults, control.Fault{
				Interface: r.cfg.Name, Parent: r.cfg.Interface, VRID: r.cfg.VRID, Reason: why.String(), Detail: detail,
			})
		}
	}
	if why := d.checksHolding(); why != "" {
		// Of the machine, not of each of its members.
		m.Faults = append(m.Faults, control.Fault{Reason: election.CheckFailed.String(), Detail: why})
	}
	return m
}

func (d *Daemon) routerStatus(r *router) control.Router {
	s := control.Router{
		Interface: r.cfg.Name, Parent: r.cfg.Interface, Family: strings.ToLower(r.rules.Family.String()),
		VRID: r.cfg.VRID, Version: control.VersionName(r.cfg.Version),
		Priority:       r.cfg.Priority,
		AcceptMode:     r.accepts(),
		IsOwner:        r.cfg.Priority == vrrp.PriorityOwner,
		Lease:          r.lease(),
		Authentication: r.authStatus(),
		UpDatetime:     d.started,
	}
	if r.cfg.Version == 3 && r.rules.Family == vrrp.IPv4 {
		s.Checksum = &control.Checksum{Configured: r.cfg.Checksum.String(), Sent: r.checksumForm().String()}
	}
	if s.UnicastPeers = r.cfg.Peers; !r.cfg.NoVMAC {
		s.MAC = macText(r.vmac)
	}
	if r.rules.Family == vrrp.IPv4 {
		s.VirtualIPv4Addresses = r.vips
	} else {
		s.VirtualIPv6Addresses, s.GeneratedAddress = r.vips, r.cfg.Generated
	}
	s.SetTimers(r.cfg.Interval, d.machine.MasterDown(r.vr), d.machine.Skew(r.vr))
	s.Statistics = d.statistics(r)
	r.parent.mu.Lock()
	s.Beside2 = r.besideStatus()
	r.parent.mu.Unlock()
	return s
}

// inState adds to a router's status what follows from the machine's state.
func (d *Daemon) inState(s *control.Router, r *router, v *election.View) {
	state, why := v.Word.State(), v.Word.Reason()
	s.State, s.Held = control.StateName(state), state == election.Held
	if s.Joining = d.machine.Added(r.vr); s.Joining {
		s.State = control.StateName(election.Backup)
	}
	s.EffectivePriority = v.Priority
	s.Preempt = control.Preempt{Enabled: v.Preempt, HoldTime: uint16(r.cfg.PreemptDelay / time.Second)}
	s.LastEvent, s.NewMasterReason = control.LastEvent(why), control.NewMasterReason(state, why)
	if s.LastAdvSource = r.source; !state.Serving() {
		s.LastAdvSource = d.machine.Facts(r.vr).AccSrc.Addr()
	}
}

// statistics adds what was counted as the parent's packets were judged to what the
// election has. Packets that could not be told a virtual router are counted for each of
// the parent's.
func (d *Daemon) statistics(r *router) control.Statistics {
	p := r.parent
	p.mu.Lock()
	c, unknown, received := r.counters, p.counters, r.received
	p.mu.Unlock()
	s := control.Statistics{
		Discontinuity: d.started, MasterTransitions: r.masters,
		AdvertisementRcvd: c[vrrp.DropNone], AdvertisementSent: r.sent.adverts,
		PriorityZeroRcvd: received.zero, PriorityZeroSent: r.sent.zero,
		IntervalErrors: c[vrrp.DropInterval] + received.intervalDiffers, AddressListErrors: c[vrrp.DropAddressList] + received.addressesDiffer,
		ChecksumErrors: c[vrrp.DropChecksum], TTLErrors: c[vrrp.DropTTL],
		PacketLengthErrors: c[vrrp.DropLength] + unknown[vrrp.DropLength],
		VersionErrors:      c[vrrp.DropVersion] + unknown[vrrp.DropVersion],
		InvalidTypeRcvd:    unknown[vrrp.DropType], VRIDErrors: unknown[vrrp.DropVRID],
		Repairs: r.repaired, LegacyChecksum: received.legacyChecksum, SendErrors: r.sent.failed, OwnerConflicts: received.ownerConflict, OwnAddressRcvd: received.ownAddress,
	}
	if r.rules.Family == vrrp.IPv6 {
		s.UNASent = r.sent.announced
	} else {
		s.GARPSent = r.sent.announced
	}
	authCounters(&s, &c, &received)
	for why, n := range c.Drops() {
		addDrop(&s.Drops, why.String(), n+unknown[why])
	}
	p.portDrops(&s.Drops)
	s.Own = c
	return s
}

// parentStatus is what only the interfaces as such know, and RFC 8347's sums: a packet
// that no virtual router was meant by is counted once there.
func (d *Daemon) parentStatus(routers []control.Router) ([]control.Parent, control.Global) {
	g := control.Global{VirtualRouters: uint32(len(routers))}
	sum := &g.Statistics
	sum.Discontinuity = d.started
	add := func(c *vrrp.Counters) {
		sum.ChecksumErrors += c[vrrp.DropChecksum]
		sum.VersionErrors += c[vrrp.DropVersion]
		sum.VRIDErrors += c[vrrp.DropVRID]
		sum.TTLErrors += c[vrrp.DropTTL]
	}
	for i := range routers {
		add(&routers[i].Statistics.Own)
	}
	var all []control.Parent
	for _, p := range d.parents {
		if len(p.routers) == 0 {
			continue
		}
		p.mu.Lock()
		c := p.counters
		p.mu.Unlock()
		add(&c)
		one := control.Parent{Interface: p.name}
		for why, n := range c.Drops() {
			addDrop(&one.Drops, why.String(), n)
		}
		p.portDrops(&one.Drops)
		all = append(all, one)
		g.Interfaces++
	}
	return all, g
}

// portDrops adds what the parent's port has refused, by lan.Drop word.
func (p *parent) portDrops(drops *map[string]uint64) {
	if p.port == nil {
		return
	}
	counters := p.port.Counters()
	for why, n := range counters.Dropped {
		if n > 0 {
			addDrop(drops, lanDrop(why), n)
		}
	}
}

// addDrop counts what happened. Nearly always nothing has, and that costs nothing.
func addDrop(drops *map[string]uint64, why string, n uint64) {
	if n == 0 {
		return
	}
	if *drops == nil {
		*drops = map[string]uint64{}
	}
	(*drops)[why] += n
}

// lease is what silences the interface, and when.
func (r *router) lease() control.Lease {
	if r.guard == nil {
		return control.Lease{Rung: lease.None.String()}
	}
	l := control.Lease{Rung: r.guard.Rung().String(), Skipped: skippedText(r.guard)}
	if left := r.until - boottime(); r.until != 0 && r.guarded() && left > 0 {
		l.RemainingMS = left / int64(time.Millisecond)
	}
	return l
}

func macText(m [6]byte) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, 17)
	for i, b := range m {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, hex[b>>4], hex[b&15])
	}
	return string(out)
}

// addr is short for what this room handles most.
type addr = netip.Addr
