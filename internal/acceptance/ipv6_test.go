package acceptance

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// What is on the wire when two machines share IPv6 addresses: who sends what, from
// which address, with which MAC; and what the neighbours know afterwards.
func TestIPv6_Wire(t *testing.T) {
	t.Parallel()
	s := newSite6(t)
	everything := netlab.Match{{{At: 12, Size: 2, Value: 0x86dd}}}
	var all [2][2]*netlab.Sniffer
	for n, m := range s.r {
		for i, l := range lans6 {
			all[n][i] = m.sniff(l, everything)
		}
	}
	s.r[0].start("-d 0.3")
	s.r[0].waitServing()
	s.r[1].start("-d 0.3")
	for _, l := range lans6 {
		s.r[1].waitPhase("BACKUP", l.instance())
	}
	for i, l := range lans6 {
		// RFC9568-5.1.2: link-local source of the parent, group, hop limit, version,
		// addresses; the virtual MAC as source.
		f, err := all[0][i].WaitFor(within(t, patience), func(f netlab.Frame) bool { _, ok := f.Advert(); return ok })
		check(t, err)
		a, _ := f.Advert()
		if a.Version != 3 || a.VRID != l.vrid || a.Priority != 150 || a.TTL != 255 || a.Src != s.r[0].own(l) || a.SrcMAC != l.vmac() ||
			a.Dst.String() != "ff02::12" || a.Interval != 300*time.Millisecond || !slices.Equal(a.VIPs, []netip.Addr{l.local(), l.vip()}) ||
			f.Dst() != (netlab.MAC{0x33, 0x33, 0, 0, 0, 0x12}) {
			t.Errorf("advert %+v to %v", a, f.Dst())
		}
		// RFC9568-6.4.2: an unsolicited advertisement for each address, of a router.
		for _, ip := range []netip.Addr{l.local(), l.vip()} {
			f, err := all[0][i].WaitFor(within(t, patience), func(f netlab.Frame) bool {
				n, ok := f.Neighbour()
				return ok && n.Advertisement && n.Target == ip && f.Dst() == netlab.MAC{0x33, 0x33, 0, 0, 0, 1}
			})
			check(t, err)
			n, _ := f.Neighbour()
			if !n.Router || n.Solicited || !n.Override || n.MAC != l.vmac() || f.Src() != l.vmac() || n.Src != ip || n.Dst.String() != "ff02::1" || n.HopLimit != 255 {
				t.Errorf("announcement %+v from %v", n, f.Src())
			}
		}
	}
	ping := func() {
		t.Helper()
		for i, h := range []*netlab.Host{s.client, s.server} {
			_, err := h.Ping(within(t, patience), lans6[i].vip())
			check(t, err)
			_, err = h.Ping(within(t, patience), lans6[1-i].vip()) // by way of the router
			check(t, err)
			for _, ip := range []netip.Addr{lans6[i].vip(), lans6[i].local()} {
				if mac, ok, err := h.Neighbour(ip); !ok || err != nil || mac != lans6[i].vmac() {
					t.Errorf("%s knows %v at %v, %v, %v", h.Name(), ip, mac, ok, err)
				}
			}
		}
	}
	ping()
	s.r[0].end(syscall.SIGTERM)
	s.r[1].waitServing()
	ping()
	for n, m := range s.r {
		for i, l := range lans6 {
			for _, f := range all[n][i].Frames(0) {
				src, dst := netip.AddrFrom16([16]byte(f.Data[22:38])), netip.AddrFrom16([16]byte(f.Data[38:54]))
				n, isND := f.Neighbour()
				ours := isND && (n.Target == l.vip() || n.Target == l.local())
				switch {
				case f.Out:
				case src == l.eui64() || dst == l.eui64() || isND && n.Target == l.eui64():
					t.Errorf("%s on %s: the address that a kernel makes of the virtual MAC, %v to %v", m.Name(), l.nic, src, dst)
				case ours && n.Src.IsUnspecified():
					t.Errorf("%s on %s: duplicate detection for %v", m.Name(), l.nic, n.Target)
				case ours && n.Advertisement && n.MAC != (netlab.MAC{}) && n.MAC != l.vmac():
					t.Errorf("%s on %s: %v is said to be at %v", m.Name(), l.nic, n.Target, n.MAC)
				case isND && !n.Advertisement && (n.Src == l.vip() || n.Src == l.local()) && n.MAC != l.vmac():
					t.Errorf("%s on %s: %v asks, and says that it is at %v", m.Name(), l.nic, n.Src, n.MAC)
				case f.Src() == l.vmac() && f.Data[20] == 58 && f.Data[54] >= 133 && f.Data[54] <= 134:
					t.Errorf("%s on %s: a router solicitation or advertisement of the kernel's own", m.Name(), l.nic)
				}
			}
		}
	}
}

