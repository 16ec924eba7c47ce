package vmacif

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// judgeParent refuses what cannot carry a macvlan, or would carry it elsewhere
// than the user thinks, and names what to use instead.
func judgeParent(spec Spec, p device, l *look) error {
	all, byIndex := l.all, l.byIndex
	switch p.Kind {
	case "macvlan", "macvtap", "ipvlan", "ipvtap":
		if _, ours := ownerOf(p.Alias); ours {
			return refuse("%s is the virtual interface of a vrrpd itself: name the interface under it", p.Name)
		}
		lower, known := byIndex[p.Parent]
		if p.Foreign || !known {
			return refuse("%s is a %s whose lower interface is outside of this network namespace, where no virtual MAC can be put on it: use another interface, or do without a virtual MAC with -n", p.Name, p.Kind)
		}
		return refuse("%s is a %s, and the kernel would put the virtual interface on its lower interface: use -i %s", p.Name, p.Kind, lower.Name)
	}
	if p.Master != 0 {
		return refusePort(p, byIndex)
	}
	switch {
	case p.Type == unix.ARPHRD_LOOPBACK:
		return refuse("%s is the loopback interface, which leads to no LAN%s", p.Name, oneOf(usable(all)))
	case p.Type != unix.ARPHRD_ETHER:
		return refuse("%s is not an Ethernet interface, and a virtual MAC needs one%s", p.Name, oneOf(usable(all)))
	case p.MAC == spec.MAC:
		return refuse("%s itself has the virtual MAC %s: stop the program that gave it to it, and restore its own MAC", p.Name, macString(p.MAC))
	}
	if bond := below(p, byIndex); bond.Balance != "" {
		// It teaches switches where the MACs of all interfaces on it are, once a
		// second or after a failover, whether these are up or not.
		name := bond.Name
		if bond.Index != p.Index {
			name += " below " + p.Name
		}
		return refuse("%s is a bond in mode %s, which sends frames with the virtual MAC while this machine is BACKUP, too, and draws the switches' attention to itself: use active-backup or 802.3ad, or do without a virtual MAC with -n", name, bond.Balance)
	}
	return nil
}

// below is what a VLAN, or a VLAN of a VLAN, stands on.
func below(d device, byIndex map[int]device) device {
	for range len(byIndex) { // a ring would be the kernel's mistake
		lower, known := byIndex[d.Parent]
		if d.Kind != "vlan" || d.Foreign || !known {
			break
		}
		d = lower
	}
	return d
}

// refusePort refuses a port of something, and names what it is a port of in the end: a
// card may be in a bond, and that in a bridge.
func refusePort(p device, byIndex map[int]device) error {
	top := p
	for range len(byIndex) { // a ring would be the kernel's mistake
		master, known := byIndex[top.Master]
		switch {
		case top.Master == 0:
			return refuse("%s is a port of %s: use -i %s", p.Name, byIndex[p.Master].Name, top.Name)
		case !known:
			return refuse("%s is a port of another interface: use that one", p.Name)
		case master.Kind == "vrf":
			of := "in"
			if top.Index != p.Index {
				of = "a port of " + top.Name + ", which is in"
			}
			return refuse("%s is %s the VRF %s, where the virtual interface would not be: use an interface outside of VRFs", p.Name, of, master.Name)
		case master.Kind == "openvswitch":
			return refuse("%s is a port of an Open vSwitch bridge: use the internal interface of that bridge", p.Name)
		}
		top = master
	}
	return refuse("%s is a port of another interface: use that one", p.Name)
}

func noParent(spec Spec, all []device) error {
	return refuse("there is no interface %s%s", spec.Parent, oneOf(usable(all)))
}

// usable are the names of the interfaces that could be a parent.
func usable(all []device) (names []string) {
	for _, d := range all {
		switch d.Kind {
		case "macvlan", "macvtap", "ipvlan", "ipvtap":
			continue
		}
		if d.Type == unix.ARPHRD_ETHER && d.Master == 0 && d.Balance == "" {
			names = append(names, d.Name)
		}
	}
	return names
}

// oneOf lists candidates in a sentence.
func oneOf(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return ": make one that leads to the LAN"
	case len(names) > most:
		names = append(slices.Clone(names[:most]), "...")
	}
	return ": use one of " + strings.Join(names, ", ")
}
