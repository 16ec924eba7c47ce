package rtnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func v4(index int, prefix string) Addr {
	return Addr{Index: index, Prefix: netip.MustParsePrefix(prefix)}
}

func secondary(a Addr) Addr { a.Secondary = true; return a }

func scoped(a Addr, scope uint8) Addr { a.Scope = scope; return a }

func kindsOf(changes []Change) (out []ChangeKind) {
	for _, c := range changes {
		out = append(out, c.Kind)
	}
	return out
}

func TestTableReportsDifferencesOnly(t *testing.T) {
	tb := newTable()
	eth := Link{Index: 2, Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Up: true}
	down := eth
	down.Up = false
	steps := []struct {
		name string
		note note
		want []ChangeKind
	}{
		{"new link", note{link: eth}, []ChangeKind{LinkChanged}},
		{"the same again", note{link: eth}, nil},
		{"flag", note{link: down}, []ChangeKind{LinkChanged}},
		{"address", note{addr: v4(2, "192.0.2.1/24")}, []ChangeKind{AddrAdded}},
		{"the same again", note{addr: v4(2, "192.0.2.1/24")}, nil},
		{"same address, other length", note{addr: v4(2, "192.0.2.1/32")}, []ChangeKind{AddrAdded}},
		{"flag of an address", note{addr: secondary(v4(2, "192.0.2.1/24"))}, []ChangeKind{AddrAdded}},
		{"unknown address goes", note{addr: v4(2, "192.0.2.9/24"), gone: true}, nil},
		{"address goes", note{addr: v4(2, "192.0.2.1/32"), gone: true}, []ChangeKind{AddrGone}},
		{"unknown link goes", note{link: Link{Index: 3, Name: "eth1"}, gone: true}, nil},
		{"link goes with its address", note{link: eth, gone: true}, []ChangeKind{AddrGone, LinkGone}},
		{"and is gone", note{link: eth, gone: true}, nil},
	}
	for _, s := range steps {
		if got := kindsOf(tb.apply(s.note, nil)); !slices.Equal(got, s.want) {
			t.Fatalf("%s: %v, want %v", s.name, got, s.want)
		}
	}
}

func TestTableTellsReuseFromRename(t *testing.T) {
	a := Link{Index: 7, Name: "eth0", Kind: "veth", MAC: [6]byte{2, 0, 0, 0, 0, 1}}
	renamed, readdressed, other, kind := a, a, a, a
	renamed.Name = "lan0"
	readdressed.MAC[5] = 9
	other.Name, other.MAC[5] = "wan0", 9
	kind.Kind = "tun"
	for _, c := range []struct {
		name string
		next Link
		want []ChangeKind
	}{
		{"renamed", renamed, []ChangeKind{LinkChanged}},
		{"new hardware address", readdressed, []ChangeKind{LinkChanged}},
		{"another device", other, []ChangeKind{AddrGone, LinkGone, LinkChanged}},
		{"another kind", kind, []ChangeKind{AddrGone, LinkGone, LinkChanged}},
	} {
		tb := newTable()
		tb.apply(note{link: a}, nil)
		tb.apply(note{addr: v4(7, "192.0.2.1/24")}, nil)
		out := tb.apply(note{link: c.next}, nil)
		if got := kindsOf(out); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if last := out[len(out)-1]; len(c.want) > 1 && last.Old != (Link{}) {
			t.Errorf("%s: the new device has an old state %+v", c.name, last.Old)
		}
	}
}

