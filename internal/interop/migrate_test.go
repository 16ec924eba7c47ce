package interop

import (
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
)

// A pair is changed from version 2 to version 3 one machine at a time (RFC 9568 section
// 8.4.2): keepalived with version 2 serves; ours comes with both and takes over;
// keepalived comes back with version 3; ours goes and comes back with version 3 alone.
// The client misses nothing that an ordinary hand-over would not cost. On a machine that
// is busy with something else that may be more, so three migrations have to fail.
func TestMigrationFromVersion2To3(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	for range 3 {
		gap := migrate(t)
		if gap <= dark {
			return
		}
		t.Logf("nobody answered for %v", gap)
	}
	t.Errorf("three times there was a gap of more than %v", dark)
}

// migrate is one migration, and for how long nobody answered.
func migrate(t *testing.T) time.Duration {
	t.Helper()
	const both = "--vrrp-version 2+3 --checksum rfc5798"
	s := newSite(t, peering{ours: both, peer: keepalived(version2)})
	s.peer.start(100)
	s.peer.waitServing(patience)
	answers := s.during(func() {
		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.waitGone()
		s.waitStatus("it has heard version 2", func(r control.Router) bool {
			return r.Beside2 != nil && r.Beside2.AdvertisementRcvd > 0
		})
		s.heardInOneVersion(2)

		s.peer.end(syscall.SIGTERM)
		keepalived(version3)(s.peer)
		s.peer.start(100)
		sent := s.status().Statistics.AdvertisementSent
		s.waitStatus("the peer has decided", func(r control.Router) bool { return r.Statistics.AdvertisementSent >= sent+2*6 })
		if r := s.status(); r.State != "master" || r.Beside2.AdvertisementRcvd != r.Statistics.AdvertisementRcvd {
			t.Errorf("version 3 did not believe us: %s, %+v, %+v", r.State, r.Beside2, r.Statistics)
		}

		s.ours.end(syscall.SIGTERM)
		s.peer.waitServing(patience)
		s.speak("--vrrp-version 3")
		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.waitGone()
	})
	if r := s.status(); len(r.Statistics.Drops) != 0 || r.Beside2 != nil {
		t.Errorf("after the migration: %+v, %+v", r.Beside2, r.Statistics)
	}
	s.ours.end(syscall.SIGTERM)
	s.peer.end(syscall.SIGTERM)
	return answers.Longest(0).Length()
}

// heardInOneVersion: what was heard so far was accepted, and all of it of one version.
func (s *site) heardInOneVersion(version int) {
	s.t.Helper()
	r := s.status()
	rcvd, two := r.Statistics.AdvertisementRcvd, r.Beside2.AdvertisementRcvd
	if len(r.Statistics.Drops) != 0 || r.Beside2.Ignored != 0 || version == 2 && two != rcvd || version == 3 && two != 0 {
		s.t.Errorf("want version %d alone: %+v, %+v", version, r.Beside2, r.Statistics)
	}
}

// Beside a MASTER of either version ours is BACKUP, goes by its interval, and takes over
// when it dies: the same that is proven for each version alone.
func TestBothVersionsBehindEither(t *testing.T) {
	t.Parallel()
	for version, settings := range map[int]string{2: version2, 3: version3} {
		t.Run(map[int]string{2: "v2", 3: "v3"}[version], func(t *testing.T) {
			needKeepalived(t)
			t.Parallel()
			s := newSite(t, peering{ours: "--vrrp-version 2+3 -d 2", peer: keepalived(settings)})
			s.peer.start(150)
			s.peer.waitServing(patience)
			s.ours.start(100)
			s.waitStatus("it follows", func(r control.Router) bool {
				return r.State == "backup" && r.LastAdvSource == s.peerAddr() && r.Statistics.AdvertisementRcvd >= 3
			})
			r := s.status()
			s.heardInOneVersion(version)
			if r.MasterDownInterval != 360 && r.MasterDownInterval != 361 {
				t.Errorf("its interval is 1 s, ours 2 s, and we would wait for %d cs", r.MasterDownInterval)
			}
			s.peer.end(syscall.SIGTERM)
			if took := s.ours.waitServing(patience); took > skewTime {
				t.Errorf("after its priority 0 we served after %v", took)
			}
		})
	}
}
