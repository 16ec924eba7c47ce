package acceptance

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// Parents other than a plain card. VLANs and bonds are not in every kernel:
// internal/vm (make vm) runs these tests on one that has them. It emulates a machine
// that is slow, so they judge the order of things, at adverts of a second.
var parents = options{interval: "1"}

// kept is what has to be the same in the end, whichever card is in use by then.
var kept = []string{"addr ", "sysctl ", "group "}

// kernelEnv turns skips for want of a kernel feature into failures.
const kernelEnv = "VRRPD_KERNEL_REQUIRED"

// needLinks skips the test on a kernel without interfaces of a kind.
func needLinks(t *testing.T, kinds ...netlink.Link) {
	t.Helper()
	probe, err := netlab.ForTest(t).Host("probe", netlab.HostOptions{Light: true})
	check(t, err)
	check(t, probe.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: named("under")}))
	under, err := probe.Netlink().LinkByName("under")
	check(t, err)
	for _, k := range kinds {
		a := k.Attrs()
		*a = named("probe")
		if k.Type() == "vlan" {
			a.ParentIndex = under.Attrs().Index
		}
		err := probe.Netlink().LinkAdd(k)
		if errors.Is(err, unix.EOPNOTSUPP) {
			if os.Getenv(kernelEnv) != "" {
				t.Fatalf("this kernel has no interfaces of kind %s, and %s is set", k.Type(), kernelEnv)
			}
			t.Skipf("SKIPPED: this kernel has no interfaces of kind %s: make vm", k.Type())
		}
		check(t, err)
		check(t, probe.Netlink().LinkDel(k))
	}
}

func named(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// lower gives the NIC of a host another name and takes its address away: something
// with its old name, on which all the rest is as on any other site, is put above it.
func lower(t *testing.T, h *netlab.Host, nic, name string) netlink.Link {
	t.Helper()
	nl := h.Netlink()
	link, err := nl.LinkByName(nic)
	check(t, err)
	check(t, nl.LinkSetDown(link))
	addrs, err := nl.AddrList(link, netlink.FAMILY_V4)
	check(t, err)
	for _, a := range addrs {
		check(t, nl.AddrDel(link, &a))
	}
	check(t, nl.LinkSetName(link, name))
	link, err = nl.LinkByName(name)
	check(t, err)
	return link
}

// upper makes the interface that was put above a NIC ready, which is up itself then.
func upper(t *testing.T, h *netlab.Host, below, link netlink.Link, addr netip.Prefix) {
	t.Helper()
	check(t, h.Netlink().LinkAdd(link))
	check(t, h.AddAddr(link.Attrs().Name, addr))
	check(t, h.Netlink().LinkSetUp(below))
	check(t, h.Netlink().LinkSetUp(link))
}

// throughVIPs: the client reaches the server by way of the virtual addresses.
func (s *site) throughVIPs() {
	s.t.Helper()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		_, err := s.client.Ping(within(s.t, patience), lanB.host(10).Addr())
		return err == nil, fmt.Sprint(err)
	})
	if mac, err := s.client.Resolve(within(s.t, patience), "eth0", lanA.vip); err != nil || mac != lanA.vmac() {
		s.t.Errorf("%v is at %v, %v", lanA.vip, mac, err)
	}
}

// A bridge that the card is a port of, with spanning tree: when its port is in use
// again, it has no carrier until the port forwards, and until then the machine is
// held, though the cable is there.
func TestParent_Bridge(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{interval: "0.3"})
	r := s.r1
	nl := r.Netlink()
	port := lower(t, r.Host, "eth0", "port0")
	upper(t, r.Host, port, &netlink.Bridge{LinkAttrs: named("eth0")}, r.own(lanA))
	bridge, err := nl.LinkByName("eth0")
	check(t, err)
	check(t, nl.LinkSetMaster(port, bridge))
	r.waitOperational("port0")
	r.waitOperational(lanA.nic)
	before := r.snapshot(kept...)
	r.startAll()
	for _, l := range lans {
		r.waitServing(l)
	}
	s.r2.startAll()
	s.settled(r, s.r2)
	s.throughVIPs()

	// The kernel's own spanning tree; the shortest delay it allows is 2 s in each of
	// two states. Without it there is none.
	check(t, r.Do(func() error {
		return os.WriteFile("/sys/class/net/eth0/bridge/stp_state", []byte("1"), 0)
	}))
	check(t, r.Do(func() error {
		return os.WriteFile("/sys/class/net/eth0/bridge/forward_delay", []byte("200"), 0)
	}))
	mark := r.fence()
	check(t, r.cable(lanA).Cut())
	r.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Reason == "link-down" })
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	check(t, r.cable(lanA).Plug())
	s.settled(r, s.r2)
	s.throughVIPs()
	// In this order: the port's carrier, the bridge's, the address.
	at := r.waitEvent(mark, "port0", netlab.CarrierOn, noAddr).N
	at = r.waitEvent(at, lanA.nic, netlab.CarrierOn, noAddr).N
	r.waitEvent(at, lanA.vrrp(), netlab.AddrAdded, lanA.vip)
	for _, e := range r.since(mark) {
		if e.Link == lanA.vrrp() && e.What == netlab.AddrAdded && e.N < at {
			t.Errorf("it served before its bridge forwarded: %v", e)
		}
	}
	r.stop(lans...)
	before.same(t, "after it has stopped", r.snapshot(kept...))
}

