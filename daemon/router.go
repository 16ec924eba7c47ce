package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"vrrpd/accept"
	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/hooks"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/vmacif"
	"vrrpd/vrrp"
)

// router is one virtual router at work. The loop owns it; what is
// touched besides as its parent's packets are judged is under parent.mu.
type router struct {
	// What each advert needs stands together: of a thousand routers, which have left the
	// processor's cache since the last one, that is few of its lines.
	parent *parent
	guard  *lease.Guard // nil until the interface was first made
	until  int64        // deadline that the guard was given last, boottime ns; 0: closed
	style  style        // of cfg
	vmac   [6]byte
	// peerForm is the vrrp.ChecksumForm of the last advert that was accepted,
	// written as that is judged.
	peerForm atomic.Uint32
	source   netip.Addr // parent's primary address; invalid: none
	sent     sentCounters
	frames   [2]frame // [0] the present priority, [1] priority 0

	auth auth
	cfg  *config.Router // as asked, or a copy with another name of the parent; read only: see configure
	// beside2 are the frames in version 2, if that is spoken beside version 3.
	beside2 *[2]frame // nil: there was none

	vr     int          // its number in the election
	at     int          // place of its facts and identity in the group's record
	vips   []netip.Addr // as configured, in that order
	to     []netip.Addr // where adverts go: the group, or each peer
	iface  carrier      // nil: does not exist
	index  int          // of what has the addresses: the VMAC interface, or the parent; 0: does not exist
	wanted bool         // MASTER: up with its addresses
	// announced: the neighbours have been told. A MASTER that has preempted tells
	// them when the old one is silent.
	announced bool
	// prepared: the same, but behind the closed guard and without a word.
	prepared bool
	// lowering counts orders to the worker to take the interface down that it has
	// yet to answer.
	lowering int
	// overtaken: such an order was carried out after a promotion, and the kernel has
	// yet to tell of it.
	overtaken bool
	present   addrSet // addresses that the interface has now

	faults        election.Fault // as told to the election
	detail        string         // of the last fault
	retrying      bool           // another attempt at the interface is on the agenda
	repairs       int            // since repairsSince
	repairsSince  int64          // boottime ns
	repairPending bool
	going         bool     // an interface with a light guard is being deleted, perhaps
	found         []string // what the pending repair is for
	repaired      uint64   // since the start
	// round counts what our own hand has done to the interface, so that what the
	// worker saw in between is not taken for somebody else's doing.
	round      uint64
	inspecting atomic.Bool // the worker has yet to look at the interface
	reforming  bool        // the worker is putting its form right

	checking atomic.Bool  // the worker has yet to look at the guard
	mending  bool         // the worker is putting the guard back, or changes it over
	rung     lease.Rung   // of the guard, as it began; 0: it has had none
	heavy    *lease.Guard // it could not be made lighter, or did not stay so; nil: none
	harmed   harmed
	glanced  int64 // when a light guard was looked at last; boottime ns

	filter         *accept.Filter // nil: packets to the addresses are accepted
	filterChecking atomic.Bool    // the worker has yet to look at the filter
	filterMending  bool           // the worker is putting the filter back

	// Of the announcer: another gen makes scheduled announcements void.
	announceGen   int
	announcing    bool  // a first round is to come, or its first half not over
	announceAgain bool  // and another one was asked for meanwhile
	announcedAt   int64 // boottime ns: when a first round, or its second half, began last; 0: not since the promotion
	unknown       bool  // no first round has been told to the LAN since the promotion

	hooks  *hooks.Runner // of its own commands; nil: it has none
	ending []func()      // what ends with it, in reverse; not what ends with the process

	masters uint64 // times promoted

	rules     vrrp.Rules     // fixed after set-up, but for a reload, which holds parent.mu
	closeAuth func()         // never nil
	asked     *config.Router // as the user wrote it, read only; cfg follows the parent's name
	late      bool           // added while the process was at work, and not promoted since
	hookedIn  uint64         // epoch in which its own -U was run on its own account

	// Under parent.mu: what was received.
	advert   vrrp.Advert // decoding scratch
	heard    heard
	beside   beside
	formTold bool        // that peerForm is not what we began with
	marks    *vrrp.Marks // nil: adverts have no numbers
	counters vrrp.Counters
	flood    floodgate
	received receivedCounters
}

// style is what of its configuration decides how a virtual router speaks.
type style struct {
	version                  uint8
	beside2, unicast, noVMAC bool
	checksum                 config.Checksum
}

// configure gives the router another configuration, which nobody may change any more.
func (r *router) configure(c *config.Router) {
	r.cfg = c
	r.style = style{version: c.Version, beside2: c.Beside2, unicast: len(c.Peers) > 0, noVMAC: c.NoVMAC, checksum: c.Checksum}
}

// sentCounters count what a virtual router has sent.
type sentCounters struct{ adverts, zero, failed, announced uint64 }

// receivedCounters count what was odd about adverts besides vrrp.Counters.
type receivedCounters struct {
	zero, legacyChecksum, intervalDiffers, addressesDiffer, ownAddress, ownerConflict uint64
	unsigned, invalidAuthType                                                         uint64
}

// frame is an advert ready to be sent, built again only when what it says
// changes: in steady state a tick copies nothing. What is numbered is signed in
// place each time.
type frame struct {
	bytes    []byte // for all destinations, one behind the other
	priority uint8
	form     vrrp.ChecksumForm
	mac      [6]byte
	numbered bool // and so signed each time
	source   netip.Addr
	parts    [][]byte // bytes by destination
}

