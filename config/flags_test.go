package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// classic is what the manual's example asks for; changes make variants of it.
func classic(changes ...func(*Config)) Config {
	c := Config{
		RunDir:   DefaultRunDir,
		Monitor:  2,
		OnMaster: Command{"/etc/scripts/MASTER.sh", []string{"/etc/scripts/MASTER.sh"}},
		OnBackup: Command{"/etc/scripts/DOWN.sh", []string{"/etc/scripts/DOWN.sh"}},
		Routers: []Router{{
			Interface: "eth0", Name: "vrrp51", VRID: 51, Family: 4, Version: 2, Priority: 100,
			Interval: time.Second, Preempt: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.16.1.200/32")},
		}},
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

// plain is the shortest configuration: one router, nothing else.
func plain(changes ...func(*Router)) Config {
	c := classic(func(c *Config) { c.Monitor, c.OnMaster, c.OnBackup = 0, Command{}, Command{} })
	for _, change := range changes {
		change(&c.Routers[0])
	}
	return c
}

func address(s string) func(*Router) {
	return func(r *Router) { r.Addresses = []netip.Prefix{netip.MustParsePrefix(s)} }
}

// TestManual has every command line of the 2006-2008 manual, as typed there.
func TestManual(t *testing.T) {
	eth1 := classic(func(c *Config) {
		r := &c.Routers[0]
		r.Interface, r.VRID, r.Name = "eth1", 52, "vrrp52"
		address("10.17.1.200/32")(r)
	})
	for line, want := range map[string]Config{
		"./vrrpd -i eth0 -v 51 17.16.1.200 -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh":          classic(func(c *Config) { address("17.16.1.200/32")(&c.Routers[0]) }),
		"./vrrpd -i eth0 -v 51 ipaddr 10.16.1.200 -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh  ": classic(),
		"./vrrpd -i eth1 -v 52 ipaddr 10.17.1.200 -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh":   eth1,
		// The two synopses, each with a value for every option.
		"vrrpd -i eth0 -v 51 -f /var/run -s -a none -p 50 -n ipaddr 10.16.1.200": {
			RunDir: "/var/run", Routers: plain(func(r *Router) { r.Preempt, r.Priority, r.NoVMAC, r.Name = false, 50, true, "eth0" }).Routers,
		},
		"vrrpd -i eth0 -v 51 -M 9 -s -a none -p 50 10.16.1.200": {
			RunDir: DefaultRunDir, Monitor: 9, Routers: plain(func(r *Router) { r.Preempt, r.Priority = false, 50 }).Routers,
		},
		"vrrpd -i ifname -v 51 -nh ipaddr": {Mode: Help},
		"vrrpd -h":                         {Mode: Help},
	} {
		got, err := Parse(strings.Fields(line)[1:], nil)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// permutations calls f with every order of the words.
func permutations(words []string, n int, f func([]string)) {
	if n < 2 {
		f(words)
		return
	}
	for i := range n {
		permutations(words, n-1, f)
		j := 0
		if n%2 == 0 {
			j = i
		}
		words[j], words[n-1] = words[n-1], words[j]
	}
}

// TestEveryOrder reads one request in every order of its parts, once with the
// values separate, once glued, once long.
func TestEveryOrder(t *testing.T) {
	want := classic(func(c *Config) {
		c.Foreground = true
		c.OnBackup = Command{}
		r := &c.Routers[0]
		r.Preempt, r.Priority = false, 7
	})
	for _, parts := range [][]string{
		{"-i eth0", "-v 51", "-Fs", "ipaddr 10.16.1.200", "-M 2", "-U /etc/scripts/MASTER.sh", "-p 7"},
		{"-ieth0", "-v51", "-sF", "10.16.1.200", "-M2", "-U/etc/scripts/MASTER.sh", "-p7"},
		{"--interface eth0", "--vrid=51", "--no-preempt -F", "10.16.1.200 ipaddr", "--mon 2", "--on-m=/etc/scripts/MASTER.sh", "--prio 7"},
		{"-Fsi eth0", "-v51", "10.16.1.200/32", "-M2 --on-master /etc/scripts/MASTER.sh", "--priority=7"},
	} {
		permutations(parts, len(parts), func(order []string) {
			line := strings.Join(order, " ")
			got, err := Parse(strings.Fields(line), nil)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s:\n got %+v\nwant %+v", line, got, want)
			}
		})
	}
}

func leased(c Config, kind string, intervals int) Config {
	c.Lease, c.LeaseIntervals = kind, intervals
	return c
}

func TestAccepted(t *testing.T) {
	const base = "-i eth0 -v 51 10.16.1.200 "
	for _, c := range []struct {
		line string
		want Config
	}{
		{base, plain()},
		{"-i eth0 -v 51 -- 10.16.1.200", plain()},
		{"-i eth0 -v 51 -- ipaddr 10.16.1.200", plain()},
		{"-i lan -i eth0 -v 1 -v 51 10.16.1.200", plain()}, // as in C, the last one wins
		{"-i eth0 -v 051 10.16.1.200", plain()},
		{"-i eth0 -v 51 10.16.1.200/24", plain(address("10.16.1.200/24"))},
		{"-i eth0 -v 51 10.16.1.0", plain(address("10.16.1.0/32"))},     // without a length nobody can tell
		{"-i eth0 -v 51 10.16.1.0/31", plain(address("10.16.1.0/31"))},  // RFC 3021
		{"-i eth0 -v 51 10.16.1.0/23", plain(address("10.16.1.0/23"))},  // a host of the /23
		{"-i eth0 -v 51 10.16.1.1/1", plain(address("10.16.1.1/1"))},    // odd, but a host
		{"-i eth0 -v 51 169.254.1.1", plain(address("169.254.1.1/32"))}, // link-local
		{"-i eth0 -v 51 240.0.0.1/8", plain(address("240.0.0.1/8"))},    // Linux allows it
		{"-i eth0.7 -v 51 10.16.1.200", plain(func(r *Router) { r.Interface = "eth0.7" })},
		{"-i eth0 -v 51 ipaddr 10.16.1.200 ipaddr 10.16.1.201/24", plain(func(r *Router) {
			r.Addresses = append(r.Addresses, netip.MustParsePrefix("10.16.1.201/24"))
		})},
		{"-i 123456789012345 -v 255 10.16.1.200", plain(func(r *Router) { r.Interface, r.VRID, r.Name = "123456789012345", 255, "vrrp255" })},
		{base + "--vrrp-version 3 --checksum rfc5798", plain(func(r *Router) { r.Version, r.Checksum = 3, ChecksumRFC5798 })},
		{base + "-d 0.1 --checksum=rfc9568", plain(func(r *Router) { r.Version, r.Interval, r.Checksum = 3, 100*time.Millisecond, ChecksumRFC9568 })},
		{base + "--checksum rfc9568 --checksum auto", plain()},
		{base + "--no-accept", plain(func(r *Router) { r.NoAccept = true })},
		{base + "--vrrp-version 2+3", plain(func(r *Router) { r.Version, r.Beside2 = 3, true })},
		{base + "--vrrp-version 2+3 -d 0.3 --checksum rfc5798", plain(func(r *Router) {
			r.Version, r.Beside2, r.Interval, r.Checksum = 3, true, 300*time.Millisecond, ChecksumRFC5798
		})},
		{base + "--vrrp-version 2+3 --vrrp-version 2", plain()},
		{base + "-v 1", plain(func(r *Router) { r.VRID, r.Name = 1, "vrrp1" })},
		{base + "-p 1", plain(func(r *Router) { r.Priority = 1 })},
		{base + "-p 255", plain(func(r *Router) { r.Priority = 255 })},
		{base + "-a none", plain()},
		{base + "-s", plain(func(r *Router) { r.Preempt = false })},
		{base + "--name outside", plain(func(r *Router) { r.Name = "outside" })},
		{base + "--preempt-delay 90", plain(func(r *Router) { r.PreemptDelay = 90 * time.Second })},
		{base + "--preempt-delay .5", plain(func(r *Router) { r.PreemptDelay = time.Second / 2 })},
		{base + "--preempt-delay 0 -s", plain(func(r *Router) { r.Preempt = false })},

		{base + "--lease auto", plain()},
		{base + "--lease tcx --lease-intervals 3", leased(plain(), "tcx", 3)},
		{base + "--lease=none", leased(plain(), "none", 0)},

		{base + "-d 1", plain()},
		{base + "-d 1.0", plain()},
		{base + "-d 1.", plain()},
		{base + "-d 255", plain(func(r *Router) { r.Interval = 255 * time.Second })},
		{base + "-d 0.1", plain(func(r *Router) { r.Interval, r.Version = 100*time.Millisecond, 3 })},
		{base + "-d .1", plain(func(r *Router) { r.Interval, r.Version = 100*time.Millisecond, 3 })},
		{base + "-d 0.01", plain(func(r *Router) { r.Interval, r.Version = 10*time.Millisecond, 3 })},
		{base + "-d 1.50000000000", plain(func(r *Router) { r.Interval, r.Version = 1500*time.Millisecond, 3 })},
		{base + "-d 40.95", plain(func(r *Router) { r.Interval, r.Version = 40950*time.Millisecond, 3 })},
		{base + "--vrrp-version 2", plain()},
		{base + "--vrrp-version 3", plain(func(r *Router) { r.Version = 3 })},
		{base + "--vrrp-version 3 -d 40", plain(func(r *Router) { r.Interval, r.Version = 40*time.Second, 3 })},
		{base + "--vrrp-version=2 -d 50", plain(func(r *Router) { r.Interval = 50 * time.Second })},
	} {
		got, err := Parse(strings.Fields(c.line), nil)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
		} else if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.line, got, c.want)
		}
	}
}

