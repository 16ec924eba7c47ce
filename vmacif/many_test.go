package vmacif

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// Many that begin and end to serve together are what each would be by itself: without any
// address in the end, also those of others, and whatever has become of some of them.
func TestManyTogether(t *testing.T) {
	for _, n := range []uint8{3, oneByOne + 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			l := newLab(t)
			h := l.hands()
			var specs []Spec
			for v := range n {
				s := spec(100+v, "eth0", fmt.Sprintf("192.0.2.%d", 100+v))
				s.Owner = "machine"
				specs = append(specs, s)
			}
			h.Expect(specs)
			made := l.ensureAll(h, specs)
			l.must(errors.Join(h.UpAll(context.Background(), made)...))
			for i, s := range specs {
				l.wantState("raised", made[i], true, s.Addresses[0].String()+"/32")
			}
			l.addr(specs[1].Name, "203.0.113.7/24") // a script's
			l.must(made[2].Drop(specs[2].Addresses))
			l.must(made[0].Delete())
			bare := h.bare(made)
			if many := n > oneByOne; (bare != nil) != many || bare[made[2].Index()] != many || bare[made[1].Index()] {
				t.Errorf("%d of %d are known to be bare: %v", len(bare), n, bare)
			}
			l.must(errors.Join(h.UpAll(context.Background(), made[1:])...))
			l.must(errors.Join(h.RemoveAddrsAll(made)...))
			for _, i := range made[1:] {
				l.wantState("given up", i, true)
				l.must(i.Down())
				l.wantState("lowered", i, false)
			}
			l.wantSysctl("ipv4", "eth0", "arp_ignore", "1") // nothing of the parent's has changed
		})
	}
}
