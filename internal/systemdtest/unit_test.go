package systemdtest

import (
	"regexp"
	"strings"
	"testing"
	"time"

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
	t.Logf("vrrpd@.service: %s", exposure(m, "vrrpd@lan"))

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

// exposure is what systemd-analyze security thinks of a unit.
func exposure(m *machine, unit string) string {
	m.t.Helper()
	out := m.sh("systemd-analyze security --no-pager --offline=true " + unit + ".service")
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
	t.Logf("with sandbox.conf: %s", exposure(m, "vrrpd@lan"))
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
