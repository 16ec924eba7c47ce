package daemon

import (
	"net/netip"
	"slices"
	"time"

	"vrrpd/lan"
)

// announceAgain are the repetitions of a gratuitous ARP: the first may be lost,
// or come while a switch port is still learning.
var announceAgain = [...]time.Duration{time.Second, 5 * time.Second}

// announceAll announces every address of the router now and, because the first
// announcement may be lost, twice more.
func (d *Daemon) announceAll(r *router) {
	r.announced = true
	r.announceGen++
	gen := r.announceGen
	d.announce(r, r.announcedAddresses())
	for _, after := range announceAgain {
		d.agenda.add(boottime()+int64(after), func() {
			if r.announceGen == gen && r.announced {
				d.announce(r, r.announcedAddresses())
			}
		})
	}
}

// announce sends gratuitous ARP for the addresses, as request and as reply,
// from the parent with the virtual MAC.
func (d *Daemon) announce(r *router, addrs []netip.Addr) {
	r.sent.announced += d.gratuitous(r.parent, r.mac, addrs)
}

// announceOwn tells the LAN that the machine's own addresses are where they
// were: the manual's gratuitous ARP on every change of sides.
func (d *Daemon) announceOwn(p *parent) {
	if p.port == nil || !p.link.Carrier() {
		return
	}
	var own []netip.Addr
	for _, a := range d.addrs[p.link.Index] {
		if a.Prefix.Addr().Is4() && !d.isVirtual(a.Prefix.Addr()) {
			own = append(own, a.Prefix.Addr())
		}
	}
	d.gratuitous(p, p.link.MAC, own)
}

// gratuitous returns how many frames were really sent.
func (d *Daemon) gratuitous(p *parent, mac [6]byte, addrs []netip.Addr) uint64 {
	if p.port == nil || len(addrs) == 0 {
		return 0
	}
	// Announcements are rare and may be many: one buffer for all of them.
	buf := make([]byte, 0, 2*len(addrs)*lan.ARPSize)
	frames := make([][]byte, 0, 2*len(addrs))
	for _, ip := range addrs {
		for _, reply := range [...]bool{false, true} {
			start := len(buf)
			buf = lan.AppendGratuitousARP(buf, mac, ip, reply)
			frames = append(frames, buf[start:])
		}
	}
	sent, err := p.port.Send(frames)
	if err != nil {
		d.log.Debug("announcement not sent", "parent", p.name, "err", err)
	}
	return uint64(sent)
}

// announceLater announces one address now and again, as long as it stays.
func (d *Daemon) announceLater(r *router, ip addr) {
	gen := r.announceGen
	say := func() {
		if r.announceGen == gen && r.announced && r.present[ip] {
			d.announce(r, []addr{ip})
		}
	}
	// Not before the election has judged what arrived with it.
	d.afterStep = append(d.afterStep, say)
	for _, after := range announceAgain {
		d.agenda.add(boottime()+int64(after), say)
	}
}

// announcedAddresses are the addresses that live at the virtual MAC now: the
// configured ones, and what scripts have added to the interface.
func (r *router) announcedAddresses() []netip.Addr {
	all := slices.Clone(r.vips)
	for a := range r.present {
		if !slices.Contains(r.vips, a) && a.Is4() == r.vips[0].Is4() {
			all = append(all, a)
		}
	}
	slices.SortFunc(all[len(r.vips):], netip.Addr.Compare)
	return all
}

// isVirtual reports whether ip is an address of one of our virtual routers.
func (d *Daemon) isVirtual(ip netip.Addr) bool {
	for _, r := range d.routers {
		for _, v := range r.vips {
			if v == ip {
				return true
			}
		}
	}
	return false
}
