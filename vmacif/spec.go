package vmacif

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Spec says what interface is wanted.
type Spec struct {
	Name   string  // of the interface, at most 15 bytes, without a dot: "vrrp51"
	Parent string  // interface underneath: "eth0"
	VRID   uint8   // 1..255
	Family uint8   // 4 or 6
	MAC    [6]byte // the virtual MAC
	// Addresses are the virtual addresses, in the user's order.
	Addresses []netip.Addr
	// Owner is the instance that the interface belongs to: unique on the
	// machine, the same after a restart, without white space.
	Owner string
}

// Refused is why something cannot be set up as it was asked for: one sentence
// that names the culprit and what to do. Nothing has been changed. An error
// that is not Refused is a failure of the system.
type Refused string

func (r Refused) Error() string { return string(r) }

func refuse(format string, args ...any) error { return Refused(fmt.Sprintf(format, args...)) }

// aliasWord begins the alias of every interface that vrrpd made.
const aliasWord = "vrrpd"

// alias is what an operator reads in "ip link", and what a later instance
// recognises.
func (s Spec) alias() string {
	return fmt.Sprintf("%s %s vrid %d ipv%d on %s", aliasWord, s.Owner, s.VRID, s.Family, s.Parent)
}

// ownerOf is the instance in an alias; ok is false if vrrpd did not write it.
func ownerOf(alias string) (owner string, ok bool) {
	f := strings.Fields(alias)
	if len(f) < 2 || f[0] != aliasWord {
		return "", false
	}
	return f[1], true
}

// validate refuses what is wrong whatever the machine looks like.
func (s Spec) validate() error {
	switch {
	case s.Family != 4 && s.Family != 6:
		return refuse("%s: address family %d is neither 4 nor 6", s.Name, s.Family)
	case s.VRID == 0:
		return refuse("%s: the VRID must be 1 to 255", s.Name)
	case s.Owner == "" || len(s.Owner) > 100 || strings.ContainsFunc(s.Owner, unprintable):
		return refuse("%s: the instance name %q must be 1 to 100 printable characters without spaces", s.Name, s.Owner)
	case s.MAC == [6]byte{} || s.MAC[0]&1 != 0:
		return refuse("%s: %s cannot be the MAC of an interface", s.Name, macString(s.MAC))
	case len(s.Addresses) == 0:
		return refuse("%s: a virtual router needs at least one address", s.Name)
	}
	if err := validName(s.Name); err != nil {
		return err
	}
	if s.Parent == "" || len(s.Parent) >= unix.IFNAMSIZ || strings.ContainsAny(s.Parent, "/ \t\n") || s.Parent == ".." || s.Parent == "." {
		return refuse("%q cannot be the name of an interface", s.Parent)
	}
	if s.Name == s.Parent {
		return refuse("the virtual interface cannot have the name of its parent %s: choose another one with --name", s.Parent)
	}
	for i, a := range s.Addresses {
		switch {
		case !a.IsValid() || a.Is4() != (s.Family == 4) || a.Is4In6() || a.Zone() != "":
			return refuse("%v is not an IPv%d address", a, s.Family)
		case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			return refuse("%v cannot be a virtual address: choose a free unicast address of the LAN", a)
		}
		for _, b := range s.Addresses[:i] {
			if a == b {
				return refuse("%v is given twice", a)
			}
		}
	}
	return nil
}

// validName refuses names that the kernel, or /proc/sys, or people who write
// sysctl keys would stumble over.
func validName(name string) error {
	switch {
	case name == "":
		return refuse("the virtual interface needs a name: choose one with --name")
	case len(name) >= unix.IFNAMSIZ:
		return refuse("the interface name %s is longer than 15 bytes: choose a shorter one with --name", name)
	case strings.Contains(name, "."):
		return refuse("the interface name %s contains a dot, which breaks its sysctl keys: choose another one with --name", name)
	case name == "all" || name == "default":
		return refuse("an interface cannot be called %s, which means every interface to sysctl: choose another name with --name", name)
	case strings.ContainsAny(name, "/:%\"\\") || strings.ContainsFunc(name, unprintable):
		return refuse("the interface name %q may not contain spaces, slashes, colons, quotes or percent signs: choose another one with --name", name)
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }

func macString(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}
