package daemon

import (
	"net/netip"
	"slices"

	"vrrpd/lan"
	"vrrpd/vrrp"
)

// tellingSize is room enough for each frame that appendTelling appends.
const tellingSize = max(lan.ARPSize, lan.NeighbourSize)

// telling are the forms of gratuitous ARP that tell where an address is. Neighbour
// advertisements have only one.
type telling uint8

const (
	asRequest telling = 1 << iota
	asReply
	asBoth = asRequest | asReply
)

// frames is how many it takes for an address.
func (t telling) frames(ip netip.Addr) int {
	if t == asBoth && ip.Is4() {
		return 2
	}
	return 1
}

// appendTelling appends the frames that tell a LAN that an address lives at mac:
// gratuitous ARP as request and as reply, or the unsolicited neighbour advertisement
// of a machine that is a router or is not. buf must have room for them.
func appendTelling(frames [][]byte, buf []byte, mac [6]byte, ip netip.Addr, forms telling, router bool) (_ [][]byte, rest []byte) {
	start := len(buf)
	if ip.Is6() {
		buf = lan.AppendAnnouncement(buf, mac, ip, router)
		return append(frames, buf[start:]), buf
	}
	for _, form := range [...]telling{asRequest, asReply} {
		if forms&form != 0 {
			start = len(buf)
			buf = lan.AppendGratuitousARP(buf, mac, ip, form == asReply)
			frames = append(frames, buf[start:])
		}
	}
	return frames, buf
}

// routes reports whether a router's neighbour advertisements say that it is one:
// hosts that have it for their default router give it up otherwise (RFC 4861 section
// 7.2.5).
func (r *router) routes() bool {
	return r.rules.Family == vrrp.IPv6 && r.iface != nil && r.iface.Forwards()
}

// routes is that of the parent's own addresses, which is inherited from it.
func (p *parent) routes() bool { return slices.ContainsFunc(p.routers, (*router).routes) }

// server is the MAC of the machine that is MASTER elsewhere: the virtual one, or, with
// -n, the one that its last advert came from; zero: unknown.
func (d *Daemon) server(r *router) [6]byte {
	if r.cfg.NoVMAC {
		return d.machine.Facts(r.vr).AccMAC
	}
	return r.vmac
}

// farewell says at once, and of this virtual router, that the machine serves it no
// longer: who has preempted it waits for that. See lan.AppendFarewell.
func (d *Daemon) farewell(r *router) {
	p := r.parent
	if p.port == nil || !p.link.Carrier() || !r.source.IsValid() || r.unicast() {
		return
	}
	if r.rules.Family == vrrp.IPv6 {
		d.probeBuf = lan.AppendFarewell6(d.probeBuf[:0], p.link.MAC, r.source, r.vips[0], r.routes())
	} else {
		d.probeBuf = lan.AppendFarewell(d.probeBuf[:0], p.link.MAC, r.source, r.mac(), r.vips[0])
	}
	d.probes = append(d.probes[:0], d.probeBuf)
	if _, err := p.port.Send(d.probes); err != nil {
		d.log.Debug("farewell not sent", "parent", p.name, "err", err)
	}
}

// probe asks the LAN who serves the first address, without telling anybody anything
// that is not true: see lan.AppendARPProbe and lan.AppendSolicitation. Over IPv6 the
// group is asked, and the machine that serves.
func (d *Daemon) probe(r *router) {
	p := r.parent
	if p.port == nil || r.rules.Family == vrrp.IPv6 && !r.source.IsValid() {
		return
	}
	frames, buf := d.probes[:0], d.probeBuf[:0]
	if r.rules.Family == vrrp.IPv6 {
		buf = lan.AppendSolicitation(buf, p.link.MAC, r.source, r.vips[0])
		frames = append(frames, buf)
		if mac := d.server(r); mac != [6]byte{} {
			buf = lan.AppendSolicitationTo(buf, mac, p.link.MAC, r.source, r.vips[0])
			frames = append(frames[:0], buf[:lan.NeighbourSize], buf[lan.NeighbourSize:])
		}
	} else {
		buf = lan.AppendARPProbe(buf, p.link.MAC, r.vips[0])
		frames = append(frames, buf)
	}
	d.probeBuf, d.probes = buf, frames
	if _, err := p.port.Send(frames); err != nil {
		d.log.Debug("probe not sent", "parent", p.name, "err", err)
	}
}
