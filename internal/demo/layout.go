package main

import (
	"errors"
	"fmt"
	"net/netip"

	"vrrpd/internal/netlab"
)

// lanPlan is one of the two LANs: what the manual's example says about it, and
// where the demo puts the hosts that the manual leaves out.
type lanPlan struct {
	name   string // of the switch
	nic    string // of both routers on this LAN
	vrid   uint8
	vip    netip.Addr
	subnet netip.Prefix
	line   string // the manual's command, as typed
}

// plan is the example of the manual: two interfaces, two virtual routers, two
// processes that know of each other (-M 2), the same lines on both machines.
func plan() [2]lanPlan {
	const scripts = " -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh"
	return [2]lanPlan{
		{
			name: "LAN A", nic: "eth0", vrid: 51,
			vip: netip.MustParseAddr("10.16.1.200"), subnet: netip.MustParsePrefix("10.16.1.0/24"),
			line: "vrrpd -i eth0 -v 51 ipaddr 10.16.1.200 -M 2" + scripts,
		},
		{
			name: "LAN B", nic: "eth1", vrid: 52,
			vip: netip.MustParseAddr("10.17.1.200"), subnet: netip.MustParsePrefix("10.17.1.0/24"),
			line: "vrrpd -i eth1 -v 52 ipaddr 10.17.1.200 -M 2" + scripts,
		},
	}
}

// The last byte of the hosts' addresses; routers have 1 and 2.
const endHost = 10

// vmac is the name of the virtual interface.
func (l lanPlan) vmac() string { return fmt.Sprintf("vrrp%d", l.vrid) }

// address is the address of the host with the given last byte.
func (l lanPlan) address(last byte) netip.Prefix {
	ip := l.subnet.Addr().As4()
	ip[3] = last
	return netip.PrefixFrom(netip.AddrFrom4(ip), l.subnet.Bits())
}

// picture shows people what is laid out.
const picture = `
                        .1 eth0 +----------+ eth1 .1
                  +-------------|    r1    |-------------+
                  |             +----------+             |
  +--------+   +--+--+                                +--+--+   +--------+
  | client |---|LAN A|  10.16.1.200    10.17.1.200    |LAN B|---| server |
  +--------+   +--+--+    vrrp51         vrrp52       +--+--+   +--------+
     .10          |     both at r1, or both at r2        |         .10
                  |             +----------+             |
                  +-------------|    r2    |-------------+
                        .2 eth0 +----------+ eth1 .2

  LAN A  10.16.1.0/24  VRID 51  virtual address 10.16.1.200 on vrrp51
  LAN B  10.17.1.0/24  VRID 52  virtual address 10.17.1.200 on vrrp52
`

// script is what -U and -D run on both routers: each run leaves one line.
const script = `#!/bin/sh
echo "${0##*/} on $VRRP_INTERFACE: $VRRP_STATE, $VRRP_REASON" >> ` + scriptLog + "\n"

// Paths on a router, in directories of its own.
const (
	scriptLog = "/run/scripts.log"
	binDir    = "/run/demo"
	runDir    = "/run/vrrpd"
)

// programs are the binaries under test, as bytes: every router has its own copy
// in its PATH, so that the manual's lines can be run as typed.
type programs struct{ vrrpd, atropos string }

// laboratory is the layout of the picture, and what measures it.
type laboratory struct {
	lab     *netlab.Lab
	routers [2]*router
	client  *netlab.Host
	server  *netlab.Host
	*instruments
}

// build lays everything out. The caller closes the lab, also after an error.
func build(lab *netlab.Lab, bin programs) (*laboratory, error) {
	l := &laboratory{lab: lab}
	lans := plan()
	var switches [2]*netlab.Switch
	for i, lan := range lans {
		s, err := lab.Switch(lan.name, netlab.SwitchOptions{})
		if err != nil {
			return nil, err
		}
		switches[i] = s
	}
	for i := range l.routers {
		h, err := lab.Host(fmt.Sprintf("r%d", i+1), netlab.HostOptions{Files: map[string]netlab.File{
			"/etc/scripts/MASTER.sh": {Text: script, Mode: 0o755},
			"/etc/scripts/DOWN.sh":   {Text: script, Mode: 0o755},
			binDir + "/vrrpd":        {Text: bin.vrrpd, Mode: 0o755},
			binDir + "/atropos":      {Text: bin.atropos, Mode: 0o755},
		}})
		if err != nil {
			return nil, err
		}
		// What is logged is shown by other means.
		if err := errors.Join(h.OwnDev(), h.DropSyslog()); err != nil {
			return nil, err
		}
		r := newRouter(i, h)
		for n, lan := range lans {
			address := lan.address(byte(i + 1))
			r.cables[n], err = lab.Connect(h, lan.nic, switches[n], netlab.CableOptions{Addrs: []netip.Prefix{address}})
			if err != nil {
				return nil, err
			}
		}
		l.routers[i] = r
	}
	var err error
	if l.client, err = l.endHost("client", lans[0], lans[1], switches[0]); err != nil {
		return nil, err
	}
	if l.server, err = l.endHost("server", lans[1], lans[0], switches[1]); err != nil {
		return nil, err
	}
	l.instruments, err = attach(l)
	return l, err
}

// endHost adds a host on one LAN that reaches the other by the virtual address.
func (l *laboratory) endHost(name string, here, there lanPlan, at *netlab.Switch) (*netlab.Host, error) {
	h, err := l.lab.Host(name, netlab.HostOptions{Light: true, NoForward: true})
	if err != nil {
		return nil, err
	}
	if _, err := l.lab.Connect(h, "eth0", at, netlab.CableOptions{Addrs: []netip.Prefix{here.address(endHost)}}); err != nil {
		return nil, err
	}
	return h, h.AddRoute(there.subnet, here.vip)
}
