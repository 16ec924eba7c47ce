package daemon

import (
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

// router6 is an IPv6 router with n addresses that is MASTER.
func router6(p *parent, vrid uint8, n int) *router {
	c := config.Router{Interface: p.name, VRID: vrid, Family: 6, Version: 3, Interval: time.Second}
	for i := range n {
		a := config.LinkLocal(vrid).As16()
		a[7] = byte(i)
		c.Addresses = append(c.Addresses, netip.PrefixFrom(netip.AddrFrom16(a), 128))
	}
	r := newRouter(0, &c, p)
	r.announced = true
	p.routers = append(p.routers, r)
	return r
}

// Over IPv6 each address is announced by one frame, which says the virtual MAC; what a
// full queue has refused comes later, and nothing twice.
func TestAnnouncementsOfIPv6(t *testing.T) {
	p := &parent{name: "eth0"}
	r := router6(p, 51, 40)
	s := newStage(t)
	var told []netip.Addr
	refused := false
	s.send = func(_ *parent, frames [][]byte) (int, error) {
		n, err := len(frames), error(nil)
		if !refused {
			refused, n, err = true, 5, unix.ENOBUFS
		}
		for _, f := range frames[:n] {
			a, drop := lan.ParseAnswer(f)
			if drop != lan.Delivered || a.MAC != r.vmac || [6]byte(f[6:12]) != r.vmac {
				t.Fatalf("% x: %+v, %v", f, a, drop)
			}
			told = append(told, a.IP)
		}
		return n, err
	}
	s.all(r, s.at())
	s.runFor(500 * time.Millisecond)
	if !slices.Equal(told, r.vips) {
		t.Errorf("announced %v, want %v", told, r.vips)
	}
	if r.sent.announced != 40 {
		t.Errorf("counted %d", r.sent.announced)
	}
	// After one second and after five.
	s.runFor(10 * time.Second)
	if len(told) != 120 {
		t.Errorf("%d frames in all, want 120", len(told))
	}
}

// The machine's own addresses are announced of the families that are served on the
// parent, but none that is still checked for duplicates.
func TestOwnAddressesByFamily(t *testing.T) {
	d := &Daemon{addrs: map[int][]rtnl.Addr{}}
	p := &parent{d: d, name: "eth0", link: rtnl.Link{Index: 2}}
	add := func(prefix string, tentative bool) {
		d.addrs[2] = append(d.addrs[2], rtnl.Addr{Index: 2, Prefix: netip.MustParsePrefix(prefix), Tentative: tentative})
	}
	add("192.0.2.1/24", false)
	add("fe80::1/64", false)
	add("2001:db8::1/64", true)
	r := router6(p, 51, 1)
	d.routers = []*router{r}
	if got := d.appendOwn(p, nil); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("fe80::1")}) {
		t.Errorf("own addresses %v", got)
	}
	four := serving(p, 52, 1)
	p.routers = append(p.routers, four)
	if got := d.appendOwn(p, nil); len(got) != 2 {
		t.Errorf("own addresses of both families %v", got)
	}
	if families, virtual := p.families(); !slices.Equal(families, []uint8{6, 4}) || !slices.Equal(virtual, r.vips) {
		t.Errorf("the port is to hear %v and join for %v", families, virtual)
	}
}

// One VRID of both families on one parent: each advert is for the router of its own.
func TestFamiliesOfOneVRID(t *testing.T) {
	v4 := config.Router{Interface: "eth0", Name: "vrrp51", VRID: 51, Family: 4, Version: 3, Interval: time.Second, Priority: 100,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.200/32")}}
	v6 := v4
	v6.Name, v6.Family = "vrrp51v6", 6
	v6.Addresses = []netip.Prefix{netip.PrefixFrom(config.LinkLocal(51), 128)}
	d := New(config.Config{RunDir: "/run/vrrpd", Routers: []config.Router{v4, v6}}, Options{})
	if got := []string{instanceName(v4), instanceName(v6)}; !slices.Equal(got, []string{"eth0-51", "eth0-51v6"}) {
		t.Errorf("instances %q", got)
	}
	for i, src := range []string{"192.0.2.1", "fe80::1"} {
		r := d.routers[i]
		a := vrrp.Advert{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addrs: r.vips}
		from := netip.MustParseAddr(src)
		payload, err := a.AppendPayload(nil, from, r.rules.Family.Group(), vrrp.RFC9568, nil)
		if err != nil {
			t.Fatal(err)
		}
		in, drop := lan.ParseAdvert(lan.AppendAdvert(nil, r.vmac, from, r.rules.Family.Group(), 1, payload), false)
		if drop != lan.Delivered {
			t.Fatal(drop)
		}
		if e, ok := d.parents[0].judge(&in, boottime()); !ok || e.VR != i || e.Addr != from {
			t.Errorf("IPv%d: %+v %v", r.rules.Family, e, ok)
		}
	}
}

// An advert with more addresses than a frame of 1500 bytes holds would be cut by its
// receivers, also where the interface has jumbo frames.
func TestFits6(t *testing.T) {
	for n, fits := range map[int]bool{90: true, 91: false} {
		if err := router6(&parent{name: "eth0"}, 51, n).fits(9000); (err == nil) != fits {
			t.Errorf("%d addresses: %v", n, err)
		}
	}
}
