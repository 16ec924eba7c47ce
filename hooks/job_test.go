package hooks

import (
	"net/netip"
	"slices"
	"testing"

	"vrrpd/election"
)

func TestEnviron(t *testing.T) {
	base := []string{
		"PATH=/bin", "HOME=/root", "EMPTY=", "INVOCATION_ID=1", "VRRPD_RUN_DIR=/run/x", "MY_LISTEN_FDS=1",
		"NOTIFY_SOCKET=/n", "WATCHDOG_USEC=1", "WATCHDOG_PID=1", "LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=a",
		"FDSTORE=1", "JOURNAL_STREAM=1:2", "SYSTEMD_EXEC_PID=1", "MAINPID=1", "MEMORY_PRESSURE_WATCH=/m",
		"VRRP_STATE=INIT", "VRRP_ELSE=1", "PWD=/root", "OLDPWD=/x",
	}
	kept := []string{"PATH=/bin", "HOME=/root", "EMPTY=", "INVOCATION_ID=1", "VRRPD_RUN_DIR=/run/x", "MY_LISTEN_FDS=1", "PWD=/"}
	for _, c := range []struct {
		job  Job
		want []string
	}{
		{full(), []string{
			"VRRP_STATE=MASTER", "VRRP_REASON=master-timeout", "VRRP_VRID=51", "VRRP_INTERFACE=vrrp51", "VRRP_PARENT=eth0",
			"VRRP_ADDRESSES=192.0.2.1 192.0.2.2", "VRRP_PRIORITY=200", "VRRP_GROUP=fw", "VRRP_PEER=192.0.2.252",
		}},
		{Job{State: election.Held, Reason: election.LinkDown}, []string{
			"VRRP_STATE=BACKUP", "VRRP_REASON=link-down", "VRRP_VRID=0", "VRRP_INTERFACE=", "VRRP_PARENT=",
			"VRRP_ADDRESSES=", "VRRP_PRIORITY=0", "VRRP_GROUP=", "VRRP_PEER=",
		}},
	} {
		if got, want := c.job.environ(base), append(slices.Clone(kept), c.want...); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.job, got, want)
		}
	}
}

// full is a job with every variable set.
func full(argv ...string) Job {
	return Job{
		Argv:  argv,
		State: election.Master, Reason: election.MasterTimeout,
		VRID: 51, Interface: "vrrp51", Parent: "eth0",
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/32")},
		Priority:  200, Group: "fw", Peer: netip.MustParseAddr("192.0.2.252"),
	}
}
