package daemon

import (
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/lan"
	"vrrpd/sysd"
	"vrrpd/vrrp"
)

// testDaemon is a daemon of one virtual router that stands on nothing but has an
// address, a board and its numbers in dir.
func testDaemon(t *testing.T, dir, flags string) (*Daemon, *router) {
	t.Helper()
	return testDaemonOf(t, dir, "192.0.2.100", flags)
}

func testDaemonOf(t *testing.T, dir, address, flags string) (*Daemon, *router) {
	t.Helper()
	cfg, err := config.Parse(strings.Fields("-i eth0 -v 51 "+address+" -f "+dir+" "+flags), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	d := New(cfg, Options{Log: log, Notify: sysd.NewNotifier("", log)})
	if err := d.prepareAuth(); err != nil {
		t.Fatal(err)
	}
	board := &election.LocalBoard{}
	d.board = board
	d.machine = election.New(election.Config{}, board, d.electionRouters())
	var undo []func()
	if err := d.remember(func(f func()) { undo = append(undo, f) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range undo {
			f()
		}
	})
	r := d.routers[0]
	r.source = netip.MustParseAddr("192.0.2.11")
	if r.rules.Family == vrrp.IPv6 {
		r.source = netip.MustParseAddr("fe80::11")
	}
	return d, r
}

// frame and frame2 are adverts as bytes.
func (r *router) frame(priority uint8) ([]byte, error) {
	f, err := r.ready(priority)
	return f.all(), err
}

func (r *router) frame2(priority uint8) ([]byte, error) {
	f, err := r.ready2(priority)
	return f.all(), err
}

const (
	key32  = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	other3 = "0xff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

var authFlags = []string{
	"-a none", "-a pass/s3cr3t51", "-a ah/s3cr3t51", "-a ah/s3cr3t51 --ah-icv rfc2402",
	"-a hmac/1:" + key32, "-a hmac/1:" + key32 + " --vrrp-version 3 --checksum rfc5798 -d 0.01", "-a hmac/1:" + key32 + " --auth-replay monotonic --vrrp-version 3",
}

// hear judges a frame as the parent does.
func hear(t testing.TB, r *router, frame []byte) vrrp.Drop {
	t.Helper()
	in, drop := lan.ParseAdvert(frame, false)
	if drop != lan.Delivered {
		t.Fatal(drop)
	}
	p := r.parent
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = wallClock()
	before := r.counters
	r.flood = floodgate{} // however fast a test is
	_, ok := p.judge(&in, boottime())
	for why := range r.counters {
		if r.counters[why] != before[why] {
			if ok != (vrrp.Drop(why) == vrrp.DropNone) {
				t.Errorf("%v, but delivered: %v", vrrp.Drop(why), ok)
			}
			return vrrp.Drop(why)
		}
	}
	t.Fatal("nothing was counted")
	return 0
}

// from gives a router of ours the peer's address.
func peerOf(t *testing.T, flags string) *router {
	t.Helper()
	_, r := testDaemon(t, t.TempDir(), flags)
	r.source = netip.MustParseAddr("192.0.2.12")
	return r
}

func mustFrame(t testing.TB, r *router, priority uint8) []byte {
	t.Helper()
	f, err := r.frame(priority)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPeersUnderstandEachOther(t *testing.T) {
	for _, flags := range authFlags {
		_, us := testDaemon(t, t.TempDir(), flags)
		peer := peerOf(t, flags)
		for _, priority := range []uint8{100, 100, 0, 0, 100} {
			f := slices.Clone(mustFrame(t, peer, priority))
			if drop := hear(t, us, f); drop != vrrp.DropNone {
				t.Errorf("%s: priority %d: %v", flags, priority, drop)
			}
			want := vrrp.DropNone
			if peer.auth.signer.Numbered() {
				want = vrrp.DropAuthReplay
			}
			if drop := hear(t, us, f); drop != want {
				t.Errorf("%s: again: %v, want %v", flags, drop, want)
			}
		}
	}
}

// A tick of a MASTER and an advert heard allocate nothing, in any form.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	forms := slices.Concat(authFlags, []string{
		"--vrrp-version 3 --checksum rfc9568", "--vrrp-version 3 --checksum rfc5798", "-d 0.01",
		both, both + " --checksum rfc5798", both + " -d 0.1", both + " -a hmac/1:" + key32,
	})
	for _, addr := range []string{"192.0.2.100", "fe80::100"} {
		for _, flags := range forms {
			if addr != "192.0.2.100" {
				if flags != "-a none" && !strings.HasPrefix(flags, "-a hmac") {
					continue // IPv4 only
				}
				flags = strings.ReplaceAll(flags, "--checksum rfc5798 ", "")
			}
			steady(t, addr, flags)
		}
	}
}

