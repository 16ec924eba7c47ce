package election

import "testing"

// Every process of the machine names the router that it leaves for, also when a
// sibling has heard it.
func TestReportNamesThePeerOfASibling(t *testing.T) {
	s := setup{}.open(t, 2)
	s.master()
	s.fresh()
	s.hear(A, 200, high)
	s.is(Backup, SuperiorAdvert)
	s.obeyed()
	for _, lan := range []int{A, B} {
		named := false
		for _, e := range s.host[lan].log {
			named = named || e.transition() && e.act.To == Backup && e.act.Peer == addr(A, high)
		}
		if !named {
			t.Errorf("the process of LAN %d does not name %v", lan, addr(A, high))
		}
	}
}
