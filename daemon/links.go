package daemon

import (
	"slices"

	"vrrpd/election"
	"vrrpd/rtnl"
	"vrrpd/vrrp"
)

// kernel takes what rtnl has seen. The state is already true in the kernel;
// here it becomes facts of the election, and repairs.
func (d *Daemon) kernel(changes []rtnl.Change) {
	touched := map[*parent]bool{}
	at := d.placesFor(changes)
	addrs := false
	for i := range changes {
		c := &changes[i]
		switch c.Kind {
		case rtnl.AddrAdded, rtnl.AddrGone:
			d.addrChanged(c, at, touched)
			addrs = true
		case rtnl.LinkChanged, rtnl.LinkGone:
			d.linkChanged(c, at, touched)
		}
	}
	if addrs {
		d.know()
	}
	for _, p := range d.parents {
		if touched[p] {
			d.judgeParent(p)
		}
	}
	d.tellChecks(changes)
}

// places are the routers by the index of what carries their addresses, as far as it is in
// question; nil: it is not worth looking up.
type places map[int][]*router

// fewChanges are looked for among all routers one by one.
const fewChanges = 8

func (d *Daemon) placesFor(changes []rtnl.Change) places {
	if len(changes) < fewChanges {
		return nil
	}
	at := make(places, len(changes))
	for i := range changes {
		at[changes[i].Index()] = nil
	}
	for _, r := range d.routers {
		if whose, asked := at[r.index]; asked {
			at[r.index] = append(whose, r)
		}
	}
	return at
}

// of are those that an index may be of.
func (at places) of(d *Daemon, index int) []*router {
	if at == nil {
		return d.routers
	}
	return at[index]
}

func (d *Daemon) addrChanged(c *rtnl.Change, at places, touched map[*parent]bool) {
	index, a := c.Addr.Index, c.Addr
	same := func(b rtnl.Addr) bool { return b.Prefix == a.Prefix && b.Peer == a.Peer }
	d.addrs[index] = slices.DeleteFunc(d.addrs[index], same)
	if c.Kind == rtnl.AddrAdded {
		d.addrs[index] = append(d.addrs[index], a)
	} else if len(d.addrs[index]) == 0 {
		delete(d.addrs, index)
	}
	for _, p := range d.parents {
		if p.link.Index == index {
			touched[p] = true
		}
	}
	for _, r := range at.of(d, index) {
		if r.index != index || index == 0 {
			continue
		}
		d.checkUntold(r)
		ip := a.Prefix.Addr()
		if r.cfg.NoVMAC && !slices.Contains(r.vips, ip) {
			continue // an address of the parent
		}
		switch known := r.present.has(ip); {
		case c.Kind == rtnl.AddrAdded && !known:
			r.present.add(ip)
			if r.announced {
				// By whatever hand it came: it lives at the virtual MAC now, and
				// the neighbours must know.
				d.announceLater(r, ip)
			}
			if !r.up() {
				d.inspect(r) // it may be an old story
			}
		case c.Kind == rtnl.AddrGone && known:
			r.present.remove(ip)
			if r.up() && slices.Contains(r.vips, ip) {
				d.repair(r, "address "+ip.String()+" was removed")
			}
		}
	}
}

func (d *Daemon) linkChanged(c *rtnl.Change, at places, touched map[*parent]bool) {
	link := c.New
	gone := c.Kind == rtnl.LinkGone
	if gone {
		link = c.Old
	}
	if gone {
		d.links.Delete(link.Index)
	} else {
		d.links.Set(link)
	}
	for _, p := range d.parents {
		if d.follow(p, link, gone) {
			touched[p] = true
		}
	}
	for _, r := range at.of(d, link.Index) {
		if r.index != link.Index || r.index == 0 {
			continue
		}
		switch {
		case r.cfg.NoVMAC:
			// What the parent is like is the administrator's business.
		case gone:
			r.index = 0
			r.present = r.present[:0]
			// With its parent it goes; alone somebody has deleted it.
			if r.parent.link.Index != 0 {
				r.goes()
				d.repair(r, "interface was deleted")
			}
		case r.up() && c.Old.Up && !link.Up && (r.lowering > 0 || r.overtaken):
			// By our own hand, which was overtaken by a promotion: see isDown. Whether it
			// is so still the worker sees.
			r.overtaken = false
			d.inspect(r)
		case r.up() && c.Old.Up && !link.Up:
			r.goes()
			d.repair(r, "interface was taken down")
		case link.MAC != r.vmac, link.Name != r.cfg.Name, !r.up() && link.Up && !c.Old.Up:
			d.inspect(r) // it may be an old story
		}
		d.checkUntold(r)
	}
}

