package netlab

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// r1 has the address on LAN A, r2 that on LAN B: the way to a host on B leads by r1,
// and back by r2. That is not two machines with one address.
func TestAskerThroughARouter(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	check(t, n.R1.AddAddr("eth0", netip.PrefixFrom(n.LANA.VIP, 32)))
	check(t, n.R2.AddAddr("eth1", netip.PrefixFrom(n.LANB.VIP, 32)))
	asker := must[*Asker](t)(n.Client.StartAsker("eth0", n.LANA.VIP, AskerOptions{
		Interval: 10 * time.Millisecond, Cables: []*Cable{n.R1A, n.R2A}, Through: n.LANB.Host,
	}))
	Eventually(t, limit, func() (bool, string) {
		r := must[Answers](t)(asker.Snapshot())
		return slices.ContainsFunc(r.List, func(q Question) bool {
			return slices.Equal(q.Machines(), []string{"r1", "r2"})
		}), "answered by r1, and the echo came by r2"
	})
	gone := now()
	check(t, n.R2.DelAddr("eth1", netip.PrefixFrom(n.LANB.VIP, 32)))
	check(t, n.Server.FlushNeighbours())
	Eventually(t, limit, func() (bool, string) {
		r := must[Answers](t)(asker.Snapshot())
		return slices.ContainsFunc(r.List, func(q Question) bool {
			return q.Sent.After(gone) && slices.Equal(q.Machines(), []string{"r1"})
		}), "answered by r1, and no echo"
	})
	r := must[Answers](t)(asker.Stop())
	if d := r.Double(); len(d) != 0 {
		t.Errorf("two machines answered in %v", d)
	}
	if o := r.Outages(0); len(o) == 0 || !o[len(o)-1].Open {
		t.Errorf("nothing came back in %v, want a stretch open at the end", o)
	}
	if _, err := n.Client.StartAsker("eth0", n.LANA.VIP, AskerOptions{Through: netip.MustParseAddr("2001:db8::1")}); err == nil {
		t.Error("an IPv6 host is reached through an IPv4 address")
	}
}
