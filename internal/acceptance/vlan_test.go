package acceptance

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

const vlanID = 10

// vlan is an interface of the VLAN above another.
func vlan(name string, above netlink.Link) *netlink.Vlan {
	a := named(name)
	a.ParentIndex = above.Attrs().Index
	return &netlink.Vlan{LinkAttrs: a, VlanId: vlanID}
}

// onVLAN makes eth0 of a host on LAN A one of the VLAN, above trunk0, which was
// eth0 before.
func (s *site) onVLAN(h *netlab.Host, addr netip.Prefix) {
	s.t.Helper()
	trunk := lower(s.t, h, "eth0", "trunk0")
	upper(s.t, h, trunk, vlan("eth0", trunk), addr)
}

// allOnVLAN has LAN A in the VLAN, except for some hosts.
func (s *site) allOnVLAN(except ...*netlab.Host) {
	s.t.Helper()
	skip := func(h *netlab.Host) bool {
		for _, e := range except {
			if e == h {
				return true
			}
		}
		return false
	}
	for _, r := range s.routers() {
		if !skip(r.Host) {
			s.onVLAN(r.Host, r.own(lanA))
			r.waitOperational(lanA.nic)
		}
	}
	s.onVLAN(s.client, lanA.host(10))
	check(s.t, s.client.AddRoute(lanB.prefix, lanA.vip))
}

// A VLAN follows the card below it: its MTU, its MAC, its carrier, that it is taken
// down or deleted. The machine follows the VLAN.
func TestParent_VLAN(t *testing.T) {
	t.Parallel()
	needLinks(t, &netlink.Vlan{VlanId: vlanID})
	s := newSite(t, parents)
	s.allOnVLAN()
	r := s.r1
	before := r.snapshot(kept...)
	s.open()
	s.opened()
	s.throughVIPs()

	r.unmoved(func() {
		r.onNIC("trunk0", func(nl *netlink.Handle, nic netlink.Link) error { return nl.LinkSetMTU(nic, 1400) })
		_, err := r.WaitLink(within(t, patience), lanA.vrrp(), func(k netlab.Link) bool { return k.MTU == 1400 })
		check(t, err)
	})
	r.onNIC("trunk0", func(nl *netlink.Handle, nic netlink.Link) error { return nl.LinkSetMTU(nic, 1500) })
	arp := r.sniff(lanA, netlab.MatchARP())
	mac, err := r.Link("trunk0")
	check(t, err)
	changeMAC := func(to netlab.MAC) {
		r.onNIC("trunk0", func(nl *netlink.Handle, nic netlink.Link) error {
			return nl.LinkSetHardwareAddr(nic, net.HardwareAddr(to[:]))
		})
	}
	r.unmoved(func() { changeMAC(somebodysMAC) })
	r.announced(arp, somebodysMAC)
	r.unmoved(func() { changeMAC(mac.MAC) })

	away := func(reason string, do, undo func()) {
		t.Helper()
		mark := r.fence()
		do()
		r.waitStatus(lanB, "it is held for "+reason, func(st control.Status) bool { return st.Machine.Reason == reason })
		for _, l := range lans {
			s.r2.waitServing(l)
		}
		undo()
		s.settled(r, s.r2)
		r.servedAgain(mark, 1)
	}
	away("link-down", func() { check(t, r.cable(lanA).Cut()) }, func() { check(t, r.cable(lanA).Plug()) })
	away("link-down",
		func() { r.onNIC("trunk0", (*netlink.Handle).LinkSetDown) },
		func() { r.onNIC("trunk0", (*netlink.Handle).LinkSetUp) })
	away("parent-gone",
		func() { r.onNIC("eth0", (*netlink.Handle).LinkDel) },
		func() {
			trunk, err := r.Netlink().LinkByName("trunk0")
			check(t, err)
			upper(t, r.Host, trunk, vlan("eth0", trunk), r.own(lanA))
		})
	s.throughVIPs()
	r.stop(lans...)
	before.same(t, "after it has stopped", r.snapshot(kept...))
}

// servedAgain: from mark on, the machine has begun to serve LAN A so many times.
func (r *router) servedAgain(mark, times int) {
	r.site.t.Helper()
	n := 0
	for _, e := range r.since(mark) {
		if e.Link == lanA.vrrp() && e.What == netlab.AddrAdded && e.Addr.Addr() == lanA.vip {
			n++
		}
	}
	if n != times {
		r.site.t.Errorf("it began to serve %d times, want %d: %v", n, times, r.since(mark))
	}
}

