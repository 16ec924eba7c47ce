package daemon

import (
	"cmp"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/internal/footprint"
	"vrrpd/lease"
	"vrrpd/vrrp"
)

// statusPatience is how long a status request waits for the loop before it is
// given the last one: a loop that is stuck is just what somebody may be asking about.
const (
	statusPatience = 100 * time.Millisecond
	firstPatience  = time.Second // in addition, as long as there is none
)

// Status implements control.Source. Who asks a loop that is stuck waits no longer for who
// has asked before him.
func (d *Daemon) Status() control.Status {
	asked := time.Now()
	d.asking.Lock()
	defer d.asking.Unlock()
	y := d.unanswered
	if y == nil || y.isTaken() { // it was answered too late: that is old now
		// While the loop is not asked, it is woken by adverts alone, and not in a lull.
		if footprint.Due() {
			d.opt.lulls.use(lullPatience, footprint.Collect)
		}
		y = d.newSurvey(d.used)
		d.inbox.run(&y.goOn)
	}
	patience := statusPatience
	if d.status.Load() == nil {
		patience += firstPatience // nothing is there to fall back on
	}
	limit := time.NewTimer(time.Until(asked.Add(patience)))
	defer limit.Stop()
	d.unanswered = nil
	select {
	case <-y.taken:
		d.used = y.room()
		s := y.status()
		d.status.Store(&s)
		used := y.routers
		clear(used)
		notebooks.Put(&used)
	case <-d.done:
	case <-limit.C:
		d.unanswered = y // who asks next waits for it: the loop has one question at most to answer
	}
	s := d.status.Load()
	if s == nil {
		return control.Status{Instance: d.instance, PID: os.Getpid(), Program: "vrrpd " + d.opt.Version, Time: time.Now()}
	}
	out := *s
	out.Goroutines, out.HeapLive = runtime.NumGoroutine(), heapLive()
	return out
}