// Make before break over IPv6, at 1 s adverts.
func ipv6HandOverLeavesNoHole(t *testing.T) {
	onStage(t)
	s := pair6(t, "-s -d 1")
	master, backup := s.r[0], s.r[1]
	var holes []time.Duration
	for range 4 {
		var got netlab.Pings
		quietly(t, func() {
			got = s.journey(func(ping *netlab.Pinger) {
				master.signal(syscall.SIGTERM)
				backup.waitServing()
				master.end(syscall.SIGTERM)
				check(t, ping.WaitAnswer(within(t, patience), time.Now().Add(200*time.Millisecond)))
			})
		})
		hole := got.Longest(0).Length() - got.Stall()
		holes = append(holes, hole)
		t.Logf("longest time without an answer: %s (the client itself was late by %s)", ms(got.Longest(0).Length()), ms(got.Stall()))
		if hole <= holeless {
			break
		}
		master.start("-s -d 1")
		for _, l := range lans6 {
			master.waitPhase("BACKUP", l.instance())
		}
		master, backup = backup, master
	}
	if slices.Min(holes) > holeless {
		t.Errorf("left holes of %v", holes)
	}
}

// Ask before take over IPv6: the cable of the MASTER is pulled on one LAN. The other
// machine asks on the second one, by neighbour solicitation from its own link-local
// address, and takes both in little more than its skew time.
func TestIPv6_CablePulled(t *testing.T) {
	// Not parallel: this is about milliseconds.
	cablePulled6(t, "0.1", 80*time.Millisecond, 1)
}

func ipv6CablePulled(t *testing.T) {
	onStage(t)
	cablePulled6(t, "1", 700*time.Millisecond, 2)
}

// turn6 is a site whose two machines are MASTER in turn.
type turn6 struct {
	s              *site6
	master, backup *machine6
}

// cablePulled6 pulls cables of several sites in turn: a machine recovers for seconds.
func cablePulled6(t *testing.T, interval string, promised time.Duration, sites int) {
	t.Helper()
	var turns []*turn6
	for range sites {
		s := newSite6(t)
		s.r[0].start("-s -d " + interval)
		turns = append(turns, &turn6{s, s.r[0], s.r[1]})
	}
	for _, u := range turns {
		u.s.opened("-s -d " + interval)
	}
	var taken []time.Duration
	half := func() time.Duration { return slices.Sorted(slices.Values(taken))[(len(taken)-1)/2] }
	for len(taken) < 3 || len(taken) < 8 && half() > promised {
		u := turns[len(taken)%len(turns)]
		u.recovered()
		taken = append(taken, u.pulled())
	}
	t.Logf("interval %s s: the other machine serves both LANs after %v", interval, taken)
	if half() > promised {
		t.Errorf("the median of %d is %v, want %v", len(taken), half(), promised)
	}
}

// recovered waits until the machine whose cable was pulled last may be elected.
func (u *turn6) recovered() {
	u.s.t.Helper()
	for _, l := range lans6 {
		u.backup.waitPhase("BACKUP", l.instance())
	}
	u.backup.waitBackup()
}

// pulled pulls the MASTER's cable on the first LAN and returns how long it took until
// the other machine, now the MASTER, serves both.
func (u *turn6) pulled() (both time.Duration) {
	t, master, backup := u.s.t, u.master, u.backup
	t.Helper()
	asked := backup.sniff(lans6[0], netlab.MatchNeighbours())
	quietly(t, func() {
		marks := []int{master.links.Mark(), backup.links.Mark()}
		check(t, master.cables[0].Cut())
		at, err := master.links.WaitFrom(within(t, patience), marks[0], func(e netlab.LinkEvent) bool {
			return e.Link == "eth0" && e.What == netlab.CarrierLost
		})
		check(t, err)
		for _, l := range lans6 {
			e, err := backup.links.WaitFrom(within(t, patience), marks[1], func(e netlab.LinkEvent) bool {
				return e.Link == l.name() && e.What == netlab.AddrAdded && e.Addr.Addr() == l.vip()
			})
			check(t, err)
			both = max(both, e.At.Sub(at.At))
		}
	})
	st := backup.waitStatus(lans6[0].instance(), "it is MASTER", func(st control.Status) bool { return st.Machine.Phase == "MASTER" })
	if st.Machine.Reason != "unanswered" {
		t.Errorf("it took over because of %q", st.Machine.Reason)
	}
	var toGroup, toMachine int
	for _, f := range asked.Frames(0) {
		if n, ok := f.Neighbour(); ok && !f.Out && !n.Advertisement && n.Target == lans6[0].local() && n.Src == backup.own(lans6[0]) &&
			f.Src() == (netlab.MAC{0x02, 0, 0, 0, 51, byte(backup.number)}) && n.MAC == f.Src() {
			if f.Dst() == lans6[0].vmac() {
				toMachine++
			} else if f.Dst() == (netlab.MAC{0x33, 0x33, 0xff, 0x50, 0, 0x51}) {
				toGroup++
			}
		}
	}
	if toGroup < 5 || toMachine < 5 {
		t.Errorf("it has asked the group %d times and the machine %d times", toGroup, toMachine)
	}
	check(t, asked.Close())
	check(t, master.cables[0].Plug())
	u.master, u.backup = backup, master
	return both
}

