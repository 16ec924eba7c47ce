package interop

import (
	"fmt"
	"net/netip"
	"strings"
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

// share is how much of a hole the peer does not answer for, which was to take over; see
// ourShare. It is all of it if the capture has lost frames.
func (w *witness) share(hole netlab.Outage) time.Duration {
	for _, wire := range w.wires {
		lost, err := wire.Dropped()
		check(w.s.t, err)
		if lost > 0 {
			return hole.Length()
		}
	}
	return ourShare(w.wires[0].Frames(0), w.wires[1].Frames(0), w.s.ours.virtual, hole)
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
		for _, l := range m.procs {
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
