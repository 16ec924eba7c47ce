package config

import (
	"net/netip"
	"strconv"
	"time"
)

// Defaults and limits of a virtual router.
const (
	DefaultPriority = 100
	DefaultInterval = time.Second
	MaxAddresses    = 255 // the count field of an advert has 8 bits
	MaxPreemptDelay = 24 * time.Hour

	minIntervalV2 = time.Second
	maxIntervalV2 = 255 * time.Second
	minIntervalV3 = centisecond
	maxIntervalV3 = 4095 * centisecond // the interval field has 12 bits
	centisecond   = 10 * time.Millisecond
)

// Router is one virtual router: one VRID on one interface and one address
// family.
type Router struct {
	// Interface is the parent.
	Interface string
	// Name is that of the interface with the virtual MAC; see DefaultName. With
	// NoVMAC it is Interface.
	Name string
	// VRID is 1 to 255.
	VRID uint8
	// Family is 4 or 6.
	Family uint8
	// Version is that of the protocol, 2 or 3.
	Version uint8
	// Beside2: version 3 is spoken with version 2 beside it (RFC 9568 section 8.4.2,
	// IPv4): both are sent, and both are heard.
	Beside2 bool
	// Priority is 1 to 255; 255 is the owner.
	Priority uint8
	// Interval between adverts: whole seconds 1 to 255 in version 2, whole
	// centiseconds 0.01 to 40.95 s in version 3.
	Interval time.Duration
	// Preempt: take over from a master of lower priority.
	Preempt bool
	// PreemptDelay is how long after the start that may not happen.
	PreemptDelay time.Duration
	// Addresses are the virtual addresses in the order given, with the length
	// given; without one they have that of a host (/32, /128). The first IPv6
	// address is link-local.
	Addresses []netip.Prefix
	// Generated is the link-local address that was made because the user gave
	// none; it is the first of Addresses. Invalid: none was.
	Generated netip.Addr
	// NoVMAC: the addresses sit on the parent, with its own MAC.
	NoVMAC bool
	// NoAccept: packets to the addresses are dropped (Accept_Mode False, RFC 9568
	// section 6.1), unless this machine is the owner.
	NoAccept bool
	// Checksum is that of VRRPv3 adverts over IPv4.
	Checksum Checksum
	// Peers are the other machines, if adverts are sent to each of them instead of
	// to the group, and accepted from nobody else; nil: to the group.
	Peers []netip.Addr
	// PeerTTL is the least TTL or hop limit with which their adverts may arrive; 0:
	// any, because routers may lie in between. Adverts to the group need 255.
	PeerTTL uint8
	// Auth is how adverts are authenticated.
	Auth Auth
	// OnMaster and OnBackup run for this virtual router, besides those of the group.
	OnMaster, OnBackup Command
}

// DefaultName is the name of the interface of a virtual router that the user
// gave no name: vrrp51, or vrrp51v6 for IPv6. Both may stand on one machine.
func DefaultName(vrid, family uint8) string {
	name := "vrrp" + strconv.Itoa(int(vrid))
	if family == 6 {
		name += "v6"
	}
	return name
}

// DefaultVersion is the protocol version of a virtual router for which the
// user gave none: 2 for IPv4 with an interval of whole seconds, so that a
// machine that still runs the C vrrpd can be the peer; 3 otherwise. An interval
// written "1.0" is a whole number of seconds.
func DefaultVersion(family uint8, interval time.Duration) uint8 {
	if family == 4 && interval%time.Second == 0 {
		return 2
	}
	return 3
}

// validateIdentity checks what tells one virtual router of a machine from
// another.
func (r Router) validateIdentity() error {
	if why := badInterface(r.Interface); why != "" {
		return usagef("interface %s: %s", show(r.Interface), why)
	}
	if why := badName(r.Name); why != "" && !r.NoVMAC {
		return usagef("interface name %s: %s", show(r.Name), why)
	}
	switch {
	case r.NoVMAC && r.Name != r.Interface:
		return usagef("interface name %s: without a virtual MAC the addresses are on %s itself", show(r.Name), r.Interface)
	case !r.NoVMAC && r.Name == r.Interface:
		return usagef("interface name %s: that is the parent itself; choose another with --name, like %s", r.Name, DefaultName(r.VRID, r.Family))
	case r.VRID == 0:
		return usagef("VRID 0: a VRID is a whole number from 1 to 255")
	}
	return nil
}