func steady(t *testing.T, addr, flags string) {
	t.Helper()
	_, us := testDaemonOf(t, t.TempDir(), addr, flags)
	_, peer := testDaemonOf(t, t.TempDir(), addr, flags)
	peer.source = peer.source.Next()
	var in lan.Received
	delivered := 0
	listen := func(f []byte) {
		in, _ = lan.ParseAdvert(f, false)
		us.parent.mu.Lock()
		us.parent.clock = wallClock()
		us.flood = floodgate{} // however fast a test is
		if _, ok := us.parent.judge(&in, boottime()); ok {
			delivered++
		}
		us.parent.mu.Unlock()
	}
	d, advert := peer.parent.d, election.Action{Kind: election.DoAdvert, Priority: 100}
	tick := func() {
		d.batch, d.batched = d.batch[:0], d.batched[:0]
		if !d.enqueue(peer, &advert) || len(d.batch) != len(d.batched) {
			t.Fatalf("%s %s: it cannot be sent", addr, flags)
		}
		for _, f := range d.batch {
			listen(f)
		}
	}
	tick()
	us.parent.d.inbox.take(nil, nil)
	const runs = 500
	delivered = 0
	if n := testing.AllocsPerRun(runs, tick); n != 0 {
		t.Errorf("%s %s: %v allocations", addr, flags, n)
	}
	if delivered != runs+1 || us.counters.Dropped() != 0 { // version 2 beside version 3 is not delivered
		t.Errorf("%s %s: %d of %d delivered, dropped %v", addr, flags, delivered, runs+1, us.counters)
	}
}

// A process that is killed at any moment: what was signed in advance for its death is
// news to the peer, and so is all that its successor says; what was recorded is not,
// also not to a peer that was restarted itself.
func TestRestart(t *testing.T) {
	for _, flags := range authFlags {
		dir, peerDir := t.TempDir(), t.TempDir()
		var recorded [][]byte
		for life := range 3 {
			_, peer := testDaemon(t, peerDir, flags)
			peer.source = netip.MustParseAddr("192.0.2.12")
			d, r := testDaemon(t, dir, flags)
			if !r.auth.signer.Numbered() {
				continue
			}
			for _, f := range recorded {
				if drop := hear(t, peer, f); drop != vrrp.DropAuthReplay {
					t.Fatalf("%s, life %d: a recorded advert: %v", flags, life, drop)
				}
			}
			board := d.board.(*election.LocalBoard)
			if !board.Swap(board.Load(), election.MakeWord(uint64(life+2), election.Master, election.MasterTimeout), 1) {
				t.Fatal("no transition")
			}
			for range 300 {
				f := slices.Clone(mustFrame(t, r, 100))
				recorded = append(recorded, f)
				if drop := hear(t, peer, f); drop != vrrp.DropNone {
					t.Fatalf("%s, life %d: %v", flags, life, drop)
				}
			}
			last, _, err := r.lastWord()
			if err != nil {
				t.Fatal(err)
			}
			recorded = append(recorded, slices.Clone(last))
			if drop := hear(t, peer, last); drop != vrrp.DropNone {
				t.Fatalf("%s, life %d: the last word: %v", flags, life, drop)
			}
			written(t, r)
			written(t, peer)
		}
	}
}

// written ends the writer, so that the file is what a killed process leaves.
func written(t *testing.T, r *router) {
	t.Helper()
	if err := r.auth.file.close(); err != nil {
		t.Fatal(err)
	}
}

