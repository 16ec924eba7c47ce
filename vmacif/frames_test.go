package vmacif

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The whole point: the virtual address is answered with the virtual MAC only
// and by the MASTER only, the parent's address with the physical MAC only.
func TestWhoAnswers(t *testing.T) {
	l := newLab(t)
	control := l.control()
	s := l.stranger("far0", unix.ETH_P_ARP)
	phys := l.mac("eth0")
	h := l.hands()
	i := l.ensure(h, spec51())

	backup := func(what string) {
		t.Helper()
		l.wantMACs(what+": VIP", s.whoHas(vip, control))
		l.wantMACs(what+": own address", s.whoHas(own, control), phys)
	}
	backup("BACKUP after start")
	for range 2 {
		l.up(i)
		l.wantMACs("MASTER: VIP", s.whoHas(vip, control), vmac)
		l.wantMACs("MASTER: own address", s.whoHas(own, control), phys)
		l.must(i.RemoveAddrs())
		backup("leaving, addresses gone")
		l.must(i.Down())
		backup("BACKUP")
	}
	l.up(i)
	l.must(h.Silence("vrrp51", "eth0-51"))
	backup("silenced")
}

// Without the settings both addresses are answered with both MACs: the probe
// of TestWhoAnswers would see it.
func TestWhoAnswersByDefault(t *testing.T) {
	l := newLab(t)
	control := l.control()
	s := l.stranger("far0", unix.ETH_P_ARP)
	l.must(l.nl.LinkAdd(&netlib.Macvlan{
		LinkAttrs: netlib.LinkAttrs{Name: "plain", ParentIndex: l.link("eth0").Attrs().Index, HardwareAddr: vmac[:]},
		Mode:      netlib.MACVLAN_MODE_BRIDGE,
	}))
	l.addr("plain", vip.String()+"/32")
	l.must(l.nl.LinkSetUp(l.link("plain")))
	got := s.whoHas(vip, control)
	if len(got) < 2 {
		t.Errorf("the default answers for the VIP with %v only: the probe is blind, or the kernel has changed", got)
	}
	// A VIP on an interface that is down: the parent answers.
	l.must(l.nl.LinkSetDown(l.link("plain")))
	if got := s.whoHas(vip, control); len(got) == 0 {
		t.Error("nobody answers for a VIP on an interface that is down: the probe is blind, or the kernel has changed")
	}
}

// Our own requests must not bind the VIP to the physical MAC.
func TestOwnRequests(t *testing.T) {
	l := newLab(t)
	s := l.stranger("far0", unix.ETH_P_ARP)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	// speak sends something from the VIP to a neighbour whose MAC is not known
	// and returns the request for it.
	speak := func(to string) arp {
		t.Helper()
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: vip.AsSlice()}, &net.UDPAddr{IP: net.ParseIP(to), Port: 9})
		l.must(err)
		defer c.Close()
		_, err = c.Write([]byte("x"))
		l.must(err)
		for {
			if a, ok := parseARP(s.next()); ok && a.op == 1 && a.tpa == netip.MustParseAddr(to) {
				return a
			}
		}
	}
	if a := speak("192.0.2.70"); a.spa != own || a.sha != l.mac("eth0") {
		t.Errorf("request says %s is at %s, want %s at the physical MAC", a.spa, macString(a.sha), own)
	}
	l.sysctl("ipv4", "eth0", "arp_announce", "0")
	if a := speak("192.0.2.71"); a.spa != vip || a.sha != l.mac("eth0") {
		t.Errorf("with arp_announce=0 the request says %s is at %s: the test is blind, or the kernel has changed", a.spa, macString(a.sha))
	}
}

