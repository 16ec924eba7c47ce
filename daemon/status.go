package daemon

import (
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/lease"
	"vrrpd/vrrp"
)

// statusPatience is how long a status request waits for the loop before it is
// given the last snapshot: a loop that is stuck is just what somebody may be
// asking about.
const statusPatience = 100 * time.Millisecond

// Status implements control.Source.
func (d *Daemon) Status() control.Status {
	fresh := make(chan struct{})
	d.inbox.call(func() {
		s := d.snapshot()
		d.status.Store(&s)
		close(fresh)
	})
	patience := time.NewTimer(statusPatience)
	defer patience.Stop()
	select {
	case <-fresh:
	case <-d.done:
	case <-patience.C:
	}
	if s := d.status.Load(); s != nil {
		return *s
	}
	return control.Status{Instance: d.instance, PID: os.Getpid(), Program: "vrrpd " + d.opt.Version, Time: time.Now()}
}

// snapshot describes everything as it stands. It runs on the loop.
func (d *Daemon) snapshot() control.Status {
	v := d.machine.View()
	s := control.Status{
		Instance: d.instance, PID: os.Getpid(), Program: "vrrpd " + d.opt.Version, Time: time.Now(),
		Machine:     d.machineStatus(v),
		Realtime:    d.realtime.Priority(),
		MemoryLock:  d.cfg.LockMemory,
		Hooks:       d.hookResults(),
		Checks:      d.checkStatus(),
		Transitions: slices.Clone(d.history),
		Counts:      slices.Clone(d.counts),
		Started:     d.started,
		Goroutines:  runtime.NumGoroutine(),
		HeapLive:    heapLive(),
	}
	for _, r := range d.routers {
		s.Routers = append(s.Routers, d.routerStatus(r, v))
	}
	s.Parents, s.Global = d.parentStatus(s.Routers)
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
		drops := map[string]uint64{}
		for why, n := range c.Drops() {
			if n > 0 {
				drops[why.String()] = n
			}
		}
		p.portDrops(drops)
		all = append(all, control.Parent{Interface: p.name, Drops: drops})
		g.Interfaces++
	}
	return all, g
}

// portDrops adds what the parent's port has refused, by lan.Drop word.
func (p *parent) portDrops(drops map[string]uint64) {
	if p.port == nil {
		return
	}
	counters := p.port.Counters()
	for why, n := range counters.Dropped {
		if n > 0 {
			drops[lanDrop(why)] += n
		}
	}
}

// heapLive is what the last garbage collection has found in use, in bytes.
func heapLive() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return live[0].Value.Uint64()
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

func (d *Daemon) routerStatus(r *router, v election.View) control.Router {
	state := v.Word.State()
	f := d.machine.Facts(r.vr)
	s := control.Router{
		Interface: r.cfg.Name, Parent: r.cfg.Interface, Family: strings.ToLower(r.rules.Family.String()),
		VRID: r.cfg.VRID, Version: control.VersionName(r.cfg.Version),
		State: control.StateName(state), Held: state == election.Held,
		Priority: r.cfg.Priority, EffectivePriority: v.Priority,
		Preempt:         control.Preempt{Enabled: v.Preempt, HoldTime: uint16(r.cfg.PreemptDelay / time.Second)},
		AcceptMode:      r.accepts(),
		IsOwner:         r.cfg.Priority == vrrp.PriorityOwner,
		LastEvent:       control.LastEvent(v.Word.Reason()),
		NewMasterReason: control.NewMasterReason(state, v.Word.Reason()),
		Lease:           r.lease(),
		Authentication:  r.authStatus(),
		UpDatetime:      d.started,
	}
	if r.cfg.Version == 3 && r.rules.Family == vrrp.IPv4 {
		s.Checksum = &control.Checksum{Configured: r.cfg.Checksum.String(), Sent: r.checksumForm().String()}
	}
	if d.machine.Added(r.vr) {
		s.Joining, s.State = true, control.StateName(election.Backup)
	}
	if s.UnicastPeers = r.cfg.Peers; !r.cfg.NoVMAC {
		s.MAC = macText(r.vmac)
	}
	if r.rules.Family == vrrp.IPv4 {
		s.VirtualIPv4Addresses = r.vips
	} else {
		s.VirtualIPv6Addresses, s.GeneratedAddress = r.vips, r.cfg.Generated
	}
	if src := f.AccSrc.Addr(); src.IsValid() && !state.Serving() {
		s.LastAdvSource = src
	} else if state.Serving() {
		s.LastAdvSource = r.source
	}
	s.SetTimers(r.cfg.Interval, d.machine.MasterDown(r.vr), d.machine.Skew(r.vr))
	s.Statistics = d.statistics(r)
	r.parent.mu.Lock()
	s.Beside2 = r.besideStatus()
	r.parent.mu.Unlock()
	return s
}

// statistics adds what the reader of the parent has counted to what the loop
// has. Packets that could not be told a virtual router are counted for each of
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
		Drops: map[string]uint64{},
	}
	if r.rules.Family == vrrp.IPv6 {
		s.UNASent = r.sent.announced
	} else {
		s.GARPSent = r.sent.announced
	}
	authCounters(&s, &c, &received)
	for why, n := range c.Drops() {
		if n += unknown[why]; n > 0 {
			s.Drops[why.String()] = n
		}
	}
	p.portDrops(s.Drops)
	s.Own = c
	return s
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
