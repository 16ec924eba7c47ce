package acceptance

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// onNIC does something to the parent on LAN A.
func (r *router) onNIC(name string, do func(nl *netlink.Handle, nic netlink.Link) error) {
	r.site.t.Helper()
	nic, err := r.Netlink().LinkByName(name)
	check(r.site.t, err)
	check(r.site.t, do(r.Netlink(), nic))
}

// unmoved does something to the machine, which stays MASTER without a pause, as it
// is, and goes on to speak.
func (r *router) unmoved(do func()) {
	t := r.site.t
	t.Helper()
	epoch := r.status(lanA).Machine.Epoch
	mark := r.fence()
	spoken := r.sniff(lanA, netlab.MatchAdverts())
	do()
	r.waitAdverts(spoken, 2)
	if st := r.status(lanA).Machine; st.Epoch != epoch || st.Phase != "MASTER" {
		t.Errorf("it has left: %+v", st)
	}
	for _, e := range r.since(mark) {
		if e.Link == lanA.vrrp() {
			t.Errorf("the virtual interface did not stay as it was: %v", e)
		}
	}
	if mac, err := r.site.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil || mac != lanA.vmac() {
		t.Errorf("%v is at %v, %v", lanA.vip, mac, err)
	}
	r.waitServing(lanA)
}

// A parent that is renamed while the machine is MASTER: nothing happens on the
// wire. What is told of it has the new name; its settings are still looked after,
// its carrier is, and it is restored in the end.
func TestFollow_Renamed(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	rename := func(was, is string) {
		r.onNIC(was, func(nl *netlink.Handle, nic netlink.Link) error { return nl.LinkSetName(nic, is) })
	}
	r.unmoved(func() {
		rename("eth0", "lan0")
		r.waitStatus(lanA, "it knows the new name", func(st control.Status) bool { return st.Routers[0].Parent == "lan0" })
	})
	r.syslog.waitFor(t, 0, "what happened", containing("parent interface was renamed"))
	netlab.Eventually(t, patience, func() (bool, string) {
		k, err := r.Netlink().LinkByName(lanA.vrrp())
		check(t, err)
		return strings.HasSuffix(k.Attrs().Alias, " on lan0"), k.Attrs().Alias
	})
	r.mend(sysctlFoul("ipv4/conf/lan0/arp_ignore", "1", "0"))
	r.mend(foul{"deleted", onVRRP((*netlink.Handle).LinkDel), func(r *router, mark int) time.Time {
		return r.waitEvent(mark, lanA.vrrp(), netlab.LinkUp, noAddr).At
	}, "interface was deleted"})
	check(t, r.cable(lanA).Cut())
	r.waitStatus(lanA, "it is held for the cable", func(st control.Status) bool {
		return st.Machine.Reason == "link-down" && len(st.Machine.Faults) > 0 && st.Machine.Faults[0].Detail == "lan0"
	})
	check(t, r.cable(lanA).Plug())
	s.settled(r, s.r2)
	// Another interface that gets the old name meanwhile is not the parent.
	check(t, r.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}))
	r.unmoved(func() { r.fence() })
	r.onNIC("eth0", (*netlink.Handle).LinkDel)
	r.stop(lans...)
	for key, value := range map[string]string{"arp_ignore": "0", "arp_announce": "0"} {
		if got, err := r.Sysctl("net/ipv4/conf/lan0/" + key); err != nil || got != value {
			t.Errorf("%s was left as %q, %v", key, got, err)
		}
	}
}

// The parent's MAC is changed: the adverts, which have the virtual one, go on; what
// the machine announces of its own, and asks, has the new one.
func TestFollow_MAC(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	arp := r.sniff(lanA, netlab.MatchARP())
	r.unmoved(func() {
		r.onNIC(lanA.nic, func(nl *netlink.Handle, nic netlink.Link) error {
			return nl.LinkSetHardwareAddr(nic, net.HardwareAddr(somebodysMAC[:]))
		})
	})
	_, err := arp.WaitFrom(within(t, patience), 0, func(f netlab.Frame) bool {
		a, ok := f.ARP()
		return ok && !f.Out && a.SenderMAC == somebodysMAC && a.SenderIP == r.own(lanA).Addr()
	})
	if err != nil {
		t.Errorf("its own address is not announced with the new MAC: %v", err)
	}
	if mac, err := s.client.Resolve(within(t, patience), "eth0", r.own(lanA).Addr()); err != nil || mac != somebodysMAC {
		t.Errorf("its own address is at %v, %v", mac, err)
	}
}

