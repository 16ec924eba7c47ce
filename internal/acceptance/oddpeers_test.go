package acceptance

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// alarmed waits until the process of a LAN shows an alarm about a peer, and
// returns it.
func (r *router) alarmed(l lan, reason string, peer netip.Addr) control.Alarm {
	r.site.t.Helper()
	var a control.Alarm
	r.waitStatus(l, "it alarms "+reason+" of "+peer.String(), func(st control.Status) bool {
		i := slices.IndexFunc(st.Machine.Alarms, func(a control.Alarm) bool { return a.Reason == reason && a.Peer == peer.String() })
		if i >= 0 {
			a = st.Machine.Alarms[i]
		}
		return i >= 0
	})
	return a
}

// calmed waits until no alarm is left.
func (r *router) calmed(l lan) {
	r.site.t.Helper()
	r.waitStatus(l, "no alarm is left", func(st control.Status) bool { return len(st.Machine.Alarms) == 0 })
}

// said counts the lines of the journal.
func (r *router) said(mark int, text string) (n int) {
	for _, l := range r.syslog.letters(mark) {
		if strings.Contains(l.text, text) {
			n++
		}
	}
	return n
}

// shows checks that atropos shows the alarm to people, with what to do.
func (r *router) shows(a control.Alarm) {
	r.site.t.Helper()
	if a.Message == "" || a.Do == "" {
		r.site.t.Errorf("%s: an alarm without words: %+v", r.Name(), a)
	}
	for _, args := range []string{"--state", "--why"} {
		if got := r.atropos(0, args).Stdout; !strings.Contains(got, "ALARM on "+a.Interface) || !strings.Contains(got, a.Message+". What to do: "+a.Do+".") {
			r.site.t.Errorf("%s: atropos %s shows nothing of %+v:\n%s", r.Name(), args, a, got)
		}
	}
}

// Oddities of peers: each is said once per peer and state
// with what to do, counted, shown as long as it lasts, and never a reason to yield
// in silence.
func TestOddPeers_AlarmedOnceCountedAndOver(t *testing.T) {
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
		what, reason string
		peer         netip.Addr
		frame        []byte
		says         string
		count        func(control.Statistics) uint64
	}{
		{"other addresses on our VRID", "addresses-differ", lanA.host(66).Addr(),
			inferior(func(f *forged) { f.addrs = []netip.Addr{netip.MustParseAddr("10.16.1.201")} }),
			"10.16.1.66 uses our VRID 51 with other addresses (10.16.1.201); what to do: give both machines the same addresses",
			func(s control.Statistics) uint64 { return s.AddressListErrors }},
		{"another interval", "peer-interval-differs", lanA.host(67).Addr(),
			inferior(func(f *forged) { f.interval = 100; f.src = lanA.host(67).Addr() }),
			"10.16.1.67 sends every 1s, we every 300ms; what to do: give both machines the same -d",
			func(s control.Statistics) uint64 { return s.IntervalErrors }},
		{"another version", "version", lanA.host(68).Addr(),
			edit(good(2), func(f *forged) { f.src = lanA.host(68).Addr() }).frame(),
			"adverts from 10.16.1.68 are ignored, because it does not speak VRRP version 3; what to do: give both machines the same --vrrp-version",
			func(s control.Statistics) uint64 { return s.VersionErrors }},
		{"our priority from our own source address", "own-address-heard", s.r1.own(lanA).Addr(),
			inferior(func(f *forged) { f.priority = 150; f.src = s.r1.own(lanA).Addr() }),
			"adverts with our own source address 10.16.1.1 arrive from elsewhere; what to do: give one of the two machines another address",
			func(s control.Statistics) uint64 { return s.OwnAddressRcvd }},
		{"a higher priority from our own source address", "own-address-heard", s.r1.own(lanA).Addr(),
			inferior(func(f *forged) { f.priority = 254; f.src = s.r1.own(lanA).Addr() }),
			"", func(s control.Statistics) uint64 { return s.OwnAddressRcvd }},
	} {
		mark := s.r1.syslog.mark()
		before := c.count(s.r1.status(lanA).Routers[0].Statistics)
		const times = 3
		for range times {
			check(t, in.Send(c.frame))
		}
		if c.says != "" {
			s.r1.syslog.waitFor(t, mark, c.what, containing(c.says))
		}
		st := s.r1.waitStatus(lanA, c.what+" is counted", func(st control.Status) bool {
			return c.count(st.Routers[0].Statistics) >= before+times
		})
		a := s.r1.alarmed(lanA, c.reason, c.peer)
		if a.Count < times {
			t.Errorf("%s: the alarm counts %d adverts, want %d: %+v", c.what, a.Count, times, a)
		}
		s.r1.shows(a)
		if n := s.r1.said(mark, c.says); c.says != "" && n != 1 {
			t.Errorf("%s: said %d times, want once", c.what, n)
		}
		if st.Machine.Phase != "MASTER" {
			t.Errorf("%s: it yielded: %+v", c.what, st.Machine)
		}
	}
	// When the cause has gone, the alarms have, too.
	s.r1.calmed(lanA)
	s.r1.syslog.waitFor(t, 0, "the end", containing("over: 10.16.1.67 sends every 1s, we every 300ms"))
	if n := s.r1.said(0, "over: adverts with our own source address"); n != 1 {
		t.Errorf("the end of our own address was said %d times", n)
	}
	if got := s.r1.atropos(0, "--state").Stdout; strings.Contains(got, "ALARM") {
		t.Errorf("an alarm is left:\n%s", got)
	}
	s.neverSplit()
}