func TestTableSync(t *testing.T) {
	tb := newTable()
	eth := Link{Index: 2, Name: "eth0"}
	old := Link{Index: 3, Name: "eth1"}
	tb.apply(note{link: eth}, nil)
	tb.apply(note{link: old}, nil)
	tb.apply(note{addr: v4(2, "192.0.2.1/24")}, nil)
	tb.apply(note{addr: v4(3, "198.51.100.1/24")}, nil)
	fresh := dump{
		links: []Link{eth, {Index: 4, Name: "eth2"}},
		addrs: []Addr{v4(2, "192.0.2.2/24"), v4(4, "203.0.113.1/24")},
	}
	partial := tb.sync(fresh, false, nil)
	if got, want := kindsOf(partial), []ChangeKind{LinkChanged, AddrAdded, AddrAdded}; !slices.Equal(got, want) {
		t.Fatalf("partial dump: %v, want %v: it must not take anything away", partial, want)
	}
	whole := tb.sync(fresh, true, nil)
	if got, want := kindsOf(whole), []ChangeKind{AddrGone, AddrGone, LinkGone}; !slices.Equal(got, want) {
		t.Fatalf("whole dump: %v, want %v", whole, want)
	}
	if again := tb.sync(fresh, true, nil); len(again) != 0 {
		t.Fatalf("the same dump again: %v", again)
	}
	if len(tb.links) != 2 || len(tb.addrs) != 2 {
		t.Fatalf("table %+v", tb)
	}
	// The order of a dump is the kernel's.
	fresh.addrs = []Addr{v4(2, "198.51.100.2/24"), v4(2, "192.0.2.2/24"), v4(4, "203.0.113.1/24")}
	tb.sync(fresh, true, nil)
	if got := tb.addrs[2]; !slices.Equal(got, fresh.addrs[:2]) {
		t.Fatalf("order %v, want %v", got, fresh.addrs[:2])
	}
}

func TestTableOrderOfAddresses(t *testing.T) {
	tb := newTable()
	add := func(a Addr) { tb.apply(note{addr: a}, nil) }
	add(v4(2, "192.0.2.1/24"))
	add(secondary(v4(2, "192.0.2.2/24")))
	add(v4(2, "198.51.100.1/24"))
	add(scoped(v4(2, "169.254.1.1/16"), 253))
	order := func() (out []string) {
		for _, a := range tb.addrs[2] {
			out = append(out, a.Prefix.Addr().String())
		}
		return out
	}
	want := []string{"169.254.1.1", "192.0.2.1", "198.51.100.1", "192.0.2.2"}
	if got := order(); !slices.Equal(got, want) {
		t.Fatalf("order %v, want %v", got, want)
	}
	tb.apply(note{addr: v4(2, "192.0.2.1/24"), gone: true}, nil)
	add(v4(2, "192.0.2.2/24")) // promoted
	want = []string{"169.254.1.1", "198.51.100.1", "192.0.2.2"}
	if got := order(); !slices.Equal(got, want) {
		t.Fatalf("order after promotion %v, want %v", got, want)
	}
}

func TestPrimaryIPv4(t *testing.T) {
	link := func(p string) Addr { return scoped(v4(2, p), 253) }
	deprecated := v4(2, "192.0.2.7/24")
	deprecated.Deprecated = true
	for _, c := range []struct {
		name   string
		addrs  []Addr
		except string
		want   string
	}{
		{"none", nil, "", ""},
		{"first of two subnets, not the lowest", []Addr{v4(2, "198.51.100.9/24"), v4(2, "192.0.2.1/24")}, "", "198.51.100.9"},
		{"not a secondary", []Addr{secondary(v4(2, "192.0.2.2/24")), v4(2, "198.51.100.1/24")}, "", "198.51.100.1"},
		{"link scope before a secondary", []Addr{secondary(v4(2, "192.0.2.2/24")), link("169.254.1.1/16")}, "", "169.254.1.1"},
		{"a secondary that is about to be promoted", []Addr{secondary(v4(2, "192.0.2.2/24"))}, "", "192.0.2.2"},
		{"global before link scope", []Addr{link("169.254.1.1/16"), v4(2, "192.0.2.1/24")}, "", "192.0.2.1"},
		{"link scope if there is nothing else", []Addr{link("169.254.1.1/16")}, "", "169.254.1.1"},
		{"with a subnet before /32", []Addr{v4(2, "203.0.113.1/32"), v4(2, "192.0.2.1/24")}, "", "192.0.2.1"},
		{"/32 if there is nothing else", []Addr{v4(2, "203.0.113.1/32")}, "", "203.0.113.1"},
		{"host scope never", []Addr{scoped(v4(1, "192.0.2.1/32"), 254)}, "", ""},
		{"loopback never", []Addr{v4(1, "127.0.0.1/8")}, "", ""},
		{"deprecated never", []Addr{deprecated}, "", ""},
		{"IPv6 never", []Addr{v4(2, "2001:db8::1/64")}, "", ""},
		{"virtual address on the parent", []Addr{v4(2, "192.0.2.200/24"), v4(2, "192.0.2.1/32")}, "192.0.2.200", "192.0.2.1"},
	} {
		var except []netip.Addr
		if c.except != "" {
			except = append(except, netip.MustParseAddr(c.except))
		}
		got, ok := PrimaryIPv4(c.addrs, except...)
		if ok != (c.want != "") || (ok && got.String() != c.want) {
			t.Errorf("%s: %v %t, want %q", c.name, got, ok, c.want)
		}
	}
}

