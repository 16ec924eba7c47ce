package daemon

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"vrrpd/vmacif"
	"vrrpd/vrrp"
)

// changeRouter changes a router in place.
func (d *Daemon) changeRouter(r *router, to change) {
	p, old := r.parent, r.asked
	asked := to.cfg
	r.asked = &asked
	c := to.cfg
	c.Interface = p.name // it may have been renamed since
	gone := r.vips
	p.mu.Lock()
	r.configure(&c)
	r.vips = nil
	for _, a := range c.Addresses {
		r.vips = append(r.vips, a.Addr())
	}
	r.rules.Version, r.rules.Interval, r.rules.Addrs, r.rules.MinTTL = c.Version, c.Interval, r.vips, peerTTL(c)
	p.mu.Unlock()
	r.forgetFrames()
	if !reflect.DeepEqual(r.auth.config, to.auth) {
		d.takeKey(r, to.auth, to.signer, to.judge)
	}
	if !slices.Equal(gone, r.vips) {
		d.changeAddresses(r, gone)
	}
	d.machine.Update(boottime(), r.vr, r.election())
	d.identityChanged(r)
	d.startOwnHooks(r)
	if old.Interval != c.Interval {
		d.log.Info(fmt.Sprintf("the interval is now %v, was %v", c.Interval, old.Interval), d.about(r)...)
	}
}

// changeAddresses gives the interface the addresses that the router has now: new ones
// first, so that one of them always serves.
func (d *Daemon) changeAddresses(r *router, before []netip.Addr) {
	d.log.Info(fmt.Sprintf("the virtual addresses are now %v, were %v", r.vips, before), d.about(r)...)
	if r.rules.Family == vrrp.IPv6 {
		d.reopen6(r.parent)
	}
	iface, ok := r.iface.(*vmacif.Iface) // on a parent these would be another router's
	if !ok {
		return
	}
	r.round++
	iface.SetAddresses(r.vips)
	if !r.up() {
		return
	}
	d.raise(r)
	var gone []netip.Addr
	for _, ip := range before {
		if !slices.Contains(r.vips, ip) {
			gone = append(gone, ip)
			r.present.remove(ip)
		}
	}
	if err := iface.Drop(gone); err != nil {
		d.log.Error("cannot remove virtual addresses", d.about(r, "err", err)...)
	}
	if r.announced {
		d.announceAll(r)
	}
}

// reopen6 opens the sockets of a parent anew, which are members of groups that follow
// from its virtual routers. What the old ones have heard is read first.
func (d *Daemon) reopen6(p *parent) {
	if p.port == nil {
		return
	}
	_, _ = p.port.Drain()
	closing := p.detach()
	if err := p.open(); err != nil {
		d.log.Error("cannot hear and speak on the parent interface", "parent", p.name, "err", err)
		d.judgeParent(p) // tries again
	}
	d.work(func() { _ = closing() })
}
