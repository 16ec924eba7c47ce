package daemon

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/config"
	"vrrpd/lan"
	"vrrpd/rtnl"
	"vrrpd/vrrp"
)

// said is one gratuitous ARP: when, where, what.
type said struct {
	at    time.Duration
	p     *parent
	mac   [6]byte
	ip    netip.Addr
	reply bool
}

// stage is an announcer with a clock that jumps to whatever is due.
type stage struct {
	*announcer
	t     *testing.T
	clock time.Duration
	log   []said
	runs  []time.Duration // that sent something
	// refuse makes the n-th send fail after so many frames.
	refuse func(n, frames int) (sent int, err error)
	sends  int
}

// beginning is when the clock of a stage stands: boottime is never zero.
const beginning = time.Hour

func newStage(t *testing.T) *stage {
	s := &stage{announcer: &announcer{}, t: t, clock: beginning}
	s.own = func(p *parent, to []netip.Addr) []netip.Addr { return append(to, netip.MustParseAddr("192.0.2.7")) }
	s.send = func(p *parent, frames [][]byte) (int, error) {
		sent, err := len(frames), error(nil)
		if s.refuse != nil {
			sent, err = s.refuse(s.sends, len(frames))
		}
		s.sends++
		for _, f := range frames[:sent] {
			s.log = append(s.log, s.decode(p, f))
		}
		if n := len(s.runs); n == 0 || s.runs[n-1] != s.clock {
			s.runs = append(s.runs, s.clock)
		}
		return sent, err
	}
	return s
}

// decode insists on what makes an ARP packet a gratuitous one.
func (s *stage) decode(p *parent, f []byte) said {
	s.t.Helper()
	arp := f[14:]
	x := said{at: s.clock - beginning, p: p, mac: [6]byte(f[6:12]), ip: netip.AddrFrom4([4]byte(arp[14:18])),
		reply: binary.BigEndian.Uint16(arp[6:]) == 2}
	if len(f) != lan.ARPSize || [6]byte(f) != [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} ||
		[6]byte(arp[8:14]) != x.mac || [4]byte(arp[24:28]) != x.ip.As4() {
		s.t.Errorf("not a gratuitous ARP: % x", f)
	}
	return x
}

// runFor lets the clock run for so long.
func (s *stage) runFor(d time.Duration) {
	end := s.clock + d
	for at := time.Duration(s.wakeAt()); at <= end; at = time.Duration(s.wakeAt()) {
		s.clock = max(s.clock, at)
		before := s.wakeAt()
		s.run(int64(s.clock))
		if s.wakeAt() <= before {
			s.t.Fatalf("run does nothing at %v", s.clock)
		}
	}
	s.clock = end
}

// now is the stage's clock as the announcer wants it.
func (s *stage) at() int64 { return int64(s.clock) }

// times are the moments at which an address was announced, requests only.
func (s *stage) times(ip netip.Addr) []time.Duration { return s.told(ip, false) }

func (s *stage) told(ip netip.Addr, reply bool) (times []time.Duration) {
	for _, x := range s.log {
		if x.ip == ip && x.reply == reply {
			times = append(times, x.at)
		}
	}
	return times
}

// serving is a router with n addresses that is MASTER.
func serving(p *parent, vrid uint8, n int) *router {
	c := config.Router{Interface: p.name, VRID: vrid}
	for i := range n {
		c.Addresses = append(c.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, vrid, byte(i)}), 32))
		if i > 255 {
			c.Addresses[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)
		}
	}
	r := newRouter(0, &c, p)
	r.announced = true
	for _, v := range r.vips {
		r.present.add(v)
	}
	return r
}

func TestAnnounceRoundsAndForms(t *testing.T) {
	s := newStage(t)
	s.refresh = int64(20 * time.Second)
	p := &parent{name: "eth0"}
	r := serving(p, 51, 2)
	s.all(r, s.at())
	s.runFor(46 * time.Second)
	var want []said
	for _, reply := range []bool{false, true} {
		for _, ip := range r.vips {
			at := time.Duration(0)
			if reply {
				at = announceOther
			}
			want = append(want, said{at, p, vrrp.IPv4.VMAC(51), ip, reply})
		}
	}
	for _, at := range []int{1, 5, 25, 45} {
		for _, ip := range r.vips {
			for _, reply := range []bool{false, true} {
				want = append(want, said{time.Duration(at) * time.Second, p, vrrp.IPv4.VMAC(51), ip, reply})
			}
		}
	}
	if !slices.Equal(s.log, want) {
		t.Errorf("said\n%v\nwant\n%v", s.log, want)
	}
	if r.sent.announced != uint64(len(want)) {
		t.Errorf("%d frames counted, %d sent", r.sent.announced, len(want))
	}
	// After a long sleep everything is said once, not once for every round missed.
	n := len(s.log)
	s.clock += time.Hour
	s.runFor(time.Second)
	if got := len(s.log) - n; got != 4 {
		t.Errorf("%d frames after an hour of sleep, want 4", got)
	}
}

