package interop

import (
	"fmt"
	"strings"
	"testing"

	"vrrpd/internal/netlab"
)

// keepalived makes the peer one that runs keepalived. settings are lines of its
// vrrp_instance; it uses no virtual MAC, so the address is on its interface.
func keepalived(settings string) func(*machine) {
	return func(m *machine) {
		m.serves = "eth0"
		m.clean = func() {
			l, err := m.Link("eth0")
			check(m.t, err)
			for _, p := range l.Addrs {
				if m.virtual(p.Addr()) {
					check(m.t, m.DelAddr("eth0", p))
				}
			}
		}
		m.line = func(priority int) netlab.Command {
			var addresses []string
			for _, a := range m.addresses {
				addresses = append(addresses, fmt.Sprintf("        %s/%d", a, a.BitLen()))
			}
			more := settings
			if m.waits {
				more += "    nopreempt\n"
			}
			conf := fmt.Sprintf(`
global_defs {
    router_id peer
    vrrp_garp_master_delay 1
}
vrrp_instance V {
    state BACKUP
    interface eth0
    virtual_router_id %d
    priority %d
    virtual_ipaddress {
%s
    }
%s
}
`, vrid, priority, strings.Join(addresses, "\n"), more)
			check(m.t, m.WriteFile("/etc/keepalived/keepalived.conf", netlab.File{Text: conf}))
			return netlab.Command{
				Path: "keepalived",
				Args: []string{"-n", "-l", "-f", "/etc/keepalived/keepalived.conf", "-p", "/run/k.pid", "-r", "/run/kv.pid"},
				Env:  []string{"TMPDIR=/run"},
			}
		}
	}
}

// needKeepalived skips without it.
func needKeepalived(t *testing.T) {
	t.Helper()
	need(t, "keepalived")
}
