package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/lan"
	"vrrpd/rtnl"
	"vrrpd/vrrp"
)

// Unicast peers: the adverts of a router that has them go to each of them and not to the
// group, and nobody else's count. Everything else is as ever, but that nobody can be
// asked who serves: the peers may be on other LANs.

// unicast reports whether the router has peers.
func (r *router) unicast() bool { return r.style.unicast }

// destinations are where the router's adverts go.
func destinations(c config.Router, family vrrp.Family) []netip.Addr {
	if len(c.Peers) > 0 {
		return c.Peers
	}
	return []netip.Addr{family.Group()}
}

// peerTTL is the least TTL with which a router's adverts are taken.
func peerTTL(c config.Router) uint8 {
	if len(c.Peers) == 0 {
		return 0 // the protocol's own
	}
	return max(c.PeerTTL, 1)
}

// global reports whether the adverts come from an address that routers forward: those to
// peers that do not have link-local ones.
func (r *router) global() bool {
	return r.unicast() && r.cfg.Peers[0].Is6() && !r.cfg.Peers[0].IsLinkLocalUnicast()
}

// checkPeers refuses a peer that is this machine. It changes nothing.
func checkPeers(routers ...*router) error {
	if !slices.ContainsFunc(routers, (*router).unicast) {
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		for _, r := range routers {
			if slices.Contains(r.cfg.Peers, prefix.Addr()) {
				return config.UsageError(fmt.Sprintf("--peer %s: that is an address of this machine; give those of the other machines only", prefix.Addr()))
			}
		}
	}
	return nil
}

// know keeps what is addressed to this machine for parents that have routers with
// peers: every address but the virtual ones, which are somebody else's
// tomorrow.
func (d *Daemon) know() {
	var own map[netip.Addr]bool
	for _, p := range d.parents {
		if !slices.ContainsFunc(p.routers, (*router).unicast) {
			continue
		}
		if own == nil {
			own = make(map[netip.Addr]bool)
			for _, addrs := range d.addrs {
				for _, a := range addrs {
					if ip := a.Prefix.Addr(); !d.isVirtual(ip) {
						own[ip] = true
					}
				}
			}
		}
		p.mu.Lock()
		p.own = own // never changed
		p.mu.Unlock()
	}
}

// sourceOf is the address that a router's adverts come from.
func (d *Daemon) sourceOf(r *router, sources [2]addr) addr {
	p := r.parent
	if !r.global() || p.link.Index == 0 {
		return sources[familyIndex(r.rules.Family)]
	}
	source, _ := rtnl.GlobalIPv6(d.addrs[p.link.Index], r.source, p.virtual()...)
	return source
}

// foreign says why an advert is not for this router, wherever it may be from. Called
// under mu.
//
// Who is no peer is none whatever its adverts look like: nothing of their authentication
// is looked at, no mark moves, and no other counter.
func (p *parent) foreign(r *router, in *lan.Received) vrrp.Drop {
	switch {
	case r.unicast() == in.Dst.IsMulticast():
		return vrrp.DropDestination
	case !r.unicast():
		return vrrp.DropNone
	case !slices.Contains(r.cfg.Peers, in.Src):
		return vrrp.DropPeer
	case !p.own[in.Dst]:
		return vrrp.DropDestination // on its way to somebody else
	}
	return vrrp.DropNone
}

// manners are the families in which the parent's routers speak to peers, and those of
// them in which none speaks to the group.
func (p *parent) manners() (unicast, ungrouped []uint8) {
	families, _ := p.families()
	for _, f := range families {
		var one, all bool
		for _, r := range p.routers {
			if uint8(r.rules.Family) == f {
				one, all = one || r.unicast(), all || !r.unicast()
			}
		}
		if one {
			unicast = append(unicast, f)
		}
		if !all {
			ungrouped = append(ungrouped, f)
		}
	}
	return unicast, ungrouped
}

// tell sends an advert to every peer. It is sent if the kernel has taken it for one of
// them: to whom it cannot be sent is as if that one did not hear it, which nobody knows of
// the others either; the election on their side tells. If no peer can be spoken to, this
// machine is as deaf as with its cable pulled.
func (d *Daemon) tell(p *parent, r *router, a *election.Action) {
	f, err := r.ready(a.Priority)
	if err != nil || p.port == nil {
		d.unsent(a)
		return
	}
	frames := f.parts
	if r.cfg.Beside2 {
		second, err := r.ready2(a.Priority)
		if err != nil {
			d.unsent(a)
			return
		}
		d.probes = append(append(d.probes[:0], frames...), second.parts...)
		frames = d.probes
	}
	before := boottime()
	sent, err := p.port.SendUnicast(frames)
	after := boottime()
	if err != nil {
		d.lastSendError = err
	}
	if sent == 0 {
		d.unsent(a)
		return
	}
	r.sent.failed += uint64(len(frames) - sent)
	r.sent.adverts += uint64(sent)
	if a.Priority == 0 {
		r.sent.zero += uint64(sent)
	}
	d.advertised(r, a, before, after)
}

// recorded is as much of a last word as a record has room for: whole frames, to the
// first peers.
func recorded(word []byte) []byte {
	if len(word) <= grouplock.MaxFrame {
		return word
	}
	size := 0
	for _, f := range lan.Split(word) {
		if size+len(f) > grouplock.MaxFrame {
			break
		}
		size += len(f)
	}
	return word[:size]
}