func TestAnnounceWithoutRefresh(t *testing.T) {
	s := newStage(t)
	r := serving(&parent{name: "eth0"}, 51, 1)
	s.all(r, s.at())
	s.runFor(time.Hour)
	if got := s.times(r.vips[0]); !slices.Equal(got, []time.Duration{0, time.Second, 5 * time.Second}) {
		t.Errorf("announced at %v", got)
	}
	if s.wakeAt() != maxTime {
		t.Error("something is left to do")
	}
}

func TestAnnounceEndsWithTheService(t *testing.T) {
	s := newStage(t)
	r := serving(&parent{name: "eth0"}, 51, 100)
	s.all(r, s.at())
	s.run(s.at()) // the first batch
	if len(s.log) != announceFrames || !s.urgent() {
		t.Fatalf("%d frames in one batch, urgent %v", len(s.log), s.urgent())
	}
	r.announced = false
	s.stop(r)
	if s.urgent() {
		t.Error("somebody waits for what will not be said")
	}
	s.runFor(time.Minute)
	if len(s.log) != announceFrames {
		t.Errorf("%d frames, %d of them after the end of service", len(s.log), len(s.log)-announceFrames)
	}
	// The next promotion is announced at once and as a whole.
	r.announced = true
	s.log = nil
	s.all(r, s.at())
	if s.wakeAt() > s.at() {
		t.Error("the next promotion has to wait")
	}
	s.runFor(time.Minute)
	if len(s.log) != 3*2*len(r.vips) {
		t.Errorf("%d frames, want %d", len(s.log), 3*2*len(r.vips))
	}
}

// A thousand addresses, of one router or of many on several parents, are told in
// small batches, all of them, within 10 ms, and again in both forms.
func TestAnnounceThousand(t *testing.T) {
	for _, routers := range []int{1, 4, 1000} {
		t.Run(fmt.Sprint(routers), func(t *testing.T) {
			s := newStage(t)
			parents := []*parent{{name: "eth0"}, {name: "eth1"}, {name: "eth2"}, {name: "eth3"}}
			for i := range routers {
				s.all(serving(parents[i%len(parents)], uint8(i%250+1), 1000/routers), s.at())
			}
			s.runFor(announceRounds[1] - 1)
			if len(s.log) != 2000 || s.urgent() {
				t.Errorf("%d frames, want 2000; urgent %v", len(s.log), s.urgent())
			}
			if last := s.log[999]; last.at > 10*time.Millisecond || last.reply {
				t.Errorf("the last request after %v", last.at)
			}
			for i := range s.runs[1:] {
				if pause := s.runs[i+1] - s.runs[i]; pause < announcePause {
					t.Fatalf("two batches within %v", pause)
				}
			}
			if n := len(s.runs); n < 1000/announceFrames {
				t.Errorf("only %d batches", n)
			}
			s.runs = nil
			s.runFor(time.Second)
			if n := len(s.runs); n < 2000/announceFrames || len(s.log) != 4000 {
				t.Errorf("again in only %d batches, %d frames in all", n, len(s.log))
			}
		})
	}
}

// A machine whose timers are always late by three pauses takes no longer.
func TestAnnounceCatchesUp(t *testing.T) {
	s := newStage(t)
	s.all(serving(&parent{name: "eth0"}, 51, 1000), s.at())
	largest := 0
	for begin := s.clock; s.urgent(); s.clock += 4 * announcePause {
		before := len(s.log)
		s.run(s.at())
		largest = max(largest, len(s.log)-before)
		if s.clock-begin > 10*time.Millisecond {
			t.Fatalf("only %d frames within 10 ms", len(s.log))
		}
	}
	if largest != 4*announceFrames {
		t.Errorf("%d frames at once", largest)
	}
	// One that is much later brings no more than the most along.
	s.all(serving(&parent{name: "eth0"}, 52, 1000), s.at())
	s.run(s.at())
	s.clock += 2 * announceCatchUp * announcePause
	before := len(s.log)
	s.run(s.at())
	if n := len(s.log) - before; n != announceFrames*(1+announceCatchUp) {
		t.Errorf("%d frames at once after a long pause", n)
	}
}

