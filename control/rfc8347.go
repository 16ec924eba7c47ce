package control

import (
	"time"

	"vrrpd/election"
)

// VersionName is RFC 8347's identity for a VRRP version, 2 or 3.
func VersionName(version uint8) string {
	if version == 2 {
		return "vrrp-v2"
	}
	return "vrrp-v3"
}

// StateName is RFC 8347's name for the state of one virtual router of a machine
// in the given state. HELD is a backup (Router.Held says the rest).
func StateName(s election.State) string {
	switch s.Outward() {
	case election.Master:
		return "master"
	case election.Init:
		return "initialize"
	default:
		return "backup"
	}
}

// NewMasterReason is RFC 8347's new-master-reason for a virtual router whose
// machine is in state s and became MASTER for the reason why.
func NewMasterReason(s election.State, why election.Reason) string {
	if !s.Serving() {
		return "not-master"
	}
	switch why {
	case election.Preempted:
		return "preempted"
	case election.MasterResigned:
		return "priority"
	default:
		return "no-response"
	}
}

// LastEvent is RFC 8347's last-event for the reason of the last transition.
func LastEvent(why election.Reason) string {
	const prefix = "vrrp-event-"
	switch why {
	case election.Startup:
		return prefix + "startup"
	case election.Stop, election.MemberLeft:
		return prefix + "shutdown"
	case election.MasterTimeout, election.Unanswered, election.NoSuccessor:
		return prefix + "master-timeout"
	case election.SuperiorAdvert, election.TieLost, election.Successor:
		return prefix + "higher-priority-backup"
	case election.Preempted, election.MasterResigned:
		return prefix + "lower-priority-master"
	case election.LinkDown, election.ParentGone, election.InterfaceFault:
		return prefix + "interface-down"
	case election.Recovered:
		return prefix + "interface-up"
	case election.NoAddress:
		return prefix + "no-primary-ip-address"
	default:
		return prefix + "none"
	}
}

// SetTimers fills in every duration in RFC 8347's unit and in milliseconds. The
// virtual router's Version must be set: version 2 advertises in seconds,
// version 3 in centiseconds. A v2 interval below a second (not standard) has no
// RFC 8347 form and stands in milliseconds only.
func (r *Router) SetTimers(interval, masterDown, skew time.Duration) {
	r.AdvertiseIntervalSec, r.AdvertiseIntervalCentiSec = 0, 0
	if r.Version == VersionName(2) {
		r.AdvertiseIntervalSec = uint16(interval / time.Second)
	} else {
		r.AdvertiseIntervalCentiSec = uint16(interval / (10 * time.Millisecond))
	}
	r.AdvertiseIntervalMS = millis(interval)
	r.MasterDownInterval = uint32(masterDown / (10 * time.Millisecond))
	r.MasterDownIntervalMS = millis(masterDown)
	r.SkewTime = uint32(skew / time.Microsecond)
	r.SkewTimeMS = millis(skew)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ParseReason finds the reason that a word on the wire stands for; false for a
// word of a newer vrrpd.
func ParseReason(word string) (election.Reason, bool) {
	for r := election.NoReason; r.String() != election.Reason(255).String(); r++ {
		if r.String() == word {
			return r, true
		}
	}
	return election.NoReason, false
}

// ParseState finds the state that a word on the wire stands for; false for a
// word of a newer vrrpd.
func ParseState(word string) (election.State, bool) {
	for s := election.Init; s.String() != election.State(255).String(); s++ {
		if s.String() == word {
			return s, true
		}
	}
	return election.Init, false
}