// Another master that answers by neighbour advertisement is believed: the question on
// the second LAN keeps the ordinary timers going.
func TestIPv6_AnotherMasterAnswers(t *testing.T) {
	t.Parallel()
	s := newSite6(t)
	alone := func(l lan6) string { return strings.Replace(s.r[0].line(l, "-d 0.1"), "-M 2 ", "", 1) }
	s.r[0].begin(alone(lans6[0]))
	s.r[0].begin(alone(lans6[1]))
	s.r[0].waitServing()
	s.r[1].start("-d 0.1")
	for _, l := range lans6 {
		s.r[1].waitPhase("BACKUP", l.instance())
	}
	answers := s.r[1].sniff(lans6[1], netlab.MatchNeighbours())
	check(t, s.r[0].procs[0].Signal(syscall.SIGTERM))
	_, err := answers.WaitFor(within(t, patience), func(f netlab.Frame) bool {
		n, ok := f.Neighbour()
		return ok && f.Out && n.Advertisement && n.Solicited && n.Target == lans6[1].local() && f.Src() == lans6[1].vmac()
	})
	check(t, err)
	st := s.r[1].waitStatus(lans6[1].instance(), "it sees a partition", func(st control.Status) bool { return st.Machine.Partition })
	if st.Machine.Phase != "BACKUP" {
		t.Errorf("it has taken over: %+v", st.Machine)
	}
}

// The IPv4 and the IPv6 virtual router of one VRID on one interface, a process each,
// are one machine: they move together, whatever happens to one of them.
func TestIPv6_WithIPv4InOneGroup(t *testing.T) {
	t.Parallel()
	s := newSite6(t)
	four, six := "eth0-51", "eth0-51v6"
	line4 := func(m *machine6) string {
		return strings.Replace(m.line(lans6[0], "-d 0.1"), lans6[0].vip().String(), lans[0].vip.String(), 1)
	}
	start := func(m *machine6) {
		m.begin(line4(m))
		m.begin(m.line(lans6[0], "-d 0.1"))
	}
	serves := func(m *machine6, yes bool) {
		t.Helper()
		for name, ip := range map[string]netip.Addr{"vrrp51": lans[0].vip, "vrrp51v6": lans6[0].vip()} {
			_, err := m.WaitLink(within(t, patience), name, func(k netlab.Link) bool { return k.Up == yes && k.Has(ip) == yes })
			check(t, err)
		}
	}
	start(s.r[0])
	serves(s.r[0], true)
	start(s.r[1])
	s.r[1].waitPhase("BACKUP", four, six)
	st, err := s.r[0].status(six)
	check(t, err)
	r := st.Routers[0]
	if st.Machine.Processes.Alive != 2 || r.Interface != "vrrp51v6" || r.Family != "ipv6" || r.MAC != "00:00:5e:00:02:33" ||
		!slices.Equal(r.VirtualIPv6Addresses, []netip.Addr{lans6[0].local(), lans6[0].vip()}) || r.VirtualIPv4Addresses != nil ||
		r.GeneratedAddress != lans6[0].local() || r.LastAdvSource != s.r[0].own(lans6[0]) || r.Statistics.UNASent == 0 || r.Statistics.GARPSent != 0 {
		t.Errorf("status %+v of %+v", r, st.Machine)
	}
	// The cable, and back.
	check(t, s.r[0].cables[0].Cut())
	serves(s.r[1], true)
	serves(s.r[0], false)
	check(t, s.r[0].cables[0].Plug())
	serves(s.r[0], true)
	serves(s.r[1], false)
	// Only the IPv6 member has a fault: its link-local address goes.
	check(t, s.r[0].DelAddr("eth0", netip.PrefixFrom(s.r[0].own(lans6[0]), 64)))
	serves(s.r[1], true)
	serves(s.r[0], false)
	st = s.r[0].waitStatus(six, "it is held", func(st control.Status) bool { return st.Machine.Phase == "HELD" })
	if len(st.Machine.Faults) != 1 || !strings.Contains(st.Machine.Faults[0].Detail, "eth0 has no link-local address") {
		t.Errorf("faults %+v", st.Machine.Faults)
	}
	check(t, s.r[0].AddAddr("eth0", netip.MustParsePrefix("fe80::5:1/64")))
	serves(s.r[0], true)
	serves(s.r[1], false)
	// One process dies; its sibling cleans up after it, and the machine leaves.
	check(t, s.r[0].procs[1].Signal(syscall.SIGKILL))
	serves(s.r[1], true)
	_, err = s.r[0].WaitLink(within(t, patience), "vrrp51v6", func(k netlab.Link) bool { return !k.Exists() })
	check(t, err)
	_, err = s.r[0].WaitLink(within(t, patience), "vrrp51", func(k netlab.Link) bool { return !k.Up })
	check(t, err)
}

