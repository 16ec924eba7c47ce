package systemdtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/internal/netlab"
)

// downScript tells the log how it was called.
const downScript = `#!/bin/sh
logger -t down "$# argument(s): $1"
`

// The life of a service on a good day: start, scripts, reload, stop.
func TestLife(t *testing.T) {
	t.Parallel()
	s, machines := newSiteWith(t, "h1", "h2")
	h1, h2 := machines[0], machines[1]
	began := time.Now()
	example, err := os.ReadFile(filepath.Join(ground.contrib, "..", "examples", "MASTER.sh"))
	check(t, err)
	h1.write("/etc/scripts/MASTER.sh", string(example))
	h1.write("/etc/scripts/DOWN.sh", downScript)
	h1.configure("lan", lanA.options(`-p 150 -U /etc/scripts/MASTER.sh -D "/etc/scripts/DOWN.sh 'two words'"`))
	h2.configure("lan", lanA.options(""))
	h2.sh("systemctl start vrrpd@lan")

	// Nothing comes between: what is there when systemctl returns was there
	// when the service said that it is ready.
	out := h1.sh("systemctl start vrrpd@lan && ip link show vrrp51 && atropos --state && systemctl status vrrpd@lan")
	for _, want := range []string{"vrrp51@", "HELD", `Status: "HELD (`} {
		if !strings.Contains(out, want) {
			t.Errorf("systemctl start has returned, and there is no %q:\n%s", want, out)
		}
	}

	h1.waitStatus("vrrpd@lan", "MASTER")
	h2.waitStatus("vrrpd@lan", "BACKUP")
	out = h1.sh("systemctl status vrrpd@lan")
	if !regexp.MustCompile(`(?m)^ *Status: "MASTER of vrrp51 \(host0\) since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"$`).MatchString(out) {
		t.Errorf("systemctl status says:\n%s", out)
	}
	t.Logf("\n%s", out)

	t.Run("scripts", func(t *testing.T) { lifeScripts(t, h1) })
	t.Run("reload", func(t *testing.T) { lifeReload(t, h1) })
	t.Run("journal", func(t *testing.T) { lifeJournal(t, h1) })
	t.Run("stop", func(t *testing.T) { lifeStop(t, s, h1, h2) })
	h1.quiet(t, began)
	h2.quiet(t, began)
}

// Scripts run below the unit and may do what scripts do: the shipped MASTER.sh
// adds an address and calls logger; quotes in the options file group words.
func lifeScripts(t *testing.T, m *machine) {
	m.t = t
	netlab.Eventually(t, patience, func() (bool, string) {
		out := m.sh("ip -4 -br addr show dev vrrp51")
		return strings.Contains(out, lanA.vip.String()+"/32") && strings.Contains(out, "192.168.2.2/32"), out
	})
	for tag, want := range map[string]string{
		"vrrp": "MASTER on vrrp51 (host0): master-timeout",
		"down": "1 argument(s): two words",
	} {
		netlab.Eventually(t, patience, func() (bool, string) {
			// Not by unit: logger is often gone before journald looks whose it was.
			list := m.journal("SYSLOG_IDENTIFIER=" + tag)
			for _, e := range list {
				if e["MESSAGE"] == want {
					return true, ""
				}
			}
			return false, "the journal has no " + want + " but " + strings.Join(messages(list), "; ")
		})
	}
}

// A reload changes nothing yet, but it is one: the same process goes on, and
// systemd is told when it is over.
func lifeReload(t *testing.T, m *machine) {
	m.t = t
	pid, transitions := m.mainPID("vrrpd@lan"), len(m.transitions(lanA))
	at := time.Now()
	m.sh("systemctl reload vrrpd@lan")
	netlab.Eventually(t, patience, func() (bool, string) {
		said := messages(m.journal("-u vrrpd@lan -t vrrpd"))
		return strings.Contains(strings.Join(said, "\n"), "nothing to reload"), strings.Join(said, "\n")
	})
	m.waitShow("vrrpd@lan", "SubState", func(v string) bool { return v == "running" })
	next := m.waitAdvert(lanA, at, serving)
	m.waitAdvert(lanA, next.At, serving)
	if now := m.mainPID("vrrpd@lan"); now != pid {
		t.Errorf("process %d has become %d by a reload", pid, now)
	}
	if n := len(m.transitions(lanA)); n != transitions {
		t.Errorf("a reload made %d transitions", n-transitions)
	}
}

