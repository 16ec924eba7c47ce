package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"vrrpd/vrrp"
)

// commandLine writes a Config out as arguments that mean the same.
func commandLine(c Config) []string {
	if c.Mode == Help || c.Mode == Version {
		return []string{"--" + c.Mode.String()}
	}
	args := []string{"--run-dir=" + c.RunDir}
	if c.Mode != Run {
		args = append(args, "--"+c.Mode.String())
	}
	if c.Foreground {
		args = append(args, "-F")
	}
	number := func(option string, n int) {
		if n != 0 {
			args = append(args, option, strconv.Itoa(n))
		}
	}
	number("-M", c.Monitor)
	number("-z", int(c.ReducedPriority))
	number("-x", int(c.IncreasedPriority))
	number("--lease-intervals", c.LeaseIntervals)
	if c.Lease != "" {
		args = append(args, "--lease", c.Lease)
	}
	if c.AnnounceRefresh != 0 {
		args = append(args, "--announce-refresh", strconv.FormatFloat(c.AnnounceRefresh.Seconds(), 'f', 9, 64))
	}
	number("--realtime", c.Realtime)
	if c.LockMemory {
		args = append(args, "--lock-memory")
	}
	if c.ScriptUser != "" {
		args = append(args, "--script-user", c.ScriptUser)
	}
	if c.OnMaster.Given() {
		args = append(args, "-U"+c.OnMaster.Line)
	}
	if c.OnBackup.Given() {
		args = append(args, "--on-backup", c.OnBackup.Line)
	}
	for _, r := range c.Routers {
		args = append(args, "-i", r.Interface, fmt.Sprintf("-v%d", r.VRID))
		switch {
		case r.NoVMAC:
			args = append(args, "-n")
		case c.Mode != Release || len(c.Routers) == 1 || c.Routers[0].Name == c.Routers[1].Name:
			args = append(args, "--name="+r.Name)
		}
		if c.Mode == Release {
			if len(c.Routers) == 1 {
				args = append(args, map[uint8]string{4: "192.0.2.1", 6: "2001:db8::1"}[r.Family])
			}
			continue
		}
		args = append(args, "-p", strconv.Itoa(int(r.Priority)), "--vrrp-version", strconv.Itoa(int(r.Version)))
		args = append(args, "-d", strconv.FormatFloat(r.Interval.Seconds(), 'f', -1, 64))
		if !r.Preempt {
			args = append(args, "-s")
		}
		if r.PreemptDelay != 0 {
			args = append(args, "--preempt-delay", strconv.FormatFloat(r.PreemptDelay.Seconds(), 'f', 9, 64))
		}
		for _, p := range r.Peers {
			args = append(args, "--peer", p.String())
		}
		number("--peer-ttl", int(r.PeerTTL))
		args = append(args, authLine(r.Auth)...)
		for _, p := range r.Addresses {
			if p.Addr() == r.Generated {
				continue
			}
			args = append(args, FormatAddress(p))
		}
	}
	return args
}

func authLine(a Auth) (args []string) {
	for _, k := range a.Keys {
		text := fmt.Sprintf("0x%x", []byte(k.Secret))
		if k.File != "" {
			text = "@" + k.File
		}
		if a.Kind == vrrp.TrailerAuth {
			text = fmt.Sprintf("%d:%s", k.ID, text)
		}
		args = append(args, "-a", a.Kind.String()+"/"+text)
	}
	if a.KeySet != "" {
		args = append(args, "-a", "hmac/@"+a.KeySet)
	}
	if a.Active != 0 {
		args = append(args, "--auth-active", strconv.Itoa(int(a.Active)))
	}
	if a.Window != 0 {
		args = append(args, "--auth-window", strconv.Itoa(int(a.Window)))
	}
	switch a.Kind {
	case vrrp.TrailerAuth:
		args = append(args, "--auth-mode", a.Mode.String(), "--auth-replay", a.Replay.String())
	case vrrp.HeaderAuth:
		args = append(args, "--ah-icv", a.ICV.String())
	}
	return args
}

// FuzzParse: no panic; what is accepted is valid, supported and means the same
// when written out again; what is refused is one decent line.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		"-i eth0 -v 51 ipaddr 10.16.1.200 -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh",
		"-ieth0 -v51 -sFd0.1 -p255 --preempt-d=1.5 10.16.1.200/24 10.16.1.201 -- ipaddr",
		"--interface=eth0 --vrid 1 --name x --vrrp-version=3 -z1 -x2 192.0.2.1",
		"--release -i eth0 -v 51", "--release", "--check -i a -v 1 1.2.3.4", "-nh", "-V",
		"-a pass/0x11 -a ah/@x -n -c f", "-i a -v 1 1.2.3.4 -a pw/a", "-i a -v 1 1.2.3.4 -aah/@/k --ah-icv rfc2402",
		"-i a -v 1 1.2.3.4 --auth-w 9 --auth-mode permissive -a hmac/@/k", "-i a -v 1 1.2.3.4 --auth-active 9 -a hmac/9:@/k -a hmac/1:@/l --auth-replay monotonic", "2001:db8::1/64 ::ffff:1.2.3.4", "--p --no --v= -- --",
		"-i a -v 9 2001:db8::1", "-i a -v 9 2001:db8::1 fe80::1/64 2001:db8::2", "-i a -v 9 fe80::9 1.2.3.4", "--release -i a -v 9 fe80::1 --name b",
		"-i eth0 -v 51 1.2.3.4 -d 40.95 -a none -f /run/../x",
		"-i eth0 -v 51 1.2.3.4 --lease tcx --lease-intervals=2 --lease=auto",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"), "/run/vrrpd")
	}
	f.Add("-c\x00f", "/") // the run directory is the file's
	f.Add("-ni\x00eth0\x00-v\x0051\x0010.16.1.200/24\x00--peer=10.16.1.2\x00--peer\x0010.16.2.2\x00--peer-ttl\x00254", "")
	f.Add("-i\x00eth0\x00-v\x001\x001.2.3.4\x00-U\x00/a 'b c' \"d\" e\\ f", "")
	f.Fuzz(func(t *testing.T, line, env string) {
		args := strings.Split(line, "\x00")
		c, err := Parse(args, func(string) string { return env })
		if err != nil {
			checkLine(t, args, err)
			return
		}
		if c.ConfigFile != "" && c.Mode != Help && c.Mode != Version && c.Mode != Example {
			// The rest is in the file, or comes of it.
			if _, err := RunDir(c.RunDir, nil); err != nil || len(c.Routers) > 0 {
				t.Fatalf("%q: accepted as %+v, %v", args, c, err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%q: accepted, but %v", args, err)
		}
		again, err := Parse(commandLine(c), nil)
		if err != nil {
			t.Fatalf("%q was accepted, written out as %q it is not: %v", args, commandLine(c), err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("%q\n  is %+v\nwritten out %q\n  is %+v", args, c, commandLine(c), again)
		}
	})
}
