package acceptance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// Ask before take: the cable of the MASTER is pulled on
// LAN A; the other machine serves both LANs in little more than its skew time,
// although on LAN A nobody has resigned. A host that answers ARP for everything
// changes nothing of that.
func TestAsking_CablePulled(t *testing.T) {
	// Not parallel: this is about milliseconds.
	t.Run("0.1s", func(t *testing.T) { cablePulled(t, "0.1", 80*time.Millisecond, 1) })
	t.Run("0.01s", func(t *testing.T) { cablePulled(t, "0.01", 20*time.Millisecond, 1) })
}

func askingCablePulled(t *testing.T) {
	onStage(t)
	cablePulled(t, "1", 700*time.Millisecond, 2)
}

// cablePulled pulls cables of several sites in turn: a machine recovers for seconds.
func cablePulled(t *testing.T, interval string, promised time.Duration, sites int) {
	t.Helper()
	var turns []*turn
	for range sites {
		s := newSite(t, options{interval: interval, priority: [2]string{"100", "100"}, flags: "-s"})
		s.open()
		turns = append(turns, &turn{site: s, master: s.r1, backup: s.r2, heard: map[*router][]*netlab.Sniffer{}})
	}
	for _, u := range turns {
		u.opened()
		stop := u.proxyARP(lanA)
		defer stop()
		for _, r := range u.routers() {
			for _, l := range lans {
				u.heard[r] = append(u.heard[r], r.sniff(l, netlab.MatchARP()))
			}
		}
	}
	var taken []time.Duration
	half := func() time.Duration { // the median
		return slices.Sorted(slices.Values(taken))[(len(taken)-1)/2]
	}
	for len(taken) < 3 || len(taken) < 8 && half() > promised {
		u := turns[len(taken)%len(turns)]
		taken = append(taken, u.pulled())
		if st := u.master.status(lanA); interval != "0.01" && st.Machine.Reason != "unanswered" {
			t.Errorf("it took over because of %q", st.Machine.Reason)
		}
	}
	for _, u := range turns {
		u.neverSplit()
	}
	t.Logf("interval %s s: the other machine serves both LANs after %v", interval, taken)
	if half() > promised {
		t.Errorf("the median of %d is %v, want %v", len(taken), half(), promised)
	}
}

// turn is a site whose two machines are MASTER in turn.
type turn struct {
	*site
	master, backup *router
	heard          map[*router][]*netlab.Sniffer // ARP of a machine on LAN A and B
}

// pulled pulls the MASTER's cable on LAN A and returns how long it took until the
// other machine, now the MASTER, serves both LANs.
func (u *turn) pulled() (both time.Duration) {
	u.t.Helper()
	u.recovered()
	quietly(u.t, func() {
		mark := u.master.links.Mark()
		var marks []int
		for _, sn := range u.heard[u.backup] {
			marks = append(marks, sn.Mark())
		}
		check(u.t, u.master.cable(lanA).Cut())
		at := u.master.waitEvent(mark, lanA.nic, netlab.CarrierLost, noAddr).At
		for i, l := range lans {
			// An address is announced when it answers, that is behind an open guard, and
			// not when it is there.
			f := u.waitGratuitous(u.heard[u.backup][i], marks[i], l.vip, l.vmac(), false)
			both = max(both, f.At.Sub(at))
		}
	})
	check(u.t, u.master.cable(lanA).Plug())
	u.master, u.backup = u.backup, u.master
	return both
}

