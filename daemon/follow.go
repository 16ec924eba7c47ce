package daemon

import (
	"fmt"

	"vrrpd/election"
	"vrrpd/rtnl"
)

// follow tells whether news of a link are about a parent, which it then knows by
// its new state.
func (d *Daemon) follow(p *parent, link rtnl.Link, gone bool) bool {
	switch {
	case p.link.Index == link.Index && gone:
		p.link = rtnl.Link{}
		// Another may have its name already, if it was renamed before it went.
		for _, other := range d.links {
			if other.Name == p.configured {
				p.link = other
			}
		}
	case p.link.Index == link.Index:
		p.link = link
	case !gone && p.link.Index == 0 && (link.Name == p.name || link.Name == p.configured):
		p.link = link
	default:
		return false
	}
	if p.link.Index != 0 && p.link.Name != p.name {
		d.renamed(p, p.link.Name)
	}
	return true
}

// renamed gives the parent and whatever tells of it the new name.
func (d *Daemon) renamed(p *parent, name string) {
	old := p.name
	if p.port != nil && p.opened.Index == p.link.Index {
		d.log.Warn("parent interface was renamed", d.aboutMachine("was", old, "is", name)...)
	}
	p.name = name
	if d.settings != nil {
		d.settings.Forget(old)
	}
	p.mu.Lock()
	for _, r := range p.routers {
		r.standOn(name) // who judges packets tells of it, too
	}
	p.mu.Unlock()
	for _, r := range p.routers {
		d.identityChanged(r)
	}
}

// parentChanged: the parent is the same interface, with another name, MAC or MTU,
// or something that concerns nobody here. The sockets, which go by its index, and
// the virtual interfaces on it stay as they are.
func (d *Daemon) parentChanged(p *parent) {
	was, is := p.opened, p.link
	p.opened = is
	if was.Name != is.Name {
		for _, r := range p.routers {
			d.relabel(r, is.Name)
		}
	}
	if was.MAC != is.MAC {
		d.log.Warn(fmt.Sprintf("the MAC of %s was changed from %s to %s", is.Name, macText(was.MAC), macText(is.MAC)), d.aboutMachine("parent", is.Name)...)
		d.afterStep = append(d.afterStep, func() { d.announceOwn(p) })
		for _, r := range p.routers {
			d.rehomed(r)
		}
	}
	if was.MTU != is.MTU {
		d.followMTU(p)
	}
	if was.Master != is.Master {
		// What could not be put on a port of a bridge may now be, or the other way
		// round; see retryInterface for who comes later.
		for _, r := range p.routers {
			if r.faults&election.FaultInterface != 0 && r.index == 0 {
				d.afterStep = append(d.afterStep, func() { _ = d.ensure(r) }) // it reports
			}
		}
	}
}

// rehomed: the parent has another MAC, which with -n is that of the virtual addresses.
func (d *Daemon) rehomed(r *router) {
	if !r.cfg.NoVMAC {
		return
	}
	d.identityChanged(r)
	d.afterStep = append(d.afterStep, func() {
		if r.announced && !d.passed(d.machine.View().Word.Epoch()) {
			d.announceAll(r)
		}
	})
}

// relabel has the worker write the parent's new name into the alias of the
// interface, and then has the settings watched that are found under that name. The
// kernel tells of a rename before it has made them; whoever has changed an
// interface since knows that it is through.
func (d *Daemon) relabel(r *router, parent string) {
	iface := r.iface
	if iface == nil {
		return
	}
	d.work(func() {
		err := iface.Relabel(parent)
		d.inbox.call(func() {
			if err != nil {
				d.log.Debug("cannot label the interface", d.about(r, "err", err)...)
			}
			if r.iface == iface {
				d.followSettings(r)
			}
		})
	})
}

// followMTU gives the virtual interfaces the MTU of their parent, and says if an
// advert does not fit any more: then it cannot be sent, which is a fault of its
// own.
func (d *Daemon) followMTU(p *parent) {
	mtu := p.link.MTU
	for _, r := range p.routers {
		if err := r.fits(mtu); err != nil {
			d.log.Error(err.Error(), d.about(r)...)
		}
		iface := r.iface
		if iface == nil {
			continue
		}
		d.work(func() {
			if err := iface.FollowMTU(mtu); err != nil {
				d.inbox.call(func() { d.log.Error("the MTU does not follow", d.about(r, "err", err)...) })
			}
		})
	}
}

// standOn gives the router's parent another name. What was asked for stays as it is.
func (r *router) standOn(parent string) {
	if r.cfg.Interface == parent {
		return
	}
	c := *r.cfg
	c.Interface = parent
	if c.NoVMAC {
		c.Name = parent
	}
	r.configure(&c)
}
