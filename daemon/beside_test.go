package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/lan"
	"vrrpd/vrrp"
)

const both = "--vrrp-version 2+3"

func mustFrame2(t testing.TB, r *router, priority uint8) []byte {
	t.Helper()
	f, err := r.frame2(priority)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// counts judges a frame that arrives at a time, and reports whether the election hears
// of it.
func counts(t *testing.T, r *router, frame []byte, at time.Duration) bool {
	t.Helper()
	in, drop := lan.ParseAdvert(frame, false)
	if drop != lan.Delivered {
		t.Fatal(drop)
	}
	r.parent.mu.Lock()
	defer r.parent.mu.Unlock()
	r.parent.clock = wallClock()
	r.flood = floodgate{}
	_, ok := r.parent.judge(&in, int64(time.Hour+at))
	return ok
}

// What is sent in both versions is what routers of either version accept, also what
// resigns for a dead process.
func TestRFC9568_8_4_2_BothVersionsAreSent(t *testing.T) {
	for _, extra := range []string{"", " -d 7", " -a hmac/1:" + key32} {
		_, us := testDaemon(t, t.TempDir(), both+extra)
		for _, priority := range []uint8{100, 0} {
			three, two := slices.Clone(mustFrame(t, us, priority)), slices.Clone(mustFrame2(t, us, priority))
			if drop := hear(t, peerOf(t, "--vrrp-version 3"+extra), three); drop != vrrp.DropNone {
				t.Errorf("%s: version 3: %v", extra, drop)
			}
			if drop := hear(t, peerOf(t, "--vrrp-version 2"+extra), two); drop != vrrp.DropNone {
				t.Errorf("%s: version 2: %v", extra, drop)
			}
		}
		peer := peerOf(t, both+extra)
		hear(t, peer, mustFrame(t, us, 100))
		three, two, err := us.lastWord()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range [][]byte{three, two} {
			if drop := hear(t, peer, f); drop != vrrp.DropNone {
				t.Errorf("%s: the last word: %v", extra, drop)
			}
		}
		if id := us.identity(); len(id.Frames()) != 2 {
			t.Errorf("%s: %d last words are left behind", extra, len(id.Frames()))
		}
	}
	// At the configured rate even if that is below a second, which version 2 rounds up.
	_, us := testDaemon(t, t.TempDir(), both+" -d 0.1")
	if drop := hear(t, peerOf(t, "--vrrp-version 2"), mustFrame2(t, us, 100)); drop != vrrp.DropNone {
		t.Errorf("below a second: %v", drop)
	}
	// With more addresses than both adverts fit for, version 3 keeps its last word.
	us.vips = us.vips[:0]
	for i := range 255 {
		us.vips = append(us.vips, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	us.forgetFrames()
	if words := us.identity().Frames(); len(words) != 1 || words[0][14+20]>>4 != 3 {
		t.Errorf("%d last words of 255 addresses", len(words))
	}
}

// Version 2 of a router that is heard in version 3 is ignored, until version 3 is
// missing; resignations count in both; other routers' version 2 counts.
func TestRFC9568_8_4_2_Version3IsPreferred(t *testing.T) {
	_, us := testDaemon(t, t.TempDir(), both+" -d 0.1")
	peer, old := peerOf(t, both+" -d 0.1"), peerOf(t, "--vrrp-version 2")
	old.source = netip.MustParseAddr("192.0.2.13")
	three, two, theirs := mustFrame(t, peer, 100), mustFrame2(t, peer, 100), mustFrame(t, old, 100)
	const ms = time.Millisecond
	for i, step := range []struct {
		what  string
		frame []byte
		at    time.Duration
		want  bool
	}{
		{"version 2 before any version 3", two, 0, true},
		{"version 3", three, 100 * ms, true},
		{"version 2 with it", two, 100 * ms, false},
		{"version 2 of another router", theirs, 110 * ms, true},
		{"version 2, and one version 3 was lost", two, 200 * ms, false},
		{"version 2 without version 3 since then", two, 300 * ms, true},
		{"version 3 again", three, 400 * ms, true},
		{"version 2 with it", two, 400 * ms, false},
		{"resigning in version 2", mustFrame2(t, peer, 0), 410 * ms, true},
		{"resigning in version 3", mustFrame(t, peer, 0), 410 * ms, true},
	} {
		if got := counts(t, us, step.frame, step.at); got != step.want {
			t.Errorf("step %d, %s: it counts: %v", i, step.what, got)
		}
	}
	if s := us.beside.status(); s.AdvertisementRcvd != 7 || s.Ignored != 3 {
		t.Errorf("%+v", s)
	}
	if us.counters.Dropped() != 0 {
		t.Errorf("dropped %v", us.counters)
	}
	for _, both := range []bool{true, false} {
		var shown control.Router
		(&survey{}).routerStatus(&shown, &routerNotes{cfg: &config.Router{Beside2: both}}, &parentNotes{})
		if (shown.Beside2 != nil) != both {
			t.Error("a router of one version shows the counters of two")
		}
	}
}

// notes are what people would be told.
func notes(r *router) (all []string) {
	r.parent.mu.Lock()
	defer r.parent.mu.Unlock()
	for n, s := range r.parent.noted {
		if s.active {
			all = append(all, n.what.String())
		}
	}
	return all
}

// patient lets what was posted and is due within the patience about versions happen.
func patient(d *Daemon) {
	_, calls := d.inbox.take(nil, nil)
	for _, f := range calls {
		f()
	}
	d.agenda.run(boottime() + int64(2*versionPatience))
}

// Who speaks both versions is no router of another version, to one of either version,
// whichever comes first.
func TestRFC9568_8_4_2_BothIsNoOtherVersion(t *testing.T) {
	for _, version := range []string{"--vrrp-version 2", "--vrrp-version 3"} {
		for _, first := range []int{0, 1} {
			d, us := testDaemon(t, t.TempDir(), version)
			peer := peerOf(t, both)
			frames := [][]byte{mustFrame(t, peer, 100), mustFrame2(t, peer, 100)}
			for range 3 {
				hear(t, us, frames[first])
				hear(t, us, frames[1-first])
				patient(d)
			}
			if all := notes(us); len(all) != 0 {
				t.Errorf("%s hears both: %v", version, all)
			}
			// One of a version alone is.
			other := frames[0]
			if version == "--vrrp-version 3" {
				other = frames[1]
			}
			d, us = testDaemon(t, t.TempDir(), version)
			hear(t, us, other)
			patient(d)
			if all := notes(us); !slices.Equal(all, []string{"version"}) {
				t.Errorf("%s hears the other one only: %v", version, all)
			}
		}
	}
}

// A master that sends no version 2 is reported to who expects it (a MAY).
func TestRFC9568_8_4_2_Version2IsMissed(t *testing.T) {
	_, us := testDaemon(t, t.TempDir(), both)
	peer := peerOf(t, both)
	for i := range time.Duration(10) {
		if !counts(t, us, mustFrame(t, peer, 100), i*time.Second) || counts(t, us, mustFrame2(t, peer, 100), i*time.Second) {
			t.Error("version 3 does not count, or version 2 beside it does")
		}
	}
	if all := notes(us); len(all) != 0 {
		t.Errorf("both are sent: %v", all)
	}
	for range threeAlone {
		hear(t, us, mustFrame(t, peer, 100))
	}
	if all := notes(us); len(all) != 0 {
		t.Errorf("%d in version 3 alone: %v", threeAlone, all)
	}
	hear(t, us, mustFrame(t, peer, 100))
	if all := notes(us); !slices.Equal(all, []string{"version-2-missing"}) {
		t.Errorf("%v", all)
	}
	if w := oddityWords(*us.cfg, note{version2Missing, 51, peer.source}, &us.advert); w.what == "" || w.do == "" {
		t.Errorf("without words: %+v", w)
	}
}

// One that was heard a moment before this machine changes its state is told of all the same.
func TestOtherVersionBeforeAChange(t *testing.T) {
	d, us := testDaemon(t, t.TempDir(), "--vrrp-version 3")
	hear(t, us, mustFrame2(t, peerOf(t, "--vrrp-version 2"), 100))
	us.parent.forget()
	patient(d)
	if all := notes(us); len(all) != 1 {
		t.Errorf("people are told of %v", all)
	}
}
