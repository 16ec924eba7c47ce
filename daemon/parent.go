package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"sync"

	"vrrpd/election"
	"vrrpd/lan"
	"vrrpd/rtnl"
	"vrrpd/vrrp"
)

// lanDrop is the word for a frame that package lan has dropped.
func lanDrop(why int) string { return lan.Drop(why).String() }

// parent is one interface that virtual routers stand on. As long as it exists it
// is known by its index, whatever it is called meanwhile; one that is deleted is
// known by name: what is made under it is the same parent with another index.
type parent struct {
	d          *Daemon
	name       string    // at present, or when it was deleted
	configured string    // what the user calls it; fixed
	lan        int       // its number in the election, from 1; fixed
	link       rtnl.Link // as last seen; the zero Link: it does not exist

	heard []uint8 // families that port hears
	// unicast and ungrouped are how it does: see manners.
	unicast, ungrouped []uint8
	port               *lan.Port // nil while the interface does not exist
	opened             rtnl.Link // the link that port was opened on, as last seen

	routers []*router // the loop's; written under mu, too

	announcing bool // the announcement of the machine's own addresses is due

	// mu guards what is written by who reads the port, the loop, and read by others, here and
	// in the routers.
	mu       sync.Mutex
	byVRID   [2][256]*router // by familyIndex
	counters vrrp.Counters   // packets that no virtual router of ours is meant by
	noted    map[note]*sighting
	own      map[netip.Addr]bool // addresses of this machine; nil: no router has peers
	crowds   map[kind]*crowd
	sources  [2]netip.Addr    // our own primary addresses, by familyIndex; invalid: none
	batch    []election.Event // scratch of deliver
	clock    vrrp.Stamp       // time of day of the present batch
}

// open begins to hear and speak on the parent, whose link must be known.
func (p *parent) open() error {
	families, _ := p.families()
	unicast, ungrouped := p.manners()
	return p.listen(lan.Open, p.link, families, unicast, ungrouped)
}

// listen begins with the sockets that open makes, for these families; opened is the link
// as it was when they were made.
func (p *parent) listen(open func(lan.Config) (*lan.Port, error), opened rtnl.Link, families, unicast, ungrouped []uint8) error {
	_, virtual := p.families()
	port, err := open(lan.Config{
		Unicast: unicast, Ungrouped: ungrouped,
		Index: p.link.Index, Name: p.name, MAC: p.link.MAC, Interval: p.d.interval(), Families: families, Virtual: virtual,
	})
	if err != nil {
		return err
	}
	// Of a parent that is gone rtnl tells, and has the next port opened when it is back.
	if err := port.Listen(p.d.bell, p.deliver, func(err error) { p.d.inbox.call(func() { p.d.lostPort(p, port, err) }) }); err != nil {
		return errors.Join(err, port.Close())
	}
	p.port, p.opened, p.heard = port, opened, families
	p.unicast, p.ungrouped = unicast, ungrouped
	return nil
}

// close stops hearing; nothing is delivered once it returns.
func (p *parent) close() error { return p.detach()() }

// detach takes the port away from the parent: nothing is delivered any more. What it
// returns closes it, on whatever goroutine.
func (p *parent) detach() (closing func() error) {
	port := p.port
	if port == nil {
		return func() error { return nil }
	}
	p.port = nil
	port.Leave()
	return port.Close
}

// deliver judges a batch of packets and posts what is ours. It runs on the loop.
func (p *parent) deliver(b lan.Batch) {
	p.mu.Lock()
	events := p.batch[:0]
	p.clock = wallClock()
	// Which of them came first is not known any more. A farewell that was said before an
	// advert must not be taken for one that was said after it.
	for _, a := range b.Answers {
		for _, r := range p.routers {
			if a.IP == r.vips[0] {
				events = append(events, election.Event{Kind: election.EvAnswer, VR: r.vr, MAC: a.MAC})
			}
			if a.To.IsValid() && a.IP == r.heard.src && a.To == lan.FarewellTo(r.vips[0]) {
				events = append(events, election.Event{Kind: election.EvFarewell, VR: r.vr, Addr: a.IP})
			}
		}
	}
	for i := range b.Adverts {
		if e, ok := p.judge(&b.Adverts[i], b.At); ok {
			events = append(events, e)
		}
	}
	p.batch = events[:0]
	p.d.inbox.post(events...)
	p.mu.Unlock()
}

