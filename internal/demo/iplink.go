package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"

	"vrrpd/internal/netlab"
)

// brief is what "ip -br addr show NAME" prints on the host, without running ip.
func brief(h *netlab.Host, name string) string {
	nl := h.Netlink()
	link, err := nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Sprintf("Device %q does not exist.", name)
	}
	if err != nil {
		return err.Error()
	}
	a := link.Attrs()
	shown := a.Name
	if a.ParentIndex != 0 {
		if parent, err := nl.LinkByIndex(a.ParentIndex); err == nil {
			shown += "@" + parent.Attrs().Name
		}
	}
	addrs, err := nl.AddrList(link, netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		addrs, err = nl.AddrList(link, netlink.FAMILY_ALL)
	}
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, addr := range addrs {
		list = append(list, addr.IPNet.String())
	}
	return briefLine(shown, a.OperState.String(), list)
}

// briefLine lays the columns out as iproute2 does.
func briefLine(name, state string, addrs []string) string {
	state = strings.ToUpper(strings.ReplaceAll(state, "-", ""))
	return strings.TrimRight(fmt.Sprintf("%-16s %-14s %s", name, state, strings.Join(addrs, " ")), " ")
}