// Heals restart the rounds, never cut the first one, and are bounded.
func TestAnnounceHeals(t *testing.T) {
	s := newStage(t)
	r := serving(&parent{name: "eth0"}, 51, 1)
	s.all(r, s.at())
	s.runFor(3 * time.Second)
	s.all(r, s.at())
	s.runFor(time.Minute)
	sec := time.Second
	if got := s.times(r.vips[0]); !slices.Equal(got, []time.Duration{0, sec, 3 * sec, 4 * sec, 8 * sec}) {
		t.Errorf("announced at %v", got)
	}

	// A master that never goes away, at 10 ms adverts, while a thousand addresses
	// take longer than that.
	s = newStage(t)
	r = serving(&parent{name: "eth0"}, 51, 1000)
	told := 0
	for range 200 {
		s.all(r, s.at())
		s.runFor(10 * time.Millisecond)
		if !s.urgent() {
			told++
		}
	}
	if told != 200 {
		t.Errorf("%d times of 200 somebody would have waited for an announcement", 200-told)
	}
	for _, ip := range []netip.Addr{r.vips[0], r.vips[999]} {
		for _, reply := range []bool{false, true} {
			got := s.told(ip, reply)
			if len(got) < 15 || len(got) > 21 {
				t.Errorf("%v was announced %d times within 2 s (reply: %t): %v", ip, len(got), reply, got)
			}
		}
	}
}

// What is full is tried again, until it is hopeless; then there is the next round.
func TestAnnounceRefused(t *testing.T) {
	s := newStage(t)
	s.refuse = func(n, frames int) (int, error) {
		if n < 3 {
			return 7, unix.ENOBUFS
		}
		return frames, nil
	}
	r := serving(&parent{name: "eth0"}, 51, 40)
	s.all(r, s.at())
	s.runFor(announceRounds[1] - 1)
	for _, ip := range r.vips {
		if len(s.times(ip)) == 0 || !slices.ContainsFunc(s.log, func(x said) bool { return x.ip == ip && x.reply }) {
			t.Errorf("%v was not announced in both forms", ip)
		}
	}

	for _, why := range []error{unix.ENETDOWN, unix.EAGAIN} {
		s = newStage(t)
		s.refuse = func(int, int) (int, error) { return 0, why }
		r = serving(&parent{name: "eth0"}, 51, 40)
		s.all(r, s.at())
		s.runFor(announceRounds[1] - 1)
		if s.urgent() || s.sends > 2*(announceRetryLimit+1) {
			t.Errorf("%v: %d attempts, urgent %v", why, s.sends, s.urgent())
		}
		s.refuse = nil
		s.runFor(time.Minute)
		if got := s.times(r.vips[39]); len(got) != 2 {
			t.Errorf("%v: announced at %v, want two more rounds", why, got)
		}
	}
}

func TestAnnounceOne(t *testing.T) {
	s := newStage(t)
	r := serving(&parent{name: "eth0"}, 51, 1)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, ip := range []netip.Addr{a, b} {
		r.present.add(ip)
		s.one(r, ip, s.at())
	}
	s.runFor(3 * time.Second)
	r.present.remove(b)
	s.runFor(time.Minute)
	sec := time.Second
	if got := s.times(a); !slices.Equal(got, []time.Duration{0, sec, 5 * sec}) {
		t.Errorf("%v at %v", a, got)
	}
	if got := s.times(b); !slices.Equal(got, []time.Duration{0, sec}) {
		t.Errorf("%v, which was removed after 3 s, at %v", b, got)
	}
	// From then on it is one of all.
	s.log = nil
	s.all(r, s.at())
	s.runFor(time.Millisecond)
	if len(s.log) != 2 || s.log[1].ip != a {
		t.Errorf("said %v", s.log)
	}
}

// Between a request and its reply there may be another program.
func TestAnnounceKept(t *testing.T) {
	s := newStage(t)
	r := serving(&parent{name: "eth0"}, 51, 1)
	s.all(r, s.at())
	s.one(r, r.vips[0], s.at())
	s.run(s.at())
	for i, x := range s.due[s.head:] {
		k := x.keep()
		if y := k.announcement(r); y != x || !k.Replies {
			t.Errorf("%d: %+v became %+v", i, x, y)
		}
	}
	s.runFor(announceOther)
	if len(s.due) == s.head {
		t.Fatal("there is nothing to come")
	}
	for i, x := range s.due[s.head:] {
		if y := x.keep().announcement(r); y != x || y.forms != asBoth {
			t.Errorf("%d: %+v became %+v", i, x, y)
		}
	}
}

