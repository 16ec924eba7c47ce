package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"vrrpd/config"
	"vrrpd/grouplock"
	"vrrpd/lan"
	"vrrpd/rtnl"
	"vrrpd/vrrp"
)

// unicastPair are two routers that are peers of each other, and of a third one.
func unicastPair(t *testing.T, flags string) (us, peer *router) {
	t.Helper()
	_, us = testDaemon(t, t.TempDir(), "--peer 192.0.2.12 --peer 192.0.2.13 "+flags)
	peer = peerOf(t, "--peer 192.0.2.11 --peer 192.0.2.13 "+flags)
	for _, r := range []*router{us, peer} {
		r.parent.own = map[netip.Addr]bool{r.source: true}
	}
	return us, peer
}

// receive judges a frame as the reader does, and says why it was dropped.
func receive(t *testing.T, r *router, frame []byte, change func(*lan.Received)) vrrp.Drop {
	t.Helper()
	in, drop := lan.ParseAdvert(frame, true)
	if drop != lan.Delivered {
		t.Fatal(drop)
	}
	if change != nil {
		change(&in)
	}
	before := r.counters
	r.parent.clock = wallClock()
	r.flood = floodgate{}
	_, _ = r.parent.judge(&in, boottime())
	for why := range r.counters {
		if r.counters[why] != before[why] {
			return vrrp.Drop(why)
		}
	}
	t.Fatal("nothing was counted")
	return 0
}

// Each peer has a packet of its own, with one number, that it accepts, whatever
// authenticates it; and so do those that the survivors have.
func TestPeersEachHaveTheirOwn(t *testing.T) {
	for _, flags := range authFlags {
		us, peer := unicastPair(t, flags)
		for n, priority := range []uint8{100, 100, 0} {
			f, err := peer.ready(priority)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.parts) != 2 {
				t.Fatalf("%s: %d packets", flags, len(f.parts))
			}
			if drop := receive(t, us, f.parts[0], nil); drop != vrrp.DropNone {
				t.Errorf("%s, advert %d: %v", flags, n, drop)
			}
			if drop := receive(t, us, f.parts[1], nil); drop != vrrp.DropDestination {
				t.Errorf("%s: that of the third one: %v", flags, drop)
			}
		}
		word, _, err := peer.lastWord()
		if err != nil {
			t.Fatal(err)
		}
		if parts := lan.Split(word); len(parts) != 2 || receive(t, us, parts[0], nil) != vrrp.DropNone {
			t.Errorf("%s: last word of %d packets", flags, len(parts))
		}
	}
}

// Only peers are heard, and by nothing but what they send to us; of others nothing is
// remembered but that they were there.
func TestPeersOnly(t *testing.T) {
	for _, flags := range authFlags {
		us, peer := unicastPair(t, flags)
		f, err := peer.ready(100)
		if err != nil {
			t.Fatal(err)
		}
		stranger := func(in *lan.Received) { in.Src = netip.MustParseAddr("192.0.2.14") }
		if drop := receive(t, us, f.parts[0], stranger); drop != vrrp.DropPeer {
			t.Errorf("%s: from a stranger: %v", flags, drop)
		}
		if us.marks != nil {
			for src := range us.marks.All() {
				t.Errorf("%s: a mark of %v", flags, src)
			}
		}
		group := func(in *lan.Received) { in.Dst = vrrp.IPv4.Group() }
		if drop := receive(t, us, f.parts[0], group); drop != vrrp.DropDestination {
			t.Errorf("%s: to the group: %v", flags, drop)
		}
		multicaster := peerOf(t, flags)
		if drop := receive(t, multicaster, f.parts[0], nil); drop != vrrp.DropDestination {
			t.Errorf("%s: where the group is spoken to: %v", flags, drop)
		}
	}
}

