package acceptance

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// runDir is where the processes of a machine meet.
const runDir = "/run/vrrpd"

// router is one of the two machines.
type router struct {
	*netlab.Host
	site   *site
	number int
	opts   options
	cables [2]*netlab.Cable // eth0 on LAN A, eth1 on LAN B
	links  *netlab.LinkLog
	syslog *inbox
}

func (s *site) newRouter(n int, o options) *router {
	s.t.Helper()
	files := map[string]netlab.File{
		"/etc/scripts/MASTER.sh": {Text: script("MASTER.sh", o.master), Mode: 0o755},
		"/etc/scripts/DOWN.sh":   {Text: script("DOWN.sh", o.down), Mode: 0o755},
	}
	h, err := s.lab.Host(fmt.Sprintf("r%d", n), netlab.HostOptions{Files: files})
	check(s.t, err)
	r := &router{Host: h, site: s, number: n, opts: o}
	for i := range lans {
		r.connect(i)
	}
	r.links, err = h.StartLinkLog()
	check(s.t, err)
	check(s.t, h.OwnDev())
	r.syslog = listen(s.t, h, "/dev/log")
	s.t.Cleanup(func() {
		if s.t.Failed() || *logs {
			s.t.Logf("%s, syslog:\n%s", h.Name(), strings.Join(r.syslog.texts(), "\n"))
			s.t.Logf("%s, links: %v", h.Name(), r.links.Events(0))
		}
	})
	return r
}

// loosePower ends the machine without a word.
func (r *router) loosePower() {
	r.site.t.Helper()
	check(r.site.t, r.links.Close())
	r.syslog.close()
	check(r.site.t, r.Close())
}

// connect plugs a NIC of the router into its LAN.
func (r *router) connect(i int) {
	r.site.t.Helper()
	c, err := r.site.lab.Connect(r.Host, lans[i].nic, r.site.switches[i], netlab.CableOptions{
		MAC:   r.mac(lans[i]),
		Addrs: []netip.Prefix{r.own(lans[i])},
	})
	check(r.site.t, err)
	r.cables[i] = c
}

// waitOperational waits until the kernel's link watch has noticed that a NIC is
// connected, which may take a second after the carrier, and until its IPv6
// address is there for good.
func (r *router) waitOperational(nic string) {
	r.site.t.Helper()
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		l, err := r.Netlink().LinkByName(nic)
		if err != nil {
			return false, err.Error()
		}
		settled := l.Attrs().OperState == netlink.OperUp
		addrs, err := r.Netlink().AddrList(l, netlink.FAMILY_V6)
		if off, _ := r.Sysctl("net/ipv6/conf/" + nic + "/disable_ipv6"); off == "0" {
			settled = settled && err == nil && len(addrs) == 1 && addrs[0].Flags&unix.IFA_F_TENTATIVE == 0
		}
		return settled, fmt.Sprintf("%s of %s is %v and has %v, %v", nic, r.Name(), l.Attrs().OperState, addrs, err)
	})
}

// mac is that of the router's NIC on the LAN.
func (r *router) mac(l lan) netlab.MAC {
	return netlab.MAC{0x02, 0, 0, 0, l.vrid, byte(r.number)}
}

// own is the router's own address on the LAN.
func (r *router) own(l lan) netip.Prefix {
	if n := byte(r.number); !r.opts.swapped || l == lanA {
		return l.host(n)
	}
	return l.host(byte(3 - r.number))
}

func (r *router) cable(l lan) *netlab.Cable { return r.cables[l.index()] }

// script is a shell script that writes down that and how it was called, and
// then does more.
func script(name, more string) string {
	return fmt.Sprintf("#!/bin/sh\n{ echo '@%s' \"$#\"; env; echo '@end'; } >> /run/calls.$VRRP_VRID\n%s\n", name, more)
}

// call is one run of a script.
type call struct {
	script string
	args   string // their number
	env    map[string]string
}

