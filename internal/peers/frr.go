package peers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// Where Debian has FRR's daemons: one is called like ours.
const (
	FRRDaemon = "/usr/lib/frr/vrrpd"
	FRRZebra  = "/usr/lib/frr/zebra"
	// FRRScratch is a directory of the machine in which they leave files when they
	// crash; a host for them may have it in HostOptions.Private.
	FRRScratch = "/var/tmp"
)

// FRR is a configuration of FRRouting's vrrpd. It wants zebra to run, and the interfaces
// with the virtual MACs and the virtual addresses to be there; a BACKUP's has no carrier
// ("protodown").
type FRR struct {
	Routers []Router
	Version int  // of the protocol; 0: 3
	Waits   bool // does not preempt
	// LinkLocal is the machine's own address on interfaces for IPv6.
	LinkLocal netip.Addr
}

// Text is the configuration.
func (f FRR) Text() string {
	if f.Version == 0 {
		f.Version = 3
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("log stdout informational")
	parent := ""
	for _, r := range f.Routers {
		if r.Parent != parent {
			parent = r.Parent
			say("interface %s", parent)
		}
		say(" vrrp %d version %d", r.VRID, f.Version)
		say(" vrrp %d priority %d", r.VRID, r.Priority)
		if r.Interval > 0 {
			say(" vrrp %d advertisement-interval %d", r.VRID, r.Interval.Milliseconds())
		}
		if f.Waits {
			say(" no vrrp %d preempt", r.VRID)
		}
		for _, a := range r.VIPs {
			if a.Is4() {
				say(" vrrp %d ip %s", r.VRID, a)
			} else {
				say(" vrrp %d ipv6 %s", r.VRID, a)
			}
		}
	}
	return b.String()
}

// Command makes the interfaces that are missing, writes the configuration, starts zebra
// if it does not run, and returns what starts vrrpd in the foreground.
func (f FRR) Command(ctx context.Context, h *netlab.Host) (netlab.Command, error) {
	fail := func(err error) (netlab.Command, error) {
		return netlab.Command{}, fmt.Errorf("FRR on %s: %w", h.Name(), err)
	}
	for _, r := range f.Routers {
		if err := f.makeInterface(h, r); err != nil {
			return fail(err)
		}
	}
	for path, text := range map[string]string{"/etc/frr/zebra.conf": "log stdout\n", "/etc/frr/vrrpd.conf": f.Text()} {
		if err := h.WriteFile(path, netlab.File{Text: text}); err != nil {
			return fail(err)
		}
	}
	if err := startZebra(ctx, h); err != nil {
		return fail(err)
	}
	return netlab.Command{Path: FRRDaemon, Args: []string{"-P", "0", "-f", "/etc/frr/vrrpd.conf"}}, nil
}

func startZebra(ctx context.Context, h *netlab.Host) error {
	running, err := h.Find("zebra")
	if err != nil || len(running) > 0 {
		return err
	}
	// It gives up root for a user of its own.
	err = h.Do(func() error {
		if err := os.MkdirAll("/run/frr", 0o777); err != nil {
			return err
		}
		return os.Chmod("/run/frr", 0o777) // whatever the umask is
	})
	if err != nil {
		return err
	}
	// It goes to the background when it listens.
	r, err := h.Run(ctx, netlab.Command{Path: FRRZebra, Args: []string{"-d", "-P", "0", "-f", "/etc/frr/zebra.conf"}})
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("zebra: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	return err
}

// makeInterface makes the interface with the virtual MAC, if it is not there.
func (f FRR) makeInterface(h *netlab.Host, r Router) error {
	if l, err := h.Link(r.VMAC); err != nil || l.Exists() {
		return err
	}
	// What the address of a BACKUP's interface needs, too: on Linux an address is the
	// machine's, not the interface's, and the parent would answer for it. FRR's manual
	// does not mention it.
	if err := h.SetSysctl("net/ipv4/conf/"+r.Parent+"/arp_ignore", "1"); err != nil {
		return err
	}
	n := h.Netlink()
	parent, err := n.LinkByName(r.Parent)
	if err != nil {
		return fmt.Errorf("find %s: %w", r.Parent, err)
	}
	a := netlink.NewLinkAttrs()
	mac := r.MAC()
	a.Name, a.ParentIndex, a.HardwareAddr = r.VMAC, parent.Attrs().Index, mac[:]
	if err := n.LinkAdd(&netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return fmt.Errorf("add %s: %w", r.VMAC, err)
	}
	link, err := n.LinkByName(r.VMAC)
	if err != nil {
		return fmt.Errorf("find %s: %w", r.VMAC, err)
	}
	// Or it would serve until FRR has thought about it.
	if err := h.DoNet(func() error { return protodown(link.Attrs().Index) }); err != nil {
		return fmt.Errorf("take the carrier from %s: %w", r.VMAC, err)
	}
	addresses, err := f.addresses(h, r)
	if err != nil {
		return err
	}
	if err := n.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", r.VMAC, err)
	}
	for _, p := range addresses {
		ip := net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		// What is tentative for want of a carrier does not exist for zebra.
		if err := n.AddrAdd(link, &netlink.Addr{IPNet: &ip, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %v to %s: %w", p, r.VMAC, err)
		}
	}
	return nil
}

// addresses are those of the interface.
func (f FRR) addresses(h *netlab.Host, r Router) (list []netip.Prefix, err error) {
	for _, a := range r.VIPs {
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	if r.VIPs[0].Is6() {
		// Adverts come from a link-local address of this interface, the newest one.
		// That which the kernel makes of the virtual MAC would be the same on all
		// machines, as the virtual one is.
		err = h.SetSysctl("net/ipv6/conf/"+r.VMAC+"/addr_gen_mode", "1")
		list = append(list, netip.PrefixFrom(f.LinkLocal, 64))
	}
	return list, err
}

// protodown takes the carrier away from an interface, as FRR does and gives it back.
func protodown(index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_PROTO_DOWN, []byte{1}))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