// A tick of a MASTER with peers and an advert heard from one allocate nothing.
func TestPeersDoNotAllocate(t *testing.T) {
	for _, flags := range authFlags {
		us, peer := unicastPair(t, flags)
		word, err := peer.ready(100)
		if err != nil {
			t.Fatal(err)
		}
		in, drop := lan.ParseAdvert(word.parts[0], true)
		if drop != lan.Delivered {
			t.Fatal(drop)
		}
		if n := testing.AllocsPerRun(200, func() {
			if _, err := us.ready(100); err != nil {
				t.Fatal(err)
			}
			if _, err := peer.ready(100); err != nil { // in is a part of it
				t.Fatal(err)
			}
			us.parent.clock = wallClock()
			us.flood = floodgate{}
			if _, ok := us.parent.judge(&in, boottime()); !ok {
				t.Fatal("dropped")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", flags, n)
		}
	}
}

// A peer may be behind routers, unless the user says how far.
func TestPeerTTL(t *testing.T) {
	for _, c := range []struct {
		flags string
		ttl   uint8
		want  vrrp.Drop
	}{
		{"", 255, vrrp.DropNone}, {"", 64, vrrp.DropNone}, {"", 1, vrrp.DropNone},
		{"--peer-ttl 255", 254, vrrp.DropTTL}, {"--peer-ttl 255", 255, vrrp.DropNone},
		{"--peer-ttl 250", 250, vrrp.DropNone}, {"--peer-ttl 250", 249, vrrp.DropTTL},
	} {
		us, peer := unicastPair(t, c.flags)
		f, err := peer.ready(100)
		if err != nil {
			t.Fatal(err)
		}
		if drop := receive(t, us, f.parts[0], func(in *lan.Received) { in.TTL = c.ttl }); drop != c.want {
			t.Errorf("%s, TTL %d: %v, want %v", c.flags, c.ttl, drop, c.want)
		}
	}
}

// Over IPv6 the source is of the kind of the peers.
func TestPeersSource6(t *testing.T) {
	for peer, want := range map[string]string{"fe80::2": "fe80::1", "2001:db8::2": "2001:db8::1"} {
		cfg, err := config.Parse(strings.Fields("-n -i eth0 -v 51 2001:db8::200/64 --peer "+peer), nil)
		if err != nil {
			t.Fatal(err)
		}
		d := New(cfg, Options{})
		r := d.routers[0]
		r.parent.link = rtnl.Link{Index: 2}
		for _, p := range []string{"fe80::5652:5250:51/128", "fe80::1/64", "2001:db8::200/64", "2001:db8::1/64"} {
			d.addrs[2] = append(d.addrs[2], rtnl.Addr{Index: 2, Prefix: netip.MustParsePrefix(p)})
		}
		link, _ := rtnl.PrimaryIPv6(d.addrs[2], netip.Addr{}, r.parent.virtual()...)
		r.source = d.sourceOf(r, [2]addr{1: link})
		if r.source.String() != want {
			t.Errorf("to %s from %v, want %s", peer, r.source, want)
		}
		d.know()
		if !r.parent.own[netip.MustParseAddr("fe80::1")] || r.parent.own[netip.MustParseAddr("2001:db8::200")] {
			t.Errorf("own addresses %v", r.parent.own)
		}
		if f, err := r.ready(100); err != nil || len(f.parts) != 1 || !lan.IsUnicast(f.parts[0]) {
			t.Errorf("%+v, %v", f, err)
		}
		unicast, ungrouped := r.parent.manners()
		if !slices.Equal(unicast, []uint8{6}) || !slices.Equal(ungrouped, []uint8{6}) {
			t.Errorf("unicast %v, ungrouped %v", unicast, ungrouped)
		}
	}
}

// What the record of a process has no room for is left out by whole packets.
func TestPeersRecorded(t *testing.T) {
	var flags []string
	for i := range config.MaxPeers {
		flags = append(flags, fmt.Sprintf("--peer 198.51.100.%d", i+1))
	}
	for i := range 10 {
		flags = append(flags, fmt.Sprintf("192.0.2.%d", 101+i))
	}
	_, r := testDaemon(t, t.TempDir(), strings.Join(flags, " "))
	id := r.identity()
	parts := lan.Split(id.Frame)
	if len(id.Frame) > grouplock.MaxFrame || len(parts) == 0 || len(parts) >= config.MaxPeers || len(slices.Concat(parts...)) != len(id.Frame) {
		t.Errorf("%d bytes, %d packets", len(id.Frame), len(parts))
	}
}

func TestPeerThatIsThisMachine(t *testing.T) {
	d, _ := testDaemon(t, t.TempDir(), "--peer 203.0.113.77")
	if err := checkPeers(d.routers...); err != nil {
		t.Error(err)
	}
	reconfigure(d.routers[0], func(c *config.Router) { c.Peers = []netip.Addr{netip.MustParseAddr("127.0.0.1")} }) // which config refuses
	if err := checkPeers(d.routers...); err == nil || !strings.Contains(err.Error(), "--peer 127.0.0.1: that is an address of this machine") {
		t.Error(err)
	}
}