// judgeParent posts what the parent's state means for its routers.
func (d *Daemon) judgeParent(p *parent) {
	if p.link.Index == 0 {
		d.parentGone(p)
	} else if p.port == nil || p.opened.Index != p.link.Index {
		d.parentBack(p)
	} else if p.opened != p.link {
		d.parentChanged(p)
	}
	var sources [2]addr // by familyIndex
	if p.link.Index != 0 {
		except := p.virtual()
		sources[0], _ = rtnl.PrimaryIPv4(d.addrs[p.link.Index], except...)
		sources[1], _ = rtnl.PrimaryIPv6(d.addrs[p.link.Index], p.sources[1], except...)
	}
	p.mu.Lock()
	p.sources = sources
	p.mu.Unlock()
	d.know()
	for _, r := range p.routers {
		source, faults := d.sourceOf(r, sources), p.faults()
		if !source.IsValid() && p.link.Index != 0 {
			faults |= election.FaultNoAddress
		}
		if r.source != source {
			r.source = source
			d.results = append(d.results, election.Event{Kind: election.EvSource, VR: r.vr, Addr: source})
			d.identityChanged(r)
		}
		// What begins comes before what ends: an interface that goes, comes back
		// and gets its carrier is one fault, and makes one hold-down.
		for _, on := range [...]bool{true, false} {
			for _, f := range [...]election.Fault{election.FaultParentGone, election.FaultLinkDown, election.FaultNoAddress} {
				if faults&f != 0 == on {
					d.setFault(r, f, on, r.parentFault(f))
				}
			}
		}
	}
}

// parentFault says where a fault of the parent is, and of IPv6 what is missing:
// an administrator sees addresses there.
func (r *router) parentFault(f election.Fault) string {
	if f == election.FaultNoAddress && r.global() {
		return r.parent.name + " has no address to send to " + r.cfg.Peers[0].String() + " from that is not tentative, deprecated or temporary"
	}
	if f == election.FaultNoAddress && r.rules.Family == vrrp.IPv6 {
		return r.parent.name + " has no link-local address that is not tentative"
	}
	return r.parent.name
}

// parentGone: the interface was deleted; with it went the virtual interfaces on it
// and the memberships of the sockets.
func (d *Daemon) parentGone(p *parent) {
	if p.port == nil {
		return
	}
	d.log.Warn("parent interface is gone", "parent", p.name)
	// Closing a packet socket waits for the kernel (30 ms), and this machine has
	// to leave now.
	closing := p.detach()
	d.work(func() {
		if err := closing(); err != nil {
			d.log.Debug("close port", "parent", p.name, "err", err)
		}
	})
	for _, r := range p.routers {
		r.iface, r.index, r.until = nil, 0, 0
		r.present = r.present[:0]
	}
}

// parentBack: the interface exists (again): open it and make the virtual
// interfaces anew.
func (d *Daemon) parentBack(p *parent) {
	if err := p.close(); err != nil {
		d.log.Debug("close port", "parent", p.name, "err", err)
	}
	if err := p.open(); err != nil {
		d.log.Error("cannot hear and speak on the parent interface", "parent", p.name, "err", err)
		for _, r := range p.routers {
			d.setFault(r, election.FaultInterface, true, err.Error())
		}
		d.agenda.add(boottime()+int64(retryAfter), func() {
			if p.port == nil && p.link.Index != 0 {
				d.judgeParent(p)
			}
		})
		return
	}
	for _, r := range p.routers {
		_ = d.ensure(r) // it reports, and tries again
	}
}