// Validate reports the first thing that is wrong with a virtual router, as a
// UsageError.
func (r Router) Validate() error {
	if err := r.validateIdentity(); err != nil {
		return err
	}
	switch {
	case r.Priority == 0:
		return usagef("priority 0: it means \"I resign\" on the wire; 1 to 254 are possible, 255 for the owner")
	case r.Family != 4 && r.Family != 6:
		return usagef("address family %d: 4 and 6 are possible", r.Family)
	case r.Version != 2 && r.Version != 3:
		return usagef("VRRP version %d: 2 and 3 are possible", r.Version)
	case r.Version == 2 && r.Family == 6:
		return usagef("VRRP version 2: it knows IPv4 only; IPv6 addresses need version 3")
	case r.Beside2 && r.Family == 6:
		return usagef("VRRP version 2+3: version 2 knows IPv4 only, so IPv6 has nothing to migrate; leave --vrrp-version away")
	case r.Beside2 && r.Version != 3:
		return usagef("VRRP version 2 beside %d: only beside 3", r.Version)
	case r.PreemptDelay < 0 || r.PreemptDelay > MaxPreemptDelay:
		return usagef("preemption delay %s: 0 to %s are possible", r.PreemptDelay, MaxPreemptDelay)
	case r.PreemptDelay > 0 && !r.Preempt:
		return usagef("preemption delay %s: there is nothing to delay while preemption is switched off; drop --preempt-delay or -s", r.PreemptDelay)
	}
	if err := r.validateInterval(); err != nil {
		return err
	}
	if err := r.validateChecksum(); err != nil {
		return err
	}
	if r.NoVMAC && r.NoAccept {
		return usagef("--no-accept: with -n the addresses are on %s itself, like its own; drop one of both", r.Interface)
	}
	if err := r.Auth.validate(r.Version); err != nil {
		return err
	}
	if err := r.validateAddresses(); err != nil {
		return err
	}
	return r.validatePeers()
}

func (r Router) validateInterval() error {
	seconds := strconv.FormatFloat(r.Interval.Seconds(), 'f', -1, 64)
	switch {
	case r.Version == 2 && r.Interval%time.Second != 0:
		return usagef("interval %s s: VRRPv2 counts whole seconds (1 to 255); give a whole number, or leave --vrrp-version 2 away for VRRPv3", seconds)
	case r.Version == 2 && (r.Interval < minIntervalV2 || r.Interval > maxIntervalV2):
		return usagef("interval %s s: VRRPv2 allows 1 to 255 s (VRRPv3: 0.01 to 40.95 s)", seconds)
	case r.Version == 3 && (r.Interval < minIntervalV3 || r.Interval > maxIntervalV3):
		return usagef("interval %s s: VRRPv3 allows 0.01 to 40.95 s", seconds)
	case r.Beside2 && r.Interval > time.Second && r.Interval%time.Second != 0:
		return usagef("interval %s s: no VRRPv2 router can have it, so with --vrrp-version 2+3 it is a whole number of seconds, or less than one", seconds)
	case r.Version == 3 && r.Interval%centisecond != 0:
		return usagef("interval %s s: VRRPv3 counts hundredths of a second, 0.01 to 40.95 s", seconds)
	}
	return nil
}

// Interval2 is what the adverts of version 2 say beside those of version 3: they count
// whole seconds, and no less than one.
func (r Router) Interval2() time.Duration { return max(r.Interval, minIntervalV2) }

func (r Router) validateAddresses() error {
	switch n := len(r.Addresses); {
	case n == 0:
		return usagef("VRID %d: no virtual address", r.VRID)
	case n > MaxAddresses:
		return usagef("%d addresses: one virtual router carries at most %d; spread them over several VRIDs", n, MaxAddresses)
	}
	seen := make(map[netip.Addr]bool, len(r.Addresses))
	for _, p := range r.Addresses {
		if why := badAddress(p); why != "" {
			return usagef("%s: %s", FormatAddress(p), why)
		}
		addr := p.Addr()
		switch {
		case addr.Is4() != (r.Family == 4):
			return usagef("%s: one virtual router has addresses of one family only, and this one has IPv%d; run two vrrpd, one with the IPv4 and one with the IPv6 addresses, both with -M to share one state", FormatAddress(p), r.Family)
		case seen[addr]:
			return usagef("%s: given twice; once is enough", addr)
		}
		seen[addr] = true
	}
	if r.Family == 6 && !isLinkLocal(r.Addresses[0]) {
		return usagef("%s: the first address of an IPv6 virtual router is a link-local one, like %s", FormatAddress(r.Addresses[0]), LinkLocal(r.VRID))
	}
	return nil
}