// A woken process whose last word a sibling has said speaks above it.
func TestServingAgainBurnsTheReserve(t *testing.T) {
	for _, flags := range authFlags[2:] {
		d, r := testDaemon(t, t.TempDir(), flags)
		peer := peerOf(t, flags)
		board := d.board.(*election.LocalBoard)
		board.Swap(board.Load(), election.MakeWord(5, election.Master, election.MasterTimeout), 1)
		if drop := hear(t, peer, mustFrame(t, r, 100)); drop != vrrp.DropNone {
			t.Fatal(drop)
		}
		last, _, err := r.lastWord()
		if err != nil {
			t.Fatal(err)
		}
		if drop := hear(t, peer, last); drop != vrrp.DropNone {
			t.Fatal(drop)
		}
		board.Swap(board.Load(), election.MakeWord(9, election.Master, election.MasterTimeout), 2)
		if drop := hear(t, peer, mustFrame(t, r, 100)); drop != vrrp.DropNone {
			t.Errorf("%s: %v", flags, drop)
		}
	}
}

// Another key of AH begins another numbering; keys of a trailer come and go.
func TestNumbersBelongToAKey(t *testing.T) {
	dir := t.TempDir()
	_, r := testDaemon(t, dir, "-a ah/one")
	r.auth.signer.Heard(&r.auth.sequence, 1<<32-2)
	if _, err := r.frame(100); !errors.Is(err, vrrp.ErrUsedUp) {
		t.Fatal(err)
	}
	r.marks.Restore(netip.MustParseAddr("192.0.2.12"), 1<<32-2)
	r.auth.file.keepMarks(r.marks)
	written(t, r)
	_, same := testDaemon(t, dir, "-a ah/one")
	if _, err := same.frame(100); !errors.Is(err, vrrp.ErrUsedUp) {
		t.Errorf("with the same key: %v", err)
	}
	written(t, same)
	_, other := testDaemon(t, dir, "-a ah/two")
	if _, err := other.frame(100); err != nil {
		t.Errorf("with another key: %v", err)
	}
}

func TestTakeKeys(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "-a hmac/1:"+key32)
	peer := peerOf(t, "-a hmac/2:"+other3)
	if drop := hear(t, peer, mustFrame(t, r, 100)); drop != vrrp.DropAuthUnknownKey {
		t.Fatal(drop)
	}
	c := r.auth.config
	c.Keys = append(slices.Clone(c.Keys), peer.auth.config.Keys[0])
	d.takeKeys([]vrrp.AuthConfig{c}, nil) // the peer's key is accepted, ours signs
	if drop := hear(t, r, mustFrame(t, peer, 100)); drop != vrrp.DropNone {
		t.Error(drop)
	}
	if drop := hear(t, peer, mustFrame(t, r, 100)); drop != vrrp.DropAuthUnknownKey {
		t.Error(drop)
	}
	c.Active = 2
	d.takeKeys([]vrrp.AuthConfig{c}, nil)
	if drop := hear(t, peer, mustFrame(t, r, 100)); drop != vrrp.DropNone {
		t.Error(drop)
	}
	// A mistake changes nothing.
	d.takeKeys([]vrrp.AuthConfig{{Kind: vrrp.TrailerAuth}}, nil)
	d.takeKeys([]vrrp.AuthConfig{{}}, errors.New("no such file"))
	if drop := hear(t, peer, mustFrame(t, r, 100)); drop != vrrp.DropNone {
		t.Error(drop)
	}
	if s := authStatus(r.auth.config); s.ActiveKey != 2 || !slices.Equal(s.Keys, []int{1, 2}) || s.Mode != "enforce" {
		t.Errorf("%+v", s)
	}
}

