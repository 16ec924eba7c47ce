package hooks

import (
	"net/netip"
	"strconv"
	"strings"

	"vrrpd/election"
	"vrrpd/internal/child"
)

// Job is one transition of the machine and the command that goes with it.
type Job struct {
	// Argv is the command; empty: there is none for this state.
	Argv []string

	// RunAs is who the command runs as; nil: as Options.RunAs says.
	RunAs *child.Identity

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

// environ is the environment of the job's command: what a program inherits, and
// the VRRP_* variables. All nine are
// always there, so that scripts may say set -u.
func (j Job) environ(base []string) []string {
	addresses := make([]string, len(j.Addresses))
	for i, p := range j.Addresses {
		addresses[i] = p.Addr().String()
	}
	peer := ""
	if j.Peer.IsValid() {
		peer = j.Peer.String()
	}
	return append(child.Environ(base),
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

// Result is how a Job ended. Its error names the command.
type Result struct {
	Job Job
	child.Result
}
