package main

import (
	"fmt"
	"strings"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// vrrpdContender is the daemon under test, in the form for many virtual routers if it
// has one, else with a process for each.
func vrrpdContender(path string) (contender, error) {
	c := contender{name: ourName, daemon: "vrrpd"}
	text, err := say(path, "--version")
	if err != nil {
		return c, err
	}
	c.version = strings.TrimSpace(strings.TrimPrefix(text, "vrrpd "))
	c.most, c.whyMost = 1, "this version has a process for each virtual router"
	c.commands = func(_ *netlab.Host, routers []peers.Router, whole bool) (list []netlab.Command, err error) {
		for _, r := range routers {
			args := routerArgs(r)
			if whole && len(routers) > 1 {
				args = append(args, "-M", fmt.Sprint(len(routers)))
			}
			list = append(list, netlab.Command{Path: path, Args: args})
		}
		return list, nil
	}
	return c, nil
}

// ourName is how the tables call what is to be compared with the others.
const ourName = "vrrpd"

// routerArgs is the command line of one virtual router.
func routerArgs(r peers.Router) []string {
	args := []string{
		"-F", "-i", r.Parent, "-v", fmt.Sprint(r.VRID), "-p", fmt.Sprint(r.Priority),
		"-d", fmt.Sprint(r.Interval.Seconds()), "--vrrp-version", "3", "--name", r.VMAC,
	}
	for _, a := range r.VIPs {
		args = append(args, a.String())
	}
	return args
}
