package daemon

import (
	"slices"
	"testing"

	"vrrpd/vrrp"
)

// sentForm is the form of a router's adverts, as a third router sees it.
func sentForm(t *testing.T, r *router) vrrp.ChecksumForm {
	t.Helper()
	_, third := testDaemon(t, t.TempDir(), "--vrrp-version 3")
	before := third.received.legacyChecksum
	if drop := hear(t, third, mustFrame(t, r, 100)); drop != vrrp.DropNone {
		t.Fatal(drop)
	}
	if third.received.legacyChecksum != before {
		return vrrp.RFC5798
	}
	return vrrp.RFC9568
}

// auto begins with RFC 9568's form and follows the peer, in priority 0 as well; a form
// that was asked for stays. Both are always accepted.
func TestChecksumFollowsThePeer(t *testing.T) {
	for flags, want := range map[string][3]vrrp.ChecksumForm{ // at first, after rfc5798, after rfc9568
		"--checksum auto":    {vrrp.RFC9568, vrrp.RFC5798, vrrp.RFC9568},
		"--checksum rfc9568": {vrrp.RFC9568, vrrp.RFC9568, vrrp.RFC9568},
		"--checksum rfc5798": {vrrp.RFC5798, vrrp.RFC5798, vrrp.RFC5798},
	} {
		_, us := testDaemon(t, t.TempDir(), "--vrrp-version 3 "+flags)
		if got := sentForm(t, us); got != want[0] {
			t.Errorf("%s: begins with %v", flags, got)
		}
		for i, form := range []string{"rfc5798", "rfc9568"} {
			peer := peerOf(t, "--vrrp-version 3 --checksum "+form)
			if drop := hear(t, us, mustFrame(t, peer, 100)); drop != vrrp.DropNone {
				t.Errorf("%s: %s is %v", flags, form, drop)
			}
			if got := sentForm(t, us); got != want[i+1] {
				t.Errorf("%s: after an advert with %s it sends %v, want %v", flags, form, got, want[i+1])
			}
			zero := slices.Clone(mustFrame(t, us, 0))
			last, _, err := us.lastWord()
			if err != nil || !slices.Equal(last, zero) {
				t.Errorf("%s: the last word is not priority 0 as it is sent (%v)", flags, err)
			}
		}
	}
}

// What was not accepted, and what is our own, teaches nothing.
func TestChecksumIsLearnedFromPeersOnly(t *testing.T) {
	_, us := testDaemon(t, t.TempDir(), "--vrrp-version 3")
	peer := peerOf(t, "--vrrp-version 3 --checksum rfc5798")
	damaged := slices.Clone(mustFrame(t, peer, 100))
	damaged[14+8] = 254 // TTL; the header's checksum follows it
	damaged[14+10]++
	if drop := hear(t, us, damaged); drop != vrrp.DropTTL {
		t.Fatal(drop)
	}
	peer.source = us.source
	us.parent.sources[0] = us.source
	if drop := hear(t, us, mustFrame(t, peer, 100)); drop != vrrp.DropNone {
		t.Fatal(drop)
	}
	if got := sentForm(t, us); got != vrrp.RFC9568 {
		t.Errorf("sends %v", got)
	}
}
