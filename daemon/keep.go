package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/health"
	"vrrpd/internal/child"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/rtnl"
	"vrrpd/vmacif"
	"vrrpd/vrrp"
)

// What a Daemon leaves to the next program (see replace.go), as text: fields keep their
// names and meanings as long as reexec.Format stays.
//
// It is what cannot be read again, or only too slowly: the machine's word, wishes and the
// facts of others are in the run directory; interfaces, addresses and guards are in the
// kernel; what shall be is in the configuration. What is only for people comes by itself
// (history), so that nobody has to read it before the first advert.

// kept is a Daemon, but for its history.
type kept struct {
	Instance string
	Layout   uint64 // of the records in the run directory
	Group    grouplock.Kept
	Siblings []string // that lived
	Dead     []string // of those that died and have not come back
	Guards   lease.Kept
	Socket   int // control socket
	Machine  election.Saved
	Parents  []keptParent
	Routers  []keptRouter // in the order of the configuration

	SocketGID int // > 0: the group that may connect
	RunAs     *child.Identity
	Users     map[string]*child.Identity // whom the commands of checks run as

	LastTurn, Slept int64 // of turns
	LeftAt          int64
	Realised        election.Word
	Told            election.State
	Holding         election.Reason
	LastPeer        netip.Addr
	SendError       string       // the last one; "": none
	Own             []netip.Addr // addresses of this machine, for routers with peers
	GoneName        string
	GoneAt          int64
	CheckSum        health.Sum
	Checks          []health.Kept
	Due             int64 // when the next adverts are; 0: none are
}

// keptParent is an interface that virtual routers stand on.
type keptParent struct {
	Configured, Name string
	Link, Opened     rtnl.Link
	Port             *lan.Kept // nil: the interface does not exist
	Heard            []uint8
	Unicast, Alone   []uint8
	Sources          [2]netip.Addr
	Counters         map[string]uint64
}

// keptRouter is a virtual router.
type keptRouter struct {
	Parent       string // as configured
	VRID, Family uint8
	VR, At       int

	Index                     int
	Risen                     bool // of the carrier
	Wanted, Announced         bool
	Overtaken                 bool
	Present                   []netip.Addr
	Source                    netip.Addr
	Guard                     *lease.KeptGuard
	Until                     int64
	Faults                    election.Fault
	Detail                    string
	Repairs                   int
	RepairsSince              int64
	Repaired                  uint64
	AnnouncedAt               int64
	Rounds                    []keptRound
	Sent, Zero, Failed, Tells uint64
	Masters                   uint64
	Late                      bool
	HookedIn                  uint64

	Auth      vrrp.AuthConfig
	Numbers   vrrp.Sequence
	IPID      uint16
	AuthHeard uint64
	AuthEpoch uint64
	Marks     []keptMark

	PeerForm uint32
	FormTold bool
	Heard    keptHeard
	Three    keptHeard
	Alone    int
	Beside   [2]uint64 // received, ignored
	Counters map[string]uint64
	Received [8]uint64
}

type keptMark struct {
	Src      netip.Addr
	Sequence uint64
}

type keptHeard struct {
	Src       netip.Addr
	At, Every int64
}

func (h heard) keep() keptHeard { return keptHeard{h.src, h.at, h.every} }

func (k keptHeard) heard() heard { return heard{k.Src, k.At, k.Every} }

// keptRound is an announcement that is to come.
type keptRound struct {
	At, Began int64
	Round     int
	Replies   bool       // of the first round, whose requests have gone
	IP        netip.Addr // invalid: of all addresses
}

func (x *announcement) keep() keptRound {
	return keptRound{x.at, x.began, x.round, x.round == 0 && x.forms == asReply, x.ip}
}

// announcement is the same of r. A first round that is still to come is said in both forms.
func (k keptRound) announcement(r *router) announcement {
	forms := asBoth
	if k.Replies {
		forms = asReply
	}
	return announcement{at: k.At, began: k.Began, round: k.Round, forms: forms, r: r, p: r.parent, ip: k.IP, gen: r.announceGen}
}

// history is what people want to know, and what the next program needs a little later.
type history struct {
	Started     time.Time
	Transitions []control.Transition
	Counts      []control.TransitionCount
	Alarms      []control.Alarm
	Hooks       []keptHook
	Oddities    []keptOddity
	Links       []rtnl.Link
	Addrs       []rtnl.Addr
}

type keptHook struct {
	Interface string
	Up        bool
	Result    control.HookResult
}

// keptOddity is something odd about a peer that people may know of.
type keptOddity struct {
	Parent       string // as configured
	RouterVRID   uint8
	RouterFamily uint8
	What         uint16
	VRID         uint8
	Src          netip.Addr
	Active, Told bool
	Named, Begun bool
	Since        time.Time
	Seen, Quiet  int64
	Count        uint64
	Words, Do    string
}

// okWord is what adverts that were accepted are called among the reasons for those that
// were not.
const okWord = "accepted"

func keptCounters(c *vrrp.Counters) map[string]uint64 {
	all := map[string]uint64{}
	if n := c[vrrp.DropNone]; n > 0 {
		all[okWord] = n
	}
	for why, n := range c.Drops() {
		if n > 0 {
			all[why.String()] = n
		}
	}
	return all
}

func countersOf(all map[string]uint64) (c vrrp.Counters) {
	c[vrrp.DropNone] = all[okWord]
	for why := range c.Drops() {
		c[why] = all[why.String()]
	}
	return c
}

func (c *receivedCounters) list() [8]uint64 {
	return [8]uint64{c.zero, c.legacyChecksum, c.intervalDiffers, c.addressesDiffer, c.ownAddress, c.ownerConflict, c.unsigned, c.invalidAuthType}
}

