package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"vrrpd/election"
)

// refusing is a carrier of which nothing can be removed, and which cannot be taken down.
type refusing struct {
	carrier
	asked []string
}

func (s *refusing) RemoveAddrs() error {
	s.asked = append(s.asked, "remove")
	return errors.New("the kernel keeps them")
}

func (s *refusing) Up(context.Context) error {
	s.asked = append(s.asked, "up")
	return nil
}

func (s *refusing) Down() error {
	s.asked = append(s.asked, "down")
	return errors.New("the kernel keeps it up")
}

// Who leaves does so for all of its virtual routers, whatever the kernel says about one:
// that is told, the interface is taken down all the same, and a promotion afterwards raises
// it again.
func TestDemoteInSpiteOfErrors(t *testing.T) {
	d, _ := crowdDaemon(t, 3)
	var log bytes.Buffer
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	var carriers []*refusing
	var run []election.Action
	for i, r := range d.routers {
		c := &refusing{}
		carriers = append(carriers, c)
		if i > 0 { // the first one's interface does not exist
			r.iface = c
		}
		r.wanted, r.announced = true, true
		r.present.add(netip.MustParseAddr("198.51.100.1"))
		run = append(run, election.Action{Kind: election.DoDemote, VR: r.vr})
	}
	d.demoteAll(run)
	for i, r := range d.routers {
		if r.wanted || r.announced || i > 0 && len(r.present) > 0 {
			t.Errorf("%d: wanted %v, announced %v, present %v", i, r.wanted, r.announced, r.present)
		}
	}
	if d.leftAt == 0 {
		t.Error("when it left is not known")
	}
	d.routers[2].wanted = true // a promotion, before it went down
	d.agenda.run(boottime() + int64(downAfter))
	go d.worker.run()
	d.worker.end()
	_, calls := d.inbox.take(nil, nil)
	for _, f := range calls {
		f()
	}
	asked := func(i int, want string) {
		t.Helper()
		if got := strings.Join(carriers[i].asked, " "); got != want {
			t.Errorf("%d: asked to %q, want %q", i, got, want)
		}
	}
	asked(1, "remove down")
	asked(2, "remove")
	for text, want := range map[string]int{
		"cannot remove the virtual addresses":    2,
		"the kernel keeps them":                  2,
		"cannot take the virtual interface down": 1,
		"vrrp_interface=many1 vrrp_parent=eth1 vrrp_vrid=1 err=\"the kernel keeps it up\"": 1,
	} {
		if got := strings.Count(log.String(), text); got != want {
			t.Errorf("%q is logged %d times, want %d:\n%s", text, got, want, &log)
		}
	}
	// It went down when a promotion had come: what that undid is done again.
	overtaken := d.routers[1]
	overtaken.wanted = true
	d.isDown(overtaken, overtaken.iface, nil)
	if !overtaken.overtaken || len(d.afterStep) != 1 {
		t.Fatalf("overtaken %v, %d things to do", overtaken.overtaken, len(d.afterStep))
	}
	d.afterStep[0]()
	asked(1, "remove down up")
}
