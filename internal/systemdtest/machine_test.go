package systemdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// machine is a container with a systemd of its own. It ends with its site, like
// a machine whose power fails.
type machine struct {
	t      *testing.T
	site   *site
	name   string
	number byte
	nspawn *netlab.Proc
	notify *net.UnixConn // where systemd-nspawn tells how far it has come
	leader int           // process id of its systemd, seen from here
	nl     *netlink.Handle
	ports  map[string]*netlab.Sniffer // adverts at the switch's end, by bridge
}

// powerOn starts a machine. Number, from 1, is the last byte of its addresses.
func (s *site) powerOn(name string, number byte) *machine {
	s.t.Helper()
	m := &machine{t: s.t, site: s, name: name, number: number, ports: map[string]*netlab.Sniffer{}}
	socket := "/run/" + name + ".notify"
	check(s.t, s.yard.Do(func() (err error) {
		m.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err == nil {
			err = os.Mkdir(filepath.Join("/sys/fs/cgroup", s.group, name), 0o755)
		}
		return err
	}))
	s.t.Cleanup(func() { m.notify.Close() })
	args := []string{
		"--quiet", "--boot", "--register=no", "--keep-unit", "--notify-ready=yes", "--console=pipe", "--settings=no",
		"--machine=" + name, "--hostname=" + name, "--directory=" + ground.root,
		// What the machine writes goes to a memory of its own, over a root
		// that it shares with the others.
		"--read-only", "--volatile=overlay",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--network-bridge=" + lanA.bridge, "--network-veth-extra=" + lanB.port(name) + ":" + lanB.nic,
		"--bind-ro=" + filepath.Join(ground.bin, "vrrpd") + ":/usr/local/sbin/vrrpd",
		"--bind-ro=" + filepath.Join(ground.bin, "atropos") + ":/usr/local/bin/atropos",
		"--bind-ro=" + filepath.Join(ground.contrib, "vrrpd@.service") + ":/usr/local/lib/systemd/system/vrrpd@.service",
		"--bind-ro=" + filepath.Join(ground.contrib, "vrrpd.service") + ":/usr/local/lib/systemd/system/vrrpd.service",
	}
	// A shell joins the control group and becomes systemd-nspawn.
	var err error
	m.nspawn, err = s.yard.Start(netlab.Command{
		Path: "sh",
		Args: append([]string{"-c", `echo 0 >"$0" && exec systemd-nspawn "$@"`,
			filepath.Join("/sys/fs/cgroup", s.group, name, "cgroup.procs")}, args...),
		Env: []string{"NOTIFY_SOCKET=" + socket},
	})
	check(s.t, err)
	s.t.Cleanup(func() {
		if s.t.Failed() && m.leader != 0 {
			out, _ := m.try("journalctl --no-pager -o short-precise -n 200 -u 'vrrpd@*'")
			s.t.Logf("%s, journal:\n%s", name, out)
		}
	})
	return m
}

// waitBooted waits until systemd has started everything, and plugs the machine
// in.
func (m *machine) waitBooted() {
	m.t.Helper()
	check(m.t, m.notify.SetReadDeadline(time.Now().Add(patience)))
	for buf := make([]byte, 4096); ; {
		n, err := m.notify.Read(buf)
		if err != nil {
			m.t.Fatalf("boot %s: %v", m.name, err)
		}
		if strings.Contains("\n"+string(buf[:n])+"\n", "\nREADY=1\n") {
			break
		}
	}
	check(m.t, m.findLeader())
	ns, err := netns.GetFromPid(m.leader)
	check(m.t, err)
	defer ns.Close()
	m.nl, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	check(m.t, err)
	m.t.Cleanup(m.nl.Close)

	port, err := m.site.yard.Netlink().LinkByName(lanB.port(m.name))
	check(m.t, err)
	bridge, err := m.site.yard.Netlink().LinkByName(lanB.bridge)
	check(m.t, err)
	check(m.t, m.site.yard.Netlink().LinkSetMaster(port, bridge))
	for _, l := range lans {
		check(m.t, m.site.up(l.port(m.name)))
		link, err := m.nl.LinkByName(l.nic)
		check(m.t, err)
		own := l.host(m.number)
		check(m.t, m.nl.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: own.Addr().AsSlice(), Mask: net.CIDRMask(own.Bits(), 32)}}))
		check(m.t, m.nl.LinkSetUp(link))
		m.ports[l.bridge], err = m.site.yard.StartSniffer(l.port(m.name), netlab.SnifferOptions{Match: netlab.MatchAdverts()})
		check(m.t, err)
	}
}

// findLeader finds the first process of the container, which is a child of
// systemd-nspawn and has the number 1 inside.
func (m *machine) findLeader() error {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		status, err := readStatus(dir)
		if err != nil || status["PPid"] != strconv.Itoa(m.nspawn.PID()) {
			continue
		}
		if ids := strings.Fields(status["NSpid"]); len(ids) > 0 && ids[len(ids)-1] == "1" {
			m.leader, err = strconv.Atoi(filepath.Base(dir))
			return err
		}
	}
	return fmt.Errorf("find the first process of %s: none among the children of %d", m.name, m.nspawn.PID())
}

// readStatus reads the status file of a folder of /proc.
func readStatus(dir string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			status[key] = strings.TrimSpace(value)
		}
	}
	return status, nil
}

// try runs a shell command on the machine, and returns what it prints on both
// streams. The error is that of the command.
func (m *machine) try(script string) (string, error) { return m.shell(script, "") }

