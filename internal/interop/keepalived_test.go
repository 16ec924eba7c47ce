package interop

import (
	"testing"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
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
			more := settings
			if m.number == 1 {
				more = mirrored(more)
			}
			if m.waits {
				more += "    nopreempt\n"
			}
			k := peers.Keepalived{
				Routers:  []peers.Router{{Parent: "eth0", VRID: vrid, Priority: priority, VIPs: m.addresses}},
				Global:   "    vrrp_garp_master_delay 1\n",
				Instance: more,
			}
			command, err := k.Command(m.Host)
			check(m.t, err)
			return command
		}
	}
}

// needKeepalived skips without it.
func needKeepalived(t *testing.T) {
	t.Helper()
	need(t, "keepalived")
}