// The parent's address is changed: the adverts come from the new one at once,
// whether it was there before or is promoted by the kernel when the first goes.
func TestFollow_Address(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	spoken := r.sniff(lanA, netlab.MatchAdverts())
	from := func(a netip.Addr) {
		t.Helper()
		r.waitAdvert(spoken, spoken.Mark(), "speaks from "+a.String(), func(v netlab.Advert) bool { return v.Src == a && v.Priority > 0 })
	}
	r.write("ipv4/conf/eth0/promote_secondaries", "1")
	second := lanA.host(7)
	r.unmoved(func() {
		check(t, r.AddAddr(lanA.nic, second))
		from(r.own(lanA).Addr())
		check(t, r.DelAddr(lanA.nic, r.own(lanA)))
		from(second.Addr())
	})
	other := netip.MustParsePrefix("10.16.1.9/25")
	r.unmoved(func() {
		check(t, r.AddAddr(lanA.nic, other))
		check(t, r.DelAddr(lanA.nic, second))
		from(other.Addr())
	})
	r.unmoved(func() {
		check(t, r.AddAddr(lanA.nic, r.own(lanA)))
		check(t, r.DelAddr(lanA.nic, other))
		from(r.own(lanA).Addr())
	})
}

// Two equal machines, of which the one with the lower address is MASTER; when it
// gets the higher one it wins the tie after both were MASTER.
func TestFollow_AddressDecidesTies(t *testing.T) {
	t.Parallel()
	s := pair(t, options{interval: "0.3", priority: [2]string{"100", "100"}})
	r := s.r1
	check(t, r.AddAddr(lanA.nic, netip.MustParsePrefix("10.16.1.9/25")))
	check(t, r.DelAddr(lanA.nic, r.own(lanA)))
	for _, l := range lans {
		check(t, r.cable(l).Block())
	}
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	mark := r.fence()
	for _, l := range lans {
		check(t, r.cable(l).Unblock())
	}
	s.settled(r, s.r2)
	for _, e := range r.since(mark) {
		if e.Link == lanA.vrrp() || e.Link == lanB.vrrp() {
			t.Errorf("it has left: %v", e)
		}
	}
}

// The parent's MTU is changed: the virtual interface has the same one, also when
// it becomes larger, and when it is made again.
func TestFollow_MTU(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	for _, mtu := range []int{1400, 1500} {
		r.unmoved(func() {
			r.onNIC(lanA.nic, func(nl *netlink.Handle, nic netlink.Link) error { return nl.LinkSetMTU(nic, mtu) })
			_, err := r.WaitLink(within(t, patience), lanA.vrrp(), func(k netlab.Link) bool { return k.MTU == mtu })
			check(t, err)
		})
	}
}

// The parent is deleted and comes back as a port of a bridge: the machine is held,
// and says which interface to use; and when it is one that can be used, taken out of
// the bridge or another one, it recovers by itself.
func TestFollow_DeletedAndBackAsAPort(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	r := s.r1
	r.onNIC(lanA.nic, (*netlink.Handle).LinkDel)
	r.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Reason == "parent-gone" })
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	nl := r.Netlink()
	check(t, nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br7"}}))
	bridge, err := nl.LinkByName("br7")
	check(t, err)
	check(t, nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near7"}, PeerName: "far7"}))
	r.onNIC("near7", func(nl *netlink.Handle, nic netlink.Link) error { return nl.LinkSetMaster(nic, bridge) })
	check(t, r.AddAddr("near7", r.own(lanA)))
	for _, end := range []string{"near7", "far7"} {
		r.onNIC(end, (*netlink.Handle).LinkSetUp)
	}
	r.onNIC("near7", func(nl *netlink.Handle, nic netlink.Link) error { return nl.LinkSetName(nic, lanA.nic) })
	st := r.waitStatus(lanA, "it says what to use", func(st control.Status) bool {
		return slices.ContainsFunc(st.Machine.Faults, func(f control.Fault) bool {
			return f.Reason == "interface-fault" && f.Detail == "eth0 is a port of br7: use -i br7"
		})
	})
	if st.Machine.Phase != "HELD" {
		t.Errorf("%+v", st.Machine)
	}
	// Taken out of the bridge it can be used, and is at once, not with the next attempt.
	at := time.Now()
	r.onNIC(lanA.nic, (*netlink.Handle).LinkSetNoMaster)
	_, err = r.WaitLink(within(t, patience), lanA.vrrp(), netlab.Link.Exists)
	check(t, err)
	t.Logf("%s was made %v after %s had left the bridge", lanA.vrrp(), time.Since(at), lanA.nic)
	r.onNIC(lanA.nic, (*netlink.Handle).LinkDel)
	r.connect(lanA.index())
	s.settled(r, s.r2)
}