// calls are the runs of the scripts of an instance that are complete, in order.
func (r *router) calls(l lan) []call {
	r.site.t.Helper()
	text, err := r.ReadFile(fmt.Sprintf("/run/calls.%d", l.vrid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	check(r.site.t, err)
	var list []call
	var c call
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch key, value, _ := strings.Cut(line, "="); {
		case line == "@end":
			list = append(list, c)
		case strings.HasPrefix(line, "@"):
			name, args, _ := strings.Cut(line[1:], " ")
			c = call{name, args, map[string]string{}}
		default:
			c.env[key] = value
		}
	}
	return list
}

// waitCalls waits until the scripts of an instance have run n times.
func (r *router) waitCalls(l lan, n int) []call {
	r.site.t.Helper()
	var list []call
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		list = r.calls(l)
		return len(list) >= n, fmt.Sprintf("%d runs of scripts for %s on %s: %+v", len(list), l.vrrp(), r.Name(), list)
	})
	return list
}

// typed runs a command line as somebody types it on the machine.
func (r *router) typed(line string, env ...string) netlab.Result {
	r.site.t.Helper()
	result, err := r.Run(within(r.site.t, patience), netlab.Command{Path: "sh", Args: []string{"-c", line}, Env: env})
	check(r.site.t, err)
	return result
}

// start starts the daemon of a LAN in the background, as the manual does.
func (r *router) start(l lan) {
	r.site.t.Helper()
	r.startLine(r.opts.line(r.number, l))
}

func (r *router) startAll() {
	r.site.t.Helper()
	for _, l := range lans {
		r.start(l)
	}
}

// startLine waits where the limit of inotify instances is reached: it is the whole
// machine's, and others that run on it use it, too.
func (r *router) startLine(line string) {
	r.site.t.Helper()
	var got netlab.Result
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		got = r.typed(line)
		return !strings.Contains(got.Stderr, "fs.inotify.max_user_instances"), got.Stderr
	})
	if got.Code != 0 || got.Stdout+got.Stderr != "" {
		r.site.t.Fatalf("%s: %s\nexit %d\n%s%s", r.Name(), line, got.Code, got.Stdout, got.Stderr)
	}
	// Each daemon is a session of its own.
	all, err := r.Find("vrrpd")
	check(r.site.t, err)
	for _, p := range all {
		p.Hurry()
	}
}

// daemon is the process of a LAN, found by its pid file.
func (r *router) daemon(l lan) netlab.Process {
	r.site.t.Helper()
	text, err := r.ReadFile(filepath.Join(runDir, l.instance()+".pid"))
	check(r.site.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	check(r.site.t, err)
	all, err := r.Find("vrrpd")
	check(r.site.t, err)
	for _, p := range all {
		if p.Own == pid {
			return p
		}
	}
	r.site.t.Fatalf("%s: %s.pid says %d, but the vrrpd processes are %+v", r.Name(), l.instance(), pid, all)
	return netlab.Process{}
}

// signal sends a signal to the process of a LAN.
func (r *router) signal(l lan, sig syscall.Signal) {
	r.site.t.Helper()
	check(r.site.t, r.daemon(l).Signal(sig))
}

// stop stops the process of a LAN as init scripts do, and waits until it is gone.
func (r *router) stop(ls ...lan) {
	r.site.t.Helper()
	for _, l := range ls {
		r.signal(l, syscall.SIGTERM)
	}
	r.waitProcesses(len(lans) - len(ls))
}

// waitProcesses waits until so many processes of vrrpd are left.
func (r *router) waitProcesses(n int) {
	r.site.t.Helper()
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		all, err := r.Find("vrrpd")
		check(r.site.t, err)
		return len(all) == n, fmt.Sprintf("%s runs %+v", r.Name(), all)
	})
}

// serving tells whether a virtual interface is as a MASTER's is.
func serving(l lan) func(netlab.Link) bool {
	return func(k netlab.Link) bool { return k.Up && k.Carrier && k.Has(l.vip) }
}

func (r *router) waitServing(l lan) {
	r.site.t.Helper()
	_, err := r.WaitLink(within(r.site.t, patience), l.vrrp(), serving(l))
	check(r.site.t, err)
}