// snapshot is a status at once, for the loop itself.
func (d *Daemon) snapshot() control.Status {
	y := d.newSurvey(room{})
	y.next(len(d.routers))
	return y.status()
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

// status is what complete notes come to. Nothing here is the loop's any more.
func (y *survey) status() control.Status {
	d, n := y.d, &y.machine
	s := control.Status{
		Instance: d.instance, PID: os.Getpid(), Program: "vrrpd " + d.opt.Version, Time: n.wall,
		Realtime:    d.realtime.Priority(),
		MemoryLock:  n.locked,
		Hooks:       n.hooks,
		Transitions: n.history,
		Counts:      n.counts,
		Started:     n.started,
		LogLost:     d.logLost(),
	}
	slices.SortFunc(s.Hooks, func(a, b control.HookResult) int {
		// The group's first, of each -D before -U.
		return cmp.Or(strings.Compare(a.Interface, b.Interface), strings.Compare(a.State, b.State))
	})
	checks := n.health.Status()
	s.Checks = checkStatus(n.checks, checks)
	s.Machine = y.machineStatus(checks)
	s.Routers = make([]control.Router, len(y.routers))
	places := make(map[*parent]*parentNotes, len(y.parents))
	for i := range y.parents {
		places[y.parents[i].parent] = &y.parents[i]
	}
	for i := range y.routers {
		y.routerStatus(&s.Routers[i], &y.routers[i], places[y.routers[i].parent])
	}
	s.Parents, s.Global = y.parentStatus()
	return s
}

func (d *Daemon) logLost() uint64 {
	if d.opt.LogLost == nil {
		return 0
	}
	return d.opt.LogLost()
}

func (y *survey) machineStatus(checks []health.Status) control.Machine {
	v, n := &y.view, &y.machine
	state := v.Word.State()
	m := control.Machine{
		Group: y.d.groupName, State: state.Outward().String(), Phase: state.String(),
		Reason: v.Word.Reason().String(), Peer: peerText(n.peer),
		Since: n.wall.Add(time.Duration(v.Since - n.at)), AgoMS: (n.at - v.Since) / int64(time.Millisecond), Epoch: v.Word.Epoch(),
		Priority:  control.Priority{Effective: v.Priority, Configured: n.configured, Checks: int(v.Priority) - int(v.Base)},
		Wishes:    control.Wishes{Soft: v.Wishes.Soft, Hold: v.Wishes.Hold},
		Processes: control.Processes{Alive: max(n.monitor, 1) - v.Missing, Wanted: max(n.monitor, 1)},
		Faults:    []control.Fault{},
		Partition: v.Parted == election.Partition, MixedView: v.Parted == election.MixedView,
		Alarms: append(n.alarms, oddityAlarms(n.oddities)...),
	}
	slices.SortStableFunc(m.Alarms, func(a, b control.Alarm) int { return a.Since.Compare(b.Since) })
	if state == election.Held {
		// Why it is held now may not be why it once became so.
		m.Reason = v.Holding.String()
		if left := v.HoldUntil - n.at; v.Holding == election.Recovered && left > 0 {
			m.HeldMS = left / int64(time.Millisecond)
			m.Reason = v.Word.Reason().String()
		}
	}
	for _, f := range n.faults {
		if f.err != nil {
			f.detail = f.err.Error()
		}
		m.Faults = append(m.Faults, control.Fault{
			Interface: f.cfg.Name, Parent: f.cfg.Interface, VRID: f.cfg.VRID, Reason: f.why.String(), Detail: f.detail,
		})
	}
	if why := holdingText(checks); n.holding && why != "" {
		// Of the machine, not of each of its members.
		m.Faults = append(m.Faults, control.Fault{Reason: election.CheckFailed.String(), Detail: why})
	}
	return m
}

func (y *survey) routerStatus(s *control.Router, n *routerNotes, p *parentNotes) {
	cfg, state, why := n.cfg, y.view.Word.State(), y.view.Word.Reason()
	*s = control.Router{
		Interface: cfg.Name, Parent: cfg.Interface, Family: strings.ToLower(n.family.String()),
		VRID: cfg.VRID, Version: control.VersionName(cfg.Version),
		State: control.StateName(state), Held: state == election.Held, Joining: n.joining,
		Priority: cfg.Priority, EffectivePriority: y.view.Priority,
		Preempt:        control.Preempt{Enabled: y.view.Preempt, HoldTime: uint16(cfg.PreemptDelay / time.Second)},
		AcceptMode:     accepts(cfg),
		IsOwner:        cfg.Priority == vrrp.PriorityOwner,
		Lease:          n.lease(),
		Authentication: authStatus(n.auth),
		UpDatetime:     y.machine.started,
		LastAdvSource:  n.source,
		LastEvent:      control.LastEvent(why), NewMasterReason: control.NewMasterReason(state, why),
		UnicastPeers: cfg.Peers,
	}
	if s.Joining {
		s.State = control.StateName(election.Backup)
	}
	if !state.Serving() {
		s.LastAdvSource = n.accepted
	}
	if cfg.Version == 3 && n.family == vrrp.IPv4 {
		s.Checksum = &control.Checksum{Configured: cfg.Checksum.String(), Sent: n.form.String()}
	}
	if !cfg.NoVMAC {
		s.MAC = macText(n.vmac)
	}
	if n.family == vrrp.IPv4 {
		s.VirtualIPv4Addresses = n.vips
	} else {
		s.VirtualIPv6Addresses, s.GeneratedAddress = n.vips, cfg.Generated
	}
	if cfg.Beside2 {
		s.Beside2 = n.beside.status()
	}
	s.SetTimers(cfg.Interval, n.timers.masterDown, n.timers.skew)
	s.Statistics = n.statistics(p)
	s.Statistics.Discontinuity = y.machine.started
}

// statistics adds what was counted as the parent's packets were judged to what the
// election has. Packets that could not be told a virtual router are counted for each of
// the parent's.
func (n *routerNotes) statistics(p *parentNotes) control.Statistics {
	c, received, unknown := &n.own, &n.received, &p.unknown
	s := control.Statistics{
		MasterTransitions: n.masters,
		AdvertisementRcvd: c[vrrp.DropNone], AdvertisementSent: n.sent.adverts,
		PriorityZeroRcvd: received.zero, PriorityZeroSent: n.sent.zero,
		IntervalErrors: c[vrrp.DropInterval] + received.intervalDiffers, AddressListErrors: c[vrrp.DropAddressList] + received.addressesDiffer,
		ChecksumErrors: c[vrrp.DropChecksum], TTLErrors: c[vrrp.DropTTL],
		PacketLengthErrors: c[vrrp.DropLength] + unknown[vrrp.DropLength],
		VersionErrors:      c[vrrp.DropVersion] + unknown[vrrp.DropVersion],
		InvalidTypeRcvd:    unknown[vrrp.DropType], VRIDErrors: unknown[vrrp.DropVRID],
		Repairs: n.repaired, LegacyChecksum: received.legacyChecksum, SendErrors: n.sent.failed, OwnerConflicts: received.ownerConflict, OwnAddressRcvd: received.ownAddress,
		Own: *c,
	}
	if n.family == vrrp.IPv6 {
		s.UNASent = n.sent.announced
	} else {
		s.GARPSent = n.sent.announced
	}
	authCounters(&s, c, received)
	for why, count := range c.Drops() {
		addDrop(&s.Drops, why.String(), count+unknown[why])
	}
	p.portDrops(&s.Drops)
	return s
}

// parentStatus is what only the interfaces as such know, and RFC 8347's sums: a packet
// that no virtual router was meant by is counted once there.
func (y *survey) parentStatus() ([]control.Parent, control.Global) {
	g := control.Global{VirtualRouters: uint32(len(y.routers)), Interfaces: uint32(len(y.parents))}
	sum := &g.Statistics
	sum.Discontinuity = y.machine.started
	add := func(c *vrrp.Counters) {
		sum.ChecksumErrors += c[vrrp.DropChecksum]
		sum.VersionErrors += c[vrrp.DropVersion]
		sum.VRIDErrors += c[vrrp.DropVRID]
		sum.TTLErrors += c[vrrp.DropTTL]
	}
	for i := range y.routers {
		add(&y.routers[i].own)
	}
	var all []control.Parent
	for i := range y.parents {
		p := &y.parents[i]
		add(&p.unknown)
		one := control.Parent{Interface: p.name}
		for why, n := range p.unknown.Drops() {
			addDrop(&one.Drops, why.String(), n)
		}
		p.portDrops(&one.Drops)
		all = append(all, one)
	}
	return all, g
}

// portDrops adds what the parent's port has refused, by lan.Drop word.
func (p *parentNotes) portDrops(drops *map[string]uint64) {
	for why, n := range p.port.Dropped {
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
func (n *routerNotes) lease() control.Lease {
	if n.guard == nil {
		return control.Lease{Rung: lease.None.String()}
	}
	return control.Lease{Rung: n.guard.Rung().String(), Skipped: skippedText(n.guard), RemainingMS: n.remaining.Milliseconds()}
}

// checkStatus are the checks, as configured and as they are, for status displays.
func checkStatus(asked []config.HealthCheck, is []health.Status) []control.Check {
	all := []control.Check{}
	for i, s := range is {
		what := ""
		if i < len(asked) {
			what = asked[i].What()
		}
		all = append(all, control.Check{
			Name: s.Check.Name, Kind: string(s.Check.Kind()), What: what, State: s.Verdict.String(), Since: s.Since,
			Weight: s.Check.Weight, Effect: checkEffect(s.Check.Weight, s.Verdict), Detail: s.Detail, Last: s.Last,
			Observations: s.Observations, Failures: s.Failures,
		})
	}
	return all
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