// handOverLimit tells a hand-over from a hole: without the successor's word
// before the break nobody would serve for the skew time, 609 ms.
const handOverLimit = 200 * time.Millisecond

// systemctl stop hands over: the successor serves before this machine leaves.
// Nothing of it stays but the meeting place.
func lifeStop(t *testing.T, s *site, m, successor *machine) {
	m.t, successor.t = t, t
	asker := s.ask(lanA)
	at := time.Now()
	m.sh("systemctl stop vrrpd@lan")
	took := time.Since(at)
	resigned := m.waitAdvert(lanA, at, resigning)
	taken := successor.waitAdvert(lanA, at, serving)
	successor.waitStatus("vrrpd@lan", "MASTER of vrrp51 (host0) since ")
	answers, err := asker.Stop()
	check(t, err)
	t.Logf("systemctl stop took %v: priority 0 after %v, the successor's first advert after %v, longest silence for %v: %v",
		took.Round(time.Millisecond), resigned.At.Sub(at), taken.At.Sub(at), lanA.vip, answers.Longest(0))
	if hole := answers.Longest(0); hole.Length() > handOverLimit || hole.Open {
		t.Errorf("nobody answered for %v: %v", lanA.vip, hole)
	}
	for property, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"} {
		if got := m.show("vrrpd@lan", property); got != want {
			t.Errorf("after systemctl stop %s is %q, want %q", property, got, want)
		}
	}
	if out := m.sh("journalctl -u vrrpd@lan _PID=1"); strings.Contains(out, "timed out") || strings.Contains(out, "SIGKILL") {
		t.Errorf("systemd had to use force:\n%s", out)
	}
	if link := m.link("vrrp51"); link != nil || m.holds(lanA) {
		t.Errorf("after systemctl stop: interface %v, address %v", link, m.holds(lanA))
	}
	for _, key := range []string{"arp_ignore", "arp_announce"} {
		if v := strings.TrimSpace(m.sh("cat /proc/sys/net/ipv4/conf/host0/" + key)); v != "0" {
			t.Errorf("after systemctl stop %s of host0 is %s", key, v)
		}
	}
	if out := m.sh("ls -A /run/vrrpd"); strings.Contains(out, "host0") {
		t.Errorf("systemctl stop leaves in /run/vrrpd:\n%s", out)
	}
}

// At boot the network may come after the service: an address that is not there
// yet is waited for, and so is an interface.
func TestNetworkComesLater(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]
	m.write("/etc/vrrpd/lan.conf", "OPTIONS=-i late0 -v 51 "+lanA.vip.String()+"\n")
	if out, err := m.try("systemctl start vrrpd@lan"); err == nil {
		t.Errorf("started on an interface that is not there:\n%s", out)
	}
	m.waitShow("vrrpd@lan", "NRestarts", func(v string) bool { return v != "0" })
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "late0"
	check(t, m.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far0"}))
	m.waitShow("vrrpd@lan", "ActiveState", func(v string) bool { return v == "active" })
	m.waitStatus("vrrpd@lan", "HELD (link-down)")
	m.sh("ip link set far0 up && ip link set late0 up")
	m.waitStatus("vrrpd@lan", "HELD (no-address)")
	m.sh("ip addr add 192.0.2.7/24 dev late0")
	m.waitStatus("vrrpd@lan", "MASTER of vrrp51 (late0)")
}
