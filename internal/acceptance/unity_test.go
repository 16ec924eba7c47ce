package acceptance

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// host is the client or server on a LAN.
func (s *site) host(l lan) *netlab.Host { return []*netlab.Host{s.client, s.server}[l.index()] }

// address is that of the client or server.
func (s *site) address(h *netlab.Host) netip.Addr {
	if h == s.server {
		return lanB.host(10).Addr()
	}
	return lanA.host(10).Addr()
}

// elected waits until one machine says that it is MASTER and the other, having
// heard it, that it is BACKUP, and returns which is which.
func (s *site) elected() (master, backup *router) {
	s.t.Helper()
	netlab.Eventually(s.t, patience, func() (bool, string) {
		words := ""
		for i, r := range s.routers() {
			mine, err := r.tryStatus(lanA)
			theirs, err2 := s.routers()[1-i].tryStatus(lanA)
			words += fmt.Sprintf("%s: %s (%s) %v %v; ", r.Name(), mine.Machine.Phase, mine.Machine.Reason, err, err2)
			if mine.Machine.Phase == "MASTER" && theirs.Machine.Phase == "BACKUP" && heardBy(theirs, r) {
				master, backup = r, s.routers()[1-i]
				return true, ""
			}
		}
		return false, words
	})
	s.settled(master, backup)
	return master, backup
}

func heardBy(st control.Status, r *router) bool {
	return len(st.Routers) == 1 && st.Routers[0].LastAdvSource == r.own(lanA).Addr()
}

// change is one machine beginning or ending to serve one virtual address.
type change struct {
	at time.Time
	on bool
}

// services are the changes of a machine's service on a LAN, as its kernel told
// them: whoever has the address answers for it.
func (r *router) services(l lan) []change {
	var list []change
	for _, e := range r.links.Events(0) {
		switch {
		case e.Addr.Addr() == l.vip && e.What == netlab.AddrAdded:
			list = append(list, change{e.At, true})
		case e.Addr.Addr() == l.vip && e.What == netlab.AddrGone:
			list = append(list, change{e.At, false})
		}
	}
	return list
}

// unrest bounds how long a machine may be seen serving on one LAN and not on the
// other while it changes sides: it takes a few milliseconds, or as long as the
// kernel's one lock for all network changes of all namespaces is kept by others.
const unrest = time.Second

// neverSplit ends the test if a machine was ever split for longer than a change
// of sides takes, or usually for longer than it should.
func (s *site) neverSplit() {
	s.t.Helper()
	for _, r := range s.routers() {
		times := r.splits(time.Now())
		if len(times) == 0 {
			continue
		}
		slices.Sort(times)
		half, longest := times[(len(times)-1)/2], times[len(times)-1]
		s.t.Logf("%s changed sides %d times, serving on one LAN only for %s in the median, %s at most", r.Name(), len(times), ms(half), ms(longest))
		// One or two changes have no median: either may be a stall of the machine
		// that the test runs on.
		if longest > unrest || len(times) >= 3 && half > swift {
			s.t.Errorf("%s served on one LAN only for %v; its record: %v", r.Name(), times, r.links.Events(0))
		}
	}
}

// splits are the times for which a machine has served on one LAN only.
func (r *router) splits(now time.Time) (list []time.Duration) {
	type mark struct {
		change
		lan int
	}
	var all []mark
	for i, l := range lans {
		for _, c := range r.services(l) {
			all = append(all, mark{c, i})
		}
	}
	slices.SortStableFunc(all, func(a, b mark) int { return a.at.Compare(b.at) })
	var on [2]bool
	for i, m := range all {
		on[m.lan] = m.on
		next := now
		if i+1 < len(all) {
			next = all[i+1].at
		}
		if on[0] != on[1] {
			list = append(list, next.Sub(m.at))
		}
	}
	return list
}
