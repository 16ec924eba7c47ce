package acceptance

import (
	"net/netip"
	"slices"
	"testing"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

var noAddr netip.Addr

// A mixed view (issue 3, behaviour 4): the better machine hears the master on LAN
// A and nobody on LAN B, whose port shows carrier but is blocked. It does not
// preempt into that, says what it sees, and preempts when the port opens.
func TestViews_MixedViewVetoesPreemption(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.r2.startAll()
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	check(t, s.r1.cable(lanB).Block())
	s.r1.startAll()
	for _, l := range lans {
		s.r1.waitStatus(l, "it sees the mixed view", func(st control.Status) bool {
			return st.Machine.Phase == "BACKUP" && st.Machine.MixedView
		})
	}
	mark := s.r1.fence()
	s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 20) // five master-down intervals
	if e := s.r1.since(mark); len(e) > 0 {
		t.Errorf("it preempted into a mixed view: %v", e)
	}
	s.r1.syslog.waitFor(t, 0, "the mixed view", containing("not preempting for now"))
	check(t, s.r1.cable(lanB).Unblock())
	s.settled(s.r1, s.r2)
	s.r1.waitStatus(lanA, "the view is whole", func(st control.Status) bool { return !st.Machine.MixedView })
	s.neverSplit()
}

// One-way deafness cannot be cured, but it is alarmed by who is not heard: r2
// hears no adverts and serves as well, r1 hears that it does.
func TestViews_DeafPeerIsAlarmed(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	var drops []*netlab.Drop
	for _, l := range lans {
		d, err := s.r2.cable(l).Drop(netlab.Loss{Direction: netlab.ToHost, Match: netlab.MatchAdverts()})
		check(t, err)
		drops = append(drops, d)
	}
	s.r1.syslog.waitFor(t, 0, "that the peer is deaf", containing("it does not hear our adverts"))
	peer := s.r2.own(lanA).Addr().String()
	st := s.r1.waitStatus(lanA, "it knows the deaf peer", func(st control.Status) bool {
		return slices.ContainsFunc(st.Machine.Alarms, func(a control.Alarm) bool { return a.Reason == "peer-deaf" && a.Peer == peer })
	})
	if st.Machine.Phase != "MASTER" {
		t.Errorf("who is heard by nobody yielded: %+v", st.Machine)
	}
	for _, d := range drops {
		check(t, d.Close())
	}
	s.settled(s.r1, s.r2)
}

// Oddities of peers (issue 3, behaviour 6): each is said once per peer and state
// with what to do, counted, and never a reason to yield in silence.
func TestViews_OddPeersAreAlarmedOnce(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	inferior := func(change func(*forged)) []byte {
		f := good(3)
		f.priority, f.interval = 1, 30
		change(&f)
		return f.frame()
	}
	for _, c := range []struct {
		what  string
		frame []byte
		says  string
		count func(control.Statistics) uint64
	}{
		{"other addresses on our VRID", inferior(func(f *forged) { f.addrs = []netip.Addr{netip.MustParseAddr("10.16.1.201")} }),
			"uses our VRID 51 with other addresses (10.16.1.201)", func(s control.Statistics) uint64 { return s.AddressListErrors }},
		{"another interval", inferior(func(f *forged) { f.interval = 100; f.src = lanA.host(67).Addr() }),
			"10.16.1.67 sends every 1s, we every 300ms", func(s control.Statistics) uint64 { return s.IntervalErrors }},
		{"another version", edit(good(2), func(f *forged) { f.src = lanA.host(68).Addr() }).frame(),
			"adverts from 10.16.1.68 are ignored: it does not speak VRRP version 3", func(s control.Statistics) uint64 { return s.VersionErrors }},
		{"our own source address", inferior(func(f *forged) { f.priority = 150; f.src = s.r1.own(lanA).Addr() }),
			"adverts with our own source address 10.16.1.1 arrive from elsewhere", nil},
	} {
		mark := s.r1.syslog.mark()
		var before uint64
		if c.count != nil {
			before = c.count(s.r1.status(lanA).Routers[0].Statistics)
		}
		const times = 3
		for range times {
			check(t, in.Send(c.frame))
		}
		s.r1.syslog.waitFor(t, mark, c.what, containing(c.says))
		if c.count != nil {
			s.r1.waitStatus(lanA, c.what+" is counted", func(st control.Status) bool {
				return c.count(st.Routers[0].Statistics) >= before+times
			})
		}
		// What was sent last has been judged: the packet that follows is counted.
		rcvd := s.r1.status(lanA).Routers[0].Statistics.AdvertisementRcvd
		check(t, in.Send(inferior(func(f *forged) { f.src = lanA.host(69).Addr() })))
		s.r1.waitStatus(lanA, "the last packet is counted", func(st control.Status) bool {
			return st.Routers[0].Statistics.AdvertisementRcvd > rcvd
		})
		said := 0
		for _, l := range s.r1.syslog.letters(mark) {
			if containing(c.says)(l.text) {
				said++
			}
		}
		if said != 1 {
			t.Errorf("%s: said %d times, want once", c.what, said)
		}
		if st := s.r1.status(lanA); st.Machine.Phase != "MASTER" {
			t.Errorf("%s: it yielded: %+v", c.what, st.Machine)
		}
	}
	s.neverSplit()
}