func TestPrimaryIPv6(t *testing.T) {
	one, two := v4(2, "fe80::9/64"), v4(2, "fe80::1/64")
	change := func(a Addr, f func(*Addr)) Addr { f(&a); return a }
	tentative := func(a *Addr) { a.Tentative = true }
	for _, c := range []struct {
		name  string
		addrs []Addr
		now   string
		want  string
	}{
		{"none", nil, "", ""},
		{"the first, not the lowest", []Addr{one, two}, "", "fe80::9"},
		{"the one that it was", []Addr{one, two}, "fe80::1", "fe80::1"},
		{"unless it has gone", []Addr{one, two}, "fe80::7", "fe80::9"},
		{"unless it may not be used", []Addr{one, change(two, tentative)}, "fe80::1", "fe80::9"},
		{"not a tentative one", []Addr{change(one, tentative)}, "", ""},
		{"not a temporary one", []Addr{change(one, func(a *Addr) { a.Secondary = true }), two}, "", "fe80::1"},
		{"not a deprecated one", []Addr{change(one, func(a *Addr) { a.Deprecated = true }), two}, "", "fe80::1"},
		{"link-local only", []Addr{v4(2, "2001:db8::1/64"), v4(2, "169.254.0.1/16")}, "", ""},
	} {
		var now netip.Addr
		if c.now != "" {
			now = netip.MustParseAddr(c.now)
		}
		got, ok := PrimaryIPv6(c.addrs, now)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: %v %t, want %q", c.name, got, ok, c.want)
		}
	}
}

func TestIPv6WithoutVirtualAddresses(t *testing.T) {
	addrs := []Addr{v4(2, "fe80::51/128"), v4(2, "fe80::9/64"), v4(2, "2001:db8::200/64"), v4(2, "2001:db8::9/64"), v4(2, "2001:db8::1/64")}
	virtual := []netip.Addr{netip.MustParseAddr("fe80::51"), netip.MustParseAddr("2001:db8::200")}
	if got, _ := PrimaryIPv6(addrs, virtual[0], virtual...); got.String() != "fe80::9" {
		t.Errorf("primary: %v", got)
	}
	if got, _ := GlobalIPv6(addrs, virtual[1], virtual...); got.String() != "2001:db8::9" {
		t.Errorf("global: %v", got)
	}
	if got, _ := GlobalIPv6(addrs, netip.MustParseAddr("2001:db8::1"), virtual...); got.String() != "2001:db8::1" {
		t.Errorf("global, the one that it was: %v", got)
	}
	if got, ok := GlobalIPv6(addrs[:2], netip.Addr{}); ok {
		t.Errorf("global: %v", got)
	}
}

func TestCarrierRule(t *testing.T) {
	for bits := range 8 {
		l := Link{Up: bits&1 != 0, Running: bits&2 != 0, LowerUp: bits&4 != 0}
		if l.Carrier() != (bits == 7) {
			t.Errorf("%+v: carrier %t", l, l.Carrier())
		}
	}
}

func message(typ netlink.HeaderType, flags netlink.HeaderFlags, seq uint32, body []byte) []byte {
	m := netlink.Message{Header: netlink.Header{Length: uint32(16 + len(body)), Type: typ, Flags: flags, Sequence: seq}, Data: body}
	b, err := m.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return b
}