// waitBackup waits until the virtual interface is as a BACKUP's is.
func (r *router) waitBackup(l lan) {
	r.site.t.Helper()
	_, err := r.WaitLink(within(r.site.t, patience), l.vrrp(), func(k netlab.Link) bool {
		return k.Exists() && !k.Up && len(k.Addrs) == 0
	})
	check(r.site.t, err)
}

// fence returns the mark of what happens from now on in the record of the
// machine's links: it waits until the record has come to the present.
func (r *router) fence() int {
	r.site.t.Helper()
	stone := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.number)}), 32)
	mark := r.links.Mark()
	check(r.site.t, r.AddAddr("lo", stone))
	check(r.site.t, r.DelAddr("lo", stone))
	return r.waitEvent(mark, "lo", netlab.AddrGone, stone.Addr()).N + 1
}

// since are the link events from mark on, up to the present.
func (r *router) since(mark int) []netlab.LinkEvent {
	r.site.t.Helper()
	r.fence()
	return slices.DeleteFunc(r.links.Events(mark), func(e netlab.LinkEvent) bool { return e.Link == "lo" })
}

// waitEvent waits for a link event of this machine, from mark on.
func (r *router) waitEvent(mark int, link string, what netlab.Change, addr netip.Addr) netlab.LinkEvent {
	r.site.t.Helper()
	e, err := r.links.WaitFrom(within(r.site.t, patience), mark, func(e netlab.LinkEvent) bool {
		return e.Link == link && e.What == what && (!addr.IsValid() || e.Addr.Addr() == addr)
	})
	check(r.site.t, err)
	return e
}

// status asks the process of a LAN.
func (r *router) status(l lan) control.Status {
	r.site.t.Helper()
	s, err := r.tryStatus(l)
	check(r.site.t, err)
	return s
}

// tryStatus reaches the socket, which is in the host's own /run, through the
// host's first process.
func (r *router) tryStatus(l lan) (control.Status, error) {
	path := fmt.Sprintf("/proc/%d/root%s", r.PID(), control.SocketPath(runDir, l.instance()))
	return control.NewClient(path).Status(within(r.site.t, patience))
}

// waitStatus waits until what the process of a LAN says fulfils cond.
func (r *router) waitStatus(l lan, what string, cond func(control.Status) bool) control.Status {
	r.site.t.Helper()
	var s control.Status
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		var err error
		s, err = r.tryStatus(l)
		return err == nil && cond(s), fmt.Sprintf("wait until %s on %s; %v, %+v", what, r.Name(), err, s.Machine)
	})
	return s
}

// sniff captures what matches at the switch's end of the router's cable.
func (r *router) sniff(l lan, m netlab.Match) *netlab.Sniffer {
	r.site.t.Helper()
	sn, err := r.cable(l).StartSniffer(netlab.SnifferOptions{Match: m})
	check(r.site.t, err)
	return sn
}

// waitAdvert waits for an advert of this router that fulfils cond.
func (r *router) waitAdvert(sn *netlab.Sniffer, mark int, what string, cond func(netlab.Advert) bool) netlab.Frame {
	r.site.t.Helper()
	f, err := sn.WaitFrom(within(r.site.t, patience), mark, func(f netlab.Frame) bool {
		a, ok := f.Advert()
		return ok && !f.Out && cond(a)
	})
	if err != nil {
		r.site.t.Fatalf("%s: %s: %v", r.Name(), what, err)
	}
	return f
}

// waitAdverts waits for n adverts of this router from now on, and returns them.
func (r *router) waitAdverts(sn *netlab.Sniffer, n int) []netlab.Frame {
	r.site.t.Helper()
	var list []netlab.Frame
	mark := sn.Mark()
	for range n {
		f := r.waitAdvert(sn, mark, "goes on to speak", func(netlab.Advert) bool { return true })
		list = append(list, f)
		mark = f.N + 1
	}
	return list
}

// ms is a duration as the figures in the logs show it.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
