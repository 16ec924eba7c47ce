package acceptance

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

var noAddr netip.Addr

// A mixed view: the better machine hears the master on LAN
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
	for _, l := range lans {
		s.r1.saysBoth(l, 0, "mixed-view", "no master is heard on eth1 (VRID 52), while 10.16.1.2 on eth0 (VRID 51) is MASTER with a lower priority; not preempting for up to 60 s")
	}
	check(t, s.r1.cable(lanB).Unblock())
	s.settled(s.r1, s.r2)
	s.r1.syslog.waitFor(t, 0, "the end of the mixed view", containing("the mixed view is over: "))
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
	s.r1.shows(s.r1.alarmed(lanA, "peer-deaf", s.r2.own(lanA).Addr()))
	if n := s.r1.said(0, "vrrp51: warning: 10.16.1.2 goes on as MASTER although its priority is lower than ours: it does not hear our adverts"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	for _, d := range drops {
		check(t, d.Close())
	}
	s.settled(s.r1, s.r2)
	for _, l := range lans {
		s.r1.calmed(l)
	}
}

// saysBoth checks that the process of the LAN has said both facts in the journal,
// and that they stand in all that atropos shows, with what to do. It returns when
// the process said it.
func (r *router) saysBoth(l lan, mark int, reason, facts string) time.Time {
	r.site.t.Helper()
	said := r.syslog.waitFor(r.site.t, mark, reason+" of "+l.vrrp(), func(text string) bool {
		return strings.Contains(text, l.vrrp()+": ") && strings.Contains(text, facts) && strings.Contains(text, "what to do: look at cable, switch port")
	})
	v := r.view(0)
	if len(v.Groups) != 1 || !slices.ContainsFunc(v.Groups[0].Alarms, func(a control.Alarm) bool {
		return a.Reason == reason && strings.HasPrefix(a.Message, facts) && a.Do != ""
	}) {
		r.site.t.Errorf("atropos --state --json of %s: %+v", r.Name(), v.Groups)
	}
	title := map[string]string{"mixed-view": "MIXED VIEW", "partition": "PARTITION"}[reason]
	for _, args := range []string{"--state", "--why"} {
		if got := r.atropos(0, args).Stdout; !strings.Contains(got, title+" since ") || !strings.Contains(got, facts) || !strings.Contains(got, "What to do: look at cable") {
			r.site.t.Errorf("atropos %s of %s:\n%s", args, r.Name(), got)
		}
	}
	// Who begins to watch now is told as well.
	for _, json := range []bool{false, true} {
		args := []string{"--watch"}
		if json {
			args = append(args, "--json")
		}
		p, err := r.Start(netlab.Command{Path: "atropos", Args: args})
		check(r.site.t, err)
		_, err = p.WaitLine(within(r.site.t, patience), func(line netlab.Line) bool {
			return strings.Contains(line.Text, reason) && strings.Contains(line.Text, facts)
		})
		check(r.site.t, err)
		check(r.site.t, p.Signal(syscall.SIGINT))
	}
	return said.at
}

// A partition: both facts are said, by each process,
// within one master-down interval after the LAN counts as silent, which is one
// of the least priority after the last advert; and that it is over.
func TestViews_PartitionIsReported(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	const down = 3*100*time.Millisecond + 156*100*time.Millisecond/256   // priority 100
	const silent = 3*100*time.Millisecond + 255*100*time.Millisecond/256 // priority 1
	watch, err := s.r2.Start(netlab.Command{Path: "atropos", Args: []string{"--watch"}})
	check(t, err)
	_, err = watch.WaitLine(within(t, patience), containingLine("is BACKUP"))
	check(t, err)
	const facts = "no master is heard on eth1 (VRID 52), while 10.16.1.1 on eth0 (VRID 51) is MASTER; nothing is taken over"
	var late []time.Duration
	for range 3 {
		mark := s.r2.syslog.mark()
		at := time.Now()
		check(t, s.r2.cable(lanB).Block())
		for _, l := range lans {
			late = append(late, s.r2.saysBoth(l, mark, "partition", facts).Sub(at))
		}
		check(t, s.r2.cable(lanB).Unblock())
		for _, l := range lans {
			s.r2.syslog.waitFor(t, mark, "the end of it", containing(l.vrrp()+": the partition is over: every network of this machine is heard again"))
			s.r2.waitStatus(l, "it is over", func(st control.Status) bool {
				return !st.Machine.Partition && len(st.Machine.Alarms) == 0
			})
		}
		_, err = watch.WaitLine(within(t, patience), func(line netlab.Line) bool {
			return line.At.After(at) && strings.Contains(line.Text, "alarm is over: partition-over: ")
		})
		check(t, err)
	}
	slices.Sort(late)
	t.Logf("reported %v after the port was blocked; the LAN counts as silent after %v, the master-down interval is %v", late, silent, down)
	if half := late[len(late)/2]; half > silent+down+50*time.Millisecond {
		t.Errorf("in the median it was reported after %v, want %v", half, silent+down)
	}
	// Once for the machine, not once for each process.
	begun, over := 0, 0
	for _, l := range watch.Lines() {
		if strings.Contains(l.Text, "alarm: partition: ") {
			begun++
		}
		if strings.Contains(l.Text, "alarm is over: partition-over: ") {
			over++
		}
	}
	if begun != 3 || over != 3 {
		t.Errorf("atropos --watch told %d partitions and %d ends of them, want 3: %v", begun, over, watch.Lines())
	}
	check(t, watch.Signal(syscall.SIGINT))
	s.settled(s.r1, s.r2)
}
