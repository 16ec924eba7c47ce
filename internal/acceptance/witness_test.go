package acceptance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/internal/netlab"
)

// witness watches one LAN for two machines that serve at once. It asks for the
// virtual address afresh again and again (ARP), sends an echo request to it
// (ICMP), and one through it to the host on the other LAN, which is forwarded or
// not. The switch has learnt nothing, so everything that is sent to the virtual
// MAC reaches both machines, and each of them answers, or forwards, or is silent.
type witness struct {
	s     *site
	l     lan
	asker *netlab.Asker
	out   map[string]*netlab.Sniffer // what a machine sends into the other LAN
	end   func()
}

// through is the identifier of the echo requests that are to be forwarded.
const through = 0x7777

// watch begins to ask every so often on both LANs.
func (s *site) watch(every time.Duration) []*witness {
	s.t.Helper()
	for _, sw := range s.switches {
		for _, r := range s.routers() {
			for _, c := range r.cables {
				if c.Switch == sw {
					port, err := sw.Netlink().LinkByName(c.Port)
					check(s.t, err)
					check(s.t, sw.Netlink().LinkSetLearning(port, false))
				}
			}
		}
	}
	var all []*witness
	for _, l := range lans {
		all = append(all, s.watchLAN(l, every))
	}
	return all
}

func (s *site) watchLAN(l lan, every time.Duration) *witness {
	s.t.Helper()
	w := &witness{s: s, l: l, out: map[string]*netlab.Sniffer{}}
	h := s.host(l)
	var cables []*netlab.Cable
	for _, r := range s.routers() {
		cables = append(cables, r.cable(l))
		w.out[r.Name()] = r.sniff(l.other(), netlab.MatchICMP())
	}
	in, err := h.OpenInjector("eth0")
	check(s.t, err)
	nic, err := h.Link("eth0")
	check(s.t, err)
	forget(s, l, l.vmac())
	w.asker, err = h.StartAsker("eth0", l.vip, netlab.AskerOptions{Interval: every, Cables: cables})
	check(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for seq := uint16(1); ; seq++ {
			select {
			case <-tick.C:
				e := netlab.Echo{Src: s.address(h), Dst: s.address(s.host(l.other())), ID: through, Seq: seq}
				_ = in.Send(e.Frame(nic.MAC, l.vmac())) // as the answer to it may be lost
			case <-ctx.Done():
				return
			}
		}
	})
	w.end = func() { cancel(); wg.Wait() }
	return w
}

// forget has the switch of a LAN forget where a MAC is.
func forget(s *site, l lan, mac netlab.MAC) {
	s.t.Helper()
	sw := s.switches[l.index()]
	for _, r := range s.routers() {
		port, err := sw.Link(r.cable(l).Port)
		check(s.t, err)
		_ = sw.Netlink().NeighDel(&netlink.Neigh{LinkIndex: port.Index, Family: 7, Flags: netlink.NTF_MASTER, HardwareAddr: mac[:]})
	}
}

// found is what a witness has seen.
type found struct {
	double    []string      // moments at which two machines served
	longest   time.Duration // nobody answered
	answered  int           // questions that somebody answered
	forwarded int           // packets
	last      time.Time     // last time that a machine other than the last one served
	lastFrom  string        // who served at the end
}

// stop ends the watch, and the test if it has seen nothing.
func (w *witness) stop() found {
	w.s.t.Helper()
	f := w.collect()
	if f.forwarded == 0 {
		w.s.t.Fatalf("nothing was forwarded from %s: the test sees nothing", w.l.nic)
	}
	return f
}

// collect ends the watch. A question that one machine answers by ARP and the other,
// which has taken over meanwhile, by ICMP is no double service; two answers of one
// kind are.
func (w *witness) collect() found {
	w.s.t.Helper()
	w.end()
	record, err := w.asker.Stop()
	check(w.s.t, err)
	if record.Dropped > 0 {
		w.s.t.Fatalf("the capture has lost %d frames", record.Dropped)
	}
	f := found{longest: record.Longest(0).Length()}
	for _, q := range record.List {
		for _, a := range q.Answers {
			if a.From != f.lastFrom {
				f.lastFrom = a.From
				f.last = a.At
			}
		}
		if a, b, both := atOnce(q); both {
			f.double = append(f.double, fmt.Sprintf("%s: %s and %s answer for %v:%s", q.Sent.Format("05.000"), a.From, b.From, w.l.vip, answersText(q)))
		}
		if len(q.Answers) > 0 {
			f.answered++
		}
	}
	forwarders := map[uint16][]string{}
	for name, sn := range w.out {
		if lost, err := sn.Dropped(); err != nil || lost > 0 {
			w.s.t.Fatalf("the capture has lost %d frames, %v", lost, err)
		}
		for _, fr := range sn.Frames(0) {
			if e, ok := fr.Echo(); ok && !fr.Out && !e.Reply && e.ID == through && !slices.Contains(forwarders[e.Seq], name) {
				forwarders[e.Seq] = append(forwarders[e.Seq], name)
			}
		}
		check(w.s.t, sn.Close())
	}
	f.forwarded = len(forwarders)
	for seq, from := range forwarders {
		if len(from) > 1 {
			f.double = append(f.double, fmt.Sprintf("packet %d to %v: %v forward it", seq, w.l.vmac(), from))
		}
	}
	return f
}

// oneMoment is how far apart the answers of two machines to one question may be at
// most to be those of one moment. A machine that stands still asks nothing meanwhile:
// what comes after that counts as an answer to what it has asked before.
const oneMoment = 50 * time.Millisecond

// atOnce finds two answers of one kind by two machines.
func atOnce(q netlab.Question) (one, other netlab.Answer, both bool) {
	last := map[bool]netlab.Answer{} // by kind; answers are in their order
	for _, a := range q.Answers {
		if l, ok := last[a.Echo]; ok && l.From != a.From && a.At.Sub(l.At) <= oneMoment {
			return l, a, true
		}
		last[a.Echo] = a
	}
	return one, other, false
}

// answersText is who answered a question, with what MAC and how long after it.
func answersText(q netlab.Question) string {
	var b strings.Builder
	for _, a := range q.Answers[:min(len(q.Answers), 10)] {
		kind := "ARP"
		if a.Echo {
			kind = "ICMP"
		}
		fmt.Fprintf(&b, " %s by %s (%v) after %s", kind, a.From, a.MAC, ms(a.At.Sub(q.Sent)))
	}
	return b.String()
}

// neverTwo ends the watch and the test if two machines have ever served at once.
func (s *site) neverTwo(all []*witness) {
	s.t.Helper()
	for _, w := range all {
		f := w.stop()
		s.t.Logf("%s: %d questions answered, nobody for %s at most", w.l.vip, f.answered, ms(f.longest))
		if len(f.double) > 0 {
			s.t.Errorf("%d moments with two machines, from %s to %s", len(f.double), f.double[0], f.double[len(f.double)-1])
		}
	}
}
