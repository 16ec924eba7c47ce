package interop

import (
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
)

// The intervals of the elections at 1 s: three of them and the skew of the worse one,
// or that skew alone, with room for a machine that is busy.
const (
	masterDown = 3610*time.Millisecond + 2*time.Second
	skewTime   = 610*time.Millisecond + 1500*time.Millisecond
	// dark is what a planned hand-over may cost somebody who asks for the address. A
	// peer that is told by priority 0 waits its skew time; ours serves meanwhile, and
	// keepalived does not.
	dark      = 150 * time.Millisecond
	darkTheir = skewTime
)

// eachPeering runs a test for all cases.
func eachPeering(t *testing.T, test func(t *testing.T, c peering)) {
	t.Parallel()
	for _, c := range peerings {
		t.Run(c.name, func(t *testing.T) {
			needKeepalived(t)
			t.Parallel()
			test(t, c)
		})
	}
}

// We have the higher priority: we serve; what happens to us hands over to the peer, and
// we preempt it again.
func TestOursIsBetter(t *testing.T) {
	eachPeering(t, func(t *testing.T, c peering) {
		s := newSite(t, c)
		s.peer.start(100)
		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.waitGone()
		s.proven(c)

		answers := s.during(func() {
			s.ours.end(syscall.SIGTERM)
			s.peer.waitServing(patience)
		})
		if gap := answers.Longest(0); gap.Length() > dark {
			t.Errorf("our planned stop: nobody answered for %v", gap.Length())
		}

		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.waitGone()

		// Killed and cleaned up after: the priority 0 that it signed in advance.
		check(t, s.ours.proc.Signal(syscall.SIGKILL))
		s.ours.clean()
		took := s.peer.waitServing(patience)
		if took > skewTime {
			t.Errorf("after our last word the peer served after %v, the skew time is 0.61 s", took)
		}

		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.waitGone()
		s.proven(c)

		// And without a word.
		s.ours.end(syscall.SIGKILL)
		if took := s.peer.waitServing(patience); took > masterDown {
			t.Errorf("after our death the peer served after %v", took)
		}
		s.ours.clean()
	})
}

// The peer has the higher priority.
func TestTheirsIsBetter(t *testing.T) {
	eachPeering(t, func(t *testing.T, c peering) {
		s := newSite(t, c)
		s.ours.start(100)
		s.ours.waitServing(patience)
		s.peer.start(150)
		s.peer.waitServing(patience)
		s.ours.waitGone()
		s.proven(c)

		answers := s.during(func() {
			s.peer.end(syscall.SIGTERM)
			if took := s.ours.waitServing(patience); took > skewTime {
				t.Errorf("after its priority 0 we served after %v", took)
			}
		})
		if gap := answers.Longest(0); gap.Length() > darkTheir {
			t.Errorf("its planned stop: nobody answered for %v", gap.Length())
		}

		s.peer.start(150)
		s.peer.waitServing(patience)
		s.ours.waitGone()
		s.proven(c)

		// keepalived's first process takes the second with it, which says priority 0;
		// only both at once die without a word.
		all, err := s.peer.Find("keepalived")
		check(t, err)
		for _, p := range all {
			check(t, p.Signal(syscall.SIGKILL))
		}
		if took := s.ours.waitServing(patience); took > masterDown {
			t.Errorf("after its death we served after %v", took)
		}
		s.peer.clean()
	})
}

// proven: what we have heard so far was accepted, and authenticated as it should be.
func (s *site) proven(c peering) {
	s.t.Helper()
	r := s.status()
	if r.Authentication == nil && c.authType != "" || r.Authentication != nil && r.Authentication.Type != c.authType {
		s.t.Errorf("authentication is %+v, want %q", r.Authentication, c.authType)
	}
	if len(r.Statistics.Drops) != 0 {
		s.t.Errorf("dropped: %v", r.Statistics.Drops)
	}
}

