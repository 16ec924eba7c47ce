package peers

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"vrrpd/internal/netlab"
)

// Where Debian has FRR's daemons, and where they want to write on a host.
const (
	FRRDaemons = "/usr/lib/frr"
	frrRun     = "/run/frr"
	frrConf    = "/etc/frr"
	// FRRScratch is a directory of the machine in which FRR's daemons leave files; a
	// host for them has it in HostOptions.Private.
	FRRScratch = "/var/tmp"
)

// FRR is a configuration of FRRouting's vrrpd. Unlike the others it does not make its
// interfaces: see Prepare.
type FRR struct{ Routers []Router }

// Text is the configuration.
func (f FRR) Text() string {
	var b strings.Builder
	b.WriteString("frr defaults traditional\n")
	parent := ""
	for _, r := range f.Routers {
		if r.Parent != parent {
			parent = r.Parent
			fmt.Fprintf(&b, "interface %s\n", parent)
		}
		fmt.Fprintf(&b, " vrrp %d version 3\n vrrp %d priority %d\n", r.VRID, r.VRID, r.Priority)
		if r.Interval > 0 {
			fmt.Fprintf(&b, " vrrp %d advertisement-interval %d\n", r.VRID, r.Interval.Milliseconds())
		}
		for _, a := range r.VIPs {
			fmt.Fprintf(&b, " vrrp %d ip %s\n", r.VRID, a)
		}
	}
	return b.String()
}

// Prepare makes the interfaces with the virtual MACs and addresses, as FRR's manual has
// the administrator do, writes the configuration, and returns what starts zebra, which
// has to run before vrrpd.
func (f FRR) Prepare(h *netlab.Host) (zebra netlab.Command, err error) {
	for _, r := range f.Routers {
		if err := frrInterface(h, r); err != nil {
			return zebra, fmt.Errorf("prepare FRR on %s: %w", h.Name(), err)
		}
	}
	for file, text := range map[string]string{"zebra.conf": "frr defaults traditional\n", "vrrpd.conf": f.Text()} {
		if err := h.WriteFile(frrConf+"/"+file, netlab.File{Text: text}); err != nil {
			return zebra, err
		}
	}
	if err := h.Do(frrOwns); err != nil {
		return zebra, fmt.Errorf("prepare FRR on %s: %w", h.Name(), err)
	}
	return f.daemon("zebra"), nil
}

// Command starts FRR's vrrpd in the foreground.
func (f FRR) Command() netlab.Command { return f.daemon("vrrpd") }

func (f FRR) daemon(name string) netlab.Command {
	return netlab.Command{Path: FRRDaemons + "/" + name, Args: []string{
		"-f", frrConf + "/" + name + ".conf", "-i", frrRun + "/" + name + ".pid", "-z", frrRun + "/zserv.api",
		"--vty_socket", frrRun, "-A", "127.0.0.1",
	}}
}

// frrOwns gives FRR's user its directory on the calling thread's host.
func frrOwns() error {
	u, err := user.Lookup("frr")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(frrRun, 0o755); err != nil {
		return err
	}
	for _, path := range []string{frrRun, frrConf, frrConf + "/zebra.conf", frrConf + "/vrrpd.conf"} {
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

func frrInterface(h *netlab.Host, r Router) error {
	nl := h.Netlink()
	parent, err := nl.LinkByName(r.Parent)
	if err != nil {
		return fmt.Errorf("find %s: %w", r.Parent, err)
	}
	mac := r.MAC()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = r.VMAC, parent.Attrs().Index, net.HardwareAddr(mac[:])
	link := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	if err := nl.LinkAdd(link); err != nil {
		return fmt.Errorf("add %s: %w", r.VMAC, err)
	}
	// Without these a router that is BACKUP answers ARP for the virtual address with the
	// MAC of the parent (issue 16696 of FRRouting/frr): its manual does not mention them.
	for _, ifname := range []string{r.Parent, r.VMAC} {
		if err := h.SetSysctl("net/ipv4/conf/"+ifname+"/arp_ignore", "1"); err != nil {
			return err
		}
	}
	for _, a := range r.VIPs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
		if err := nl.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %v to %s: %w", a, r.VMAC, err)
		}
	}
	if err := nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", r.VMAC, err)
	}
	return nil
}