// The lease silences IPv6 addresses, too: a MASTER that hangs, and one that is killed
// with nobody to clean up after it. Without any both answer, which shows that this test
// can fail.
func TestIPv6_Lease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		sig  syscall.Signal
		rung string
	}{{"hang", syscall.SIGSTOP, "auto"}, {"kill", syscall.SIGKILL, "auto"}, {"kill without", syscall.SIGKILL, "none"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := pair6(t, "-s -d 0.1 --lease "+c.rung)
			watch := []*witness6{s.watch(0, lans6[0].local(), 10*time.Millisecond), s.watch(1, lans6[1].vip(), 10*time.Millisecond)}
			s.r[0].signal(syscall.SIGSTOP)
			if c.sig == syscall.SIGKILL { // of both, before one of them cleans up after the other
				for _, p := range s.r[0].procs {
					waitStopped(t, p.PID())
				}
				s.r[0].signal(c.sig)
			}
			s.r[1].waitServing()
			adverts := s.r[1].sniff(lans6[0], netlab.MatchAdverts())
			for mark := range 10 { // a second of the new master
				_, err := adverts.WaitFrom(within(t, patience), mark, func(f netlab.Frame) bool { return !f.Out })
				check(t, err)
			}
			if c.sig == syscall.SIGSTOP {
				s.r[0].signal(syscall.SIGCONT)
				s.r[0].waitBackup()
				for _, l := range lans6 {
					s.r[0].waitPhase("BACKUP", l.instance())
				}
			}
			for _, w := range watch {
				if double := w.stop(); len(double) > 0 != (c.rung == "none") {
					t.Errorf("with the lease %s two machines have answered %v", c.rung, double)
				}
			}
		})
	}
}

// keepalived's trailer over IPv6, whose checksum is with the pseudo-header and over the
// trailer: both machines accept each other's, and a wrong key is heard by nobody.
func TestIPv6_HMAC(t *testing.T) {
	t.Parallel()
	const key = " -a hmac/7:0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	s := pair6(t, "-d 0.1"+key)
	sn := s.r[0].sniff(lans6[0], netlab.MatchAdverts())
	f, err := sn.WaitFor(within(t, patience), func(netlab.Frame) bool { return true })
	check(t, err)
	if size := binary.BigEndian.Uint16(f.Data[18:]); size != 8+2*16+28 {
		t.Errorf("an advert of %d bytes, want 68", size)
	}
	s.r[0].end(syscall.SIGTERM)
	s.r[1].waitServing()
	s.r[0].start("-d 0.1" + key)
	s.r[0].waitServing()
	s.r[1].waitBackup()
	for _, l := range lans6 {
		st, err := s.r[1].status(l.instance())
		check(t, err)
		if r := st.Routers[0]; r.Authentication == nil || r.Authentication.Type != "hmac" || len(r.Statistics.Drops) != 0 || r.Statistics.AdvertisementRcvd == 0 {
			t.Errorf("%s: %+v, %+v", l.nic, r.Authentication, r.Statistics)
		}
	}
}