// sh is try for commands that succeed.
func (m *machine) sh(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %s: %v\n%s", m.name, script, err, out)
	}
	return out
}

// write writes a file on the machine, and makes its folder.
func (m *machine) write(path, text string) {
	m.t.Helper()
	mode := "644"
	if strings.HasPrefix(text, "#!") {
		mode = "755"
	}
	if out, err := m.shell(fmt.Sprintf("mkdir -p %s && cat >%s && chmod %s %[2]s", filepath.Dir(path), path, mode), text); err != nil {
		m.t.Fatalf("%s: write %s: %v\n%s", m.name, path, err, out)
	}
}

func (m *machine) shell(script, stdin string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.leader),
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--", "/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TERM=dumb",
		"SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "SYSTEMD_URLIFY=0"}
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), errors.Join(err, ctx.Err())
}

// configure writes the options of an instance.
func (m *machine) configure(instance, options string) {
	m.t.Helper()
	m.write("/etc/vrrpd/"+instance+".conf", "OPTIONS="+options+"\n")
}

// dropIn changes a unit of the machine.
func (m *machine) dropIn(unit, text string) {
	m.t.Helper()
	m.write("/etc/systemd/system/"+unit+".d/test.conf", text)
	m.sh("systemctl daemon-reload")
}

// show returns a property of a unit.
func (m *machine) show(unit, property string) string {
	m.t.Helper()
	return strings.TrimSuffix(m.sh(fmt.Sprintf("systemctl show --value -p %s %s", property, unit)), "\n")
}

// waitShow waits until a property of a unit fulfils cond.
func (m *machine) waitShow(unit, property string, cond func(string) bool) {
	m.t.Helper()
	netlab.Eventually(m.t, patience, func() (bool, string) {
		value := m.show(unit, property)
		return cond(value), fmt.Sprintf("%s: %s of %s is %q", m.name, property, unit, value)
	})
}

// waitStatus waits until the status line of a unit begins so.
func (m *machine) waitStatus(unit, begins string) {
	m.t.Helper()
	m.waitShow(unit, "StatusText", func(v string) bool { return strings.HasPrefix(v, begins) })
}

// mainPID is the number of a service's main process inside the machine.
func (m *machine) mainPID(unit string) int {
	m.t.Helper()
	pid, err := strconv.Atoi(m.show(unit, "MainPID"))
	if err != nil || pid == 0 {
		m.t.Fatalf("%s: main process of %s: %d, %v", m.name, unit, pid, err)
	}
	return pid
}

// process is a process of a machine, held so that its number cannot become
// another's.
type process struct {
	t  *testing.T
	fd int
}

// process returns the main process of a service.
func (m *machine) process(unit string) process {
	m.t.Helper()
	inside := strconv.Itoa(m.mainPID(unit))
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.leader))
	check(m.t, err)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	check(m.t, err)
	for _, dir := range dirs {
		status, err := readStatus(dir)
		ids := strings.Fields(status["NSpid"])
		if err != nil || len(ids) == 0 || ids[len(ids)-1] != inside {
			continue
		}
		if link, err := os.Readlink(dir + "/ns/pid"); err != nil || link != space {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		check(m.t, err)
		fd, err := unix.PidfdOpen(pid, 0)
		check(m.t, err)
		m.t.Cleanup(func() { unix.Close(fd) })
		return process{m.t, fd}
	}
	m.t.Fatalf("%s: process %s of %s is not to be found", m.name, inside, unit)
	return process{}
}

// signal sends a signal, and returns when it did.
func (p process) signal(sig syscall.Signal) time.Time {
	p.t.Helper()
	at := time.Now()
	if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil {
		p.t.Fatalf("send %v: %v", sig, err)
	}
	return at
}

// waitAdvert waits for an advert that the machine sends after a time.
func (m *machine) waitAdvert(l lan, after time.Time, cond func(netlab.Advert) bool) netlab.Frame {
	m.t.Helper()
	f, err := m.ports[l.bridge].WaitFor(within(m.t, patience), func(f netlab.Frame) bool {
		a, ok := f.Advert()
		return ok && !f.Out && f.At.After(after) && a.VRID == l.vrid && cond(a)
	})
	check(m.t, err)
	return f
}

// adverts are those that the machine has sent between two times.
func (m *machine) adverts(l lan, from, to time.Time) []netlab.Frame {
	m.t.Helper()
	dropped, err := m.ports[l.bridge].Dropped()
	if err != nil || dropped > 0 {
		m.t.Fatalf("%s: the capture lost %d frames, %v", m.name, dropped, err)
	}
	var list []netlab.Frame
	for _, f := range m.ports[l.bridge].Frames(0) {
		if _, ok := f.Advert(); ok && !f.Out && f.At.After(from) && f.At.Before(to) {
			list = append(list, f)
		}
	}
	return list
}

func serving(a netlab.Advert) bool   { return a.Priority > 0 }
func resigning(a netlab.Advert) bool { return a.Priority == 0 }

// link is an interface of the machine; nil if there is none of that name.
func (m *machine) link(name string) netlink.Link {
	m.t.Helper()
	link, err := m.nl.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil
	}
	check(m.t, err)
	return link
}

// holds tells whether the machine has the virtual address.
func (m *machine) holds(l lan) bool {
	m.t.Helper()
	addrs, err := m.nl.AddrList(nil, unix.AF_INET)
	check(m.t, err)
	for _, a := range addrs {
		if a.IP.Equal(l.vip.AsSlice()) {
			return true
		}
	}
	return false
}
