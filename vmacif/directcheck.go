package vmacif

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// CheckDirect says whether the addresses could be put on the parent, as Check does
// for an interface, without changing anything.
func (h *Hands) CheckDirect(spec DirectSpec) (warnings []string, err error) {
	parent, stale, err := h.surveyDirect(spec)
	if err != nil {
		return nil, err
	}
	addrs, err := h.staying(spec.Owner)
	if err != nil {
		return nil, err
	}
	addrs = slices.DeleteFunc(addrs, func(a held) bool {
		return slices.ContainsFunc(stale, func(d device) bool { return d.Index == a.Index })
	})
	if err := h.judgeDirect(spec, parent, addrs); err != nil {
		return nil, err
	}
	asSpec := Spec{Parent: spec.Parent}
	for _, p := range spec.Addresses {
		if p.IsSingleIP() { // a length of the user's own brings a route along
			asSpec.Addresses = append(asSpec.Addresses, p.Addr())
		}
	}
	if spec.Family == 6 {
		return warn6(asSpec, survey{look: h.blank(), parent: parent}, addrs)
	}
	return warnSubnets(asSpec, parent, addrs), nil
}

// surveyDirect finds the parent, and refuses one that cannot have the addresses. stale
// are interfaces that the same instance has left, when it had the same virtual router
// with a virtual MAC.
func (h *Hands) surveyDirect(spec DirectSpec) (parent device, stale []device, err error) {
	if spec.Family != 4 && spec.Family != 6 || spec.VRID == 0 || len(spec.Addresses) == 0 || spec.Owner == "" {
		return device{}, nil, refuse("%s: not a virtual router: %+v", spec.Parent, spec)
	}
	all, err := h.wire.devices()
	if err != nil {
		return device{}, nil, fmt.Errorf("list interfaces: %w", err)
	}
	find := func(fits func(device) bool) (d device) {
		if i := slices.IndexFunc(all, fits); i >= 0 {
			d = all[i]
		}
		return d
	}
	parent = find(func(d device) bool { return d.Name == spec.Parent })
	master := find(func(d device) bool { return parent.Master != 0 && d.Index == parent.Master })
	_, ours := ownerOf(parent.Alias)
	switch {
	case parent.Index == 0:
		return device{}, nil, noParent(Spec{Parent: spec.Parent}, all)
	case ours:
		return device{}, nil, refuse("%s is the virtual interface of a vrrpd itself: name the interface under it", parent.Name)
	case parent.Master != 0 && master.Name == "":
		return device{}, nil, refuse("%s is a port of another interface: use that one", parent.Name)
	case parent.Master != 0 && master.Kind != "vrf":
		return device{}, nil, refuse("%s is a port of %s: use -i %s", parent.Name, master.Name, master.Name)
	case parent.Type == unix.ARPHRD_LOOPBACK:
		return device{}, nil, refuse("%s is the loopback interface: use the one that leads to the LAN", parent.Name)
	case parent.Type != unix.ARPHRD_ETHER:
		return device{}, nil, refuse("%s is not an Ethernet interface, on which it could be said where an address is: use another interface", parent.Name)
	}
	vmac := [6]byte{0, 0, 0x5e, 0, 1, spec.VRID} // RFC 9568 section 7.3
	if spec.Family == 6 {
		vmac[4] = 2
	}
	for _, d := range all {
		if owner, tagged := ownerOf(d.Alias); tagged && d.Kind == "macvlan" && owner == spec.Owner && d.MAC == vmac {
			stale = append(stale, d)
		}
	}
	return parent, stale, nil
}

// judgeDirect refuses addresses that the machine has already, and a virtual router that
// somebody else runs.
func (h *Hands) judgeDirect(spec DirectSpec, parent device, addrs []held) error {
	var twin string
	err := h.readDirect(func(n *directNote) error {
		if n.Owner != spec.Owner && n.Index == parent.Index && n.VRID == spec.VRID && n.Family == spec.Family && h.alive(n.Owner) {
			twin = n.Owner
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("check %s: %w", spec.Parent, err)
	}
	if twin != "" {
		return refuse("VRID %d on %s is already served by the running instance %s: choose another VRID, or stop that instance", spec.VRID, spec.Parent, twin)
	}
	for _, p := range spec.Addresses {
		vip := p.Addr()
		for _, a := range addrs {
			ip := a.Prefix.Addr()
			switch {
			case ip != vip:
			case a.Index == parent.Index:
				return refuse("%s is the own address of %s: a virtual address must belong to no machine, so choose a free one of the LAN, or give %s another address first", vip, parent.Name, parent.Name)
			case !linkLocal(vip):
				return refuse("%s is an address of this machine on another interface than %s: choose a free address, or remove it there first", vip, parent.Name)
			}
			if a.Index != parent.Index || !ip.Is4() || a.Prefix.Bits() > 30 {
				continue
			}
			if net := a.Prefix.Masked(); vip == net.Addr() || vip == broadcastOf(net) {
				return refuse("%s is the network or broadcast address of %s on %s: choose a free address of the LAN", vip, net, parent.Name)
			}
		}
	}
	return nil
}

// subnets are the IPv4 subnets of an interface.
func subnets(addrs []held, index int) (nets []netip.Prefix) {
	for _, a := range addrs {
		if a.Index == index && a.Prefix.Addr().Is4() && a.Prefix.Bits() < 32 {
			nets = append(nets, a.Prefix.Masked())
		}
	}
	return nets
}

// warnSubnets warns of IPv4 addresses that nobody is likely to reach.
func warnSubnets(spec Spec, parent device, addrs []held) (warnings []string) {
	nets := subnets(addrs, parent.Index)
	for _, vip := range spec.Addresses {
		if len(nets) > 0 && !slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(vip) }) {
			warnings = append(warnings, fmt.Sprintf("%s is in no subnet of %s: its users need a route to it, and this machine one back", vip, spec.Parent))
		}
	}
	return warnings
}
