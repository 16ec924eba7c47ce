package netlab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Cross connects two hosts by a cable with no switch between them: a new interface ifname
// on each, up, with an address. It goes with the hosts.
func (l *Lab) Cross(ifname string, a, b *Host, ofA, ofB netip.Prefix) error {
	fail := func(err error) error {
		return fmt.Errorf("connect %s of %s and %s: %w", ifname, a.name, b.name, err)
	}
	if err := l.refuse(); err != nil {
		return fail(err)
	}
	l.mu.Lock()
	l.ports++
	index := firstPort + l.ports
	l.mu.Unlock()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index, attrs.MTU, attrs.HardwareAddr = ifname, index, 1500, a.nextMAC()
	if err := a.nl.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: ifname, PeerHardwareAddr: b.nextMAC(),
		PeerNamespace: netlink.NsFd(b.spaces.net.Fd()), PeerMTU: 1500,
	}); err != nil {
		return fail(err)
	}
	for h, addr := range map[*Host]netip.Prefix{a: ofA, b: ofB} {
		if err := h.AddAddr(ifname, addr); err != nil {
			return fail(err)
		}
		nic, err := h.nl.LinkByName(ifname)
		if err != nil {
			return fail(err)
		}
		if err := h.nl.LinkSetUp(nic); err != nil {
			return fail(err)
		}
	}
	return nil
}
