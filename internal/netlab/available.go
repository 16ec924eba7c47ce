package netlab

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Available tells in plain words why this machine cannot host a lab with
// virtual routers, one line for each thing that is missing; nil if it can. It
// tries everything, in namespaces that are gone afterwards.
func Available() error {
	if err := privileged(); err != nil {
		return err
	}
	var errs []error
	missing := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	missing("mount, host-name and process namespaces", onThread(func() error {
		return unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID)
	}))
	missing("private directories (tmpfs and overlay file systems)", onThread(func() error {
		// With a network of its own, or /sys would be what is mounted already.
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
			return err
		}
		return privateView([]string{"/etc"})
	}))
	missing("network namespaces", onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		attrs := func(name string) netlink.LinkAttrs {
			a := netlink.NewLinkAttrs()
			a.Name = name
			return a
		}
		missing("bridges (kernel module bridge)", h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("br0")}))
		err = h.LinkAdd(&netlink.Veth{LinkAttrs: attrs("a"), PeerName: "b"})
		missing("veth pairs (kernel module veth)", err)
		if err != nil {
			return nil // and no parent for a macvlan
		}
		parent, err := h.LinkByName("a")
		if err != nil {
			return err
		}
		macvlan := &netlink.Macvlan{LinkAttrs: attrs("m"), Mode: netlink.MACVLAN_MODE_BRIDGE}
		macvlan.ParentIndex = parent.Attrs().Index
		missing("macvlan interfaces (kernel module macvlan)", h.LinkAdd(macvlan))
		return nil
	}))
	if len(errs) > 0 {
		return fmt.Errorf("this kernel lacks: %w", errors.Join(errs...))
	}
	return nil
}

// privileged tells whether this process may make namespaces and networks.
func privileged() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	var lacks []string
	for _, c := range []struct {
		bit  uint
		name string
	}{{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			lacks = append(lacks, c.name)
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("needs root: user %d lacks %v", os.Geteuid(), lacks)
	}
	return nil
}
