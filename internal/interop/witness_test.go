package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// witness remembers what both machines say and what becomes of their interfaces: if
// nobody answers for too long, a person has to see whose fault it was.
type witness struct {
	s     *site
	wires []*netlab.Sniffer
	links []*netlab.LinkLog
}

func (s *site) witness() *witness {
	s.t.Helper()
	w := &witness{s: s}
	for _, m := range []*machine{s.ours, s.peer} {
		wire, err := m.cable.StartSniffer(netlab.SnifferOptions{Match: netlab.Or(netlab.MatchAdverts(), netlab.MatchARP(), netlab.MatchNeighbours())})
		check(s.t, err)
		links, err := m.StartLinkLog()
		check(s.t, err)
		w.wires, w.links = append(w.wires, wire), append(w.links, links)
	}
	return w
}

// close ends it, after it was asked.
func (w *witness) close() {
	w.s.t.Helper()
	for i := range w.wires {
		check(w.s.t, w.wires[i].Close())
		check(w.s.t, w.links[i].Close())
	}
}

// excuses reports whether a hole is the peer's fault; see excused. Nothing is if frames
// were lost.
func (w *witness) excuses(hole netlab.Outage) bool {
	for _, wire := range w.wires {
		lost, err := wire.Dropped()
		check(w.s.t, err)
		if lost > 0 {
			return false
		}
	}
	return excused(w.wires[0].Frames(0), w.wires[1].Frames(0), w.s.ours.virtual, hole)
}

// excused: the peer, which was to take over, had said that it serves when the hole began,
// and we have been silent since. Others say so before they have the addresses; how long
// they take then, on a machine that is busy, is not ours to answer for.
func excused(ours, peers []netlab.Frame, virtual func(netip.Addr) bool, hole netlab.Outage) bool {
	var word time.Time // its first one since it did not serve
	for _, f := range peers {
		switch a, ok := f.Advert(); {
		case !ok || f.Out || f.At.After(hole.From.Add(often)):
		case a.Priority == 0:
			word = time.Time{}
		case word.IsZero():
			word = f.At
		}
	}
	if hole.Open || word.IsZero() {
		return false
	}
	return !slices.ContainsFunc(ours, func(f netlab.Frame) bool {
		if !f.At.After(word) || !f.At.Before(hole.To) {
			return false
		}
		a, ok := f.Advert() // one may have crossed
		return ok && !f.Out && a.Priority > 0 && f.At.After(word.Add(often)) || announced(f, virtual) != ""
	})
}

// around logs what happened from a while before a hole to a while after it, in
// milliseconds since it began.
func (w *witness) around(hole netlab.Outage) {
	t := w.s.t
	t.Helper()
	const while = 1500 * time.Millisecond
	var all, near netlab.Timeline
	all.AddOutages("client", []netlab.Outage{hole})
	for i, m := range []*machine{w.s.ours, w.s.peer} {
		all.AddFrames(m.Name()+" says", w.wires[i].Frames(0), func(f netlab.Frame) string { return w.unasked(f) })
		all.AddLinkEvents(m.Name()+" has", w.links[i].Events(0))
		for _, l := range m.said {
			for _, line := range l.Lines() {
				all.Add(line.At, m.Name()+" logs", line.Text)
			}
		}
	}
	for _, e := range all.Entries() {
		if e.At.After(hole.From.Add(-while)) && e.At.Before(hole.To.Add(while)) {
			near.Add(e.At, e.Who, e.What)
		}
	}
	var text strings.Builder
	check(t, near.Print(&text, hole.From))
	t.Logf("around the hole, in ms since it began:\n%s", &text)
}

// unasked is what a frame says of the virtual addresses that nobody asked for, "" for the
// rest.
func (w *witness) unasked(f netlab.Frame) string {
	if a, ok := f.Advert(); ok && !f.Out {
		return a.String()
	}
	return announced(f, w.s.ours.virtual)
}

// announced is where a frame says that one of the virtual addresses is, "" if it does not.
func announced(f netlab.Frame, virtual func(netip.Addr) bool) string {
	if a, ok := f.ARP(); ok && !f.Out && a.SenderIP == a.TargetIP && virtual(a.SenderIP) {
		return fmt.Sprintf("%v: %v is at %v", f.Src(), a.SenderIP, a.SenderMAC)
	}
	if n, ok := f.Neighbour(); ok && !f.Out && n.Advertisement && !n.Solicited && virtual(n.Target) {
		return fmt.Sprintf("%v: %v is at %v", f.Src(), n.Target, n.MAC)
	}
	return ""
}

// The hole begins a second after zero and lasts for half of one.
func TestExcused(t *testing.T) {
	zero := time.Now()
	advert := func(after time.Duration, priority byte) netlab.Frame {
		ip := []byte{0x45, 0, 0, 20 + 8 + 4 + 8, 0, 0, 0, 0, 255, 112, 0, 0, 198, 51, 100, 1, 224, 0, 0, 18}
		msg := []byte{0x21, vrid, priority, 1, 0, 1, 0, 0, 198, 51, 100, 200, 0, 0, 0, 0, 0, 0, 0, 0}
		data := slices.Concat(make([]byte, 12), []byte{8, 0}, ip, msg)
		return netlab.Frame{At: zero.Add(after), Data: data}
	}
	at := func(f netlab.Frame, after time.Duration) netlab.Frame {
		f.At = zero.Add(after)
		return f
	}
	tells := at(netlab.Frame{Data: netlab.ARP{SenderIP: vip, TargetIP: vip}.Frame(netlab.VMAC(vrid), netlab.Broadcast())}, 1200*time.Millisecond)
	hole := netlab.Outage{Span: netlab.Span{From: zero.Add(time.Second), To: zero.Add(1500 * time.Millisecond)}, Lost: 50}
	before, after := advert(999*time.Millisecond, 100), advert(1400*time.Millisecond, 100)
	resigns := advert(900*time.Millisecond, 0)
	for _, c := range []struct {
		what        string
		ours, peers []netlab.Frame
		want        bool
	}{
		{"it spoke, and then nobody answered", []netlab.Frame{resigns}, []netlab.Frame{before, after}, true},
		{"nobody answered before it spoke", []netlab.Frame{resigns}, []netlab.Frame{after}, false},
		{"it has only resigned", nil, []netlab.Frame{resigns}, false},
		{"it was silent", []netlab.Frame{resigns}, nil, false},
		{"we spoke after it", []netlab.Frame{after}, []netlab.Frame{before}, false},
		{"we resigned once more after it", []netlab.Frame{advert(1200*time.Millisecond, 0)}, []netlab.Frame{before}, true},
		{"we announced the address after it", []netlab.Frame{tells}, []netlab.Frame{before}, false},
		{"we did at once", []netlab.Frame{at(tells, time.Second)}, []netlab.Frame{before}, false},
		{"we did before it", []netlab.Frame{at(tells, 900*time.Millisecond)}, []netlab.Frame{before}, true},
		{"our advert has crossed its own", []netlab.Frame{advert(time.Second, 100)}, []netlab.Frame{before}, true},
		{"it has resigned since", nil, []netlab.Frame{advert(800*time.Millisecond, 100), resigns}, false},
	} {
		if got := excused(c.ours, c.peers, func(a netip.Addr) bool { return a == vip }, hole); got != c.want {
			t.Errorf("%s: excused %t", c.what, got)
		}
		open := hole
		if open.Open = true; excused(c.ours, c.peers, func(a netip.Addr) bool { return a == vip }, open) {
			t.Errorf("%s: and nobody ever answered: excused", c.what)
		}
	}
}
