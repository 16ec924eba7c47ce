package vmacif

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// on lists the addresses of an interface as the kernel has them, IPv4 and IPv6.
func (l *lab) on(name string) (out []string) {
	l.Helper()
	addrs, err := l.nl.AddrList(l.link(name), netlib.FAMILY_ALL)
	l.must(err)
	for _, a := range addrs {
		out = append(out, a.IPNet.String())
	}
	return out
}

func (l *lab) wantOn(what string, addrs ...string) {
	l.Helper()
	if got := l.on("eth0"); !slices.Equal(got, addrs) {
		l.Errorf("%s: eth0 has %v, want %v", what, got, addrs)
	}
}

func direct51(addrs ...string) DirectSpec {
	s := DirectSpec{Parent: "eth0", VRID: 51, Family: 4, Owner: "eth0-51"}
	for _, a := range addrs {
		s.Addresses = append(s.Addresses, netip.MustParsePrefix(a))
	}
	return s
}

func (l *lab) direct(h *Hands, s DirectSpec) *Direct {
	l.Helper()
	d, err := h.Direct(s)
	l.must(err)
	return d
}

func (l *lab) wantFound(what string, d *Direct, want ...string) {
	l.Helper()
	found, err := d.Inspect()
	l.must(err)
	if len(found.Form) != 0 || !slices.Equal(found.Service, want) {
		l.Errorf("%s: found %+v, want %v", what, found, want)
	}
}

// The parent is in the end what it was: no address, no setting, no file.
func TestLifeOfDirectAddresses(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	h := l.hands()
	d := l.direct(h, direct51("192.0.2.200/32", "192.0.2.201/24"))
	if d.Index() != l.link("eth0").Attrs().Index {
		t.Errorf("index %d", d.Index())
	}
	l.wantOn("made", "192.0.2.1/24")
	l.wantFound("BACKUP", d)
	ctx, cancel := l.deadline()
	defer cancel()
	for range 2 { // twice is harmless
		l.must(d.Up(ctx))
		l.wantOn("up", "192.0.2.1/24", "192.0.2.200/32", "192.0.2.201/24")
		l.wantFound("MASTER", d)
	}
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "0")

	// Somebody removes one, and Up puts it back.
	l.must(l.nl.AddrDel(l.link("eth0"), address("192.0.2.200/32")))
	l.wantFound("one missing", d, "address 192.0.2.200")
	if _, err := d.Reconcile(); err != nil {
		t.Fatal(err)
	}
	l.wantFound("not for Reconcile", d, "address 192.0.2.200")
	l.must(d.Up(ctx))
	l.wantFound("repaired", d)

	l.must(d.RemoveAddrs())
	l.wantOn("BACKUP again", "192.0.2.1/24")

	// Somebody adds one to the BACKUP, with another length.
	l.addr("eth0", "192.0.2.200/25")
	l.wantFound("one too many", d, "address 192.0.2.200/25")
	if _, err := d.Reconcile(); err != nil {
		t.Fatal(err)
	}
	l.wantOn("reconciled", "192.0.2.1/24")
	l.must(d.Up(ctx))
	l.must(d.Delete())
	l.wantOn("deleted", "192.0.2.1/24")
	if after := l.snapshot(); !maps.Equal(after, before) {
		t.Errorf("the machine was changed:\n%v\n%v", before, after)
	}
	if _, err := os.Lstat(filepath.Join(l.dir, "addresses")); !os.IsNotExist(err) {
		t.Errorf("the notes are still there: %v", err)
	}
}

