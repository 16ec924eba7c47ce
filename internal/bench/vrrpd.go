package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// ourName is how the tables call what is to be compared with the others.
const ourName = "vrrpd"

// ourFile is where its configuration lies on a host.
const ourFile = "/etc/vrrpd/vrrpd.toml"

// vrrpdContender is the daemon under test: one process with a configuration file, or,
// if it is of a version that has none, one for each virtual router.
func vrrpdContender(path string) (contender, error) {
	c := contender{name: ourName, daemon: filepath.Base(path), path: path}
	text, err := say(path, "--version")
	if err != nil {
		return c, err
	}
	c.version = strings.TrimSpace(strings.TrimPrefix(text, "vrrpd "))
	if exec.Command(path, "--example").Run() == nil {
		c.commands = func(h *netlab.Host, routers []peers.Router, _ bool) ([]netlab.Command, error) {
			err := h.WriteFile(ourFile, netlab.File{Text: routersFile(routers)})
			return []netlab.Command{{Path: path, Args: []string{"-F", "-c", ourFile}}}, err
		}
		c.cleanUp = func([]peers.Router) netlab.Command {
			return netlab.Command{Path: path, Args: []string{"--release", "-c", ourFile}}
		}
		return c, nil
	}
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

// routersFile is the configuration file of a machine, whose virtual routers are one
// group, as they are unless the file says otherwise. They have the priority and the
// interval of the first.
func routersFile(routers []peers.Router) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version = 3\npriority = %d\ninterval = %v\n", routers[0].Priority, routers[0].Interval.Seconds())
	for _, r := range routers {
		var vips []string
		for _, a := range r.VIPs {
			vips = append(vips, fmt.Sprintf("%q", a))
		}
		fmt.Fprintf(&b, "\n[[router]]\ninterface = %q\nvrid = %d\nname = %q\naddresses = [%s]\n",
			r.Parent, r.VRID, r.VMAC, strings.Join(vips, ", "))
	}
	return b.String()
}
