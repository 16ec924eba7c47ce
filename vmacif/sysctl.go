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
// and journalled, because they are the administrator's. They are for IPv4: IPv6
// answers for what is on an interface on that interface alone, and asks in its name.
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

// vmacSettings are written on the virtual interface, whatever the router's family:
// that of an IPv6 router must not answer ARP for the parent's addresses either, nor
// forward IPv4.
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
var vmacSettings = [...]setting{
	{"ipv4", "arp_ignore", "1"},
	{"ipv4", "arp_announce", "2"},
	{"ipv4", "arp_filter", "0"},
	{"ipv4", "rp_filter", "2"},
	{"ipv4", "proxy_arp", "0"},
}

// vmacSettings4 are those of an IPv4 router alone: nothing of IPv6 may leave with
// its virtual MAC.
var vmacSettings4 = [...]setting{
	{"ipv6", "disable_ipv6", "1"},
}

// vmacSettings6 are those of an IPv6 router alone.
//
//   - disable_ipv6=0: whatever the default for new interfaces is.
//   - autoconf=0, accept_ra=0: no address and no route of its own from somebody's
//     router advertisement, and no solicitation for one.
//   - accept_dad=0, dad_transmits=0: an address that a script adds serves at once,
//     too, and asks nobody for a duplicate.
//   - ndisc_notify=0: vrrpd announces, when the guard is open.
//   - proxy_ndp=0: proxying is the parent's business.
//   - forwarding=0 for IPv4.
var vmacSettings6 = [...]setting{
	{"ipv4", "forwarding", "0"},
	{"ipv6", "disable_ipv6", "0"},
	{"ipv6", "autoconf", "0"},
	{"ipv6", "accept_ra", "0"},
	{"ipv6", "accept_dad", "0"},
	{"ipv6", "dad_transmits", "0"},
	{"ipv6", "ndisc_notify", "0"},
	{"ipv6", "proxy_ndp", "0"},
}

// inherited6 are the IPv6 settings that the virtual interface takes over from its
// parent. forwarding also decides whether neighbour advertisements say that this is
// a router (RFC 9568 section 6.4.3); force_forwarding whether it is one although the
// machine as a whole is none.
var inherited6 = [...]string{
	"forwarding", "force_forwarding", "accept_redirects", "accept_source_route", "disable_policy",
	"drop_unicast_in_l2_multicast",
}

// inherited are the settings that the virtual interface takes over from its
// parent for IPv4: what the kernel asks of the interface on which a packet came in.
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
	if err := ofOne(family, iface, key); err != nil {
		return "", false, err
	}
	was, err = readSysctl(family, iface, key)
	if err != nil || was == value {
		return was, false, err
	}
	if err := putSysctl(family, iface, key, value); err != nil {
		return was, false, err
	}
	return was, true, nil
}

// ofOne refuses what is not the setting of one interface.
func ofOne(family, iface, key string) error {
	if iface == "all" || iface == "default" || iface == "" {
		return fmt.Errorf("write net.%s.conf.%s.%s: not the setting of one interface", family, iface, key)
	}
	return nil
}

// putSysctl writes a setting whose value is known to be another one.
func putSysctl(family, iface, key, value string) error {
	if err := ofOne(family, iface, key); err != nil {
		return err
	}
	fd, err := unix.Open(sysctlPath(family, iface, key), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("write net.%s.conf.%s.%s=%s: %w", family, iface, key, value, err)
	}
	return nil
}

// parentWanted are the settings of the parent of a router of the family.
func parentWanted(family uint8) []setting {
	if family == 6 {
		return nil
	}
	return parentSettings[:]
}

// vmacWanted are the settings of the virtual interface of a router of the family on
// a parent, which it takes some of over from.
func vmacWanted(parent device, family uint8) ([]setting, error) {
	own, proto, keys := vmacSettings4[:], "ipv4", inherited[:]
	if family == 6 {
		own, proto, keys = vmacSettings6[:], "ipv6", inherited6[:]
	}
	wanted := slices.Concat(vmacSettings[:], own)
	for _, key := range keys {
		value, err := parent.sysctls(proto, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, setting{proto, key, value})
	}
	return wanted, nil
}

// differ says which settings of an interface, as it was looked at, are not as wanted. A
// setting that this kernel does not have is left out.
func differ(d device, wanted []setting) (wrong []setting, found []string, err error) {
	for _, s := range wanted {
		switch was, err := d.sysctls(s.family, s.key); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, nil, err
		case was != s.value:
			wrong = append(wrong, s)
			found = append(found, fmt.Sprintf("sysctl %s.%s=%s", d.Name, s.key, was))
		}
	}
	return wrong, found, nil
}

// correct writes what differ has found wrong.
func correct(iface string, wrong []setting) error {
	for _, s := range wrong {
		if err := putSysctl(s.family, iface, s.key, s.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// settle makes the settings of an interface as wanted, and says which were not. A
// setting that this kernel does not have is left out.
func settle(iface string, wanted []setting) (found []string, err error) {
	for _, s := range wanted {
		was, wrong, err := writeSysctl(s.family, iface, s.key, s.value)
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