// Frames to the virtual MAC are forwarded by the MASTER only; the parent's
// forwarding is inherited.
func TestForwarding(t *testing.T) {
	l := newLab(t)
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	l.sysctl("ipv4", "eth0", "forwarding", "1")
	l.sysctl("ipv4", "eth1", "forwarding", "1")
	l.wantSysctl("ipv4", "default", "forwarding", "0")
	in, out := l.stranger("far0", unix.ETH_P_IP), l.stranger("far1", unix.ETH_P_IP)
	l.must(l.nl.NeighAdd(&netlib.Neigh{
		LinkIndex: l.link("eth1").Attrs().Index, State: netlib.NUD_PERMANENT,
		IP: net.IPv4(198, 51, 100, 9), HardwareAddr: out.mac[:],
	}))
	phys := l.mac("eth0")
	id := uint16(0)
	// forwarded says whether a packet sent to the MAC comes out on the other
	// side; one sent to the physical MAC afterwards tells when to stop waiting.
	forwarded := func(mac [6]byte) bool {
		t.Helper()
		id += 2
		in.send(packetTo(in.mac, mac, id))
		in.send(packetTo(in.mac, phys, id+1))
		seen := false
		for {
			f := out.next()
			if len(f) < 34 || netip.AddrFrom4([4]byte(f[26:30])) != client {
				continue
			}
			switch binary.BigEndian.Uint16(f[18:]) {
			case id:
				seen = true
			case id + 1:
				return seen
			}
		}
	}
	i := l.ensure(l.hands(), spec51())
	if forwarded(vmac) {
		t.Error("BACKUP forwards what is sent to the virtual MAC")
	}
	l.up(i)
	if !forwarded(vmac) {
		t.Error("MASTER does not forward what is sent to the virtual MAC")
	}
	// Between RemoveAddrs and the end of Down: the kernel finds no source valid
	// on an interface without addresses if it filters reverse paths at all.
	l.must(i.RemoveAddrs())
	if forwarded(vmac) {
		t.Error("forwards without addresses")
	}
	l.sysctl("ipv4", "vrrp51", "rp_filter", "0")
	if !forwarded(vmac) {
		t.Error("without rp_filter an interface that is up and has no address does not forward: the kernel has changed")
	}
	l.must(i.Down())
	if forwarded(vmac) {
		t.Error("BACKUP forwards what is sent to the virtual MAC")
	}
}

// packetTo is an IPv4 packet of protocol 253 (experiments) from the client to
// 198.51.100.9.
func packetTo(from, to [6]byte, id uint16) []byte {
	f := append(append([]byte{}, to[:]...), from[:]...)
	f = append(f, 0x08, 0x00)
	ip := []byte{0x45, 0, 0, 20, byte(id >> 8), byte(id), 0, 0, 64, 253, 0, 0}
	ip = append(ip, client.AsSlice()...)
	ip = append(ip, 198, 51, 100, 9)
	sum := uint32(0)
	for n := 0; n < len(ip); n += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[n:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	return append(f, ip...)
}

// Neither step of Up, nor of going down, puts anything on the wire by itself.
func TestUpIsSilent(t *testing.T) {
	l := newLab(t)
	s := l.stranger("far0", unix.ETH_P_ALL)
	i := l.ensure(l.hands(), spec51())
	for range 3 {
		l.up(i)
		l.must(i.RemoveAddrs())
		l.must(i.Down())
	}
	l.up(i)
	// The mark: the answer to a question, after everything else.
	s.ask(own)
	for {
		f := s.next()
		if a, ok := parseARP(f); ok && a.op == 2 && a.spa == own {
			return
		}
		t.Errorf("on the wire: % x", f)
	}
}

// With arp_notify the kernel announces by itself when the flag goes up: once
// per address, with the virtual MAC.
func TestUpWithArpNotify(t *testing.T) {
	l := newLab(t)
	s := l.stranger("far0", unix.ETH_P_ARP)
	i := l.ensure(l.hands(), spec51())
	l.sysctl("ipv4", "vrrp51", "arp_notify", "1")
	l.up(i)
	if a, ok := parseARP(s.next()); !ok || a.spa != vip || a.tpa != vip || a.sha != vmac {
		t.Errorf("first frame is %+v, want a gratuitous ARP for the VIP with the virtual MAC", a)
	}
}

// Strict reverse path filtering for all, Debian's default for years, does not
// silence the VIP.
func TestStrictReversePath(t *testing.T) {
	l := newLab(t)
	l.sysctl("ipv4", "all", "rp_filter", "1")
	control := l.control()
	l.sysctl("ipv4", "ctl0", "rp_filter", "2")
	s := l.stranger("far0", unix.ETH_P_ARP)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	l.wantMACs("VIP with all.rp_filter=1", s.whoHas(vip, control), vmac)
	l.sysctl("ipv4", "vrrp51", "rp_filter", "1")
	l.wantMACs("VIP with strict filtering: the kernel has changed", s.whoHas(vip, control))
}