// What cannot be a parent is refused, in one line with what to use instead.
func TestParent_Refused(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	nl := r.Netlink()
	// try makes an interface, if this kernel has its kind.
	try := func(l netlink.Link) bool {
		t.Helper()
		err := nl.LinkAdd(l)
		if errors.Is(err, unix.EOPNOTSUPP) && os.Getenv(kernelEnv) == "" {
			t.Logf("this kernel has no interfaces of kind %s", l.Type())
			return false
		}
		check(t, err)
		return true
	}
	into := func(port, master string) {
		t.Helper()
		m, err := nl.LinkByName(master)
		check(t, err)
		r.onNIC(port, func(nl *netlink.Handle, l netlink.Link) error { return nl.LinkSetMaster(l, m) })
	}
	eth0, err := nl.LinkByName("eth0")
	check(t, err)
	above := func(name string) netlink.LinkAttrs {
		a := named(name)
		a.ParentIndex = eth0.Attrs().Index
		return a
	}
	type row struct{ nic, says string }
	list := []row{
		{"eth9", "there is no interface eth9: use one of eth0, eth1"},
		{"lo", "lo is the loopback interface, which leads to no LAN: use one of eth0, eth1"},
		{"mv0", "mv0 is a macvlan, and the kernel would put the virtual interface on its lower interface: use -i eth0"},
		{"port0", "port0 is a port of br0: use -i br0"},
		{"tun0", "tun0 is not an Ethernet interface, and a virtual MAC needs one: use one of eth0, eth1"},
	}
	try(&netlink.Macvlan{LinkAttrs: above("mv0"), Mode: netlink.MACVLAN_MODE_BRIDGE})
	try(&netlink.Bridge{LinkAttrs: named("br0")})
	try(&netlink.Veth{LinkAttrs: named("port0"), PeerName: "far0"})
	into("port0", "br0")
	check(t, r.DoNet(func() error { // it belongs to the thread's namespace, whatever the handle's is
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: named("tun0"), Mode: netlink.TUNTAP_MODE_TUN})
	}))
	if try(&netlink.Wireguard{LinkAttrs: named("wg0")}) {
		list = append(list, row{"wg0", "wg0 is not an Ethernet interface, and a virtual MAC needs one: use one of eth0, eth1"})
	}
	try(&netlink.Veth{LinkAttrs: named("slave0"), PeerName: "far1"})
	if try(bond("bond0", netlink.BOND_MODE_ACTIVE_BACKUP)) {
		into("slave0", "bond0")
		into("bond0", "br0")
		list = append(list, row{"slave0", "slave0 is a port of bond0: use -i br0"}, row{"bond0", "bond0 is a port of br0: use -i br0"})
		try(bond("bond1", netlink.BOND_MODE_BALANCE_TLB))
		list = append(list, row{"bond1", "bond1 is a bond in mode balance-tlb"})
	}
	if try(&netlink.GenericLink{LinkAttrs: named("team0"), LinkType: "team"}) {
		try(&netlink.Veth{LinkAttrs: named("mate0"), PeerName: "far2"})
		into("mate0", "team0")
		list = append(list, row{"mate0", "mate0 is a port of team0: use -i team0"})
	}
	if try(&netlink.Vrf{LinkAttrs: named("red"), Table: 7}) {
		try(&netlink.Dummy{LinkAttrs: named("dummy0")})
		into("dummy0", "red")
		list = append(list, row{"dummy0", "dummy0 is in the VRF red, where the virtual interface would not be"})
	}
	// Not the flags of the ports: the kernel is in no hurry to say that they run.
	before := r.snapshot(kept...)
	for _, c := range list {
		for _, mode := range []string{"", "-F ", "--check "} {
			got := r.typed("vrrpd " + mode + "-i " + c.nic + " -v 51 10.16.1.200")
			if got.Code != 2 || got.Stdout != "" || strings.Count(got.Stderr, "\n") != 1 || !strings.HasPrefix(got.Stderr, "vrrpd: "+c.says) {
				t.Errorf("-i %s: exit %d, want 2 and %q:\n%s%s", c.nic, got.Code, c.says, got.Stdout, got.Stderr)
			}
		}
	}
	before.same(t, "all of that was refused", r.snapshot(kept...))
}

// bond is one that looks for carriers ten times a second.
func bond(name string, mode netlink.BondMode) *netlink.Bond {
	b := netlink.NewLinkBond(named(name))
	b.Mode, b.Miimon = mode, 100
	return b
}
