package lease

import (
	"fmt"
	"testing"

	netlib "github.com/vishvananda/netlink"
)

// Guards that are made together are those that Attach makes: whole, closed, each with a
// deadline of its own.
func TestAttachNew(t *testing.T) {
	for _, rung := range []Rung{Clsact, Nftables, None} {
		t.Run(rung.String(), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(rung)
			g, err := Open(Config{Ladder: []Rung{rung}})
			l.must(err)
			defer g.Close()
			parent := l.link("eth0").Attrs().Index
			var fresh []New
			for n := range 2*together + 3 {
				attrs := netlib.NewLinkAttrs()
				attrs.Name, attrs.ParentIndex = fmt.Sprint("many", n), parent
				l.must(l.nl.LinkAdd(&netlib.Macvlan{LinkAttrs: attrs, Mode: netlib.MACVLAN_MODE_BRIDGE}))
				fresh = append(fresh, New{l.link(attrs.Name).Attrs().Index, attrs.Name})
			}
			if rung == Clsact {
				some := make([]*Guard, together)
				if n := g.attachNew(fresh[:together], some); n != together {
					t.Errorf("%d of %d were made together", n, together)
				}
				for _, x := range some {
					l.must(x.Verify())
					l.must(x.Detach())
				}
			}
			// One that is not new after all, in the second batch, and one that has gone.
			old, err := g.Attach(fresh[together].Index)
			l.must(err)
			l.must(old.Renew(boottime() + hour))
			fresh = append(fresh, New{1 << 20, "gone"})
			guards, errs := g.AttachNew(fresh)
			for n, x := range guards[:len(fresh)-1] {
				if errs[n] != nil {
					t.Fatalf("%s: %v", fresh[n].Name, errs[n])
				}
				if err := x.Verify(); err != nil || x.Deadline() != 0 || x.Rung() != rung || x.Index() != fresh[n].Index {
					t.Errorf("%s: %v, open until %d", fresh[n].Name, err, x.Deadline())
				}
				l.must(x.Renew(int64(n)))
			}
			if last := len(fresh) - 1; guards[last] != nil || !gone(errs[last]) {
				t.Errorf("an interface that has gone: %v, %v", guards[last], errs[last])
			}
			for n, x := range guards[:len(fresh)-1] {
				if x.Deadline() != int64(n) {
					t.Errorf("%s has the deadline of another: %d", fresh[n].Name, x.Deadline())
				}
				l.must(x.Detach())
			}
		})
	}
}
