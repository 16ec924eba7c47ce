package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

const (
	ahForm = "v2-ah"

	ahRefused column = "adverts refused, while it did not hear ours"
	ahBoth    column = "both served, from when it heard ours again"
)

func ahCase() peering {
	return peerings[slices.IndexFunc(peerings, func(c peering) bool { return c.name == ahForm })]
}

// keepalived begins to count anew when it is started again, so its adverts are replays
// to us. The worst case is one that does not hear us, either: nothing heals until it
// does, and then the next advert does.
func TestAHCounterOfThePeerBeginsAnew(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	c := ahCase()
	s := newSite(t, c)
	s.peer.start(150)
	s.peer.waitServing(patience)
	s.ours.start(100)
	s.waitStatus("it follows", func(r control.Router) bool { return r.State == "backup" && r.Statistics.AdvertisementRcvd >= 3 })
	s.proven(c)

	deaf, err := s.ours.cable.Drop(netlab.Loss{Direction: netlab.FromHost, Match: netlab.MatchAdverts()})
	check(t, err)
	s.peer.fail()
	s.peer.revive()
	s.peer.start(150)
	s.peer.waitServing(patience)
	s.ours.waitServing(patience)
	s.waitStatus("it refuses replays", func(r control.Router) bool { return r.Statistics.Drops["auth-replay"] >= 2 })
	refused := s.status().Statistics.Drops["auth-replay"]

	began := time.Now()
	check(t, deaf.Close())
	s.ours.waitGone()
	took := time.Since(began)
	if limit := 2*c.interval() + busy; took > limit {
		t.Errorf("both served for %v since the peer heard ours, more than %v", took, limit)
	}
	s.peer.wantServing()
	s.record(ahRefused, fmt.Sprint(refused))
	s.record(ahBoth, whole(took))
	s.waitStatus("it follows again", func(r control.Router) bool {
		return r.State == "backup" && r.Statistics.AdvertisementRcvd >= 3
	})
}

// We are started again without what we knew: our counter begins at the seconds of the
// clock, which keepalived believes.
func TestAHCounterOfOursIsLost(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	c := ahCase()
	s := newSite(t, c)
	s.peer.start(100)
	s.peer.waitServing(patience)
	for range 2 {
		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.waitGone()
		sent := s.status().Statistics.AdvertisementSent
		s.waitStatus("it is believed", func(r control.Router) bool { return r.Statistics.AdvertisementSent >= sent+2 })
		s.peer.wantResting()
		s.proven(c)
		s.ours.end(syscall.SIGKILL)
		s.ours.clean()
		s.peer.waitServing(patience)
		check(t, s.ours.Do(func() error { return os.Remove(filepath.Join(runDir, s.instance+".auth")) }))
	}
}