func receivedOf(l [8]uint64) receivedCounters {
	return receivedCounters{
		zero: l[0], legacyChecksum: l[1], intervalDiffers: l[2], addressesDiffer: l[3], ownAddress: l[4], ownerConflict: l[5],
		unsigned: l[6], invalidAuthType: l[7],
	}
}

// keep puts down what the next program needs. The loop is at rest and nobody reads; the
// second result are the descriptors, the third what runs.
func (d *Daemon) keep() (k kept, files, children []int) {
	k = kept{
		Instance: d.instance, Layout: grouplock.Layout, Group: d.group.Keep(), Guards: d.guards.Keep(), Socket: d.socket.Descriptor(), SocketGID: d.socket.GID, Machine: d.machine.Save(),
		RunAs: d.runAs, Users: map[string]*child.Identity{}, LastTurn: d.turns.last, Slept: d.turns.slept, LeftAt: d.leftAt,
		Realised: d.realised, Told: d.told, Holding: d.holding, LastPeer: d.lastPeer, GoneName: d.lastGone.name, GoneAt: d.lastGone.at,
		CheckSum: d.checkSum, Due: d.machine.NextAdvert(), Dead: d.roll.Dead(),
	}
	if d.lastSendError != nil {
		k.SendError = d.lastSendError.Error()
	}
	for _, p := range d.parents {
		if p.own != nil { // each that has any has the same
			k.Own = slices.Collect(maps.Keys(p.own))
		}
	}
	for _, m := range d.group.Members() {
		if m.Status == grouplock.Alive {
			k.Siblings = append(k.Siblings, m.Instance)
		}
	}
	for _, c := range d.checks {
		if c.RunAs != nil {
			k.Users[c.Name] = c.RunAs
		}
	}
	k.Checks, children = d.health.Keep()
	files = slices.Concat(k.Guards.Descriptors(), k.Group.Descriptors(), []int{k.Socket})
	for _, p := range d.parents {
		p.mu.Lock()
		one := keptParent{
			Configured: p.configured, Name: p.name, Link: p.link, Opened: p.opened, Heard: p.heard, Unicast: p.unicast, Alone: p.ungrouped,
			Sources: p.sources, Counters: keptCounters(&p.counters),
		}
		p.mu.Unlock()
		if p.port != nil {
			port := p.port.Keep()
			one.Port = &port
			files = append(files, port.Descriptors()...)
		}
		k.Parents = append(k.Parents, one)
	}
	rounds := map[*router][]keptRound{}
	for _, x := range d.announcer.due[d.announcer.head:] {
		if x.r != nil && d.announcer.valid(&x) {
			rounds[x.r] = append(rounds[x.r], x.keep())
		}
	}
	for _, r := range d.routers {
		one := r.keep()
		one.Rounds = rounds[r]
		k.Routers = append(k.Routers, one)
	}
	return k, files, children
}

func (r *router) keep() keptRouter {
	r.parent.mu.Lock()
	defer r.parent.mu.Unlock()
	k := keptRouter{
		Parent: r.asked.Interface, VRID: r.cfg.VRID, Family: uint8(r.rules.Family), VR: r.vr, At: r.at,
		Index: r.index, Wanted: r.wanted, Announced: r.announced, Overtaken: r.overtaken, Present: slices.Clone(r.present), Source: r.source,
		Until: r.until, Faults: r.faults, Detail: r.detail, Repairs: r.repairs, RepairsSince: r.repairsSince, Repaired: r.repaired,
		AnnouncedAt: r.announcedAt, Sent: r.sent.adverts, Zero: r.sent.zero, Failed: r.sent.failed, Tells: r.sent.announced,
		Masters: r.masters, Late: r.late, HookedIn: r.hookedIn,
		Auth: r.auth.config, Numbers: r.auth.sequence, IPID: r.auth.ipID, AuthHeard: r.auth.heard.Load(), AuthEpoch: r.auth.epoch,
		PeerForm: r.peerForm.Load(), FormTold: r.formTold, Heard: r.heard.keep(), Three: r.beside.three.keep(), Alone: r.beside.alone,
		Beside: [2]uint64{r.beside.rcvd, r.beside.ignored}, Counters: keptCounters(&r.counters), Received: r.received.list(),
	}
	if i, ok := r.iface.(*vmacif.Iface); ok {
		k.Risen = i.Risen()
	}
	if r.guard != nil { // perhaps of an interface that is gone: what kind it was counts
		g := r.guard.Keep()
		k.Guard = &g
	}
	if r.marks != nil {
		for src, n := range r.marks.All() {
			k.Marks = append(k.Marks, keptMark{src, n})
		}
	}

	return k
}

// history puts down the rest.
func (d *Daemon) keepHistory() history {
	h := history{
		Started: d.started, Transitions: d.history, Counts: d.counts, Alarms: d.alarms,
		Links: slices.Clone(d.links),
	}
	for _, a := range d.addrs {
		h.Addrs = append(h.Addrs, a...)
	}
	for key, result := range d.hookLog {
		h.Hooks = append(h.Hooks, keptHook{key.iface, key.up, *result})
	}
	for _, p := range d.parents {
		p.mu.Lock()
		for n, s := range p.noted {
			if s.pending || s.router == nil {
				continue
			}
			h.Oddities = append(h.Oddities, keptOddity{
				Parent: p.configured, RouterVRID: s.router.cfg.VRID, RouterFamily: uint8(s.router.rules.Family),
				What: uint16(n.what), VRID: n.vrid, Src: n.src, Active: s.active, Told: s.told, Named: s.named, Begun: s.begun,
				Since: s.since, Seen: s.seen, Quiet: s.quiet, Count: s.count, Words: s.words.what, Do: s.words.do,
			})
		}
		p.mu.Unlock()
	}
	return h
}
