package lan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Adverts to single machines. Where such a machine is, on the LAN or behind a router,
// is the kernel's to find: routes, neighbours, and the MAC that the packet goes to. So
// they leave by raw IP sockets, bound to the parent, with the IP header that the
// builders made, and pass the host's firewall (OUTPUT), which adverts to the group do
// not.

// unicast are these sockets; -1: not open.
type unicast struct {
	vrrp4, ah4, vrrp6 int
	index             uint32

	// Of send, so that it allocates nothing.
	to4 unix.SockaddrInet4
	to6 unix.SockaddrInet6
}

// openUnicast opens the sockets for the families, bound to the interface; index 0: to
// none.
//
// They receive nothing, but that they are there keeps the kernel from telling the
// peers by ICMP that nobody wants the protocol: it does not know of packet sockets.
func openUnicast(index int, families []uint8) (unicast, error) {
	u := unicast{vrrp4: -1, ah4: -1, vrrp6: -1, index: uint32(index)}
	var err error
	for _, family := range families {
		switch family {
		case 4:
			if u.vrrp4, err = rawSocket(index, unix.AF_INET, ProtocolVRRP); err == nil {
				u.ah4, err = rawSocket(index, unix.AF_INET, ProtocolAH)
			}
		case 6:
			u.vrrp6, err = rawSocket(index, unix.AF_INET6, ProtocolVRRP)
		}
		if err != nil {
			return u, errors.Join(err, u.close())
		}
	}
	return u, nil
}

func rawSocket(index, family, protocol int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: refuse}}
	err = os.NewSyscallError("setsockopt SO_ATTACH_FILTER",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(nothing)), Filter: &nothing[0]}))
	level, header := unix.IPPROTO_IP, unix.IP_HDRINCL
	if family == unix.AF_INET6 {
		level, header = unix.IPPROTO_IPV6, unix.IPV6_HDRINCL
	}
	set := func(name string, level, option, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt "+name, unix.SetsockoptInt(fd, level, option, value))
		}
	}
	set("IP_HDRINCL", level, header, 1)
	if index > 0 {
		set("SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
	}
	set("SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, priorityControl)
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// send sends the packet of one frame to its destination.
func (u *unicast) send(frame []byte) error {
	ip := IPPacket(frame)
	if ip[0]>>4 == 6 {
		u.to6.Addr = [16]byte(ip[24:40])
		u.to6.ZoneId = 0
		if netip.AddrFrom16(u.to6.Addr).IsLinkLocalUnicast() {
			u.to6.ZoneId = u.index
		}
		return unix.Sendto(u.vrrp6, ip, 0, &u.to6)
	}
	u.to4.Addr = [4]byte(ip[16:20])
	fd := u.vrrp4
	if ip[9] == ProtocolAH {
		fd = u.ah4
	}
	return unix.Sendto(fd, ip, 0, &u.to4)
}

func (u *unicast) close() error {
	var errs []error
	for _, fd := range [...]int{u.vrrp4, u.ah4, u.vrrp6} {
		if fd >= 0 {
			errs = append(errs, os.NewSyscallError("close", unix.Close(fd)))
		}
	}
	u.vrrp4, u.ah4, u.vrrp6 = -1, -1, -1
	return errors.Join(errs...)
}

// SendUnicast sends adverts to single machines, each by itself: one that is refused
// keeps none of the others back. It returns how many the kernel has taken, and the last
// error; those of Send, and unix.EPERM (the host's firewall), unix.ENETUNREACH and
// unix.EHOSTUNREACH. It allocates nothing.
//
// Taken is not the same as on the wire here either: until the kernel knows where the
// next machine on the way is, or in vain tries to find out, packets wait or are lost
// without an error.
func (p *Port) SendUnicast(frames [][]byte) (sent int, err error) {
	for _, f := range frames {
		if e := p.unicast.send(f); e != nil {
			err = e
			continue
		}
		sent++
	}
	p.count.sent.Add(uint64(sent))
	p.count.unsent.Add(uint64(len(frames) - sent))
	if err != nil {
		if p.closed.Load() {
			err = net.ErrClosed
		}
		return sent, fmt.Errorf("send %d of %d adverts from %s to peers: %w", len(frames)-sent, len(frames), p.cfg.Name, err)
	}
	return sent, nil
}

// IsUnicast reports whether a frame of the builders is for a single machine: it has no
// destination MAC.
func IsUnicast(frame []byte) bool { return len(frame) >= 6 && [6]byte(frame) == [6]byte{} }

// Split takes apart frames of the builders that were put one behind the other. What
// none of them would make ends the list.
func Split(frames []byte) (all [][]byte) {
	for len(frames) >= ethernetSize+ipv4Size {
		ip := frames[ethernetSize:]
		size := ethernetSize
		switch ip[0] >> 4 {
		case 4:
			size += int(ip[2])<<8 | int(ip[3])
		case 6:
			size += ipv6Size + (int(ip[4])<<8 | int(ip[5]))
		default:
			return all
		}
		if size < ethernetSize+ipv4Size || size > len(frames) {
			return all
		}
		all = append(all, frames[:size:size])
		frames = frames[size:]
	}
	return all
}
