package acceptance

import (
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// bonded makes LAN A of a router reach its switch by two cables in a bond, which is
// down. When the switch is to have a bond, too, its ports leave the bridge for that.
func (r *router) bonded(b, far *netlink.Bond) [2]*netlab.Cable {
	t := r.site.t
	t.Helper()
	nl := r.Netlink()
	lower(t, r.Host, "eth0", "port0")
	sw := r.site.switches[0]
	second, err := r.site.lab.Connect(r.Host, "port1", sw, netlab.CableOptions{MAC: netlab.MAC{0x02, 0, 0, 1, lanA.vrid, byte(r.number)}})
	check(t, err)
	cables := [2]*netlab.Cable{r.cable(lanA), second}
	enslave := func(nl *netlink.Handle, b netlink.Link, ports ...string) {
		t.Helper()
		check(t, nl.LinkAdd(b))
		for _, name := range ports {
			port, err := nl.LinkByName(name)
			check(t, err)
			check(t, nl.LinkSetDown(port))
			check(t, nl.LinkSetNoMaster(port))
			check(t, nl.LinkSetMaster(port, b))
			check(t, nl.LinkSetUp(port))
		}
	}
	enslave(nl, b, "port0", "port1")
	if far != nil {
		nl := sw.Netlink()
		enslave(nl, far, cables[0].Port, cables[1].Port)
		bridge, err := nl.LinkByName("br0")
		check(t, err)
		check(t, nl.LinkSetMaster(far, bridge))
		check(t, nl.LinkSetUp(far))
	}
	return cables
}

// A VLAN above a bond in active-backup whose MAC is that of the card in use
// (fail_over_mac=active): a card that is lost moves the MACs of both, and the machine
// stays MASTER. The last one takes the carrier of both with it.
func TestParent_VLANOverBond(t *testing.T) {
	t.Parallel()
	needLinks(t, &netlink.Vlan{VlanId: vlanID}, bond("", netlink.BOND_MODE_ACTIVE_BACKUP))
	s := newSite(t, parents)
	r := s.r1
	s.allOnVLAN(r.Host)
	b := bond("bond0", netlink.BOND_MODE_ACTIVE_BACKUP)
	b.FailOverMac = netlink.BOND_FAIL_OVER_MAC_ACTIVE
	cables := r.bonded(b, nil)
	upper(t, r.Host, b, vlan("eth0", b), r.own(lanA))
	r.waitOperational(lanA.nic)
	before := r.snapshot(kept...)
	s.open()
	s.opened()
	s.throughVIPs()

	card := func(n int) netlab.MAC {
		t.Helper()
		l, err := r.Link(fmt.Sprintf("port%d", n))
		check(t, err)
		return l.MAC
	}
	using := func(n int) func(netlab.Link) bool {
		mac := card(n)
		return func(l netlab.Link) bool { return l.MAC == mac && l.Carrier }
	}
	_, err := r.WaitLink(within(t, patience), "eth0", using(0))
	check(t, err)
	for _, to := range []int{1, 0} {
		r.cables[0] = cables[to]
		arp := r.sniff(lanA, netlab.MatchARP())
		r.unmoved(func() {
			check(t, cables[1-to].Cut())
			_, err := r.WaitLink(within(t, patience), "eth0", using(to))
			check(t, err)
		})
		r.announced(arp, card(to))
		s.throughVIPs()
		check(t, cables[1-to].Plug())
	}

	mark := r.fence()
	for _, c := range cables {
		check(t, c.Cut())
	}
	r.waitStatus(lanB, "it is held", func(st control.Status) bool { return st.Machine.Reason == "link-down" })
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	for _, c := range cables {
		check(t, c.Plug())
	}
	s.settled(r, s.r2)
	r.servedAgain(mark, 1)
	s.throughVIPs()
	r.stop(lans...)
	before.same(t, "after it has stopped", r.snapshot(kept...))
}

// Link aggregation: cards that flap within the bond's delays are no reason to change
// sides; when the bond has lost its carrier, the machine leaves, once, and comes back,
// once, however often the cards flap while the bond waits.
func TestParent_Aggregation(t *testing.T) {
	t.Parallel()
	needLinks(t, bond("", netlink.BOND_MODE_802_3AD))
	s := newSite(t, parents)
	r := s.r1
	const delay = 1500 * time.Millisecond // of both ends, for either direction
	aggregate := func(name string) *netlink.Bond {
		b := bond(name, netlink.BOND_MODE_802_3AD)
		b.LacpRate = netlink.BOND_LACP_RATE_FAST
		b.UpDelay, b.DownDelay = int(delay.Milliseconds()), int(delay.Milliseconds())
		return b
	}
	b := aggregate("eth0")
	cables := r.bonded(b, aggregate("lag1"))
	check(t, r.AddAddr("eth0", r.own(lanA)))
	check(t, r.Netlink().LinkSetUp(b))
	r.waitOperational(lanA.nic)
	r.aggregated()
	// What leaves by the bond is heard where it has come through the switch.
	r.cables[0] = s.r2.cable(lanA)
	s.r1.startAll()
	for _, l := range lans {
		r.waitServing(l)
	}
	s.r2.startAll()
	s.settled(r, s.r2)
	for _, l := range lans {
		s.r2.waitStatus(l, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	}
	s.throughVIPs()
	epochs := func() [2]uint64 { return [2]uint64{r.status(lanA).Machine.Epoch, s.r2.status(lanA).Machine.Epoch} }
	heard, err := s.client.StartSniffer("eth0", netlab.SnifferOptions{Match: netlab.MatchPriority(150)})
	check(t, err)
	speaks := func() {
		t.Helper()
		for range 2 {
			_, err := heard.WaitFrom(within(t, patience), heard.Mark(), func(netlab.Frame) bool { return true })
			check(t, err)
		}
	}
	both := func(do func(*netlab.Cable) error) {
		t.Helper()
		for _, c := range cables {
			check(t, do(c))
		}
	}
	lag := func() netlab.Link {
		t.Helper()
		l, err := r.Link("eth0")
		check(t, err)
		return l
	}

	was, mark := epochs(), r.fence()
	for _, c := range cables { // one after the other
		check(t, c.Cut())
		speaks()
		check(t, c.Plug())
		r.aggregated()
		speaks()
	}
	both((*netlab.Cable).Cut) // and both, for less than the delay
	both((*netlab.Cable).Plug)
	speaks()
	r.aggregated()
	if is := epochs(); is != was {
		t.Errorf("cards that flapped moved the machines: epochs %v, were %v; %v", is, was, r.since(mark))
	}
	if !lag().Carrier {
		t.Fatal("the bond lost its carrier, which this is not about")
	}
	s.throughVIPs()

	mark = r.fence()
	both((*netlab.Cable).Cut)
	r.waitEvent(mark, "eth0", netlab.CarrierLost, noAddr)
	r.waitStatus(lanB, "it is held", func(st control.Status) bool { return st.Machine.Reason == "link-down" })
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	for range 3 { // too short for the bond, and so for us
		both((*netlab.Cable).Plug)
		both((*netlab.Cable).Cut)
	}
	if st := r.status(lanA); st.Machine.Reason != "link-down" || lag().Carrier {
		t.Errorf("held no more: %+v, the bond is %+v", st.Machine, lag())
	}
	both((*netlab.Cable).Plug)
	s.settled(r, s.r2)
	r.servedAgain(mark, 1)
	s.throughVIPs()
	for _, l := range lans {
		if st := r.status(l).Machine; len(st.Alarms) != 0 {
			t.Errorf("alarms: %+v", st.Alarms)
		}
	}
}

// aggregated waits until both ends of a bond use both of its cables.
func (r *router) aggregated() {
	r.site.t.Helper()
	const working = 0x30 // collecting and distributing (IEEE 802.1AX, 6.4.2.3)
	for _, port := range []string{"port0", "port1"} {
		netlab.Eventually(r.site.t, patience, func() (bool, string) {
			l, err := r.Netlink().LinkByName(port)
			if err != nil {
				return false, err.Error()
			}
			s, ok := l.Attrs().Slave.(*netlink.BondSlave)
			both := ok && uint16(s.AdActorOperPortState)&s.AdPartnerOperPortState&working == working
			return both && s.MiiStatus == netlink.BondLinkUp, fmt.Sprintf("%s: %+v", port, l.Attrs().Slave)
		})
	}
}

// Why bonds that balance by changing MACs are refused: once a second, balance-tlb
// sends a frame from the MAC of every macvlan on it, down as a BACKUP's is; so the
// switch would send it what is for the MASTER.
func TestParent_BalanceSpeaksForBackups(t *testing.T) {
	t.Parallel()
	needLinks(t, bond("", netlink.BOND_MODE_BALANCE_TLB))
	s := newSite(t, parents)
	r := s.r1
	b := bond("eth0", netlink.BOND_MODE_BALANCE_TLB)
	r.bonded(b, nil)
	check(t, r.Netlink().LinkSetUp(b))
	a := named("vrrp51")
	a.ParentIndex = b.Attrs().Index
	vmac := lanA.vmac()
	a.HardwareAddr = vmac[:]
	check(t, r.Netlink().LinkAdd(&netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	netlab.Eventually(t, patience, func() (bool, string) {
		port, err := s.switches[0].PortOf(vmac)
		return err == nil && port != "", fmt.Sprintf("the switch does not know %v, so this kernel has been mended, and package vmacif need not refuse such bonds: %q, %v", vmac, port, err)
	})
}
