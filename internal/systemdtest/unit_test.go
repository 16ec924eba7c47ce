package systemdtest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// unitPath is where the unit is on the machines.
const unitPath = "/usr/local/lib/systemd/system/vrrpd@.service"

// systemd knows every line of the unit, and refuses mistakes in a way that an
// administrator understands.
func TestUnit(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]

	verify := func(path string) string {
		out, err := m.try("systemd-analyze verify --man=no " + path)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	if out := verify(unitPath); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// It would say so: one letter less.
	m.write("/tmp/other@.service", strings.Replace(readUnit(t, "vrrpd@.service"), "WatchdogSec", "WatchdogSe", 1))
	if out := verify("/tmp/other@.service"); !strings.Contains(out, "WatchdogSe") {
		t.Errorf("systemd-analyze verify overlooks an unknown key:\n%s", out)
	}
	t.Logf("vrrpd@.service: %s", exposure(m, "vrrpd@lan", 80))

	// No file for the instance: said once, not tried again.
	out, err := m.try("systemctl start vrrpd@lna")
	if err == nil || !strings.Contains(out, "Assertion failed") || m.show("vrrpd@lna", "ActiveState") != "inactive" {
		t.Errorf("start of an instance without options:\n%s", out)
	}

	// Wrong options: systemctl start fails at once, and the journal says which.
	m.configure("lan", "-i host0 -v 512 192.0.2.200")
	at := time.Now()
	out, err = m.try("systemctl start vrrpd@lan")
	if took := time.Since(at); err == nil || took > patience/2 {
		t.Errorf("start with wrong options: %v after %v\n%s", err, took, out)
	}
	if v := m.show("vrrpd@lan", "ExecMainStatus"); v != "2" {
		t.Errorf("exit status %s for wrong options", v)
	}
	if said := strings.Join(messages(m.journal("-u vrrpd@lan -t vrrpd")), "\n"); !strings.Contains(said, "512") {
		t.Errorf("the journal does not name the culprit:\n%s", said)
	}
	// Mended, it starts by itself: it is tried for ever.
	m.configure("lan", lanA.options(""))
	m.waitShow("vrrpd@lan", "ActiveState", func(v string) bool { return v == "active" })
}

// exposure is what systemd-analyze security thinks of a unit, which must not be
// worse than limit, in tenths.
func exposure(m *machine, unit string, limit int) string {
	m.t.Helper()
	out, err := m.try(fmt.Sprintf("systemd-analyze security --no-pager --offline=true --threshold=%d %s.service", limit, unit))
	if err != nil {
		m.t.Errorf("%s: exposed more than %d tenths: %v\n%s", unit, limit, err, out)
	}
	level := regexp.MustCompile(`Overall exposure level for .*: [0-9.]+ \w+`).FindString(out)
	if level == "" {
		m.t.Errorf("systemd-analyze security has no opinion:\n%s", out)
	}
	return level
}

// With sandbox.conf the daemon still does all that it does: serve, release after
// a crash, hand its sysctls back.
func TestSandbox(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]
	began := time.Now()
	m.dropIn("vrrpd@lan.service", readUnit(t, "sandbox.conf"))
	if out, err := m.try("systemd-analyze verify --man=no vrrpd@lan.service"); out != "" || err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	t.Logf("with sandbox.conf: %s", exposure(m, "vrrpd@lan", 26))
	m.configure("lan", lanA.options(""))
	m.sh("systemctl start vrrpd@lan")
	m.waitStatus("vrrpd@lan", "MASTER")
	// What is told may be a moment before what is done.
	netlab.Eventually(t, patience, func() (bool, string) { return m.holds(lanA), "MASTER without the address" })
	if v := strings.TrimSpace(m.sh("cat /proc/sys/net/ipv4/conf/host0/arp_ignore")); v != "1" {
		t.Errorf("arp_ignore of host0 is %s while vrrpd runs", v)
	}
	at := m.process("vrrpd@lan").signal(9)
	m.waitAdvert(lanA, at, resigning)
	m.waitShow("vrrpd@lan", "NRestarts", func(v string) bool { return v == "1" })
	m.waitStatus("vrrpd@lan", "HELD")
	m.sh("systemctl stop vrrpd@lan")
	if m.link("vrrp51") != nil || strings.TrimSpace(m.sh("cat /proc/sys/net/ipv4/conf/host0/arp_ignore")) != "0" {
		t.Error("systemctl stop leaves the interface or the sysctls")
	}
	m.quiet(t, began)
}

// With own-user.conf it is not root, and does all that it does as root; its
// scripts have no capability.
func TestOwnUser(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]
	began := time.Now()
	m.write("/etc/sysusers.d/vrrpd.conf", readUnit(t, "vrrpd.sysusers.conf"))
	m.sh("systemd-sysusers")
	m.dropIn("vrrpd@.service", readUnit(t, "own-user.conf"))
	if out, err := m.try("systemd-analyze verify --man=no vrrpd@lan.service"); out != "" || err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	t.Logf("with own-user.conf: %s", exposure(m, "vrrpd@lan", 24))
	m.configure("lan", lanA.options("-U '/bin/grep -e Uid -e Cap /proc/self/status'"))
	m.sh("systemctl start vrrpd@lan")
	m.waitStatus("vrrpd@lan", "MASTER")
	netlab.Eventually(t, patience, func() (bool, string) { return m.holds(lanA), "MASTER without the address" })
	uid := strings.TrimSpace(m.sh("id -u vrrpd"))
	if got := strings.TrimSpace(m.sh("ps -o user= -C vrrpd")); got != "vrrpd" {
		t.Errorf("vrrpd runs as %q", got)
	}
	var said []string
	netlab.Eventually(t, patience, func() (bool, string) {
		said = nil
		for _, line := range messages(m.journal("-u vrrpd@lan -t vrrpd")) {
			if _, script, ok := strings.Cut(line, "/bin/grep: "); ok {
				script, _, _ = strings.Cut(script, " parent=")
				said = append(said, strings.Join(strings.Fields(script), " "))
			}
		}
		return len(said) == 6, fmt.Sprintf("the script said %q", said)
	})
	none := "0000000000000000"
	want := []string{"Uid: " + strings.Repeat(" "+uid, 4)[1:], "CapInh: " + none, "CapPrm: " + none, "CapEff: " + none, said[4], "CapAmb: " + none}
	// A container may have less to begin with.
	const bound = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_BPF
	if set, err := strconv.ParseUint(strings.TrimPrefix(said[4], "CapBnd: "), 16, 64); err != nil || set&^bound != 0 || set == 0 {
		t.Errorf("not bounded: %s, %v", said[4], err)
	}
	if !slices.Equal(said, want) {
		t.Errorf("the script said %q, want %q", said, want)
	}
	// A crash and a stop leave as little as a root daemon's.
	at := m.process("vrrpd@lan").signal(9)
	m.waitAdvert(lanA, at, resigning)
	m.waitShow("vrrpd@lan", "NRestarts", func(v string) bool { return v == "1" })
	m.waitStatus("vrrpd@lan", "HELD")
	if out := m.sh("atropos --state"); !strings.Contains(out, "HELD") {
		t.Errorf("root asks:\n%s", out)
	}
	m.sh("systemctl stop vrrpd@lan")
	if m.link("vrrp51") != nil || strings.TrimSpace(m.sh("cat /proc/sys/net/ipv4/conf/host0/arp_ignore")) != "0" {
		t.Error("systemctl stop leaves the interface or the sysctls")
	}
	m.quiet(t, began)
}
