package hooks

import (
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vrrpd/election"
)

// Job is one transition of the machine and the command that goes with it.
type Job struct {
	// Argv is the command; empty: there is none for this state.
	Argv []string

	// RunAs is who the command runs as; nil: as Options.RunAs says.
	RunAs *Identity

	// State of the machine; scripts are told its Outward form.
	State election.State
	// Reason of the transition.
	Reason election.Reason
	// VRID of the virtual router.
	VRID uint8
	// Interface is the virtual router's own, like vrrp51.
	Interface string
	// Parent is the interface under it, like eth0.
	Parent string
	// Addresses are the virtual ones; scripts get them without the length.
	Addresses []netip.Prefix
	// Priority in force.
	Priority uint8
	// Group is the name of the group; "": it has none.
	Group string
	// Peer is the router that the transition is about; the zero Addr: none.
	Peer netip.Addr
}

// side is what the queue compares.
func (j Job) side() election.State { return j.State.Outward() }

// String names the job in errors.
func (j Job) String() string {
	if len(j.Argv) == 0 {
		return j.side().String()
	}
	return j.side().String() + " command " + j.Argv[0]
}

// environ is the environment of the job's command: what the daemon has, less
// what is not the command's business, and the VRRP_* variables. All nine are
// always there, so that scripts may say set -u.
func (j Job) environ(base []string) []string {
	env := make([]string, 0, len(base)+10)
	for _, variable := range base {
		if name, _, _ := strings.Cut(variable, "="); !private(name) {
			env = append(env, variable)
		}
	}
	addresses := make([]string, len(j.Addresses))
	for i, p := range j.Addresses {
		addresses[i] = p.Addr().String()
	}
	peer := ""
	if j.Peer.IsValid() {
		peer = j.Peer.String()
	}
	return append(env,
		"PWD=/",
		"VRRP_STATE="+j.side().String(),
		"VRRP_REASON="+j.Reason.String(),
		"VRRP_VRID="+strconv.Itoa(int(j.VRID)),
		"VRRP_INTERFACE="+j.Interface,
		"VRRP_PARENT="+j.Parent,
		"VRRP_ADDRESSES="+strings.Join(addresses, " "),
		"VRRP_PRIORITY="+strconv.Itoa(int(j.Priority)),
		"VRRP_GROUP="+j.Group,
		"VRRP_PEER="+peer,
	)
}

// private reports the variables that a command does not inherit: those with
// which it could speak for the systemd service or believe that descriptors were
// passed to it (systemd.exec(5)), those that would be stale, and VRRP_* of an
// outer vrrpd.
func private(name string) bool {
	for _, prefix := range []string{"LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_", "VRRP_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "NOTIFY_SOCKET", "FDSTORE", "JOURNAL_STREAM", "MAINPID", "SYSTEMD_EXEC_PID", "PWD", "OLDPWD":
		return true
	}
	return false
}

// Result is how a Job ended.
type Result struct {
	Job Job
	// Err is nil if the command ended with exit status 0. Otherwise it names
	// the command and says what happened.
	Err error
	// ExitCode is its exit status; -1 if it did not start or did not exit by
	// itself.
	ExitCode int
	// Signal ended it; 0: none did.
	Signal syscall.Signal
	// Duration from the start to the end of the command itself.
	Duration time.Duration
	// TimedOut: it ran into the limit and was killed.
	TimedOut bool
}
