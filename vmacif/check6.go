package vmacif

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
)

// warn6 is warn for an IPv6 router. It refuses where there is no IPv6.
func warn6(spec Spec, s survey, addrs []held) (warnings []string, err error) {
	off, err := s.sysctl("ipv6", spec.Parent, "disable_ipv6")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse("there is no IPv6 on %s: its MTU is below 1280, or the kernel was started without IPv6", spec.Parent)
	case err != nil:
		return nil, fmt.Errorf("check %s: %w", spec.Parent, err)
	case off != "0":
		return nil, refuse("IPv6 is switched off on %s: set net.ipv6.conf.%s.disable_ipv6 to 0", spec.Parent, spec.Parent)
	}
	var nets []netip.Prefix
	own := false
	for _, a := range addrs {
		switch ip := a.Prefix.Addr(); {
		case a.Index != s.parent.Index || !ip.Is6():
		case linkLocal(ip):
			own = true
		case a.Prefix.Bits() < 128:
			nets = append(nets, a.Prefix.Masked())
		}
	}
	// One that is down gets its address when it comes up.
	if s.parent.Up && s.parent.GenMode == genModeNone && !own {
		warnings = append(warnings, fmt.Sprintf("%s has no link-local address and makes none, and adverts are sent from one: give it one, like fe80::1:1/64, another one on each machine", spec.Parent))
	}
	for _, vip := range spec.Addresses {
		inside := func(p netip.Prefix) bool { return p.Contains(vip) }
		if !linkLocal(vip) && len(nets) > 0 && !slices.ContainsFunc(nets, inside) {
			warnings = append(warnings, fmt.Sprintf("%s is in no subnet of %s: its users need a route to it, and this machine one back", vip, spec.Parent))
		}
	}
	return warnings, nil
}

// Forwards reports whether the machine forwards IPv6 from this interface: whether
// its neighbour advertisements say that it is a router.
func (i *Iface) Forwards() bool {
	v, err := readSysctl("ipv6", i.spec.Name, "forwarding")
	return err == nil && v != "0"
}