// all is the advert for all destinations; nil of none.
func (f *frame) all() []byte {
	if f == nil {
		return nil
	}
	return f.bytes
}

// newRouter keeps c, which nobody may change any more.
func newRouter(vr int, c *config.Router, p *parent) *router {
	r := &router{vr: vr, asked: c, parent: p, closeAuth: func() {}}
	r.configure(c)
	for _, a := range c.Addresses {
		r.vips = append(r.vips, a.Addr())
	}
	family := vrrp.FamilyOf(r.vips[0])
	r.vmac = family.VMAC(c.VRID)
	r.to = destinations(*c, family)
	r.rules = vrrp.Rules{Version: c.Version, VRID: c.VRID, Family: family, Interval: c.Interval, Addrs: r.vips, Beside2: c.Beside2, MinTTL: peerTTL(*c)}
	return r
}

// forgetFrames has adverts built anew.
func (r *router) forgetFrames() { r.frames, r.beside2, r.auth.lastWord = [2]frame{}, nil, nil }

// addrSet is a set of few addresses.
type addrSet []netip.Addr

func (s addrSet) has(ip netip.Addr) bool { return slices.Contains(s, ip) }

func (s *addrSet) add(ip netip.Addr) {
	if !s.has(ip) {
		*s = append(*s, ip)
	}
}

func (s *addrSet) remove(ip netip.Addr) {
	if i := slices.Index(*s, ip); i >= 0 {
		*s = slices.Delete(*s, i, i+1)
	}
}

// up reports whether the interface should be up with its addresses.
func (r *router) up() bool { return r.wanted || r.prepared }

// spec is what package vmacif shall make of this router.
func (r *router) spec(owner string) vmacif.Spec {
	return vmacif.Spec{
		Name: r.cfg.Name, Parent: r.cfg.Interface, VRID: r.cfg.VRID, Family: uint8(r.rules.Family),
		MAC: r.vmac, Addresses: r.vips, Owner: owner,
	}
}

// specs are those of all routers with a virtual MAC.
func (d *Daemon) specs(added ...*router) (all []vmacif.Spec) {
	for _, r := range slices.Concat(d.routers, added) {
		if !r.cfg.NoVMAC {
			all = append(all, r.spec(d.owner()))
		}
	}
	return all
}

// ready returns the router's advert with the priority, ready to be sent.
func (r *router) ready(priority uint8) (*frame, error) {
	return r.signed(&r.frames, r.style.version, priority)
}

// ready2 is the one of version 2 that is sent after it (RFC 9568 section 8.4.2).
func (r *router) ready2(priority uint8) (*frame, error) {
	if r.beside2 == nil {
		r.beside2 = new([2]frame)
	}
	return r.signed(r.beside2, 2, priority)
}

func (r *router) signed(frames *[2]frame, version, priority uint8) (*frame, error) {
	f := &frames[0]
	if priority == 0 {
		f = &frames[1]
	}
	if err := r.build(f, version, priority); err != nil {
		return nil, err
	}
	if f.numbered {
		if err := r.sign(f.parts); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// build makes f an advert with the priority, not yet signed.
func (r *router) build(f *frame, version, priority uint8) error {
	form := r.checksumForm()
	if f.bytes != nil && f.priority == priority && f.source == r.source && f.form == form && f.mac == r.mac() {
		return nil
	}
	if !r.source.IsValid() {
		return fmt.Errorf("advert on %s: the interface has no address to send from", r.cfg.Interface)
	}
	a := vrrp.Advert{
		Version: version, VRID: r.cfg.VRID, Priority: priority,
		Interval: r.cfg.Interval, Addrs: r.vips,
	}
	if version != r.cfg.Version {
		a.Interval = r.cfg.Interval2()
	}
	appendFrame := lan.AppendAdvert
	if r.auth.signer.Kind() == vrrp.HeaderAuth {
		appendFrame = lan.AppendAdvertAH
	}
	// The identification is fixed: an advert is never fragmented, and a frame
	// that never changes needs no work in steady state.
	f.bytes, f.parts = f.bytes[:0], nil
	for _, to := range r.to {
		payload, err := a.AppendPayload(nil, r.source, to, form, r.auth.signer)
		if err != nil {
			*f = frame{}
			return fmt.Errorf("advert on %s: %w", r.cfg.Interface, err)
		}
		f.bytes = appendFrame(f.bytes, r.mac(), r.source, to, uint16(r.cfg.VRID)<<8|1, payload)
	}
	f.parts = lan.Split(f.bytes)
	f.priority, f.source, f.form, f.mac, f.numbered = priority, r.source, form, r.mac(), r.auth.signer.Numbered()
	return nil
}

// fits refuses more addresses than one advert can carry over the parent, with what
// authenticates it.
func (r *router) fits(mtu int) error {
	header := 20
	if r.rules.Family == vrrp.IPv6 {
		// What fits into a jumbo frame only, receivers may cut: lan does.
		header, mtu = 40, min(mtu, 1500)
	}
	version := r.cfg.Version
	if r.cfg.Beside2 {
		version = 2 // whose adverts are the longer ones
	}
	room := mtu - header - vrrp.Size(version, r.rules.Family, 0) - r.auth.signer.Overhead()
	each := vrrp.Size(version, r.rules.Family, 1) - vrrp.Size(version, r.rules.Family, 0)
	if most := max(room/each, 0); len(r.vips) > most {
		return config.UsageError(fmt.Sprintf("%d addresses: an advert on %s, whose MTU is %d, carries at most %d; spread them over several VRIDs",
			len(r.vips), r.cfg.Interface, mtu, most))
	}
	return nil
}
