package acceptance

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"vrrpd/internal/netlab"
)

var allAdverts = netlab.MatchAdverts()

// forged is an advert of the highest priority, or what is left of it: if it were
// believed, a MASTER would yield and a BACKUP would follow it.
type forged struct {
	version, kind, vrid, priority, count byte
	authType                             byte // version 2
	interval                             uint16
	addrs                                []netip.Addr
	ttl                                  byte
	fragment                             uint16
	damaged                              bool // the IP header
	src                                  netip.Addr
	dst                                  netip.Addr
	sum                                  uint16 // added to the right checksum
	cut                                  int    // bytes taken off the end, or added if negative
	payload                              []byte // instead of all that
}

// good is what vrrpd would accept.
func good(version byte) forged {
	f := forged{version: version, kind: 1, vrid: lanA.vrid, priority: 254, count: 1, interval: 10,
		addrs: []netip.Addr{lanA.vip}, ttl: 255, src: lanA.host(66).Addr(), dst: netip.MustParseAddr("224.0.0.18")}
	if version == 2 {
		f.interval = 1
	}
	return f
}

func onesSum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// frame is the whole Ethernet frame, from a station that is no router.
func (f forged) frame() []byte {
	msg := f.payload
	if msg == nil {
		msg = []byte{f.version<<4 | f.kind, f.vrid, f.priority, f.count, byte(f.interval >> 8), byte(f.interval), 0, 0}
		if f.version == 2 {
			msg[4], msg[5] = f.authType, byte(f.interval)
		}
		for _, a := range f.addrs {
			msg = append(msg, a.AsSlice()...)
		}
		if f.version == 2 {
			msg = append(msg, make([]byte, 8)...)
		}
		binary.BigEndian.PutUint16(msg[6:], onesSum(msg)+f.sum)
		if f.cut >= 0 {
			msg = msg[:len(msg)-f.cut]
		} else {
			msg = append(msg, make([]byte, -f.cut)...)
		}
	}
	ip := []byte{0x45, 0xc0, 0, 0, 0, 1, 0, 0, f.ttl, 112, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(msg)))
	binary.BigEndian.PutUint16(ip[6:], f.fragment)
	ip = append(ip, f.src.AsSlice()...)
	ip = append(ip, f.dst.AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], onesSum(ip))
	if f.damaged {
		ip[10] ^= 0xff
	}
	b := []byte{0x01, 0, 0x5e, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, f.vrid, 8, 0}
	return append(append(b, ip...), msg...)
}

// carp is an advertisement of the BSDs' protocol, with the same number.
func carp() []byte {
	b := make([]byte, 36)
	copy(b, []byte{0x21, lanA.vrid, 0, 7, 0, 1})
	binary.BigEndian.PutUint16(b[6:], onesSum(b))
	return b
}

// drops are the counters of the virtual router on LAN A, as atropos shows them.
func (r *router) drops() map[string]uint64 {
	r.site.t.Helper()
	for _, g := range r.view(0).Groups {
		for _, v := range g.Routers {
			if v.VRID == lanA.vrid {
				return maps.Clone(v.Statistics.Drops)
			}
		}
	}
	r.site.t.Fatalf("atropos on %s shows no virtual router %d", r.Name(), lanA.vrid)
	return nil
}

// refused is a packet that must change nothing, and the reason under which it is
// counted.
type refused struct {
	name   string
	reason string
	forged forged
}

func edit(f forged, change func(*forged)) forged {
	change(&f)
	return f
}