// announced waits until the machine's own address on LAN A is told with a MAC.
func (r *router) announced(arp *netlab.Sniffer, mac netlab.MAC) {
	r.site.t.Helper()
	_, err := arp.WaitFrom(within(r.site.t, patience), 0, func(f netlab.Frame) bool {
		a, ok := f.ARP()
		return ok && !f.Out && a.SenderMAC == mac && a.SenderIP == r.own(lanA).Addr()
	})
	if err != nil {
		r.site.t.Errorf("its own address is not announced with the MAC %v: %v", mac, err)
	}
}

// One VRID on a trunk and on a VLAN of it, between the same two machines: two virtual
// routers that do not hear each other. On the trunk r1 is better, on the VLAN r2; who
// took an advert of the one for the other's would leave.
func TestParent_VLANApart(t *testing.T) {
	t.Parallel()
	needLinks(t, &netlink.Vlan{VlanId: vlanID})
	s := newSite(t, parents)
	// A switch that learns for each VLAN: one MAC is behind two ports here.
	nl := s.switches[0].Netlink()
	bridge, err := nl.LinkByName("br0")
	check(t, err)
	filtering := &netlink.Bridge{LinkAttrs: named("br0")} // nothing else of it is to be set
	filtering.Index = bridge.Attrs().Index
	check(t, nl.LinkSetDown(bridge)) // some kernels take this for a change of its name
	check(t, nl.BridgeSetVlanFiltering(filtering, true))
	check(t, nl.LinkSetUp(bridge))
	ports, err := nl.LinkList()
	check(t, err)
	for _, p := range ports {
		if p.Attrs().MasterIndex == bridge.Attrs().Index {
			check(t, nl.BridgeVlanAdd(p, vlanID, false, false, false, true))
		}
	}
	tagged := lan{"eth0.10", lanA.vrid, netip.MustParseAddr("10.18.1.200"), netip.MustParsePrefix("10.18.1.0/24")}
	for n, h := range []*netlab.Host{s.r1.Host, s.r2.Host, s.client} {
		below, err := h.Netlink().LinkByName("eth0")
		check(t, err)
		upper(t, h, below, vlan(tagged.nic, below), tagged.host(byte(n+1)))
	}
	const name = "vlan51"
	start := func(r *router, onTrunk, onVLAN int) {
		r.waitOperational(tagged.nic)
		r.startLine(fmt.Sprintf("vrrpd -i eth0 -v 51 -p %d %s", onTrunk, lanA.vip))
		r.startLine(fmt.Sprintf("vrrpd -i eth0.10 -v 51 -p %d --name %s %s", onVLAN, name, tagged.vip))
	}
	serve := func(r *router, link string, l lan) {
		t.Helper()
		_, err := r.WaitLink(within(t, patience), link, serving(l))
		check(t, err)
	}
	start(s.r1, 150, 50)
	serve(s.r1, lanA.vrrp(), lanA)
	serve(s.r1, name, tagged) // alone
	start(s.r2, 100, 200)
	serve(s.r2, name, tagged)
	backup := func(r *router, link string) {
		t.Helper()
		_, err := r.WaitLink(within(t, patience), link, func(k netlab.Link) bool { return k.Exists() && !k.Up })
		check(t, err)
	}
	backup(s.r1, name)
	mark := [2]int{s.r1.fence(), s.r2.fence()}
	s.r1.waitAdverts(s.r1.sniff(lanA, netlab.MatchPriority(150)), 5)
	s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchPriority(200)), 5)
	serve(s.r1, lanA.vrrp(), lanA)
	serve(s.r2, name, tagged)
	backup(s.r2, lanA.vrrp())
	for i, r := range s.routers() {
		for _, e := range r.since(mark[i]) {
			t.Errorf("%s: %v", r.Name(), e)
		}
		for _, l := range []lan{lanA, tagged} {
			st := r.status(l)
			if len(st.Machine.Alarms) != 0 || len(st.Routers[0].Statistics.Drops) != 0 {
				t.Errorf("%s on %s: alarms %+v, drops %v", r.Name(), l.nic, st.Machine.Alarms, st.Routers[0].Statistics.Drops)
			}
		}
	}
	for nic, ip := range map[string]netip.Addr{"eth0": lanA.vip, tagged.nic: tagged.vip} {
		macs, err := s.client.ResolveAll(within(t, patience), nic, ip, 0)
		if err != nil || len(macs) != 1 || macs[0] != lanA.vmac() {
			t.Errorf("%v is at %v, %v", ip, macs, err)
		}
	}
}