// Who yields to a router with other addresses says so before: nobody serves ours
// any more.
func TestOddPeers_NoSilentYield(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	f := good(3)
	f.addrs = []netip.Addr{netip.MustParseAddr("10.16.1.201")}
	check(t, in.Send(f.frame()))
	yielded := s.r1.syslog.waitFor(t, 0, "that it yields", containing("vrrp51: MASTER -> BACKUP: superior-advert (peer 10.16.1.66)"))
	for _, l := range s.r1.syslog.letters(0) {
		if strings.Contains(l.text, "10.16.1.66 uses our VRID 51 with other addresses (10.16.1.201)") {
			return
		}
		if l == yielded {
			break
		}
	}
	t.Errorf("it yielded before it said why that is odd: %v", s.r1.syslog.texts())
}

// Two machines that are configured differently, with the real program on both:
// each sees it, says what to do, and is calm when the other one has gone.
func TestOddPeers_RealMachines(t *testing.T) {
	t.Parallel()
	const vrid51 = "vrrpd -i eth0 -v 51 "
	for _, c := range []struct {
		name   string
		r1, r2 string
		reason string // of both, or of whom
		both   bool   // both serve: neither believes the other
		mine   bool   // the peer has our own address
		says   string
	}{
		{"version 2 and version 3", "10.16.1.200 -d 1", "10.16.1.200 -d 1 --vrrp-version 3", "version", true, false,
			"because it does not speak VRRP version "},
		{"version 2, another interval", "10.16.1.200 -d 1", "10.16.1.200 -d 2", "interval", true, false,
			"which version 2 does not allow"},
		{"version 2, other addresses", "10.16.1.200 -d 1", "10.16.1.201 -d 1", "address-list", true, false,
			"are not ours"},
		{"version 3, other addresses", "10.16.1.200 -d 0.1 -p 200", "10.16.1.201 -d 0.1", "addresses-differ", false, false,
			"uses our VRID 51 with other addresses"},
		{"two owners", "10.16.1.200 -d 0.1 -p 255", "10.16.1.200 -d 0.1 -p 255", "owner-conflict", false, false,
			"says that it owns the addresses of VRID 51 (priority 255), and so do we"},
		{"the same own address", "10.16.1.200 -d 0.1", "10.16.1.200 -d 0.1", "own-address-heard", false, true,
			"adverts with our own source address 10.16.1.1 arrive from elsewhere"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			theirs := s.r2.own(lanA)
			if c.mine {
				check(t, s.r2.DelAddr("eth0", theirs))
				check(t, s.r2.AddAddr("eth0", s.r1.own(lanA)))
				theirs = s.r1.own(lanA)
			}
			marks := map[*router]int{s.r1: s.r1.syslog.mark(), s.r2: s.r2.syslog.mark()}
			s.r1.startLine(vrid51 + c.r1)
			see := []*router{s.r2}
			if c.both {
				see = s.routers()
			} else {
				s.r1.waitServing(lanA)
			}
			s.r2.startLine(vrid51 + c.r2)
			if c.both {
				for _, r := range see {
					r.waitStatus(lanA, c.name+": it serves as well", func(st control.Status) bool { return st.Machine.Phase == "MASTER" })
				}
			}
			for _, r := range see {
				peer := s.r1.own(lanA)
				if r == s.r1 {
					peer = theirs
				}
				a := r.alarmed(lanA, c.reason, peer.Addr())
				if !strings.Contains(a.Message, c.says) {
					t.Errorf("%s: %s says %q", c.name, r.Name(), a.Message)
				}
				r.shows(a)
				t.Logf("%s: %s: %s; %s", c.name, r.Name(), a.Message, a.Do)
				if n := r.said(marks[r], "; what to do: "+a.Do); n > 3 { // HELD, BACKUP and MASTER
					t.Errorf("%s: %s has said it %d times", c.name, r.Name(), n)
				}
				st := r.status(lanA).Routers[0].Statistics
				if st.VersionErrors+st.IntervalErrors+st.AddressListErrors+st.OwnerConflicts+st.OwnAddressRcvd == 0 {
					t.Errorf("%s: %s counts nothing: %+v", c.name, r.Name(), st)
				}
			}
			// The cause goes with one of the machines.
			s.r1.signal(lanA, syscall.SIGTERM)
			s.r1.waitProcesses(0)
			s.r2.calmed(lanA)
			s.r2.signal(lanA, syscall.SIGTERM)
			s.r2.waitProcesses(0)
		})
	}
}

