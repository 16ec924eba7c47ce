package vmacif

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Check says whether Ensure and Up could do what spec asks for on this machine
// as it is, without changing anything. A Refused error is one sentence with
// what to do; warnings are sentences about what will work less well than the
// administrator may think.
func (h *Hands) Check(spec Spec) (warnings []string, err error) { return h.Checker().Check(spec) }

// Checker checks many specs of one owner after one look at the machine.
type Checker struct {
	h     *Hands
	look  *look // nil before the first check
	addrs []held
}

// Checker looks at the machine when it is asked first.
func (h *Hands) Checker() *Checker { return &Checker{h: h} }

// Check is that of Hands.
func (c *Checker) Check(spec Spec) (warnings []string, err error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	if c.look == nil {
		l, err := c.h.look()
		if err != nil {
			return nil, err
		}
		if c.addrs, err = c.h.staying(spec.Owner); err != nil {
			return nil, err
		}
		c.look = l
	}
	s, err := c.h.survey(c.look, spec)
	if err != nil {
		return nil, err
	}
	if err := c.h.judgeAddresses(spec, s, c.addrs); err != nil {
		return nil, err
	}
	if spec.Family == 6 {
		return warn6(spec, s, c.addrs)
	}
	return warn(spec, s, c.addrs)
}

// judgeAddresses refuses virtual addresses that the machine has elsewhere.
func (h *Hands) judgeAddresses(spec Spec, s survey, addrs []held) error {
	// What a predecessor of ours has left is emptied before anything is served, and
	// what is ours alive is in the same configuration.
	leaving := func(d device) bool {
		owner, _ := ownerOf(d.Alias)
		return d.Name == spec.Name || owner == spec.Owner || slices.ContainsFunc(s.stale, func(x device) bool { return x.Index == d.Index })
	}
	for _, vip := range spec.Addresses {
		for _, a := range addrs {
			d := s.device(a.Index)
			ip := a.Prefix.Addr()
			if linkLocal(vip) && d.Index != s.parent.Index && d.Parent != s.parent.Index {
				continue // on another link it is another address
			}
			if ip == vip && !leaving(d) {
				owner, ours := ownerOf(d.Alias)
				switch {
				case d.Index == s.parent.Index:
					return refuse("%s is the own address of %s: a virtual address must belong to no machine, so choose a free one of the LAN, or give %s another address first", vip, d.Name, d.Name)
				case ours && s.alive(owner):
					return refuse("%s is already served on %s by the instance %s: choose another address", vip, d.Name, owner)
				case ours:
					return refuse("%s is still on %s, which the dead instance %s left: clean up with vrrpd --release", vip, d.Name, owner)
				default:
					return refuse("%s is an address of this machine on %s: choose a free address, or remove it there first", vip, d.Name)
				}
			}
			if a.Index != s.parent.Index || !ip.Is4() || a.Prefix.Bits() > 30 {
				continue
			}
			if net := a.Prefix.Masked(); vip == net.Addr() || vip == broadcastOf(net) {
				return refuse("%s is the network or broadcast address of %s on %s: choose a free address of the LAN", vip, net, d.Name)
			}
		}
	}
	return nil
}

func broadcastOf(net netip.Prefix) netip.Addr {
	b := net.Addr().As4()
	for bit := net.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}

// warn collects what is allowed and probably not meant.
func warn(spec Spec, s survey, addrs []held) (warnings []string, err error) {
	warnings = warnSubnets(spec, s.parent, addrs)
	say := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	nets := subnets(addrs, s.parent.Index)
	inside := func(ip netip.Addr) bool {
		return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) })
	}

	sysctl := func(iface, key string) string {
		v, rerr := s.sysctl("ipv4", iface, key)
		if rerr != nil && err == nil {
			err = rerr
		}
		return v
	}
	// arp_ignore=1 on the parent ends answers for addresses held elsewhere: on
	// lo, whatever they are, and on other cards, if they are asked for here.
	if sysctl(s.parent.Name, "arp_ignore") == "0" && sysctl("all", "arp_ignore") == "0" {
		var silent []string
		for _, a := range addrs {
			d, ip := s.device(a.Index), a.Prefix.Addr()
			_, ours := ownerOf(d.Alias)
			if a.Index == s.parent.Index || ours || !ip.Is4() || ip.IsLoopback() || a.Scope >= unix.RT_SCOPE_HOST {
				continue
			}
			if d.Type == unix.ARPHRD_LOOPBACK || d.Kind == "dummy" || inside(ip) {
				silent = append(silent, fmt.Sprintf("%s (%s)", ip, d.Name))
			}
		}
		if len(silent) > 0 {
			say("%s will answer ARP for its own addresses only, no longer for %s: route to them, or announce them otherwise", spec.Parent, strings.Join(silent, ", "))
		}
	}
	if v := sysctl("all", "arp_ignore"); v != "0" && v != "1" {
		say("net.ipv4.conf.all.arp_ignore is %s, with which nobody gets an answer for a virtual address: set it to 0 or 1", v)
	}
	if sysctl("all", "rp_filter") == "1" {
		say("net.ipv4.conf.all.rp_filter is 1: the virtual interface gets 2, which works, but on every other one what comes in by another way than its answer leaves is dropped, as happens while two machines share several LANs: set it to 0 or 2")
	}
	if sysctl("all", "arp_filter") != "0" {
		say("net.ipv4.conf.all.arp_filter is 1, with which nobody gets an answer for a virtual address: set it to 0")
	}
	if sysctl(s.parent.Name, "proxy_arp") != "0" || sysctl("all", "proxy_arp") != "0" {
		say("proxy ARP on %s answers with its physical MAC: what it stands for does not move to the other machine", spec.Parent)
	}
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", spec.Parent, err)
	}
	return warnings, nil
}
