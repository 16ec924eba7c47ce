package systemdtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// The service manager sees a reload: the main process stays, readiness, status and
// watchdog go on, nothing is started again; confined as sandbox.conf has it as well.
func TestReexecUnit(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]
	text := "interval = 0.3\n"
	for _, l := range lans {
		text += fmt.Sprintf("[[router]]\ninterface = %q\nvrid = %d\naddresses = [%q]\n", l.nic, l.vrid, l.vip)
	}
	m.sh("mkdir -p /etc/vrrpd")
	m.write("/etc/vrrpd/vrrpd.toml", text)
	for _, c := range []struct{ name, conf string }{{"as shipped", ""}, {"with sandbox.conf", readUnit(t, "sandbox.conf")}} {
		if c.conf != "" {
			m.dropIn("vrrpd.service", c.conf)
		}
		m.sh("systemctl start vrrpd")
		m.waitStatus("vrrpd", "MASTER of ")
		main, watchdog := m.mainPID("vrrpd"), m.show("vrrpd", "WatchdogTimestampMonotonic")
		for range 3 {
			if out := m.sh("atropos --reexec"); !strings.Contains(out, "binary replaced: version ") {
				t.Errorf("%s: atropos --reexec says %s", c.name, out)
			}
		}
		m.waitStatus("vrrpd", "MASTER of ")
		m.waitShow("vrrpd", "SubState", func(s string) bool { return s == "running" })
		if pid, again := m.mainPID("vrrpd"), m.show("vrrpd", "NRestarts"); pid != main || again != "0" {
			t.Errorf("%s: main process %d, was %d; %s restarts", c.name, pid, main, again)
		}
		before, _ := strconv.ParseInt(watchdog, 10, 64)
		m.waitShow("vrrpd", "WatchdogTimestampMonotonic", func(s string) bool {
			now, err := strconv.ParseInt(s, 10, 64)
			return err == nil && now > before
		})
		said := m.sh("journalctl --no-pager -b -u vrrpd -o cat")
		if n := strings.Count(said, "binary replaced: version "); n < 3 || strings.Contains(said, "MASTER -> ") {
			t.Errorf("%s: the journal has %d replacements:\n%s", c.name, n, said)
		}
		m.sh("systemctl stop vrrpd; journalctl --rotate; journalctl --vacuum-time=1s")
	}
}