// Many forged sources make three lines: two are told of in full, and the others
// together.
func TestOddPeers_FloodIsBounded(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	before := s.r1.status(lanA).Routers[0].Statistics.VersionErrors
	const flood = 1000
	for i := range flood {
		f := good(2)
		f.src = netip.AddrFrom4([4]byte{10, 16, byte(2 + i/250), byte(1 + i%250)})
		check(t, in.Send(f.frame()))
	}
	st := s.r1.waitStatus(lanA, "all are counted", func(st control.Status) bool {
		return st.Routers[0].Statistics.VersionErrors >= before+flood
	})
	const ignored = "are ignored, because it does not speak VRRP version 3"
	s.r1.syslog.waitFor(t, 0, "that there are many", func(text string) bool {
		return strings.Contains(text, "more than 30 other sources (") && strings.Contains(text, ignored)
	})
	st = s.r1.status(lanA)
	if n := len(st.Machine.Alarms); n != 3 {
		t.Errorf("%d alarms: %+v", n, st.Machine.Alarms)
	}
	s.r1.shows(st.Machine.Alarms[0])
	if n := s.r1.said(0, ignored); n != 3 {
		t.Errorf("said %d times", n)
	}
	if st.Machine.Phase != "MASTER" {
		t.Errorf("it has left: %+v", st.Machine)
	}
	s.neverSplit()
}

// The journal has the fields by which an alarm is found, when it begins and when
// it is over.
func TestOddPeers_Journal(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	journal := listen(t, s.r1.Host, "/run/systemd/journal/socket")
	_, err := s.r1.Start(netlab.Command{Path: "sh", Args: []string{"-c", toolLine(toolJournal, alone, "-F")}})
	check(t, err)
	s.r1.waitServing(lanA)
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	check(t, in.Send(good(2).frame()))
	mark := 0
	for _, says := range []string{"adverts from 10.16.1.66 are ignored", "over: adverts from 10.16.1.66 are ignored"} {
		text := journal.waitFor(t, mark, says, containing("MESSAGE=vrrp51: "+says)).text
		mark = journal.mark()
		f := fields(t, text)
		priority := map[bool]string{true: "6", false: "4"}[strings.HasPrefix(says, "over")]
		for key, want := range map[string]string{
			"MESSAGE_ID": "86a0f3b39ee64fe1a05fa45c499db1cb", "PRIORITY": priority, "VRRP_REASON": "version", "VRRP_PEER": "10.16.1.66",
			"VRRP_INTERFACE": "vrrp51", "VRRP_PARENT": "eth0", "VRRP_VRID": "51",
		} {
			if f[key] != want {
				t.Errorf("%s: %s is %q, want %q", says, key, f[key], want)
			}
		}
	}
}
