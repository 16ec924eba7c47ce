package config

import (
	"net/netip"
	"testing"
	"time"
)

func six(r *Router) {
	r.Family, r.Version = 6, 3
	r.Addresses = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
}

// TestValidate has what the classic form cannot express or refuses earlier.
func TestValidate(t *testing.T) {
	for want, c := range map[string]Config{
		"":                                classic(),
		"no virtual router is configured": {RunDir: "/run"},
		"interface \"\": a name is needed, like eth0":                                             plain(func(r *Router) { r.Interface = "" }),
		"interface \"a b\": the name of an interface has no space and no control character":       plain(func(r *Router) { r.Interface = "a b" }),
		"interface name \"\": a name is needed, like eth0":                                        plain(func(r *Router) { r.Name = "" }),
		"VRID 0: a VRID is a whole number from 1 to 255":                                          plain(func(r *Router) { r.VRID = 0 }),
		"VRID 51: no virtual address":                                                             plain(func(r *Router) { r.Addresses = nil }),
		"priority 0: it means \"I resign\" on the wire; 1 to 254 are possible, 255 for the owner": plain(func(r *Router) { r.Priority = 0 }),
		"address family 5: 4 and 6 are possible":                                                  plain(func(r *Router) { r.Family = 5 }),
		"VRRP version 1: 2 and 3 are possible":                                                    plain(func(r *Router) { r.Version = 1 }),
		"VRRP version 2: it knows IPv4 only; IPv6 addresses need version 3":                       plain(six, func(r *Router) { r.Version = 2 }),
		"VRRP version 2 beside 2: only beside 3":                                                  plain(func(r *Router) { r.Beside2 = true }),
		"checksum form 3: there is no such form":                                                  plain(func(r *Router) { r.Version, r.Checksum = 3, 3 }),
		"authentication kind 4: there is no such kind":                                            plain(func(r *Router) { r.Auth.Kind = 4 }),
		"preemption delay -1s: 0 to 24h0m0s are possible":                                         plain(func(r *Router) { r.PreemptDelay = -time.Second }),
		"interval -1 s: VRRPv2 allows 1 to 255 s (VRRPv3: 0.01 to 40.95 s)":                       plain(func(r *Router) { r.Interval = -time.Second }),
		"2001:db8::1/64: one virtual router has addresses of one family only, and this one has IPv4; run two vrrpd, one with the IPv4 and one with the IPv6 addresses, both with -M to share one state": plain(six, func(r *Router) { r.Family = 4 }),
		"10.16.1.200: one virtual router has addresses of one family only, and this one has IPv6; run two vrrpd, one with the IPv4 and one with the IPv6 addresses, both with -M to share one state":    plain(func(r *Router) { r.Family, r.Version = 6, 3 }),
		"2001:db8::1/64: the first address of an IPv6 virtual router is a link-local one, like fe80::5652:5250:51":                                                                                      plain(six),
		"::1: a loopback address never leaves its machine; give an address of the LAN":                                                                                                                  plain(six, address("::1/128")),
		"ff02::12: a multicast address belongs to no machine; give a unicast address of the LAN":                                                                                                        plain(six, address("ff02::12/128")),
		"::/64: the unspecified address; give the address that the machines are to share":                                                                                                               plain(six, address("::/64")),
		"2001:db8::1/0: the length cannot be 0; leave it away, or give that of the LAN, like /24":                                                                                                       plain(six, address("2001:db8::1/0")),
		"invalid Prefix: not an address with a length":                                                                                                                                                  plain(func(r *Router) { r.Addresses = make([]netip.Prefix, 1) }),
		"run directory run: an absolute path is needed, like /run/vrrpd":                                                                                                                                classic(func(c *Config) { c.RunDir = "run" }),
		"run directory /run/: an absolute path is needed, like /run/vrrpd":                                                                                                                              classic(func(c *Config) { c.RunDir = "/run/" }),
		"10 monitored processes: 1 to 9 are possible":                                                                                                                                                   classic(func(c *Config) { c.Monitor = 10 }),
		"interface name vrrp51: two virtual routers cannot share it":                                                                                                                                    classic(func(c *Config) { c.Routers = append(c.Routers, c.Routers[0]) }),
		"VRID 51 on eth0: configured twice": classic(func(c *Config) {
			c.Routers = append(c.Routers, c.Routers[0])
			c.Routers[1].Name = "other"
		}),
	} {
		got := ""
		if err := c.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestValidateRoutersApart: the same VRID is another virtual router on another
// interface or in the other family.
func TestValidateRoutersApart(t *testing.T) {
	c := classic(func(c *Config) {
		lan, v6 := c.Routers[0], plain(six).Routers[0]
		lan.Interface, lan.Name, v6.Name = "eth1", "lan", "v6"
		address("fe80::1/64")(&v6)
		c.Routers = append(c.Routers, lan, v6)
	})
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDefaultVersion(t *testing.T) {
	for _, c := range []struct {
		family   uint8
		interval time.Duration
		want     uint8
	}{
		{4, time.Second, 2}, {4, 255 * time.Second, 2}, {4, 100 * time.Millisecond, 3}, {4, 1500 * time.Millisecond, 3}, {6, time.Second, 3},
	} {
		if got := DefaultVersion(c.family, c.interval); got != c.want {
			t.Errorf("IPv%d every %v: version %d, want %d", c.family, c.interval, got, c.want)
		}
	}
}

// What version 2 says beside version 3: seconds, and no less than one.
func TestInterval2(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond: time.Second, 990 * time.Millisecond: time.Second, time.Second: time.Second, 40 * time.Second: 40 * time.Second,
	} {
		c := plain(func(r *Router) { r.Version, r.Beside2, r.Interval = 3, true, interval })
		if err := c.Validate(); err != nil {
			t.Errorf("%v: %v", interval, err)
		}
		if got := c.Routers[0].Interval2(); got != want {
			t.Errorf("%v is %v in version 2, want %v", interval, got, want)
		}
	}
}