// Two that do not agree never hear each other: both serve, and we say why.
func TestDisagreement(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		peering
		count func(control.Statistics) uint64
	}{
		{peering{name: "another password", ours: "-a pass/s3cr3t52", peer: keepalived(keepalivedAuth("PASS", "s3cr3t51"))},
			func(s control.Statistics) uint64 { return s.AuthFailures }},
		{peering{name: "another key", ours: "-a ah/s3cr3t52", peer: keepalived(keepalivedAuth("AH", "s3cr3t51"))},
			func(s control.Statistics) uint64 { return s.AuthFailures }},
		{peering{name: "password against header", ours: "-a ah/s3cr3t51", peer: keepalived(keepalivedAuth("PASS", "s3cr3t51"))},
			func(s control.Statistics) uint64 { return s.AuthTypeMismatch }},
		{peering{name: "header against nothing", peer: keepalived(keepalivedAuth("AH", "s3cr3t51"))},
			func(s control.Statistics) uint64 { return s.AuthTypeMismatch }},
		{peering{name: "nothing against trailer", ours: "-a hmac/1:0x" + key64, peer: keepalived(version2)},
			func(s control.Statistics) uint64 { return s.AuthMissing }},
	} {
		t.Run(c.name, func(t *testing.T) {
			needKeepalived(t)
			t.Parallel()
			s := newSite(t, c.peering)
			s.peer.start(150)
			s.peer.waitServing(patience)
			s.ours.start(100)
			s.waitStatus("the peer's adverts are counted", func(r control.Router) bool { return c.count(r.Statistics) >= 2 })
			s.ours.waitServing(patience) // nothing that it hears counts
		})
	}
}

const key64 = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// A trailer that is received only, or not asked for, disturbs no old peer.
func TestReceiveOnlyBesideKeepalived(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	s := newSite(t, peering{ours: "--auth-mode receive-only -a hmac/1:0x" + key64, peer: keepalived(version2)})
	s.ours.start(150)
	s.peer.start(100)
	s.ours.waitServing(patience)
	s.ours.end(syscall.SIGTERM)
	s.peer.waitServing(patience)
	s.ours.start(150)
	s.ours.waitServing(patience)
	s.peer.waitGone()
	if r := s.status(); r.Statistics.AuthUnsigned == 0 || len(r.Statistics.Drops) != 0 {
		t.Errorf("%+v", r.Statistics)
	}
}

// keepalived speaks VRRPv3 with the checksums of RFC 5798 and drops others. A MASTER of
// ours that has not heard it yet learns that from its first advert, one that was told
// the form need not, and one that was told the other form is never believed: both serve.
func TestChecksumOfAnUnheardPeer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		form, sent string
		speaks     uint64 // how often the peer does, at least; 0: never
	}{
		{"auto", "rfc5798", 1},
		{"rfc5798", "rfc5798", 0},
		{"rfc9568", "rfc9568", 3},
	} {
		t.Run(c.form, func(t *testing.T) {
			needKeepalived(t)
			t.Parallel()
			s := newSite(t, peering{ours: "--vrrp-version 3 --checksum " + c.form, peer: keepalived(version3)})
			s.ours.start(150)
			s.ours.waitServing(patience)
			before := s.status().Statistics.AdvertisementSent
			s.peer.start(100)
			// Longer than its master-down interval, from the first that it can hear.
			s.waitStatus("the peer has decided", func(r control.Router) bool {
				return r.Statistics.AdvertisementSent >= before+8 && r.Statistics.LegacyChecksum >= c.speaks
			})
			if c.speaks > 1 {
				s.peer.waitServing(patience)
			} else {
				s.peer.waitGone()
			}
			r := s.status()
			if r.Checksum == nil || r.Checksum.Sent != c.sent || r.State != "master" || len(r.Statistics.Drops) != 0 {
				t.Errorf("checksum %+v, state %s, dropped %v", r.Checksum, r.State, r.Statistics.Drops)
			}
			if n := r.Statistics.LegacyChecksum; c.speaks == 0 && n != 0 {
				t.Errorf("it did not believe us: %d adverts of its own", n)
			}
		})
	}
}
