package config

import (
	"net/netip"
	"slices"
)

// MaxPeers is how many unicast peers a virtual router may have: each advert is sent
// to each of them.
const MaxPeers = 32

// setPeer reads a --peer, which may be given as often as there are peers.
func setPeer(f *form, as, value string) error {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return usagef("%s %s: not an IP address; write that of the other machine like 10.16.1.2", as, show(value))
	}
	f.router.Peers = append(f.router.Peers, addr)
	return nil
}

func setPeerTTL(f *form, as, value string) (err error) {
	f.router.PeerTTL, err = octet(as, value, "a TTL is a whole number from 1 to 255, as it arrives: 255 from a peer on the same LAN, 1 less for each router in between")
	return err
}

// validatePeers checks the unicast peers.
func (r Router) validatePeers() error {
	switch n := len(r.Peers); {
	case n == 0 && r.PeerTTL != 0:
		return usagef("a TTL of peers without any peer: give --peer ADDRESS, or drop --peer-ttl; adverts to everybody always need 255")
	case n > MaxPeers:
		return usagef("%d peers: at most %d are possible", n, MaxPeers)
	}
	for i, p := range r.Peers {
		if why := badAddress(netip.PrefixFrom(p, p.BitLen())); why != "" {
			return usagef("peer %s: %s", p, why)
		}
		switch {
		case p.Is4() != (r.Family == 4):
			return usagef("peer %s: the virtual addresses are of IPv%d, and so are the adverts; give the peer's IPv%d address", p, r.Family, r.Family)
		case slices.Contains(r.Peers[:i], p):
			return usagef("peer %s: given twice; once is enough", p)
		case slices.ContainsFunc(r.Addresses, func(a netip.Prefix) bool { return a.Addr() == p }):
			return usagef("peer %s: that is a virtual address; give the own address of the other machine", p)
		case p.IsLinkLocalUnicast() != r.Peers[0].IsLinkLocalUnicast() && p.Is6():
			return usagef("peers %s and %s: adverts come from a link-local address or from another one, so all peers have to be of one kind", r.Peers[0], p)
		}
	}
	return nil
}