func TestProcessOptions(t *testing.T) {
	got, err := Parse(strings.Fields("-i eth0 -v 51 10.16.1.200 -F -M 1 -z 50 -x 255 -f /run//other/ --check"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := plain()
	want.Mode, want.Foreground, want.Monitor, want.RunDir = Check, true, 1, "/run/other"
	want.ReducedPriority, want.IncreasedPriority = 50, 255
	if !reflect.DeepEqual(got, want) {
		t.Errorf(" got %+v\nwant %+v", got, want)
	}
}

func TestModes(t *testing.T) {
	for line, want := range map[string]Config{
		"-h":        {Mode: Help},
		"--help":    {Mode: Help},
		"-V":        {Mode: Version},
		"--version": {Mode: Version},
		"-V -h":     {Mode: Version},
		"-hV":       {Mode: Help},
		"-v 999 -i a/b nonsense --release --check -h": {Mode: Help},
		"--release":                        {Mode: Release, RunDir: DefaultRunDir},
		"--release -f /run/x -p 7":         {Mode: Release, RunDir: "/run/x"},
		"--release -i eth0 -v 51":          {Mode: Release, RunDir: DefaultRunDir, Routers: released("eth0", 51)},
		"--rel -i eth0 -v 51 --name x":     {Mode: Release, RunDir: DefaultRunDir, Routers: []Router{{Interface: "eth0", VRID: 51, Name: "x", Family: 4}, {Interface: "eth0", VRID: 51, Name: "x", Family: 6}}},
		"--release -i eth0 -v 51 10.0.0.1": {Mode: Release, RunDir: DefaultRunDir, Routers: released("eth0", 51)[:1]},
		"--release -i eth0 -v 51 fe80::1":  {Mode: Release, RunDir: DefaultRunDir, Routers: released("eth0", 51)[1:]},
		// Mistakes that have come into a service's options since.
		"-i eth0 -v 51 -p 999 -d no -n -a pass/x 10.0.0.999 -U ; --release": {Mode: Release, RunDir: DefaultRunDir, Routers: released("eth0", 51)},
	} {
		got, err := Parse(strings.Fields(line), nil)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

func TestRunDir(t *testing.T) {
	for _, c := range []struct{ flag, env, want string }{
		{"", "", "/run/vrrpd"},
		{"", "/srv/run", "/srv/run"},
		{"/a/../b/", "/srv/run", "/b"},
		{"run", "", "-f run: the run directory has to be an absolute path, like /run/vrrpd"},
		{"", "run", "VRRPD_RUN_DIR=run: the run directory has to be an absolute path, like /run/vrrpd"},
		{"/run", "run", "/run"},
		{"/a\nb", "", `-f "/a\nb": a control character in the run directory; give a path like /run/vrrpd`},
	} {
		got, err := RunDir(c.flag, func(name string) string {
			if name != "VRRPD_RUN_DIR" {
				t.Errorf("asked for %s", name)
			}
			return c.env
		})
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("RunDir(%q) with %q: got %s, want %s", c.flag, c.env, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	const base = "-i eth0 -v 51 10.16.1.200 "
	for _, c := range []struct{ line, want string }{
		{"", "missing: add -i IFNAME (the interface to run on) and -v VRID (1-255) and the virtual address, like 10.16.1.200; try vrrpd --help"},
		{"-v 51 10.16.1.200", "missing: add -i IFNAME (the interface to run on); try vrrpd --help"},
		{"-i eth0 10.16.1.200", "missing: add -v VRID (1-255); try vrrpd --help"},
		{"-i eth0 -v 51", "missing: add the virtual address, like 10.16.1.200; try vrrpd --help"},
		{"-i eth0 -v 51 ipaddr", "missing: add the virtual address, like 10.16.1.200; try vrrpd --help"},
		{"--release -i eth0", "missing: add -v VRID (1-255); try vrrpd --help"},
		{"--release --check", "--check and --release: only one of them can be done at a time"},
		{"--check -i eth0 10.16.1.200", "missing: add -v VRID (1-255); try vrrpd --help"},

		{"-q", "-q: unknown option; try vrrpd --help"},
		{"-i eth0 -v", "-v: needs a value: -v VRID; try vrrpd --help"},
		{"--p 3", "--p: ambiguous: --priority or --peer or --peer-ttl or --preempt-delay; try vrrpd --help"},
		{"-h --prority 3", "--prority: unknown option; try vrrpd --help"},

		{"-i 1234567890123456", "-i 1234567890123456: the name of an interface has at most 15 bytes"},
		{"-i eth/0", "-i eth/0: the name of an interface has no slash and is not . or .."},
		{"-i ..", "-i ..: the name of an interface has no slash and is not . or .."},
		{"-i eth0:1", "-i eth0:1: an alias is not an interface; name the interface itself, without the colon"},
		{"--interface all", "--interface all: the kernel keeps this word for itself; name an interface, like eth0"},
		{base + "--name vrrp.51", "--name vrrp.51: a dot breaks its sysctl keys and a percent sign is a pattern to the kernel; choose a name without"},
		{base + "--name vrrp%d", "--name vrrp%d: a dot breaks its sysctl keys and a percent sign is a pattern to the kernel; choose a name without"},
		{base + "--name eth0", "interface name eth0: that is the parent itself; choose another with --name, like vrrp51"},
		{"-i vrrp51 -v 51 10.16.1.200", "interface name vrrp51: that is the parent itself; choose another with --name, like vrrp51"},

		{"-v 0", "-v 0: a VRID is a whole number from 1 to 255"},
		{"-v 256", "-v 256: a VRID is a whole number from 1 to 255"},
		{"-v=51", "-v =51: a VRID is a whole number from 1 to 255"},
		{"-v -1", "-v -1: a VRID is a whole number from 1 to 255"},
		{"-v +1", "-v +1: a VRID is a whole number from 1 to 255"},
		{"-v 0x33", "-v 0x33: a VRID is a whole number from 1 to 255"},
		{"-v 5_1", "-v 5_1: a VRID is a whole number from 1 to 255"},
		{"--vrid=18446744073709551667", "--vrid 18446744073709551667: a VRID is a whole number from 1 to 255"},
		{"--vrid=", `--vrid "": a VRID is a whole number from 1 to 255`},
		{base + "-p 0", "-p 0: a priority is a whole number from 1 to 254, or 255 for the owner"},
		{base + "-p 256", "-p 256: a priority is a whole number from 1 to 254, or 255 for the owner"},
		{base + "-M 0", "-M 0: the number of processes of this machine is 1 to 9"},
		{base + "-M 10", "-M 10: the number of processes of this machine is 1 to 9"},
		{base + "-z 0", "-z 0: the priority after SIGTTIN is a whole number from 1 to 255"},
		{base + "-x 256", "-x 256: the priority after SIGTTOU is a whole number from 1 to 255"},
		{base + "-f run", "-f run: the run directory has to be an absolute path, like /run/vrrpd"},
		{base + "-f=", "-f =: the run directory has to be an absolute path, like /run/vrrpd"},
		{base + "--run-dir=", `--run-dir "": the run directory has to be an absolute path, like /run/vrrpd`},

		{base + "--vrrp-version 3+2", "--vrrp-version 3+2: the protocol has the versions 2 and 3; 2+3 is both"},
		{base + "--vrrp-version 2+3 -d 1.5", "interval 1.5 s: no VRRPv2 router can have it, so with --vrrp-version 2+3 it is a whole number of seconds, or less than one"},
		{base + "--vrrp-version 2+3 -d 41", "interval 41 s: VRRPv3 allows 0.01 to 40.95 s"},
		{base + "--vrrp-version 2+3 -a pass/x", "-a pass: VRRPv3 knows no such authentication; use -a hmac/ID:KEY, or VRRPv2 (whole seconds)"},
		{"-i eth0 -v 51 2001:db8::1 --vrrp-version 2+3", "VRRP version 2+3: version 2 knows IPv4 only, so IPv6 has nothing to migrate; leave --vrrp-version away"},
		{base + "--checksum md5", "--checksum md5: the checksum is auto, rfc9568 or rfc5798"},
		{base + "--checksum rfc5798", "--checksum rfc5798: only VRRPv3 over IPv4 has two forms; leave it away, or give --vrrp-version 3"},
		{"-i eth0 -v 51 2001:db8::1 --checksum rfc9568", "--checksum rfc9568: only VRRPv3 over IPv4 has two forms; leave it away, or give --vrrp-version 3"},
		{base + "-d 0", "interval 0 s: VRRPv2 allows 1 to 255 s (VRRPv3: 0.01 to 40.95 s)"},
		{base + "-d 256", "interval 256 s: VRRPv2 allows 1 to 255 s (VRRPv3: 0.01 to 40.95 s)"},
		{base + "-d 0.001", "interval 0.001 s: VRRPv3 allows 0.01 to 40.95 s"},
		{base + "-d 0.015", "interval 0.015 s: VRRPv3 counts hundredths of a second, 0.01 to 40.95 s"},
		{base + "-d 40.96", "interval 40.96 s: VRRPv3 allows 0.01 to 40.95 s"},
		{base + "-d 41 --vrrp-version 3", "interval 41 s: VRRPv3 allows 0.01 to 40.95 s"},
		{base + "-d 0 --vrrp-version 3", "interval 0 s: VRRPv3 allows 0.01 to 40.95 s"},
		{base + "-d 0.1 --vrrp-version 2", "interval 0.1 s: VRRPv2 counts whole seconds (1 to 255); give a whole number, or leave --vrrp-version 2 away for VRRPv3"},
		{base + "-d 0,1", "-d 0,1: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d 100ms", "-d 100ms: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d .", "-d .: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d -1", "-d -1: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d 1e3", "-d 1e3: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d 1.0.0", "-d 1.0.0: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d 0.0000000001", "-d 0.0000000001: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "-d 9999999999", "-d 9999999999: the advertisement interval is a number of seconds, like 1 or 0.1"},
		{base + "--vrrp-version 4", "--vrrp-version 4: the protocol has the versions 2 and 3; 2+3 is both"},
		{base + "--preempt-delay 86401", "--preempt-delay 86401: the delay is a number of seconds from 0 to 86400"},
		{base + "--lease ebpf", "--lease ebpf: one of auto, clsact, tcx, nftables, none"},
		{base + "--lease-intervals 4", "--lease-intervals 4: a lease lasts 2 or 3 intervals; the other machines wait for a little more than 3"},
		{base + "--lease-intervals 1", "--lease-intervals 1: a lease lasts 2 or 3 intervals; the other machines wait for a little more than 3"},
		{base + "--preempt-delay 5 -s", "preemption delay 5s: there is nothing to delay while preemption is switched off; drop --preempt-delay or -s"},

		{"-i eth0 -v 51 10.16.1.300", "10.16.1.300: not an IP address; write it like 10.16.1.200 or 10.16.1.200/24"},
		{"-i eth0 -v 51 www", "www: not an IP address; write it like 10.16.1.200 or 10.16.1.200/24"},
		{"-i eth0 -v 51 IPADDR 10.16.1.200", "IPADDR: not an IP address; write it like 10.16.1.200 or 10.16.1.200/24"},
		{"-i eth0 -v 51 10.16.1.200/33", "10.16.1.200/33: the length after the slash is a number of bits from 1 to 32, like 10.16.1.200/24"},
		{"-i eth0 -v 51 10.16.1.200/0", "10.16.1.200/0: the length after the slash is a number of bits from 1 to 32, like 10.16.1.200/24"},
		{"-i eth0 -v 51 10.16.1.200/", "10.16.1.200/: the length after the slash is a number of bits from 1 to 32, like 10.16.1.200/24"},
		{"-i eth0 -v 51 10.16.1.200/255.255.255.0", "10.16.1.200/255.255.255.0: the length after the slash is a number of bits from 1 to 32, like 10.16.1.200/24"},
		{"-i eth0 -v 51 fe80::1%eth0", "fe80::1%eth0: not an IP address; write it like 10.16.1.200 or 10.16.1.200/24"},
		{base + "10.16.1.200/24", "10.16.1.200: given twice; once is enough"},
		{"-i eth0 -v 51 0.0.0.0", "0.0.0.0: the unspecified address; give the address that the machines are to share"},
		{"-i eth0 -v 51 0.1.2.3", "0.1.2.3: 0.0.0.0/8 holds no address of a LAN; give a unicast address of the LAN"},
		{"-i eth0 -v 51 127.0.0.1", "127.0.0.1: a loopback address never leaves its machine; give an address of the LAN"},
		{"-i eth0 -v 51 224.0.0.18", "224.0.0.18: a multicast address belongs to no machine; give a unicast address of the LAN"},
		{"-i eth0 -v 51 255.255.255.255", "255.255.255.255: the broadcast address; give a unicast address of the LAN"},
		{"-i eth0 -v 51 10.16.1.0/24", "10.16.1.0/24: that is the network itself; give the address of a host in it"},
		{"-i eth0 -v 51 10.16.1.4/30", "10.16.1.4/30: that is the network itself; give the address of a host in it"},
		{"-i eth0 -v 51 10.16.1.255/24", "10.16.1.255/24: that is the broadcast address of 10.16.1.0/24; give the address of a host in it"},
		{"-i eth0 -v 51 10.16.1.7/30", "10.16.1.7/30: that is the broadcast address of 10.16.1.4/30; give the address of a host in it"},
		{"-i eth0 -v 51 ::ffff:10.16.1.200", "::ffff:10.16.1.200: an IPv4 address in IPv6 clothes; write 10.16.1.200"},

		{"-i eth0 -v 51 fe80::1 --vrrp-version 2", "VRRP version 2: it knows IPv4 only; IPv6 addresses need version 3"},
		{base + "2001:db8::1/64", "2001:db8::1/64: one virtual router has addresses of one family only, and this one has IPv4; run two vrrpd, one with the IPv4 and one with the IPv6 addresses, both with -M to share one state"},
		{"-i eth0 -v 51 2001:db8::1 10.16.1.200", "10.16.1.200: one virtual router has addresses of one family only, and this one has IPv6; run two vrrpd, one with the IPv4 and one with the IPv6 addresses, both with -M to share one state"},
		{"-i vrrp51v6 -v 51 2001:db8::1", "interface name vrrp51v6: that is the parent itself; choose another with --name, like vrrp51v6"},

		{base + "-a md5/0x11", "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY"},
		{base + "-a pass/", "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY"},
		{base + "-a NONE", "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY"},

		{"-c /etc/vrrpd.toml -p 3", "-p and -c /etc/vrrpd.toml: with a configuration file that stands in the file"},
		{"-c /etc/vrrpd.toml -i eth0", "-i and -c /etc/vrrpd.toml: with a configuration file that stands in the file"},
		{"-c /etc/vrrpd.toml 10.0.0.1", "10.0.0.1 and -c /etc/vrrpd.toml: with a configuration file the addresses stand in the file"},
		{"-c /etc/vrrpd.toml --check --release", "--check and --release: only one of them can be done at a time"},
		{"-c /etc/vrrpd.toml -f run", "-f run: the run directory has to be an absolute path, like /run/vrrpd"},

		// What this release does not do.
		{base + "-n --name vrrp1", "--name vrrp1: with -n there is no interface to be named, the addresses are on eth0 itself; drop one of both"},
		{base + "-n --no-accept", "--no-accept: with -n the addresses are on eth0 itself, like its own; drop one of both"},
		{base + "-n --lease nftables", "lease nftables: it can silence an interface only, and with -n the addresses are on eth0 itself; leave --lease away"},
		{base + "--peer 10.16.1", "--peer 10.16.1: not an IP address; write that of the other machine like 10.16.1.2"},
		{base + "--peer fe80::1%eth0", "--peer fe80::1%eth0: not an IP address; write that of the other machine like 10.16.1.2"},
		{base + "--peer 2001:db8::1", "peer 2001:db8::1: the virtual addresses are of IPv4, and so are the adverts; give the peer's IPv4 address"},
		{base + "--peer 224.0.0.18", "peer 224.0.0.18: a multicast address belongs to no machine; give a unicast address of the LAN"},
		{base + "--peer 10.16.1.2 --peer 10.16.1.2", "peer 10.16.1.2: given twice; once is enough"},
		{base + "--peer 10.16.1.200", "peer 10.16.1.200: that is a virtual address; give the own address of the other machine"},
		{base + "--peer-ttl 255", "a TTL of peers without any peer: give --peer ADDRESS, or drop --peer-ttl; adverts to everybody always need 255"},
		{base + "--peer 10.16.1.2 --peer-ttl 0", "--peer-ttl 0: a TTL is a whole number from 1 to 255, as it arrives: 255 from a peer on the same LAN, 1 less for each router in between"},
	} {
		_, err := Parse(strings.Fields(c.line), nil)
		if err == nil {
			t.Errorf("%s: accepted", c.line)
		} else if err.Error() != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.line, err, c.want)
		}
		if usage := UsageError(""); err != nil && !errors.As(err, &usage) {
			t.Errorf("%s: %T is not a UsageError", c.line, err)
		}
	}
}

// TestCulpritIsOneLine has arguments that would break a line or flood it.
func TestCulpritIsOneLine(t *testing.T) {
	for _, arg := range []string{"a\nb", "a b", "\x1b[31m", "\xff\xfe", "é\u202e", strings.Repeat("x", 1<<16), strings.Repeat("é", 999)} {
		for _, option := range []string{"-i", "-v", "-d", "-p", "-a", "-f", "--name", "", "-", "--", "-c"} {
			args := []string{option, arg}
			switch option {
			case "":
				args = []string{"-i", "eth0", "-v", "51", arg}
			case "-", "--":
				args = []string{option + arg}
			}
			if _, err := Parse(args, nil); err != nil {
				checkLine(t, args, err)
			} else if option != "-c" { // what has a name may be the name of a file
				t.Errorf("%q was accepted", args)
			}
		}
	}
}

func checkLine(t *testing.T, args []string, err error) {
	t.Helper()
	usage := UsageError("")
	switch line := err.Error(); {
	case !errors.As(err, &usage):
		t.Errorf("%.99q: %T is not a UsageError", args, err)
	case line == "" || len(line) > 600 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' || r == '\u202e' }):
		t.Errorf("%.99q: not a decent line: %.999q", args, line)
	}
}

func TestAddressCount(t *testing.T) {
	args := []string{"-i", "eth0", "-v", "51"}
	for i := range 255 {
		args = append(args, fmt.Sprintf("10.16.1.%d", i))
	}
	c, err := Parse(args, nil)
	if err != nil || len(c.Routers[0].Addresses) != 255 {
		t.Errorf("255 addresses: %v", err)
	}
	want := "256 addresses: one virtual router carries at most 255; spread them over several VRIDs"
	if _, err = Parse(append(args, "10.16.2.1"), nil); err == nil || err.Error() != want {
		t.Errorf("256 addresses: got %v, want %s", err, want)
	}
}

// TestUsageIsComplete compares the help text with the option table, both ways.
func TestUsageIsComplete(t *testing.T) {
	var inTable, inText []string
	for _, r := range rows() {
		if r.Short != 0 {
			inTable = append(inTable, "-"+string(r.Short))
		}
		if r.Long != "" {
			inTable = append(inTable, "--"+r.Long)
		}
	}
	for _, line := range strings.Split(Usage, "\n") {
		if len(line) > 79 {
			t.Errorf("%d columns: %s", len(line), line)
		}
		if strings.HasPrefix(line, "  -") {
			inText = append(inText, regexp.MustCompile(`--?[a-zA-Z][a-z-]*`).FindAllString(strings.Split(line+"  ", "  ")[1], -1)...)
		}
	}
	slices.Sort(inTable)
	slices.Sort(inText)
	if !slices.Equal(inTable, inText) {
		t.Errorf("the table has\n%v\nthe text has\n%v", inTable, inText)
	}
}