// An interface that somebody takes down loses all of its IPv6 addresses at once: one
// thing to repair, without leaving MASTER, however many they are.
func TestIPv6_TakenDownByHand(t *testing.T) {
	t.Parallel()
	s := newSite6(t)
	m := s.r[0]
	var vips []netip.Addr
	line := "-F -i eth0 -v 51 -d 0.1"
	for n := range 30 {
		vips = append(vips, lans6[0].host(100+n).Addr())
		line += " " + vips[n].String()
	}
	m.begin(line)
	all := func(k netlab.Link) bool {
		return k.Up && k.Has(lans6[0].local()) && !slices.ContainsFunc(vips, func(a netip.Addr) bool { return !k.Has(a) })
	}
	_, err := m.WaitLink(within(t, patience), "vrrp51v6", all)
	check(t, err)
	before := m.waitStatus("eth0-51v6", "it is MASTER", func(st control.Status) bool { return st.Machine.Phase == "MASTER" })
	for range 3 {
		mark := m.links.Mark()
		k, err := m.Netlink().LinkByName("vrrp51v6")
		check(t, err)
		check(t, m.Netlink().LinkSetDown(k))
		_, err = m.links.WaitFrom(within(t, patience), mark, func(e netlab.LinkEvent) bool {
			return e.Link == "vrrp51v6" && e.What == netlab.AddrGone && e.Addr.Addr() == vips[29]
		})
		check(t, err)
		_, err = m.WaitLink(within(t, patience), "vrrp51v6", all)
		check(t, err)
		_, err = s.client.Ping(within(t, patience), vips[29])
		check(t, err)
	}
	st, err := m.status("eth0-51v6")
	check(t, err)
	if st.Machine.Epoch != before.Machine.Epoch || len(st.Machine.Faults) > 0 || st.Routers[0].Statistics.Repairs == 0 {
		t.Errorf("it has left: %+v, %d repairs", st.Machine, st.Routers[0].Statistics.Repairs)
	}
	t.Logf("%d repairs", st.Routers[0].Statistics.Repairs)
}

// What the user reads, and what --release finds.
func TestIPv6_Words(t *testing.T) {
	t.Parallel()
	s := newSite6(t)
	m := s.r[0]
	run := func(line string, code int, words ...string) {
		t.Helper()
		got, err := m.Run(within(t, patience), netlab.Command{Path: "sh", Args: []string{"-c", line}})
		check(t, err)
		text := got.Stdout + got.Stderr
		if got.Code != code {
			t.Errorf("%s: exit %d\n%s", line, got.Code, text)
		}
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s: does not say %q:\n%s", line, w, text)
			}
		}
	}
	run("vrrpd --check -i eth0 -v 51 2001:db8:a::200", 0, "fe80::5652:5250:51 was added", "this would work here")
	run("vrrpd --check -i eth0 -v 51 2001:db8:a::200 10.16.1.200", 2, "10.16.1.200", "run two vrrpd", "-M")
	run("vrrpd --check -i eth0 -v 51 --vrrp-version 2 2001:db8:a::200", 2, "version 3")
	check(t, m.SetSysctl("net/ipv6/conf/eth1/disable_ipv6", "1"))
	run("vrrpd --check -i eth1 -v 52 2001:db8:b::200", 2, "IPv6 is switched off on eth1", "net.ipv6.conf.eth1.disable_ipv6")
	m.begin("-F -i eth0 -v 51 2001:db8:a::200")
	m.waitPhase("MASTER", "eth0-51v6")
	run("atropos --state", 0, "vrrp51v6", "fe80::5652:5250:51,2001:db8:a::200", "because none was given")
	if text := m.procs[0].Text(true); strings.Count(text, "fe80::5652:5250:51 was added") != 1 {
		t.Errorf("the journal does not explain the address once:\n%s", text)
	}
	for _, line := range []string{"vrrpd --release -i eth0 -v 51", "vrrpd --release -i eth0 -v 51 2001:db8:a::200"} {
		m.end(syscall.SIGKILL)
		run("vrrpd --release -i eth0 -v 51 10.16.1.200", 0)
		if k, err := m.Link("vrrp51v6"); err != nil || !k.Exists() {
			t.Errorf("the release of the IPv4 router has touched it: %+v, %v", k, err)
		}
		run(line, 0)
		if k, err := m.Link("vrrp51v6"); err != nil || k.Exists() {
			t.Errorf("%s has left %+v, %v", line, k, err)
		}
		m.begin("-F -i eth0 -v 51 2001:db8:a::200")
		m.waitPhase("MASTER", "eth0-51v6")
	}
}
