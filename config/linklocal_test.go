package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// released is what --release is for when no address tells the family.
func released(parent string, vrid uint8) []Router {
	var all []Router
	for _, family := range []uint8{4, 6} {
		all = append(all, Router{Interface: parent, VRID: vrid, Name: DefaultName(vrid, family), Family: family})
	}
	return all
}

// RFC9568-5.2.9: the first address is link-local, given or made.
func TestLinkLocalFirst(t *testing.T) {
	made := netip.MustParseAddr("fe80::5652:5250:51")
	for line, want := range map[string]struct {
		addresses string
		made      netip.Addr
	}{
		"2001:db8::1":                        {"fe80::5652:5250:51/128 2001:db8::1/128", made},
		"2001:db8::1/64 2001:db8::2":         {"fe80::5652:5250:51/128 2001:db8::1/64 2001:db8::2/128", made},
		"fe80::1":                            {"fe80::1/128", netip.Addr{}},
		"fe80::1/64 2001:db8::1":             {"fe80::1/64 2001:db8::1/128", netip.Addr{}},
		"2001:db8::1 fe80::1 2001:db8::2":    {"fe80::1/128 2001:db8::1/128 2001:db8::2/128", netip.Addr{}},
		"2001:db8::1 ipaddr fe80::2 fe80::1": {"fe80::2/128 2001:db8::1/128 fe80::1/128", netip.Addr{}},
	} {
		c, err := Parse(strings.Fields("-i eth0 -v 51 "+line), nil)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		r := Router{
			Interface: "eth0", Name: "vrrp51v6", VRID: 51, Family: 6, Version: 3, Priority: 100,
			Interval: time.Second, Preempt: true, Generated: want.made,
		}
		for _, a := range strings.Fields(want.addresses) {
			r.Addresses = append(r.Addresses, netip.MustParsePrefix(a))
		}
		if !reflect.DeepEqual(c.Routers[0], r) {
			t.Errorf("%s:\n got %+v\nwant %+v", line, c.Routers[0], r)
		}
	}
}

// The addresses made are all different, link-local, read as the VRID, and none is
// one that a kernel makes of a MAC.
func TestLinkLocal(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for vrid := 1; vrid <= 255; vrid++ {
		a := LinkLocal(uint8(vrid))
		b := a.As16()
		if !a.IsLinkLocalUnicast() || seen[a] || b[11] == 0xff && b[12] == 0xfe {
			t.Errorf("VRID %d: %s", vrid, a)
		}
		seen[a] = true
	}
	for vrid, want := range map[uint8]string{1: "fe80::5652:5250:1", 51: "fe80::5652:5250:51", 255: "fe80::5652:5250:255"} {
		if got := LinkLocal(vrid).String(); got != want {
			t.Errorf("VRID %d: %s, want %s", vrid, got, want)
		}
	}
}
