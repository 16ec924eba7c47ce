package interop

import (
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
)

// What a hand-over may cost somebody who asks for the address, at adverts of a second.
const (
	// dark is for our own planned one: ours serves until its successor is heard, so it
	// is less than a skew time, however busy the machine is that the tests run on.
	dark = 500 * time.Millisecond
	// skewTime is for that of the peer, which does not, with room for a machine that is
	// busy.
	skewTime = 610*time.Millisecond + busy
)

// noisyTries is how often a case is tried on a machine that makes everybody wait.
const noisyTries = 3

// eachPeering runs a test for all cases. One that was disturbed by what all namespaces of a
// machine share is tried again.
func eachPeering(t *testing.T, list []peering, test func(t *testing.T, c peering)) {
	t.Parallel()
	for _, c := range list {
		t.Run(c.title(), func(t *testing.T) {
			c.need(t)
			t.Parallel()
			for try := 1; ; try++ {
				why := disturbed(func() { test(t, c) })
				switch {
				case why == "":
					return
				case try == noisyTries:
					t.Fatalf("the last time of %d: %s", try, why)
				}
				t.Logf("again: %s", why)
			}
		})
	}
}

// disturbed runs a test, and returns why it could not be judged; empty: it could.
func disturbed(test func()) (why tooNoisy) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case tooNoisy:
			why = p
		default:
			panic(p)
		}
	}()
	test()
	return ""
}

// We have the higher priority: we replace a peer that serves; what happens to us hands
// over to the peer, and we replace it again.
func TestOursIsBetter(t *testing.T) {
	eachPeering(t, append(spellings, peerings...), func(t *testing.T, c peering) {
		s := newSite(t, c)
		s.peer.start(100)
		s.peer.waitServing(patience)
		replace := func() {
			s.ours.start(150)
			s.ours.waitServing(patience)
			s.peer.waitGone()
		}
		s.outage(oursPreempts, dark, replace)
		s.proven(c)

		s.outage(oursStops, dark, func() {
			s.ours.end(syscall.SIGTERM)
			s.peer.waitServing(patience)
		})
		replace()
		s.proven(c)

		s.outage(oursFails, c.masterDown(100)+busy, func() {
			s.ours.fail()
			s.peer.waitServing(patience)
		})
	})
}

// Killed and cleaned up after: the priority 0 that it signed in advance is believed.
func TestOursIsReleased(t *testing.T) {
	var list []peering
	for _, c := range peerings {
		// What is said is the same to all of them, and 0.1 s are soon over anyway.
		if c.implementation() == nameKeepalived && c.interval() == time.Second {
			list = append(list, c)
		}
	}
	eachPeering(t, list, func(t *testing.T, c peering) {
		s := newSite(t, c)
		s.ours.start(150)
		s.ours.waitServing(patience)
		s.peer.start(100)
		s.acquainted(true)
		s.ours.end(syscall.SIGKILL)
		s.ours.clean()
		if took := s.peer.waitServing(patience); took > c.skewTime(100)+busy {
			t.Errorf("after our last word the peer served after %v, its skew time is %v", took, c.skewTime(100))
		}
	})
}

// The peer has the higher priority.
func TestTheirsIsBetter(t *testing.T) {
	eachPeering(t, peerings, func(t *testing.T, c peering) {
		s := newSite(t, c)
		s.ours.start(100)
		s.ours.waitServing(patience)
		replace := func() {
			s.peer.start(150)
			s.peer.waitServing(patience)
			s.ours.waitGone()
		}
		s.outage(theirsPreempts, dark, replace)
		s.proven(c)

		s.outage(theirsStops, c.skewTime(100)+busy, func() {
			s.peer.end(syscall.SIGTERM)
			s.ours.waitServing(patience)
		})
		replace()
		s.proven(c)

		s.outage(theirsFails, c.masterDown(100)+busy, func() {
			s.peer.fail()
			s.ours.waitServing(patience)
		})
	})
}

// Two of one priority that both serve, because the LAN between them was cut: the one
// with the higher address stays.
func TestTie(t *testing.T) {
	eachPeering(t, someForms(), func(t *testing.T, c peering) {
		for _, oursHigher := range []bool{false, true} {
			t.Run(map[bool]string{false: "theirs-higher", true: "ours-higher"}[oursHigher], func(t *testing.T) {
				t.Parallel()
				c := c
				c.swapped = oursHigher
				s := newSite(t, c)
				winner, loser, what := s.peer, s.ours, tieTheirs
				if oursHigher {
					winner, loser, what = s.ours, s.peer, tieOurs
				}
				s.peer.start(100)
				s.peer.waitServing(patience)
				s.ours.start(100)
				s.acquainted(false)
				check(t, s.ours.cable.Block())
				s.ours.waitServing(patience)
				s.peer.wantServing()
				began := time.Now()
				check(t, s.ours.cable.Unblock())
				loser.waitGone()
				took := time.Since(began)
				// The peer's counter may have to jump first, with an Authentication
				// Header: the second advert is heard.
				if limit := 2*c.interval() + busy; took > limit {
					t.Errorf("both served for %v, more than %v", took, limit)
				}
				s.waitAdverts(!oursHigher, s.adverts(!oursHigher)+2)
				winner.wantServing()
				loser.wantResting()
				s.record(what, "after "+whole(took))
			})
		}
	})
}

// Who does not preempt stays BACKUP when it comes back and a worse one serves, and
// serves when that goes.
func TestNoPreemption(t *testing.T) {
	eachPeering(t, someForms(), func(t *testing.T, c peering) {
		for _, ours := range []bool{true, false} {
			t.Run(map[bool]string{true: "ours", false: "theirs"}[ours], func(t *testing.T) {
				t.Parallel()
				s := newSite(t, c)
				better, worse, what := s.ours, s.peer, oursWaits
				if !ours {
					better, worse, what = s.peer, s.ours, theirsWaits
				}
				better.waits = true
				better.start(150)
				better.waitServing(patience)
				worse.start(100)
				s.acquainted(ours)
				better.end(syscall.SIGTERM)
				worse.waitServing(patience)

				before := s.adverts(ours)
				better.start(150)
				// Longer than it would take to find nobody.
				s.waitAdverts(ours, before+6)
				better.wantResting()
				worse.wantServing()
				worse.end(syscall.SIGTERM)
				if took := better.waitServing(patience); took > c.skewTime(150)+busy {
					t.Errorf("it served %v after the last word of the worse one", took)
				}
				s.record(what, "stays BACKUP")
			})
		}
	})
}

// acquainted waits until each has heard of the other: of one that serves when it starts,
// or the other way round when it begins to serve itself, because it does not believe
// our checksums before ours has heard it (VRRPv3 over IPv4).
func (s *site) acquainted(weServe bool) {
	s.t.Helper()
	if weServe {
		s.waitAdverts(false, s.adverts(false)+6) // longer than it waits
		s.peer.waitGone()
		return
	}
	s.waitAdverts(true, 2)
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
		both       bool   // serve in the end
	}{
		{"auto", "rfc5798", 1, false},
		{"rfc5798", "rfc5798", 0, false},
		{"rfc9568", "rfc9568", 1, true}, // more is not for sure: it is silent while it refuses ours
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
				return r.Statistics.AdvertisementSent >= before+6 && r.Statistics.LegacyChecksum >= c.speaks
			})
			if c.both {
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