// What is half told is told again as a whole, and what has no room waits for its turn.
func TestAnnounceInPairs(t *testing.T) {
	s := newStage(t)
	p := &parent{name: "eth0"}
	r := serving(p, 51, announceFrames-1)
	s.all(r, s.at())
	s.home(p, s.at())
	s.run(s.at())
	if n := len(s.log); n != announceFrames-1 || s.wakeAt() != s.at()+int64(announcePause) {
		t.Errorf("%d frames at once, the next ones at %v", n, time.Duration(s.wakeAt()))
	}
	s.runFor(announceOther)
	if n := len(s.log); n != 2*announceFrames {
		t.Errorf("%d frames with the machine's own", n)
	}

	s.log, s.sends = nil, 0
	s.refuse = func(n, frames int) (int, error) {
		if n == 0 {
			return 7, unix.ENOBUFS
		}
		return frames, nil
	}
	s.runFor(time.Second)
	for i, ip := range r.vips {
		want := 1
		if i == 3 {
			want = 2 // its request went, its reply did not
		}
		if got := len(s.times(ip)); got != want || len(s.told(ip, true)) != 1 {
			t.Errorf("address %d: %d requests, want %d, %d replies", i, got, want, len(s.told(ip, true)))
		}
	}
}

// IPv6 has one form, which is not said twice for the other one; an IPv4 address that a
// script has put beside it has both.
func TestAnnounceIPv6(t *testing.T) {
	c := config.Router{Interface: "eth0", VRID: 51, Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::200/64")}}
	r := newRouter(0, &c, &parent{name: "eth0"})
	r.announced = true
	type told struct {
		at     time.Duration
		frames int
	}
	var log []told
	var a announcer
	var clock int64
	a.send = func(_ *parent, frames [][]byte) (int, error) {
		log = append(log, told{time.Duration(clock), len(frames)})
		return len(frames), nil
	}
	end := func() (all []told) {
		for clock = a.wakeAt(); clock != maxTime; clock = a.wakeAt() {
			a.run(clock)
		}
		all, log, clock = log, nil, 0
		return all
	}
	a.all(r, 0)
	if got := end(); !slices.Equal(got, []told{{0, 1}, {time.Second, 1}, {5 * time.Second, 1}}) {
		t.Errorf("IPv6: %v", got)
	}
	four := netip.MustParseAddr("192.0.2.1")
	r.present.add(r.vips[0])
	r.present.add(four)
	a.notBefore = 0
	a.one(r, four, 0)
	if got := end(); !slices.Equal(got, []told{{0, 1}, {announceOther, 1}, {time.Second, 2}, {5 * time.Second, 2}}) {
		t.Errorf("IPv4 beside it: %v", got)
	}
	// When a foreign master has gone they are announced again, in both forms of ARP.
	later := time.Hour
	a.all(r, int64(later))
	if got := end(); !slices.Equal(got, []told{{later, 3}, {later + time.Second, 3}, {later + 5*time.Second, 3}}) {
		t.Errorf("both again: %v", got)
	}
}

// Whichever of the routers on a parent asks: once.
func TestAnnounceOwn(t *testing.T) {
	s := newStage(t)
	p := &parent{name: "eth0", link: rtnl.Link{MAC: [6]byte{2, 0, 0, 0, 0, 1}}}
	for range 250 {
		s.home(p, s.at())
	}
	s.runFor(time.Minute)
	own := netip.MustParseAddr("192.0.2.7")
	if want := []said{{0, p, p.link.MAC, own, false}, {0, p, p.link.MAC, own, true}}; !slices.Equal(s.log, want) {
		t.Errorf("said %v", s.log)
	}
	s.home(p, s.at())
	s.runFor(time.Minute)
	if len(s.log) != 4 {
		t.Errorf("the next time: %v", s.log)
	}
	s.own = func(_ *parent, to []netip.Addr) []netip.Addr { return to }
	s.home(p, s.at())
	s.run(s.at())
	if s.wakeAt() != maxTime {
		t.Error("there is no end of an announcement of nothing")
	}
}

func TestAnnounceAllocatesNothing(t *testing.T) {
	s := newStage(t)
	s.send = func(_ *parent, frames [][]byte) (int, error) { return len(frames), nil }
	s.refresh = int64(time.Second)
	r := serving(&parent{name: "eth0"}, 51, 250)
	s.all(r, s.at())
	s.runFor(10 * time.Second)
	if n := testing.AllocsPerRun(20, func() { s.runFor(time.Second) }); n > 0 {
		t.Errorf("%v allocations for a refresh of 250 addresses", n)
	}
}