// Each way to fail has its counter and a sentence that ends with what to do.
func TestAuthIsCounted(t *testing.T) {
	hmac := "-a hmac/1:" + key32
	for _, c := range []struct {
		ours, theirs string
		spoil        func(frame []byte)
		want         vrrp.Drop
		text         string
	}{
		{"-a pass/one", "-a pass/two", nil, vrrp.DropAuth, "another password"},
		{"-a pass/one", "-a none", nil, vrrp.DropAuthType, "it uses no authentication, and we use a password"},
		{"-a pass/one", "-a ah/one", nil, vrrp.DropAuthType, "it uses an authentication header (ah), and we use a password"},
		{"-a ah/one", "-a pass/one", nil, vrrp.DropAuthType, "it uses a password, and we use an authentication header (ah)"},
		{"-a none", "-a pass/one", nil, vrrp.DropAuthType, "it uses a password, and we use no authentication"},
		{"-a none", "-a ah/one", nil, vrrp.DropAuthType, "we use no authentication"},
		{"-a none", hmac, nil, vrrp.DropLength, "if that machine signs them"},
		{"-a ah/one", "-a ah/two", nil, vrrp.DropAuth, "another key"},
		{hmac, "-a none", nil, vrrp.DropAuthMissing, "--auth-mode permissive"},
		{hmac, "-a pass/one", nil, vrrp.DropAuthMissing, "not signed"},
		{hmac, "-a hmac/1:" + other3, nil, vrrp.DropAuth, "another key"},
		{hmac, "-a hmac/2:" + key32, nil, vrrp.DropAuthUnknownKey, "key id"},
		{hmac, hmac, func(f []byte) { f[len(f)-28] = 2 }, vrrp.DropAuthMalformed, "2.4.2"},
		{hmac, hmac, func(f []byte) { f[len(f)-24] ^= 0x40 }, vrrp.DropAuthStale, "NTP"},
	} {
		_, us := testDaemon(t, t.TempDir(), c.ours)
		f := slices.Clone(mustFrame(t, peerOf(t, c.theirs), 100))
		if c.spoil != nil {
			c.spoil(f)
		}
		if drop := hear(t, us, f); drop != c.want {
			t.Errorf("%s hears %s: %v, want %v", c.ours, c.theirs, drop, c.want)
			continue
		}
		w := oddityWords(*us.cfg, note{what: oddity(c.want)}, &us.advert)
		if !strings.Contains(w.String(), c.text) || w.do == "" {
			t.Errorf("%s hears %s: %q, want something about %q", c.ours, c.theirs, w, c.text)
		}
	}
	if w, ok := authWords(config.Router{}, vrrp.DropAuthReplay, &vrrp.Advert{}); !ok || w.do == "" {
		t.Errorf("a replay: %+v", w)
	}
}

// An alarm is raised once per peer and state, and counted each time.
func TestAuthAlarmsOnce(t *testing.T) {
	d, us := testDaemon(t, t.TempDir(), "-a hmac/1:"+key32)
	f := slices.Clone(mustFrame(t, peerOf(t, "-a none"), 100))
	for range 5 {
		if drop := hear(t, us, f); drop != vrrp.DropAuthMissing {
			t.Fatal(drop)
		}
	}
	if _, calls := d.inbox.take(nil, nil); len(calls) != 1 {
		t.Errorf("reported %d times", len(calls))
	}
	if s := (&routerNotes{own: us.counters, received: us.received}).statistics(&parentNotes{}); s.AuthMissing != 5 || s.Drops["auth-missing"] != 5 {
		t.Errorf("%+v", s)
	}
}

func TestKeyFileErrorsRefuseToStart(t *testing.T) {
	cfg, err := config.Parse(strings.Fields("-i eth0 -v 51 192.0.2.100 -a pass/@"+filepath.Join(t.TempDir(), "none")), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := New(cfg, Options{Log: slog.New(slog.DiscardHandler)})
	var usage config.UsageError
	if err := d.prepareAuth(); !errors.As(err, &usage) {
		t.Errorf("%v (%T)", err, err)
	}
}

// The MTU bounds the addresses of one advert; what authenticates it takes its part.
func TestAddressesFitTheMTU(t *testing.T) {
	for flags, most := range map[string]int{
		"-a none": 16, "-a pass/x": 16, "-a ah/x": 10, "-a hmac/1:" + key32: 9, "-a hmac/1:" + key32 + " --vrrp-version 3": 11,
		"-a hmac/1:" + key32 + " --auth-mode receive-only": 16, "--vrrp-version 3": 18, both: 16,
	} {
		_, r := testDaemon(t, t.TempDir(), flags)
		first := r.vips[0].As4()
		r.vips = nil
		for i := range most {
			r.vips = append(r.vips, netip.AddrFrom4([4]byte{first[0], first[1], first[2], byte(100 + i)}))
		}
		if err := r.fits(100); err != nil {
			t.Errorf("%s: %v", flags, err)
		}
		n := len(mustFrame(t, r, 100))
		if r.cfg.Beside2 {
			n = max(n, len(mustFrame2(t, r, 100)))
		}
		if n > 14+100 || n <= 14+100-4 {
			t.Errorf("%s: a frame of %d bytes", flags, n)
		}
		r.vips = append(r.vips, netip.AddrFrom4([4]byte{first[0], first[1], first[2], 99}))
		var usage config.UsageError
		if err := r.fits(100); !errors.As(err, &usage) {
			t.Errorf("%s: one more: %v", flags, err)
		}
	}
}
