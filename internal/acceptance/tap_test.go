package acceptance

import (
	"net/netip"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// On a parent that reports its carrier like a network card: the whole machine
// leaves as soon as the kernel tells, and takes the state back. The kernel
// (linkwatch) tells of such losses once a second, of all those on the machine that
// this runs on, in whatever namespace; so how long it takes to tell is not judged.
func tapCarrierLost(t *testing.T) {
	onStage(t)
	s := newSite(t, options{})
	r := s.r1
	check(t, r.cable(lanA).Remove())
	tap, err := s.lab.ConnectTap(r.Host, lanA.nic, s.switches[0], netlab.CableOptions{MAC: r.mac(lanA), Addrs: []netip.Prefix{r.own(lanA)}})
	check(t, err)
	r.cables[0] = tap.Cable
	r.waitOperational(lanA.nic)
	r.startAll()
	for _, l := range lans {
		r.waitServing(l)
	}
	s.r2.startAll()
	s.settled(r, s.r2)
	var took []time.Duration
	for len(took) < 3 || len(took) < 5 && middle(took) > swift {
		quietly(t, func() {
			mark := r.fence()
			before := time.Now()
			check(t, tap.Carrier(false))
			told := r.waitEvent(mark, lanA.nic, netlab.CarrierLost, noAddr).At.Sub(before)
			silent := time.Duration(0)
			for _, l := range lans {
				silent = max(silent, r.waitEvent(mark, l.vrrp(), netlab.AddrGone, l.vip).At.Sub(before))
			}
			t.Logf("the kernel told after %v, the addresses were gone after %v", told, silent)
			took = append(took, silent-told)
		})
		r.waitStatus(lanB, "it is held", func(st control.Status) bool { return st.Machine.Reason == "link-down" })
		for _, l := range lans {
			s.r2.waitServing(l)
		}
		check(t, tap.Carrier(true))
		s.settled(r, s.r2)
	}
	if middle(took) > swift {
		t.Errorf("the addresses were gone %v after the kernel told", took)
	}
	s.neverSplit()
}
