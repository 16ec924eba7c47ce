package acceptance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// nicOf is what of a machine belongs to its NICs and must not change: links,
// addresses and routes, but for those that are the virtual router's own.
func (r *router) nics() snapshot {
	r.site.t.Helper()
	var keep []string
	for _, l := range lans {
		keep = append(keep, "link "+l.nic, "addr "+l.nic, "route "+l.nic)
	}
	return r.snapshot(keep...)
}

// Down and empty on a BACKUP, up with its addresses on a MASTER, there as long
// as vrrpd runs; and the NICs, their routes and flags as they were before.
func TestPoint3_InterfaceTellsTheTruth(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	before := map[*router]snapshot{}
	for _, r := range s.routers() {
		before[r] = r.nics()
		r.startAll()
	}
	s.settled(s.r1, s.r2)
	for _, l := range lans {
		for _, r := range s.routers() {
			k, err := r.Link(l.vrrp())
			nic, err2 := r.Link(l.nic)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if k.Kind != "macvlan" || k.Parent != nic.Index || k.MAC != l.vmac() {
				t.Errorf("%s on %s: %+v, want a macvlan with %v on %s", l.vrrp(), r.Name(), k, l.vmac(), l.nic)
			}
			master := r == s.r1
			if addrs := fmt.Sprint(k.Addrs); k.Up != master || master && addrs != "["+l.vip32()+"]" || !master && addrs != "[]" {
				t.Errorf("%s on %s (MASTER: %v) is up: %v, has %s", l.vrrp(), r.Name(), master, k.Up, addrs)
			}
		}
	}
	for _, r := range s.routers() {
		before[r].same(t, r.Name()+" while its daemons run", r.nics())
		r.stop(lans...)
		for _, l := range lans {
			if k, err := r.Link(l.vrrp()); err != nil || k.Exists() {
				t.Errorf("%s of %s after the stop: %+v, %v", l.vrrp(), r.Name(), k, err)
			}
		}
		before[r].same(t, r.Name()+" after its daemons have stopped", r.nics())
	}
	s.neverSplit()
}

// The virtual address is answered with the virtual MAC, by one machine; the
// parent's own address with the parent's MAC. Nothing that the routers send
// ever says that the virtual address is at a physical MAC.
func TestPoint3_ARP(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	heard := map[*router][]*netlab.Sniffer{}
	for _, r := range s.routers() {
		for _, l := range lans {
			heard[r] = append(heard[r], r.sniff(l, netlab.MatchARP()))
		}
	}
	s.r1.startAll()
	s.r2.startAll()
	s.settled(s.r1, s.r2)
	// Long enough for the slower of two machines, with the test waiting for
	// nothing in particular: that nobody else answers.
	const window = 150 * time.Millisecond
	ask := func(l lan, ip netip.Addr, want netlab.MAC) {
		t.Helper()
		got, err := s.host(l).ResolveAll(within(t, patience), "eth0", ip, window)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%v is answered with %v, %v; want %v only", ip, got, err, want)
		}
	}
	for _, l := range lans {
		ask(l, l.vip, l.vmac())
		for _, r := range s.routers() {
			ask(l, r.own(l).Addr(), r.mac(l))
		}
	}
	// Traffic to the virtual address and through it, with empty caches: now the
	// router has to ask for the hosts itself.
	for _, l := range lans {
		for _, r := range s.routers() {
			check(t, r.FlushNeighbours())
		}
		check(t, s.host(l).FlushNeighbours())
		_, err := s.host(l).Ping(within(t, patience), l.vip)
		check(t, err)
		_, err = s.host(l).Ping(within(t, patience), s.address(s.host(l.other())))
		check(t, err)
	}
	behind := func(r *router, l lan) {
		t.Helper()
		if port, err := s.switches[l.index()].PortOf(l.vmac()); err != nil || port != r.cable(l).Port {
			t.Errorf("the switch sees %v at %s, %v; want %s", l.vmac(), port, err, r.cable(l).Port)
		}
	}
	behind(s.r1, lanA)
	behind(s.r1, lanB)
	claims := func(r *router, l lan, mark int) (n int) {
		for _, f := range heard[r][l.index()].Frames(mark) {
			if a, ok := f.ARP(); ok && !f.Out && a.SenderIP == l.vip {
				n++
			}
		}
		return n
	}
	for _, l := range lans {
		if claims(s.r1, l, 0) == 0 || claims(s.r2, l, 0) > 0 {
			t.Errorf("%v was claimed %d times by the MASTER and %d times by the BACKUP", l.vip, claims(s.r1, l, 0), claims(s.r2, l, 0))
		}
	}
	// The other machine takes over, announces itself, and answers the same
	// questions; who leaves announces its own address, and nothing else.
	mark := heard[s.r1][0].Mark()
	check(t, s.r1.cable(lanB).Cut())
	s.settled(s.r2, s.r1)
	for _, l := range lans {
		for _, reply := range []bool{false, true} {
			s.waitGratuitous(heard[s.r2][l.index()], 0, l.vip, l.vmac(), reply)
		}
	}
	s.waitGratuitous(heard[s.r1][0], mark, s.r1.own(lanA).Addr(), s.r1.mac(lanA), false)
	mark = heard[s.r1][0].Mark()
	ask(lanA, lanA.vip, lanA.vmac())
	ask(lanB, lanB.vip, lanB.vmac())
	ask(lanA, s.r1.own(lanA).Addr(), s.r1.mac(lanA))
	behind(s.r2, lanA)
	behind(s.r2, lanB)
	if n := claims(s.r1, lanA, mark); n > 0 {
		t.Errorf("who has become BACKUP has claimed %v %d times", lanA.vip, n)
	}

	questions := 0
	for r, sniffers := range heard {
		for i, sn := range sniffers {
			if lost, err := sn.Dropped(); err != nil || lost > 0 {
				t.Fatalf("%d frames were lost to the test, %v", lost, err)
			}
			l := lans[i]
			for _, f := range sn.Frames(0) {
				a, ok := f.ARP()
				if !ok || f.Out {
					continue
				}
				if a.SenderIP == l.vip && a.SenderMAC != l.vmac() {
					t.Errorf("%s on %s said that %v is at %v: %+v", r.Name(), l.nic, l.vip, a.SenderMAC, a)
				}
				if a.SenderIP == r.own(l).Addr() && a.SenderMAC != r.mac(l) {
					t.Errorf("%s on %s said that its own %v is at %v: %+v", r.Name(), l.nic, a.SenderIP, a.SenderMAC, a)
				}
				if !a.Reply && a.TargetIP != a.SenderIP {
					questions++
				}
			}
		}
	}
	if questions == 0 {
		t.Error("the routers have asked for nobody: this test has shown nothing")
	}
	t.Logf("%d questions of the routers, each with the right sender", questions)
}

