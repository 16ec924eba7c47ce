package vmacif

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const sysctlRoot = "/proc/sys/net"

// setting is one sysctl of one interface: its place below
// /proc/sys/net/FAMILY/conf/INTERFACE/ and the value wanted.
type setting struct {
	family string // "ipv4" or "ipv6"
	key    string
	value  string
}

// parentSettings are written on the parent while a virtual router stands on it,
// and journalled, because they are the administrator's.
//
//   - arp_ignore=1: the parent answers ARP only for its own addresses. With the
//     default it answers for the virtual ones, too, with its physical MAC.
//   - arp_announce=2: the machine's own ARP requests carry an address of the
//     parent as the sender. With the default, traffic from a virtual address
//     makes requests that bind it to the physical MAC in the neighbours' caches.
var parentSettings = [...]setting{
	{"ipv4", "arp_ignore", "1"},
	{"ipv4", "arp_announce", "2"},
}

// vmacSettings are written on the virtual interface of an IPv4 router.
//
//   - arp_ignore=1: it answers for its own addresses only, not for the parent's.
//   - arp_announce=2: nor does it ask in the name of the parent's address with
//     the virtual MAC, when a script has put a subnet on it.
//   - arp_filter=0: the way back to a client leads out of the parent, so that
//     with arp_filter the virtual interface would never answer.
//   - rp_filter=2: for the same reason strict filtering would drop everything;
//     the kernel takes the larger of this and all.rp_filter, and 2 is loose.
//     It also ends forwarding together with the last address.
//   - proxy_arp=0: proxying is the parent's business (see Check's warning).
//   - disable_ipv6=1: nothing of IPv6 may leave with the virtual MAC of an IPv4
//     router.
var vmacSettings = [...]setting{
	{"ipv4", "arp_ignore", "1"},
	{"ipv4", "arp_announce", "2"},
	{"ipv4", "arp_filter", "0"},
	{"ipv4", "rp_filter", "2"},
	{"ipv4", "proxy_arp", "0"},
	{"ipv6", "disable_ipv6", "1"},
}

// inherited are the settings that the virtual interface takes over from its
// parent: what the kernel asks of the interface on which a packet came in.
// Packets for the virtual MAC come in on the virtual interface, whose settings
// are otherwise those of "default", whatever the administrator gave the parent.
// Without forwarding, a router with per-interface forwarding loses everything.
//
//   - whether and how it is routed: forwarding, bc_forwarding,
//     accept_source_route, accept_local, route_localnet, src_valid_mark,
//     disable_policy (IPsec policy check)
//   - what is believed and said about routes: accept_redirects,
//     secure_redirects, shared_media, send_redirects
//   - what is written to the log: log_martians
//   - what is not taken in at all: drop_unicast_in_l2_multicast
//
// Not inherited: everything about ARP, and rp_filter, which are ours (above);
// disable_xfrm, which concerns what leaves by an interface, and nothing does;
// igmp and link-event settings, which the interface has no use for.
var inherited = [...]string{
	"forwarding", "bc_forwarding", "accept_source_route", "accept_local",
	"route_localnet", "src_valid_mark", "disable_policy",
	"accept_redirects", "secure_redirects", "shared_media", "send_redirects",
	"log_martians", "drop_unicast_in_l2_multicast",
}

// sysctlPath is the file of a setting. Interface names go in as they are: a dot
// (eth0.10) is no separator in /proc, and a slash cannot be in a name.
func sysctlPath(family, iface, key string) string {
	return filepath.Join(sysctlRoot, family, "conf", iface, key)
}

// readSysctl and writeSysctl use the bare calls: the files are never waited
// for, and a look at all settings of an interface is some thirty of them.

func readSysctl(family, iface, key string) (string, error) {
	var buf [256]byte
	n := 0
	fd, err := unix.Open(sysctlPath(family, iface, key), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		n, err = unix.Read(fd, buf[:])
		_ = unix.Close(fd)
	}
	if err != nil {
		return "", fmt.Errorf("read net.%s.conf.%s.%s: %w", family, iface, key, err)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// writeSysctl writes a setting if it differs, and says whether it did. It never
// writes to "all" or "default".
func writeSysctl(family, iface, key, value string) (was string, changed bool, err error) {
	if iface == "all" || iface == "default" || iface == "" {
		return "", false, fmt.Errorf("write net.%s.conf.%s.%s: not the setting of one interface", family, iface, key)
	}
	was, err = readSysctl(family, iface, key)
	if err != nil || was == value {
		return was, false, err
	}
	fd, err := unix.Open(sysctlPath(family, iface, key), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		_ = unix.Close(fd)
	}
	if err != nil {
		return was, false, fmt.Errorf("write net.%s.conf.%s.%s=%s: %w", family, iface, key, value, err)
	}
	return was, true, nil
}

// tuneVMAC gives the virtual interface its settings and says which were wrong.
func tuneVMAC(name, parent string) (changed []string, err error) {
	wanted, err := vmacWanted(parent)
	if err != nil {
		return nil, err
	}
	return settle(false, name, wanted)
}

// vmacWanted are the settings of a virtual interface on a parent, which it takes
// some of over from.
func vmacWanted(parent string) ([]setting, error) {
	wanted := slices.Clone(vmacSettings[:])
	for _, key := range inherited {
		value, err := readSysctl("ipv4", parent, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, setting{"ipv4", key, value})
	}
	return wanted, nil
}

// settle says which settings of an interface differ from what is wanted, and
// unless look is set makes them so. A setting that this kernel does not have is
// left out.
func settle(look bool, iface string, wanted []setting) (found []string, err error) {
	for _, s := range wanted {
		was, wrong := "", false
		if look {
			was, err = readSysctl(s.family, iface, s.key)
			wrong = was != s.value
		} else {
			was, wrong, err = writeSysctl(s.family, iface, s.key, s.value)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return found, err
		case wrong:
			found = append(found, fmt.Sprintf("sysctl %s.%s=%s", iface, s.key, was))
		}
	}
	return found, nil
}
