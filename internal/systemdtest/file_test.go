package systemdtest

import (
	"fmt"
	"strings"
	"testing"
)

// The unit for the form with a file: started when both virtual routers stand, reloaded
// without a transition, and refused with the reason when the file is wrong.
func TestFileUnit(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]
	const unit, file = "vrrpd", "/etc/vrrpd/vrrpd.toml"
	if out, err := m.try("systemd-analyze verify --man=no /usr/local/lib/systemd/system/vrrpd.service"); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	t.Logf("vrrpd.service: %s", exposure(m, unit, 80))
	if out, err := m.try("systemctl start vrrpd"); err == nil || !strings.Contains(out, "Assertion failed") {
		t.Errorf("start without a file:\n%s", out)
	}

	text := "interval = 0.3\n"
	for _, l := range lans {
		text += fmt.Sprintf("[[router]]\ninterface = %q\nvrid = %d\naddresses = [%q]\n", l.nic, l.vrid, l.vip)
	}
	m.sh("mkdir -p /etc/vrrpd")
	m.write(file, text)
	m.sh("systemctl start vrrpd")
	m.waitStatus(unit, "MASTER of ")
	transitions := func() int {
		return len(messages(m.journal("-u vrrpd VRRP_GROUP=machine _SYSTEMD_UNIT=vrrpd.service VRRP_OLD_STATE=MASTER")))
	}

	m.write(file, text+"[[router]]\ninterface = \"host0\"\nvrid = 77\naddresses = [\"192.0.2.77\"]\n")
	m.sh("systemctl reload vrrpd")
	if out := m.sh("ip -br link show vrrp77"); !strings.Contains(out, "vrrp77") {
		t.Errorf("after a reload: %s", out)
	}
	m.write(file, text+"vird = 3\n")
	if out, err := m.try("systemctl reload vrrpd"); err == nil {
		t.Errorf("a file with a mistake was reloaded: %s", out)
	}
	if said := m.sh("journalctl --no-pager -u vrrpd"); !strings.Contains(said, "unknown key vird") {
		t.Errorf("the journal does not say why:\n%s", said)
	}
	if m.show(unit, "ActiveState") != "active" || transitions() != 0 {
		t.Errorf("%s, %d transitions from MASTER", m.show(unit, "ActiveState"), transitions())
	}
	m.sh("systemctl stop vrrpd")
	if out := m.sh("ip -br link; ls -A /run/vrrpd"); strings.Contains(out, "vrrp") {
		t.Errorf("left after a stop:\n%s", out)
	}
}
