package interop

import (
	"fmt"
	"testing"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// ucarp makes the peer one that runs UCARP, a user-space CARP: another protocol, with the
// protocol number, the group, the version nibble and the type of VRRPv2.
func ucarp(vhid int) func(*machine) {
	return func(m *machine) {
		m.line = func(int) netlab.Command {
			return netlab.Command{Path: "ucarp", Args: []string{
				"-i", "eth0", "-s", host(2)[0].Addr().String(), "-v", fmt.Sprint(vhid), "-p", "secret", "-a", "198.51.100.210", "-P",
			}}
		}
	}
}

// UCARP on the same LAN, with our VRID as its VHID or another, is counted under its own
// name, whatever version we speak. It is no reason for an alarm, and changes nothing.
func TestUCARPIsForeign(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, ours string
		vhid       int
	}{
		{"v2", "", vrid}, {"v3", "--vrrp-version 3", vrid}, {"2+3, another VHID", "--vrrp-version 2+3", 7}, {"hmac", "-a hmac/1:0x" + key64, vrid},
	} {
		t.Run(c.name, func(t *testing.T) {
			need(t, "ucarp")
			t.Parallel()
			s := newSite(t, peering{ours: c.ours, peer: ucarp(c.vhid)})
			s.peer.start(0)
			s.ours.start(100)
			s.ours.waitServing(patience)
			s.waitStatus("UCARP was heard as MASTER", func(r control.Router) bool { return r.Statistics.Drops["foreign-carp"] >= 3 })
			r := s.status()
			if len(r.Statistics.Drops) != 1 || r.State != "master" || r.Statistics.AdvertisementRcvd != 0 || r.Statistics.MasterTransitions != 1 {
				t.Errorf("%s: %+v", r.State, r.Statistics)
			}
			if all := s.alarms(); len(all) != 0 {
				t.Errorf("alarms: %+v", all)
			}
		})
	}
}
