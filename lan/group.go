package lan

import (
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// groupOf is where adverts of a family go.
func groupOf(family uint8) netip.Addr {
	if family == 6 {
		return Group6()
	}
	return Group4()
}

// join makes the NIC let a group's frames in, by the membership of the packet socket,
// and switches send them, by that of a socket of its own.
func (p *Port) join(group netip.Addr) error {
	if err := p.receiver.join(group); err != nil {
		return err
	}
	family, version := unix.AF_INET, uint8(4)
	if group.Is6() {
		family, version = unix.AF_INET6, 6
	}
	alone := slices.Contains(p.cfg.Ungrouped, version)
	if alone && group.Is4() {
		return nil
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	p.groups = append(p.groups, fd)
	// By index: the parent need not have an address yet.
	if group.Is4() {
		return os.NewSyscallError("setsockopt IP_ADD_MEMBERSHIP", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(p.cfg.Index)}))
	}
	joined := map[netip.Addr]bool{group: alone}
	for _, g := range append([]netip.Addr{group}, p.solicited()...) {
		if joined[g] {
			continue
		}
		joined[g] = true
		if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
			&unix.IPv6Mreq{Multiaddr: g.As16(), Interface: uint32(p.cfg.Index)}); err != nil {
			return os.NewSyscallError("setsockopt IPV6_JOIN_GROUP "+g.String(), err)
		}
	}
	return nil
}

// solicited are the groups on which neighbours ask for the virtual addresses.
func (p *Port) solicited() []netip.Addr {
	var groups []netip.Addr
	for _, a := range p.cfg.Virtual {
		if a.Is6() {
			groups = append(groups, SolicitedNode(a))
		}
	}
	return groups
}

// join makes the receiver's socket a member of a group at layer 2. A second
// membership is no other than the first: both end with the socket.
func (r *receiver) join(group netip.Addr) error {
	mac := multicastMAC(group)
	return r.sock.joinGroup(r.port.cfg.Index, net.HardwareAddr(mac[:]))
}