// Who sends to the virtual MAC is forwarded by a MASTER and not by a BACKUP.
func TestPoint3_Forwarding(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	serverIP := s.address(s.server)
	if mac, err := s.client.PingMAC(within(t, patience), "eth0", lanA.vmac(), serverIP); err != nil {
		t.Fatalf("through the virtual MAC of the MASTER: %v", err)
	} else if mac != s.r1.mac(lanA) {
		t.Logf("the answer came from %v", mac)
	}

	// Now lead what is sent to the virtual MAC to the BACKUP, as a confused
	// switch would: by an entry that the MASTER's adverts do not move.
	sw := s.switches[lanA.index()]
	port, err := sw.Link(s.r2.cable(lanA).Port)
	check(t, err)
	vmac := lanA.vmac()
	check(t, sw.Netlink().NeighSet(&netlink.Neigh{
		LinkIndex: port.Index, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP,
		Flags: netlink.NTF_MASTER | netlink.NTF_STICKY, HardwareAddr: vmac[:],
	}))
	arrives := s.r2.sniff(lanA, netlab.MatchICMP())
	leaves := s.r2.sniff(lanB, netlab.MatchICMP())
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	client, err := s.client.Link("eth0")
	check(t, err)
	echo := func(seq uint16, to netlab.MAC) []byte {
		return netlab.Echo{Src: lanA.host(10).Addr(), Dst: serverIP, ID: 77, Seq: seq}.Frame(client.MAC, to)
	}
	is := func(seq uint16, out bool) func(netlab.Frame) bool {
		return func(f netlab.Frame) bool {
			e, ok := f.Echo()
			return ok && !e.Reply && e.ID == 77 && e.Seq == seq && f.Out == out
		}
	}
	check(t, in.Send(echo(1, vmac)))
	if _, err := arrives.WaitFor(within(t, patience), is(1, true)); err != nil {
		t.Fatalf("the frame was not led to the BACKUP: %v", err)
	}
	// What is sent to its own MAC it does forward: when that has left, what
	// came before would have left, too.
	check(t, in.Send(echo(2, s.r2.mac(lanA))))
	if _, err := leaves.WaitFor(within(t, patience), is(2, false)); err != nil {
		t.Fatalf("the BACKUP does not route at all: %v", err)
	}
	for _, f := range leaves.Frames(0) {
		if is(1, false)(f) {
			t.Error("the BACKUP has forwarded what was sent to the virtual MAC")
		}
	}
}