func TestAnswer(t *testing.T) {
	errno := func(e unix.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e))) }
	link := []byte("link")
	for _, c := range []struct {
		name        string
		dump        bool
		datagram    [][]byte
		bodies      int
		done, intr  bool
		err         error
		truncatedBy int
	}{
		{"one link", false, [][]byte{message(16, 0, 7, link)}, 1, true, false, nil, 0},
		{"none", false, [][]byte{message(netlink.Error, 0, 7, errno(unix.ENODEV))}, 0, true, false, unix.ENODEV, 0},
		{"part of a dump", true, [][]byte{message(16, netlink.Multi, 7, link), message(16, netlink.Multi, 7, link)}, 2, false, false, nil, 0},
		{"end of a dump", true, [][]byte{message(16, netlink.Multi, 7, link), message(netlink.Done, netlink.Multi, 7, errno(0))}, 1, true, false, nil, 0},
		{"interrupted in the middle", true, [][]byte{message(16, netlink.Multi|netlink.DumpInterrupted, 7, link), message(netlink.Done, netlink.Multi, 7, errno(0))}, 1, true, true, nil, 0},
		{"interrupted at the end", true, [][]byte{message(netlink.Done, netlink.Multi|netlink.DumpInterrupted, 7, errno(0))}, 0, true, true, nil, 0},
		{"failed dump", true, [][]byte{message(netlink.Done, netlink.Multi, 7, errno(unix.ENODEV))}, 0, true, false, unix.ENODEV, 0},
		{"somebody else's answer", false, [][]byte{message(16, 0, 6, link), message(netlink.Error, 0, 6, errno(unix.EPERM))}, 0, false, false, nil, 0},
		{"cut short", false, [][]byte{message(16, 0, 7, link)}, 0, false, false, errTruncated, 2},
	} {
		a := answer{sequence: 7, dump: c.dump}
		bodies := 0
		a.each = func(typ uint16, body []byte) error {
			bodies++
			if typ != 16 || string(body) != "link" {
				t.Errorf("%s: type %d body %q", c.name, typ, body)
			}
			return nil
		}
		b := bytes.Join(c.datagram, nil)
		err := split(b[:len(b)-c.truncatedBy], a.take)
		if !errors.Is(err, c.err) || bodies != c.bodies || a.done != c.done || a.interrupted != c.intr {
			t.Errorf("%s: error %v, %d bodies, done %t, interrupted %t", c.name, err, bodies, a.done, a.interrupted)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(message(16, 0, 7, []byte("link")))
	f.Add([]byte{3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		_ = split(b, func(_ netlink.Header, body []byte) error {
			total += 16 + len(body)
			return nil
		})
		if total > len(b) {
			t.Fatalf("%d bytes of messages in %d", total, len(b))
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(uint16(16), []byte{0, 0, 1, 0, 2, 0, 0, 0, 3, 16, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0, 'e', 't', 'h', '0', 0, 0, 0, 0})
	f.Add(uint16(20), []byte{2, 24, 0, 0, 2, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1, 8, 0, 2, 0, 192, 0, 2, 1})
	f.Add(uint16(17), []byte{7})
	f.Fuzz(func(t *testing.T, typ uint16, body []byte) {
		n, ok, err := decode(typ, body)
		if ok && err != nil {
			t.Fatalf("both a result and the error %v", err)
		}
		if !ok {
			return
		}
		if (n.link.Index > 0) == n.addr.Prefix.IsValid() && n.link.Index > 0 {
			t.Fatalf("a note is about one thing: %+v", n)
		}
		tb := newTable()
		tb.apply(n, nil)
		if again := tb.apply(n, nil); len(again) != 0 {
			t.Fatalf("the same message twice changes something: %v", again)
		}
	})
}

// Who knows something already is told what has changed since, and nothing else.
func TestKnown(t *testing.T) {
	links := []Link{{Index: 1, Name: "lo"}, {Index: 2, Name: "eth0", Up: true, Running: true}, {Index: 3, Name: "old0"}}
	a := func(index int, prefix string) Addr { return Addr{Index: index, Prefix: netip.MustParsePrefix(prefix)} }
	addrs := []Addr{a(2, "10.0.0.1/24"), a(2, "10.0.0.2/24"), a(3, "10.1.0.1/24")}
	tab := newTable()
	tab.know(Known{Links: links, Addrs: addrs})
	if got := tab.sync(dump{links: links, addrs: addrs}, true, nil); len(got) != 0 {
		t.Errorf("nothing has changed: %v", got)
	}
	down := links[1]
	down.Running = false
	got := tab.sync(dump{links: []Link{links[0], down}, addrs: addrs[:1]}, true, nil)
	want := []Change{
		{Kind: AddrGone, Addr: addrs[1]}, {Kind: AddrGone, Addr: addrs[2]},
		{Kind: LinkGone, Old: links[2]}, {Kind: LinkChanged, Old: links[1], New: down},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