// judge turns one packet into an event, or counts why not. Called under mu.
func (p *parent) judge(in *lan.Received, at int64) (election.Event, bool) {
	message, drop := in.Payload, vrrp.DropNone
	if in.AH {
		message, drop = vrrp.AfterAH(in.Payload)
	}
	var vrid uint8
	if drop == vrrp.DropNone {
		_, vrid, drop = vrrp.Identify(message)
	}
	r := p.byVRID[familyIndex(vrrp.FamilyOf(in.Dst))][vrid]
	if drop == vrrp.DropNone && r == nil {
		drop = vrrp.DropVRID
	}
	if drop != vrrp.DropNone {
		p.counters[drop]++
		return election.Event{}, false
	}
	if drop := p.foreign(r, in); drop != vrrp.DropNone {
		r.counters[drop]++
		p.note(note{oddity(drop), vrid, in.Src}, r)
		return election.Event{}, false
	}
	packet := vrrp.Packet{Src: in.Src, Dst: in.Dst, TTL: in.TTL, Payload: in.Payload, AH: in.AH, Header: in.Header, Clock: p.clock}
	a := &r.advert
	drop = r.rules.Receive(packet, a)
	if drop == vrrp.DropNone && r.flood.drops(a.Priority, at) {
		drop = vrrp.DropFlood
	}
	r.counters[drop]++
	if drop == vrrp.DropFlood {
		return election.Event{}, false
	}
	p.noteAuth(r, a, note{oddity(drop), vrid, in.Src}, drop)
	if drop != vrrp.DropNone {
		p.note(note{oddity(drop), vrid, in.Src}, r)
		return election.Event{}, false
	}
	r.heard = heard{in.Src, at, int64(a.Interval)}
	if r.cfg.Beside2 && !p.hearBoth(r, a, vrid, in.Src, at) {
		return election.Event{}, false
	}
	if a.Priority == 0 {
		r.received.zero++
	}
	if a.LegacyChecksum {
		r.received.legacyChecksum++
	}
	p.learnChecksum(r, a, in.Src)
	p.oddities(r, a, vrid, in.Src)
	return election.Event{
		Kind: election.EvAdvert, VR: r.vr, Addr: in.Src, MAC: in.SrcMAC,
		Priority: a.Priority, Interval: a.Interval,
	}, true
}

// familyIndex is where a parent has what it has for either family.
func familyIndex(f vrrp.Family) int {
	if f == vrrp.IPv6 {
		return 1
	}
	return 0
}

// families are what the routers of the parent need to hear, and the virtual IPv6
// addresses.
func (p *parent) families() (families []uint8, virtual []netip.Addr) {
	for _, r := range p.routers {
		if f := uint8(r.rules.Family); !slices.Contains(families, f) {
			families = append(families, f)
		}
		if r.rules.Family == vrrp.IPv6 {
			virtual = append(virtual, r.vips...)
		}
	}
	return families, virtual
}

// virtual are the virtual addresses that may be on the parent itself.
func (p *parent) virtual() (all []netip.Addr) {
	for _, r := range p.routers {
		if r.cfg.NoVMAC {
			all = append(all, r.vips...)
		}
	}
	return all
}

// speaks reports whether a virtual router of the parent is of the family.
func (p *parent) speaks(f vrrp.Family) bool {
	for _, r := range p.routers {
		if r.rules.Family == f {
			return true
		}
	}
	return false
}

// lostPort: the socket has failed for a reason that rtnl does not see.
func (d *Daemon) lostPort(p *parent, port *lan.Port, err error) {
	if p.port != port {
		return
	}
	d.log.Error("cannot hear the parent interface any more", "parent", p.name, "err", err)
	closing := p.detach() // which waits for the kernel
	d.work(func() { _ = closing() })
	d.judgeParent(p) // opens another
}

// faults are the facts of the parent as the election knows them.
func (p *parent) faults() election.Fault {
	switch {
	case p.link.Index == 0:
		return election.FaultParentGone
	case !p.link.Carrier():
		return election.FaultLinkDown
	}
	return 0
}