// An address that the MASTER script adds to vrrp51 is announced and answered
// with the virtual MAC, moves with the machine, and is gone on a BACKUP.
func TestPoint3_AddressesOfScripts(t *testing.T) {
	t.Parallel()
	extra := lanA.host(201).Addr()
	s := newSite(t, options{master: "[ $VRRP_VRID = 51 ] && " + toolLine(toolAddAddr, "vrrp51", extra.String()+"/32")})
	var heard []*netlab.Sniffer
	for _, r := range s.routers() {
		heard = append(heard, r.sniff(lanA, netlab.MatchARP()))
	}
	s.r1.startAll()
	s.r2.startAll()
	announced := func(r *router, mark int) int {
		t.Helper()
		_, err := r.WaitAddr(within(t, patience), "vrrp51", extra, true)
		check(t, err)
		added := r.waitEvent(0, "vrrp51", netlab.AddrAdded, extra)
		for _, reply := range []bool{false, true} {
			said := s.waitGratuitous(heard[r.number-1], mark, extra, lanA.vmac(), reply)
			// At once, and not only when everything is announced again, after a
			// second.
			if late := said.At.Sub(added.At); late > 500*time.Millisecond {
				t.Errorf("%v was announced %v after it had been added", extra, late)
			}
		}
		got, err := s.client.ResolveAll(within(t, patience), "eth0", extra, 100*time.Millisecond)
		if err != nil || len(got) != 1 || got[0] != lanA.vmac() {
			t.Errorf("%v is answered with %v, %v", extra, got, err)
		}
		return heard[1].Mark()
	}
	mark := announced(s.r1, 0)
	check(t, s.r1.cable(lanB).Cut())
	announced(s.r2, mark)
	s.settled(s.r2, s.r1) // a BACKUP's interface is empty
	check(t, s.r1.cable(lanB).Plug())
	s.settled(s.r1, s.r2)
	_, err := s.r1.WaitAddr(within(t, patience), "vrrp51", extra, true)
	check(t, err)
}

// waitGratuitous waits until the router whose port is watched has announced an
// address.
func (s *site) waitGratuitous(sn *netlab.Sniffer, mark int, ip netip.Addr, mac netlab.MAC, reply bool) netlab.Frame {
	s.t.Helper()
	f, err := sn.WaitFrom(within(s.t, patience), mark, func(f netlab.Frame) bool {
		a, ok := f.ARP()
		return ok && !f.Out && a.Reply == reply && a.SenderIP == ip && a.TargetIP == ip && a.SenderMAC == mac && f.Src() == mac
	})
	if err != nil {
		s.t.Fatalf("%v at %v was not announced (reply: %v): %v", ip, mac, reply, err)
	}
	return f
}

// What somebody else does to the interface of a MASTER is put right, without
// leaving the state.
func TestPoint3_Repair(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r, nl := s.r1, s.r1.Netlink()
	epoch := r.status(lanA).Machine.Epoch
	for _, damage := range []struct {
		name string
		do   func(netlink.Link) error
		what netlab.Change // tells that it was done
	}{
		{"address removed", func(netlink.Link) error { return r.DelAddr("vrrp51", netip.PrefixFrom(lanA.vip, 32)) }, netlab.AddrGone},
		{"set down", nl.LinkSetDown, netlab.LinkDown},
		{"deleted", nl.LinkDel, netlab.LinkGone},
	} {
		link, err := nl.LinkByName("vrrp51")
		check(t, err)
		mark := r.links.Mark()
		check(t, damage.do(link))
		struck := r.waitEvent(mark, "vrrp51", damage.what, netip.Addr{})
		k, err := r.WaitLink(within(t, patience), "vrrp51", serving(lanA))
		check(t, err)
		if k.MAC != lanA.vmac() {
			t.Errorf("%s: it came back with the MAC %v", damage.name, k.MAC)
		}
		events := r.links.Events(struck.N + 1)
		if len(events) > 0 {
			t.Logf("%s: right again %s later", damage.name, ms(events[len(events)-1].At.Sub(struck.At)))
		}
		if mac, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil || mac != lanA.vmac() {
			t.Errorf("%s: %v is at %v, %v", damage.name, lanA.vip, mac, err)
		}
	}
	if st := r.status(lanA).Machine; st.Epoch != epoch || st.Phase != "MASTER" {
		t.Errorf("it has left: %+v", st)
	}
}