func address(s string) *netlib.Addr {
	a, err := netlib.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

// What others have added into the subnet of a virtual address stays, although the
// kernel removes secondary addresses together with the primary one.
func TestDirectSparesBystanders(t *testing.T) {
	l := newLab(t)
	d := l.direct(l.hands(), direct51("198.51.100.200/24"))
	ctx, cancel := l.deadline()
	defer cancel()
	l.must(d.Up(ctx))
	a := address("198.51.100.7/24")
	a.Label = "eth0:mine"
	l.must(l.nl.AddrAdd(l.link("eth0"), a))
	l.addr("eth0", "203.0.113.7/24")
	l.must(d.RemoveAddrs())
	l.wantOn("without the virtual one", "192.0.2.1/24", "203.0.113.7/24", "198.51.100.7/24")
	addrs, err := l.nl.AddrList(l.link("eth0"), netlib.FAMILY_V4)
	l.must(err)
	if i := slices.IndexFunc(addrs, func(b netlib.Addr) bool { return b.IP.Equal(a.IP) }); i < 0 || addrs[i].Label != a.Label {
		t.Errorf("addresses %+v", addrs)
	}
}

// A dead instance's addresses are removed by whoever knows its name, and by its
// successor; a living one's are not, and nothing that was not noted is.
func TestDirectAfterACrash(t *testing.T) {
	l := newLab(t)
	ctx, cancel := l.deadline()
	defer cancel()
	dead, other := direct51("192.0.2.200/32"), direct51("192.0.2.210/32")
	other.Owner, other.VRID = "eth0-52", 52
	l.alive["eth0-52"] = true
	h := l.hands()
	l.must(l.direct(h, dead).Up(ctx))
	l.must(l.direct(h, other).Up(ctx))
	l.addr("eth0", "192.0.2.220/32")

	h = l.hands() // another process
	if left, err := h.DirectOf("eth0-51"); err != nil || len(left) != 1 || left[0].VRID != 51 || left[0].Index != l.link("eth0").Attrs().Index || !slices.Equal(left[0].Addresses, dead.Addresses) {
		t.Errorf("left: %+v, %v", left, err)
	}
	if _, err := h.CheckDirect(dead); err != nil {
		t.Errorf("the successor is refused: %v", err)
	}
	l.must(h.StripDirect("eth0-51"))
	l.wantOn("stripped", "192.0.2.1/24", "192.0.2.210/32", "192.0.2.220/32")
	l.addr("eth0", "192.0.2.200/32") // a stuck one wakes up
	l.must(h.ReleaseDirect("eth0-51"))
	l.wantOn("released", "192.0.2.1/24", "192.0.2.210/32", "192.0.2.220/32")
	if left, err := h.DirectOf("eth0-51"); err != nil || len(left) != 0 {
		t.Errorf("left after the release: %+v, %v", left, err)
	}

	// Its successor has other addresses, and sees more on the parent than was there.
	dead.Was = func(int) (DirectWas, error) { return DirectWas{Queue: 500}, nil }
	l.must(l.direct(h, dead).Up(ctx))
	dead.Was = func(int) (DirectWas, error) { return DirectWas{Qdisc: true, Queue: 1000}, nil }
	again := dead
	again.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.230/32")}
	l.direct(l.hands(), again)
	if left, err := h.DirectOf("eth0-51"); err != nil || len(left) != 1 || left[0].Was != (DirectWas{Queue: 500}) {
		t.Errorf("left: %+v, %v", left, err)
	}
	l.wantOn("succeeded", "192.0.2.1/24", "192.0.2.210/32", "192.0.2.220/32")
}

// IPv6 addresses serve at once, are never chosen as a source, and bring no route.
func TestDirectIPv6(t *testing.T) {
	l := newLab(t)
	l.sysctl("ipv6", "eth0", "disable_ipv6", "0")
	l.addr("eth0", "fe80::1/64")
	s := DirectSpec{Parent: "eth0", VRID: 51, Family: 6, Owner: "eth0-51v6", Addresses: []netip.Prefix{
		netip.MustParsePrefix("fe80::5652:5250:51/128"), netip.MustParsePrefix("2001:db8::200/64"),
	}}
	d := l.direct(l.hands(), s)
	ctx, cancel := l.deadline()
	defer cancel()
	l.must(d.Up(ctx))
	addrs, err := l.nl.AddrList(l.link("eth0"), netlib.FAMILY_V6)
	l.must(err)
	n := 0
	for _, a := range addrs {
		if a.IP.String() == "fe80::5652:5250:51" || a.IP.String() == "2001:db8::200" {
			n++
			if a.Flags&unix.IFA_F_TENTATIVE != 0 || a.Flags&unix.IFA_F_DEPRECATED == 0 || a.Flags&unix.IFA_F_PERMANENT == 0 {
				t.Errorf("%v: flags %#x", a.IPNet, a.Flags)
			}
		}
	}
	if n != 2 {
		t.Errorf("addresses %v", l.on("eth0"))
	}
	routes, err := l.nl.RouteList(l.link("eth0"), netlib.FAMILY_V6)
	l.must(err)
	for _, r := range routes {
		if r.Dst != nil && strings.HasPrefix(r.Dst.String(), "2001:") {
			t.Errorf("route %v", r)
		}
	}
	l.wantFound("MASTER", d)
	l.must(d.Delete())
	if got := l.on("eth0"); slices.ContainsFunc(got, func(a string) bool { return strings.Contains(a, ":51") || strings.Contains(a, "200/") }) {
		t.Errorf("left: %v", got)
	}
}

func TestCheckDirect(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "br0"}}))
	l.must(l.nl.LinkAdd(&netlib.Veth{LinkAttrs: netlib.LinkAttrs{Name: "port0"}, PeerName: "port1"}))
	l.must(l.nl.LinkSetMaster(l.link("port0"), l.link("br0")))
	l.must(l.nl.LinkAdd(&netlib.Macvlan{LinkAttrs: netlib.LinkAttrs{Name: "mv0", ParentIndex: l.link("eth0").Attrs().Index}, Mode: netlib.MACVLAN_MODE_BRIDGE}))
	l.alive["eth0-51@/run/x"] = true
	elsewhere := direct51("192.0.2.240/32")
	elsewhere.Owner, elsewhere.VRID = "eth0-51@/run/x", 53
	l.direct(h, elsewhere)
	for _, c := range []struct {
		change func(*DirectSpec)
		want   string // of the refusal; "": none
	}{
		{func(s *DirectSpec) {}, ""},
		{func(s *DirectSpec) { s.Parent = "mv0" }, ""},
		{func(s *DirectSpec) { s.Parent = "eth9" }, "there is no interface eth9"},
		{func(s *DirectSpec) { s.Parent = "port0" }, "port0 is a port of br0: use -i br0"},
		{func(s *DirectSpec) { s.Parent = "lo" }, "loopback"},
		{func(s *DirectSpec) { s.Addresses[0] = netip.MustParsePrefix("192.0.2.1/32") }, "own address of eth0"},
		{func(s *DirectSpec) { s.Addresses[0] = netip.MustParsePrefix("192.0.2.255/32") }, "broadcast"},
		{func(s *DirectSpec) { s.VRID = 53 }, "running instance eth0-51@/run/x"},
	} {
		s := direct51("192.0.2.200/32")
		c.change(&s)
		_, err := h.CheckDirect(s)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", s, err, c.want)
		}
	}
	if w, err := h.CheckDirect(direct51("203.0.113.1/32")); err != nil || len(w) != 1 {
		t.Errorf("an address of no subnet: %v, %v", w, err)
	}
	if w, err := h.CheckDirect(direct51("203.0.113.1/24")); err != nil || len(w) != 0 {
		t.Errorf("one that brings its subnet: %v, %v", w, err)
	}
	six := direct51("2001:db8::51/128")
	six.Family = 6
	if _, err := h.CheckDirect(six); err == nil || !strings.Contains(err.Error(), "IPv6 is switched off on eth0") {
		t.Errorf("IPv6 where it is switched off: %v", err)
	}
	l.must(os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("0"), 0))
	if w, err := h.CheckDirect(six); err != nil {
		t.Errorf("IPv6: %v, %v", w, err)
	}
}