// Malformed, truncated, foreign and forged packets change nothing, and each is
// counted under its reason.
func TestBadInput_Packets(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	v3 := good(3)
	// What the kernel keeps from us is counted by nobody: a fragment waits for
	// the rest of it (macvlan puts them together), and the filter of the socket
	// lets pass what goes to the group. Sent first: it would be heard first.
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	check(t, in.Send(edit(v3, func(f *forged) { f.fragment = 0x2000 }).frame()))
	check(t, in.Send(edit(v3, func(f *forged) { f.dst = s.r1.own(lanA).Addr() }).frame()))
	s.refuses(t, s.routers(), []refused{
		{"TTL 254", "ttl", edit(v3, func(f *forged) { f.ttl = 254 })},
		{"TTL 1", "ttl", edit(v3, func(f *forged) { f.ttl = 1 })},
		{"damaged", "checksum", edit(v3, func(f *forged) { f.sum = 1 })},
		{"another VRID", "vrid", edit(v3, func(f *forged) { f.vrid = 99 })},
		{"VRID 0", "vrid", edit(v3, func(f *forged) { f.vrid = 0 })},
		{"no address", "count", edit(v3, func(f *forged) { f.count, f.addrs = 0, nil })},
		{"count of two, one address", "length", edit(v3, func(f *forged) { f.count = 2 })},
		{"count of one, two addresses", "length", edit(v3, func(f *forged) { f.addrs = append(f.addrs, lanA.host(9).Addr()) })},
		{"cut in the address", "length", edit(v3, func(f *forged) { f.cut = 2 })},
		{"cut in the header", "length", edit(v3, func(f *forged) { f.cut = 5 })},
		{"nothing", "length", edit(v3, func(f *forged) { f.payload = []byte{} })},
		{"bytes behind it", "length", edit(v3, func(f *forged) { f.cut = -4 })},
		{"type 2", "type", edit(v3, func(f *forged) { f.kind = 2 })},
		{"version 2", "version", good(2)},
		{"version 4", "version", edit(v3, func(f *forged) { f.version = 4 })},
		{"interval 0", "interval-zero", edit(v3, func(f *forged) { f.interval = 0 })},
		{"CARP", "foreign-carp", edit(v3, func(f *forged) { f.payload = carp() })},
		{"damaged IP header", "ip-header", edit(v3, func(f *forged) { f.damaged = true })},
		{"from nowhere", "source", edit(v3, func(f *forged) { f.src = netip.IPv4Unspecified() })},
	})
	s.settled(s.r1, s.r2)
	// The test can fail: what all of these were made of is believed.
	mark := s.r1.fence()
	check(t, in.Send(v3.frame()))
	for _, l := range lans {
		s.r1.waitEvent(mark, l.vrrp(), netlab.AddrGone, l.vip)
	}
}

// The same for version 2, which has more to be wrong.
func TestBadInput_PacketsV2(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{interval: "1"})
	s.r1.startAll()
	v2 := good(2)
	s.refuses(t, []*router{s.r1}, []refused{
		{"TTL 254", "ttl", edit(v2, func(f *forged) { f.ttl = 254 })},
		{"damaged", "checksum", edit(v2, func(f *forged) { f.sum = 1 })},
		{"version 3", "version", good(3)},
		{"authentication by password", "auth-type", edit(v2, func(f *forged) { f.authType = 1 })},
		{"another interval", "interval", edit(v2, func(f *forged) { f.interval = 3 })},
		{"interval 0", "interval-zero", edit(v2, func(f *forged) { f.interval = 0 })},
		{"other addresses", "address-list", edit(v2, func(f *forged) { f.addrs = []netip.Addr{lanA.host(9).Addr()} })},
		{"without the authentication data", "length", edit(v2, func(f *forged) { f.cut = 8 })},
	})
	for _, l := range lans {
		s.r1.waitServing(l)
	}
}

// refuses sends each packet from the client's port, and checks that it is
// counted once, under its reason, by every router, and that nothing else happens.
func (s *site) refuses(t *testing.T, routers []*router, packets []refused) {
	t.Helper()
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	type state struct {
		epoch uint64
		links int
		rcvd  uint64
		drops map[string]uint64
	}
	before := map[*router]state{}
	for _, r := range routers {
		st := r.status(lanA)
		before[r] = state{st.Machine.Epoch, r.fence(), st.Routers[0].Statistics.AdvertisementRcvd, r.drops()}
	}
	for _, p := range packets {
		check(t, in.Send(p.forged.frame()))
		for _, r := range routers {
			want := maps.Clone(before[r].drops)
			if want == nil {
				want = map[string]uint64{}
			}
			want[p.reason]++
			netlab.Eventually(t, patience, func() (bool, string) {
				st := r.status(lanA)
				b := before[r]
				b.drops = st.Routers[0].Statistics.Drops
				before[r] = b
				return maps.Equal(b.drops, want), fmt.Sprintf("%s: %s was sent, and %s counts %v, want %v", p.name, p.reason, r.Name(), b.drops, want)
			})
		}
	}
	for _, r := range routers {
		st := r.status(lanA)
		if got := r.drops(); !maps.Equal(got, before[r].drops) {
			t.Errorf("atropos shows %v, want %v", got, before[r].drops)
		}
		if slices.Contains([]string{"MASTER", "BACKUP"}, st.Machine.Phase) && st.Machine.Epoch != before[r].epoch && before[r].epoch > 2 {
			t.Errorf("%s has moved: %+v", r.Name(), st.Machine)
		}
		if e := r.since(before[r].links); before[r].epoch > 2 && len(e) > 0 {
			t.Errorf("%s has done something: %v", r.Name(), e)
		}
		t.Logf("%s counts %v", r.Name(), before[r].drops)
	}
}