// recovered waits until the machine whose cable was pulled last may be elected.
func (u *turn) recovered() {
	u.t.Helper()
	for _, l := range lans {
		u.backup.waitStatus(l, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	}
}

// proxyARP adds a host to a LAN that answers every ARP question with its own MAC,
// until the result is called.
func (s *site) proxyARP(l lan) (stop func()) {
	s.t.Helper()
	h, err := s.lab.Host("proxy", netlab.HostOptions{Light: true, NoForward: true})
	check(s.t, err)
	mac := netlab.MAC{0x02, 0, 0, 0, 0xbb, 0xbb}
	_, err = s.lab.Connect(h, "eth0", s.switches[l.index()], netlab.CableOptions{MAC: mac})
	check(s.t, err)
	in, err := h.OpenInjector("eth0")
	check(s.t, err)
	sn, err := h.StartSniffer("eth0", netlab.SnifferOptions{Match: netlab.MatchARP()})
	check(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	answered := 0
	wg.Go(func() {
		for mark := 0; ; {
			f, err := sn.WaitFrom(ctx, mark, func(f netlab.Frame) bool {
				a, ok := f.ARP()
				return ok && !f.Out && !a.Reply && a.SenderIP != a.TargetIP
			})
			if err != nil {
				if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
					s.t.Error(err)
				}
				return
			}
			mark = f.N + 1
			q, _ := f.ARP()
			a := netlab.ARP{Reply: true, SenderMAC: mac, SenderIP: q.TargetIP, TargetMAC: q.SenderMAC, TargetIP: q.SenderIP}
			if err := in.Send(a.Frame(mac, q.SenderMAC)); err != nil {
				s.t.Error(err)
				return
			}
			answered++
		}
	})
	return func() {
		cancel()
		wg.Wait()
		if answered == 0 {
			s.t.Error("nobody asked anything on " + l.nic + ": the host with proxy ARP proves nothing")
		}
	}
}

// If another master really answers on the second LAN, the ordinary timers go on:
// who was asked is believed, and nobody is disturbed. r1's processes do not share a
// state, so that it can resign on LAN A alone; on LAN B the master is r1's other
// process, or a third machine. A host with proxy ARP answers as well.
func TestAsking_AnotherMasterAnswers(t *testing.T) {
	t.Parallel()
	for _, third := range []bool{false, true} {
		t.Run(fmt.Sprintf("third machine %v", third), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			onB := s.r1
			if third {
				onB = s.newRouter(3, options{priority: [2]string{"100", "100"}})
				for _, l := range lans {
					onB.waitOperational(l.nic)
				}
			}
			alone := func(l lan) string { return fmt.Sprintf("vrrpd -i %s -v %d -p 100 -d 0.1 %s", l.nic, l.vrid, l.vip) }
			s.r1.startLine(alone(lanA))
			s.r1.waitServing(lanA)
			onB.startLine(alone(lanB))
			onB.waitServing(lanB)
			s.r2.startAll() // one machine, priority 100
			for _, l := range lans {
				s.r2.waitStatus(l, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
			}
			stop := s.proxyARP(lanB)
			probes := s.r2.sniff(lanB, netlab.MatchARP())
			mark, other := s.r2.fence(), onB.fence()
			s.r1.signal(lanA, syscall.SIGTERM)
			// It asks, and is answered by the virtual MAC.
			_, err := probes.WaitFor(within(t, patience), func(f netlab.Frame) bool {
				a, ok := f.ARP()
				return ok && !f.Out && !a.Reply && a.TargetIP == lanB.vip && a.SenderIP.IsUnspecified()
			})
			check(t, err)
			_, err = probes.WaitFor(within(t, patience), func(f netlab.Frame) bool {
				a, ok := f.ARP()
				return ok && f.Out && a.Reply && a.SenderIP == lanB.vip && a.SenderMAC == lanB.vmac()
			})
			check(t, err)
			// For many master-down intervals.
			onB.waitAdverts(onB.sniff(lanB, netlab.MatchAdverts()), 15)
			stop()
			if e := s.r2.since(mark); len(e) > 0 {
				t.Errorf("the machine that asked has done something: %v", e)
			}
			for _, e := range onB.since(other) {
				if e.Link == lanB.vrrp() {
					t.Errorf("the master that answered was disturbed: %v", e)
				}
			}
			master := onB.own(lanB).Addr().String()
			st := s.r2.waitStatus(lanB, "it sees a partition", func(st control.Status) bool {
				return st.Machine.Phase == "BACKUP" && st.Machine.Partition
			})
			if i := slices.IndexFunc(st.Machine.Alarms, func(a control.Alarm) bool { return a.Reason == "partition" }); i < 0 ||
				!strings.Contains(st.Machine.Alarms[i].Message, "no master is heard on eth0 (VRID 51), while "+master+" on eth1 (VRID 52) is MASTER") {
				t.Errorf("alarms %+v", st.Machine.Alarms)
			}
		})
	}
}