// An instance that is started again without the virtual MAC that it had, or with one
// that it had not, finds what it has left in either form.
func TestDirectAndVirtualMACFollowEachOther(t *testing.T) {
	l := newLab(t)
	ctx, cancel := l.deadline()
	defer cancel()
	before := l.snapshot()
	h := l.hands()
	i := l.ensure(h, spec51())
	l.up(i)

	h = l.hands()
	s := direct51("192.0.2.200/32")
	if _, err := h.CheckDirect(s); err != nil {
		t.Fatal(err)
	}
	d := l.direct(h, s)
	if _, err := l.nl.LinkByName("vrrp51"); err == nil {
		t.Error("vrrp51 is still there")
	}
	l.wantSysctl("ipv4", "eth0", "arp_ignore", "0")
	l.must(d.Up(ctx))

	h = l.hands()
	if _, err := h.Check(spec51()); err != nil {
		t.Fatal(err)
	}
	l.must(h.ReleaseDirect("eth0-51"))
	i = l.ensure(h, spec51())
	l.wantOn("with a virtual MAC again", "192.0.2.1/24")
	l.up(i)
	l.must(i.Delete())
	if after := l.snapshot(); !maps.Equal(after, before) {
		t.Errorf("the machine was changed:\n%v\n%v", before, after)
	}
}

// Who only reads the notes leaves no directory behind that its last user removes just then.
func TestReadDirectMakesNothing(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	dir := h.directNotes()
	done := make(chan error)
	go func() {
		for range 2000 {
			j, err := dir.lock()
			if err != nil {
				done <- err
				return
			}
			j.unlock()
		}
		close(done)
	}()
	for over := false; !over; {
		select {
		case err := <-done:
			l.must(err)
			over = true
		default:
		}
		l.must(h.readDirect(func(*directNote) error { return nil }))
	}
	if _, err := os.Lstat(dir.path); err == nil {
		t.Errorf("%s is there", dir.path)
	}
}
