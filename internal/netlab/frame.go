package netlab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// MAC is an Ethernet address; the zero value is "none".
type MAC [6]byte

// VMAC returns the virtual MAC of an IPv4 virtual router (RFC 9568 section 7.3).
func VMAC(vrid uint8) MAC { return MAC{0, 0, 0x5e, 0, 1, vrid} }

// Broadcast is the MAC that every station listens to.
func Broadcast() MAC { return MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

func macFrom(b []byte) (m MAC, ok bool) {
	return m, copy(m[:], b) == len(m) && len(b) == len(m)
}

// Frame is one captured Ethernet frame.
type Frame struct {
	N    int       // its number in the capture, from 0
	At   time.Time // stamped by the kernel
	Out  bool      // it left by the port where it was captured
	Data []byte    // from the destination MAC on; a VLAN tag is not part of it
}

// Dst returns the destination MAC.
func (f Frame) Dst() (m MAC) { copy(m[:], f.Data); return m }

// Src returns the source MAC.
func (f Frame) Src() (m MAC) {
	if len(f.Data) >= 12 {
		copy(m[:], f.Data[6:])
	}
	return m
}

func (f Frame) etherType() int {
	if len(f.Data) < ip4At {
		return 0
	}
	return int(binary.BigEndian.Uint16(f.Data[etherTypeAt:]))
}

// ARP is a decoded ARP packet for IPv4 over Ethernet.
type ARP struct {
	Reply              bool
	SenderMAC          MAC
	SenderIP, TargetIP netip.Addr
	TargetMAC          MAC
}

// arpLen is the length of an ARP packet.
const arpLen = 28

// ARP decodes the frame as ARP; false if it is none.
func (f Frame) ARP() (a ARP, ok bool) {
	if f.etherType() != typeARP || len(f.Data) < ip4At+arpLen {
		return a, false
	}
	b := f.Data[ip4At:]
	op := binary.BigEndian.Uint16(b[6:])
	if binary.BigEndian.Uint64(b)>>16 != 0x0001_0800_0604 || op != 1 && op != 2 {
		return a, false
	}
	a.Reply = op == 2
	copy(a.SenderMAC[:], b[8:])
	a.SenderIP = netip.AddrFrom4([4]byte(b[14:18]))
	copy(a.TargetMAC[:], b[18:])
	a.TargetIP = netip.AddrFrom4([4]byte(b[24:28]))
	return a, true
}

// Frame returns the packet as an Ethernet frame.
func (a ARP) Frame(src, dst MAC) []byte {
	b := ethernet(src, dst, typeARP)
	op := uint16(1)
	if a.Reply {
		op = 2
	}
	b = append(b, 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(b, a.SenderMAC[:]...)
	b = append(b, a.SenderIP.AsSlice()...)
	b = append(b, a.TargetMAC[:]...)
	return append(b, a.TargetIP.AsSlice()...)
}

// Advert is what a test wants to know of a VRRP advert. It is decoded without
// any validation, independently of package vrrp, which is what is tested.
type Advert struct {
	Version, VRID, Priority uint8
	TTL                     uint8
	AH                      bool // behind an authentication header
	SrcMAC                  MAC
	Src, Dst                netip.Addr
	VIPs                    []netip.Addr
	Interval                time.Duration
}

// Advert decodes the frame as a VRRP advert; false if it is none.
func (f Frame) Advert() (a Advert, ok bool) {
	proto, msg, ok := f.ip(&a.Src, &a.Dst, &a.TTL)
	if ok && proto == protoAH && len(msg) >= 2 {
		a.AH = true
		proto = int(msg[0])
		skip := (int(msg[1]) + 2) * 4
		msg = msg[min(skip, len(msg)):]
	}
	if !ok || proto != protoVRRP || len(msg) < 8 {
		return Advert{}, false
	}
	a.SrcMAC = f.Src()
	a.Version, a.VRID, a.Priority = msg[0]>>4, msg[1], msg[2]
	a.Interval = time.Duration(msg[5]) * time.Second
	if a.Version == 3 {
		a.Interval = time.Duration(binary.BigEndian.Uint16(msg[4:])&0xfff) * 10 * time.Millisecond
	}
	addrLen := a.Src.BitLen() / 8
	rest := msg[8:]
	for n := int(msg[3]); n > 0 && len(rest) >= addrLen; n-- {
		addr, _ := netip.AddrFromSlice(rest[:addrLen])
		a.VIPs = append(a.VIPs, addr)
		rest = rest[addrLen:]
	}
	return a, true
}

func (a Advert) String() string {
	return fmt.Sprintf("v%d VRID %d priority %d from %v (%v)", a.Version, a.VRID, a.Priority, a.Src, a.SrcMAC)
}

// Echo is an ICMP echo request or reply.
type Echo struct {
	Reply    bool
	Src, Dst netip.Addr
	ID, Seq  uint16
}

// Echo decodes the frame as an ICMP echo; false if it is none.
func (f Frame) Echo() (e Echo, ok bool) {
	var ttl uint8
	proto, msg, ok := f.ip(&e.Src, &e.Dst, &ttl)
	if !ok || len(msg) < 8 {
		return Echo{}, false
	}
	icmp, request, reply := protoICMP, byte(8), byte(0)
	if e.Src.Is6() {
		icmp, request, reply = protoICMP6, echoRequest6, echoReply6
	}
	if proto != icmp || msg[0] != request && msg[0] != reply {
		return Echo{}, false
	}
	e.Reply = msg[0] == reply
	e.ID, e.Seq = binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:])
	return e, true
}

// Frame returns the echo as an Ethernet frame.
func (e Echo) Frame(src, dst MAC) []byte {
	icmp := []byte{8, 0, 0, 0}
	if e.Reply {
		icmp[0] = 0
	}
	icmp = binary.BigEndian.AppendUint16(icmp, e.ID)
	icmp = binary.BigEndian.AppendUint16(icmp, e.Seq)
	if e.Src.Is6() {
		if icmp[0] = echoRequest6; e.Reply {
			icmp[0] = echoReply6
		}
		return icmp6(src, dst, e.Src, e.Dst, icmp)
	}
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
	b := ethernet(src, dst, typeIP4)
	ip := []byte{0x45, 0, 0, byte(20 + len(icmp)), 0, 0, 0x40, 0, 64, protoICMP, 0, 0}
	ip = append(ip, e.Src.AsSlice()...)
	ip = append(ip, e.Dst.AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(append(b, ip...), icmp...)
}

// ip decodes the frame's IP header.
func (f Frame) ip(src, dst *netip.Addr, ttl *uint8) (proto int, payload []byte, ok bool) {
	if len(f.Data) < ip4At {
		return 0, nil, false
	}
	b := f.Data[ip4At:]
	switch f.etherType() {
	case typeIP4:
		if len(b) < 20 {
			return 0, nil, false
		}
		header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if b[0]>>4 != 4 || header < 20 || total < header || total > len(b) {
			return 0, nil, false
		}
		*src, *dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		*ttl = b[8]
		return int(b[9]), b[header:total], true
	case typeIP6:
		if len(b) < 40 {
			return 0, nil, false
		}
		total := 40 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return 0, nil, false
		}
		*src, *dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		*ttl = b[7]
		return int(b[6]), b[40:total], true
	}
	return 0, nil, false
}

func ethernet(src, dst MAC, etherType uint16) []byte {
	b := make([]byte, 0, 64)
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
