package acceptance

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// query is a general query of MLDv2 (RFC 3810), which makes a switch snoop.
func query(from netlab.MAC, src netip.Addr, response time.Duration) []byte {
	mld := make([]byte, 28)
	mld[0] = 130
	binary.BigEndian.PutUint16(mld[4:], uint16(response/time.Millisecond))
	mld[24], mld[25] = 2, 125 // robustness, interval of the next one in seconds
	dst := netip.MustParseAddr("ff02::1")
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(mld)), 0, 0, 0, 58)
	sum := uint32(0)
	for b := append(pseudo, mld...); len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(mld[2:], ^uint16(sum))
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, from[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(8+len(mld)), 0, 1)
	f = append(append(f, src.AsSlice()...), dst.AsSlice()...)
	f = append(f, 58, 0, 5, 2, 0, 0, 1, 0) // router alert
	return append(f, mld...)
}

// A switch that snoops MLD forwards the neighbours' questions to a new MASTER at once:
// it was told before of the groups on which they ask. And adverts are not lost in it.
func ipv6SnoopingSwitch(t *testing.T) {
	onStage(t)
	s := newSite6With(t, netlab.SwitchOptions{Snooping: true})
	s.r[0].start("-s -d 1")
	s.r[0].waitServing()
	s.r[1].start("-s -d 1")
	s.r[1].waitPhase("BACKUP", lans6[0].instance(), lans6[1].instance())
	l := lans6[0]
	nic, err := s.client.Link("eth0")
	check(t, err)
	own := nic.Addrs[slices.IndexFunc(nic.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() })].Addr()
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	reports := s.r[1].sniff(l, netlab.Match{{{At: 12, Size: 2, Value: 0x86dd}, {At: 62, Size: 1, Value: 143}}})
	check(t, in.Send(query(nic.MAC, own, 100*time.Millisecond)))
	for _, group := range []string{"ff02::12", "ff02::1:ff50:51"} {
		g := netip.MustParseAddr(group).As16()
		_, err := reports.WaitFor(within(t, patience), func(f netlab.Frame) bool { return !f.Out && bytes.Contains(f.Data[62:], g[:]) })
		check(t, err)
	}
	// What nobody has asked for is not forwarded: the switch does snoop.
	stray := netlab.Neighbour{Src: own, Target: netip.MustParseAddr("2001:db8:a::77:7777"), MAC: nic.MAC}.Frame()
	asked := s.r[0].sniff(l, netlab.MatchNeighbours())
	snoops := func() bool {
		mark := asked.Mark()
		check(t, in.Send(stray))
		check(t, in.Send(netlab.Neighbour{Src: own, Target: l.local(), MAC: nic.MAC}.Frame()))
		seen := false
		_, err := asked.WaitFrom(within(t, patience), mark, func(f netlab.Frame) bool {
			n, _ := f.Neighbour()
			seen = seen || n.Target.String() == "2001:db8:a::77:7777"
			return f.Out && n.Target == l.local()
		})
		check(t, err)
		return !seen
	}
	netlab.Eventually(t, patience, func() (bool, string) { return snoops(), "the switch does not snoop" })

	var worst []time.Duration
	master, backup := s.r[0], s.r[1]
	const limit = 100 * time.Millisecond
	for len(worst) < 1 || len(worst) < 3 && slices.Min(worst) > limit {
		quietly(t, func() {
			asker, err := s.client.StartAsker("eth0", l.local(), netlab.AskerOptions{Interval: 10 * time.Millisecond})
			check(t, err)
			master.signal(syscall.SIGTERM)
			backup.waitServing()
			master.end(syscall.SIGTERM)
			answers, err := asker.Stop()
			check(t, err)
			worst = append(worst, answers.Longest(0).Length())
		})
		if worst[len(worst)-1] > limit {
			master.start("-s -d 1")
			master.waitPhase("BACKUP", lans6[0].instance(), lans6[1].instance())
			master, backup = backup, master
		}
	}
	t.Logf("planned hand-over behind a snooping switch: nobody answered for %v", worst)
	if slices.Min(worst) > limit {
		t.Errorf("nobody answered for %v", worst)
	}
}
