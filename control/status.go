package control

import (
	"net/netip"
	"time"

	"vrrpd/vrrp"
)

// Model is the YANG module whose names the JSON uses for virtual routers
// (RFC 8347). What the module does not know has names of ours beside it.
const Model = "ietf-vrrp@2018-03-13"

// Status is everything one process knows, as of Time. It is a value: the daemon
// makes a new one and never changes one that it has handed out.
type Status struct {
	Model    string    `json:"model"`    // always Model; the server fills it in
	Instance string    `json:"instance"` // name of the socket without .sock
	PID      int       `json:"pid"`
	Program  string    `json:"program"` // "vrrpd 2.0"
	Time     time.Time `json:"time"`

	Machine Machine  `json:"machine"`
	Routers []Router `json:"vrrp-instance"`
	Global  Global   `json:"vrrp"`
	Parents []Parent `json:"parents"`

	Checks      []Check      `json:"checks"`
	Hooks       []HookResult `json:"hooks"`       // the last of each direction
	Transitions []Transition `json:"transitions"` // of the machine, oldest first
	// Counts are all transitions since the start, those that happened.
	Counts     []TransitionCount `json:"transition-counts"`
	Started    time.Time         `json:"started,omitzero"`
	LogLost    uint64            `json:"log-records-lost"`
	Realtime   int               `json:"realtime-priority"` // SCHED_RR, of what hears and speaks; 0: the ordinary one
	MemoryLock bool              `json:"memory-locked"`
	// Of the process, for whoever looks for leaks.
	Goroutines int    `json:"goroutines"`
	HeapLive   uint64 `json:"heap-live-bytes"` // what the last collection found in use
}

// Machine is the state that the processes of a group share.
type Machine struct {
	Group  string    `json:"group"`                  // "" from the Source: alone, named after the instance
	State  string    `json:"state"`                  // election.State.Outward: MASTER, BACKUP or INIT
	Phase  string    `json:"phase"`                  // election.State: also HELD, PREPARE, LINGER, LISTEN
	Reason string    `json:"reason"`                 // election.Reason of the last transition
	Peer   string    `json:"peer,omitempty"`         // the router that caused it
	Since  time.Time `json:"since"`                  // of the last transition
	AgoMS  int64     `json:"since-ms-ago"`           // the same on the clock that cannot be set
	HeldMS int64     `json:"hold-down-remaining-ms"` // ms until HELD may end; 0: not by time
	Epoch  uint64    `json:"epoch"`                  // number of the last transition

	Priority  Priority  `json:"priority"`
	Wishes    Wishes    `json:"wishes"`
	Processes Processes `json:"processes"`
	Faults    []Fault   `json:"faults"` // of this process's members

	Partition bool    `json:"partition"`  // a LAN is silent while another hears a master
	MixedView bool    `json:"mixed-view"` // an inferior master here, silence there
	Alarms    []Alarm `json:"alarms"`     // those that last
}

// Priority is the group's.
type Priority struct {
	Effective  uint8 `json:"effective"`
	Configured uint8 `json:"configured"`
	Checks     int   `json:"checks"` // what they add to it, in Effective
}

// Check is something that the machine needs to be worth electing.
type Check struct {
	Name   string    `json:"name"`
	Kind   string    `json:"kind"`             // health.Kind
	What   string    `json:"what"`             // is watched, for people
	State  string    `json:"state"`            // health.Verdict: pending, passing, failing
	Since  time.Time `json:"since,omitzero"`   // zero: from the beginning
	Weight int       `json:"weight"`           // 0: it holds the machine
	Effect string    `json:"effect,omitempty"` // that it has now, for people
	Detail string    `json:"detail,omitempty"` // of the last look
	Last   time.Time `json:"last,omitzero"`    // look

	Observations uint64 `json:"observations"`
	Failures     uint64 `json:"failures"`
}

// Wishes are the operator's.
type Wishes struct {
	Soft bool `json:"backup"` // atropos --backup
	Hold bool `json:"hold"`   // atropos --hold
}

// Processes of the group on this machine.
type Processes struct {
	Alive  int `json:"alive"`
	Wanted int `json:"wanted"` // -M; 0: any number
}

// Fault is why one member cannot serve; without an interface, why the machine cannot.
type Fault struct {
	Interface string `json:"interface"` // vrrp51
	Parent    string `json:"parent"`    // eth0
	VRID      uint8  `json:"vrid"`
	Reason    string `json:"reason"` // election.Reason
	Detail    string `json:"detail,omitempty"`
}

// Alarm is something that a person should know and that changes no state.
type Alarm struct {
	Interface string    `json:"interface,omitempty"` // "": the whole machine
	Reason    string    `json:"reason"`              // election.Reason or vrrp.Drop, or a word of the daemon's for an odd peer
	Peer      string    `json:"peer,omitempty"`
	Since     time.Time `json:"since"`
	Count     uint64    `json:"count,omitempty"` // of adverts that showed it; 0: not about adverts
	Message   string    `json:"message,omitempty"`
	Do        string    `json:"what-to-do,omitempty"`
}

// text is what the alarm says in one line.
func (a Alarm) text() string {
	if a.Do == "" {
		return a.Message
	}
	return a.Message + "; what to do: " + a.Do
}

// Transition of the machine.
type Transition struct {
	At     time.Time `json:"at"`
	Epoch  uint64    `json:"epoch"`
	From   string    `json:"from"`   // election.State
	To     string    `json:"to"`     // election.State
	Reason string    `json:"reason"` // election.Reason
	Peer   string    `json:"peer,omitempty"`
	Where  string    `json:"where,omitempty"`  // eth0: the parent interface whose fault it was
	Detail string    `json:"detail,omitempty"` // of the fault
}

// TransitionCount is how often the machine has entered a state for a reason.
type TransitionCount struct {
	To     string `json:"to"`     // election.State
	Reason string `json:"reason"` // election.Reason
	Count  uint64 `json:"count"`
}

// Global is the container vrrp of RFC 8347, of this process's virtual routers.
type Global struct {
	VirtualRouters uint32           `json:"virtual-routers"`
	Interfaces     uint32           `json:"interfaces"`
	Statistics     GlobalStatistics `json:"statistics"`
}

// GlobalStatistics count what arrived on any interface, each packet once.
type GlobalStatistics struct {
	Discontinuity  time.Time `json:"discontinuity-datetime,omitzero"`
	ChecksumErrors uint64    `json:"checksum-errors"`
	VersionErrors  uint64    `json:"version-errors"`
	VRIDErrors     uint64    `json:"vrid-errors"`
	TTLErrors      uint64    `json:"ip-ttl-errors"`
}

// Parent is an interface that virtual routers stand on.
type Parent struct {
	Interface string `json:"interface"` // eth0
	// Drops count packets that no virtual router of ours is meant by, by vrrp.Drop or
	// lan.Drop word, those that happened.
	Drops map[string]uint64 `json:"drops,omitempty"`
}

// HookResult is how a -U or -D command ended.
type HookResult struct {
	Interface string    `json:"interface,omitempty"` // of the virtual router whose command it is; "": the group's
	State     string    `json:"state"`               // MASTER for -U, BACKUP for -D
	Command   string    `json:"command"`
	Started   time.Time `json:"started"`
	MS        int64     `json:"duration-ms"`
	Running   bool      `json:"running"`
	ExitCode  int       `json:"exit-code"`
	Error     string    `json:"error,omitempty"` // why it could not run, or was killed
}

// Router is one virtual router. The names are those of RFC 8347; durations that
// it wants in its own units stand in milliseconds beside them (SetTimers).
type Router struct {
	Interface string `json:"interface"`           // vrrp51, or the parent with -n
	Parent    string `json:"parent"`              // eth0
	Family    string `json:"address-family"`      // ipv4 or ipv6
	MAC       string `json:"virtual-mac-address"` // "" with -n
	VRID      uint8  `json:"vrid"`
	Version   string `json:"version"`           // VersionName
	State     string `json:"state"`             // initialize, backup, master
	Held      bool   `json:"held"`              // backup that may not be elected
	Joining   bool   `json:"joining,omitempty"` // added at work: it listens before it does what the machine does

	Priority          uint8   `json:"priority"`
	EffectivePriority uint8   `json:"effective-priority"`
	Preempt           Preempt `json:"preempt"`
	AcceptMode        bool    `json:"accept-mode"`
	IsOwner           bool    `json:"is-owner"`

	AdvertiseIntervalSec      uint16          `json:"advertise-interval-sec,omitempty"`
	AdvertiseIntervalCentiSec uint16          `json:"advertise-interval-centi-sec,omitempty"`
	AdvertiseIntervalMS       float64         `json:"advertise-interval-ms"`
	VirtualIPv4Addresses      []netip.Addr    `json:"virtual-ipv4-addresses,omitempty"`
	VirtualIPv6Addresses      []netip.Addr    `json:"virtual-ipv6-addresses,omitempty"`
	GeneratedAddress          netip.Addr      `json:"generated-address,omitzero"` // of these, made because the user gave no link-local one
	UnicastPeers              []netip.Addr    `json:"unicast-peers,omitempty"`    // none: adverts go to the group
	LastAdvSource             netip.Addr      `json:"last-adv-source,omitzero"`
	UpDatetime                time.Time       `json:"up-datetime,omitzero"`
	MasterDownInterval        uint32          `json:"master-down-interval"` // centiseconds
	MasterDownIntervalMS      float64         `json:"master-down-interval-ms"`
	SkewTime                  uint32          `json:"skew-time"` // microseconds
	SkewTimeMS                float64         `json:"skew-time-ms"`
	LastEvent                 string          `json:"last-event"`        // LastEvent
	NewMasterReason           string          `json:"new-master-reason"` // NewMasterReason
	Lease                     Lease           `json:"lease"`
	Authentication            *Authentication `json:"authentication,omitempty"`         // nil: none
	Checksum                  *Checksum       `json:"checksum,omitempty"`               // nil: there is but one form
	Beside2                   *Interoperation `json:"vrrp-v2-interoperation,omitempty"` // nil: one version only
	Statistics                Statistics      `json:"statistics"`
}

// Preempt is whether and after how many seconds a better router takes over.
type Preempt struct {
	Enabled  bool   `json:"enabled"`
	HoldTime uint16 `json:"hold-time"` // s
}

// Lease is what silences this machine when the daemon no longer runs.
type Lease struct {
	Rung        string `json:"rung"`         // what enforces it, "none" if nothing does
	RemainingMS int64  `json:"remaining-ms"` // 0: closed, or nothing enforces it
	// Skipped says why each better kind is not the one in force.
	Skipped []string `json:"skipped,omitempty"`
}

// Checksum of the adverts of VRRPv3 over IPv4: rfc9568 or rfc5798.
type Checksum struct {
	Configured string `json:"configured"` // also auto
	Sent       string `json:"sent"`
}

// Interoperation counts the adverts of version 2 that were accepted beside those of
// version 3 (--vrrp-version 2+3), and those of them that did not count, because their
// sender was heard in version 3. If the two are the same, nobody needs version 2 but,
// perhaps, who is BACKUP.
type Interoperation struct {
	AdvertisementRcvd uint64 `json:"advertisement-rcvd"`
	Ignored           uint64 `json:"ignored"`
}

// Authentication of a virtual router: everything but the keys.
type Authentication struct {
	Type      string `json:"type"`                 // pass, ah, hmac
	ICV       string `json:"icv,omitempty"`        // ah, as sent: keepalived, rfc2402
	Mode      string `json:"mode,omitempty"`       // hmac: enforce, permissive, receive-only
	ActiveKey uint8  `json:"active-key,omitempty"` // hmac: the id of the key that signs
	Keys      []int  `json:"keys,omitempty"`       // hmac: the ids of those that are accepted
	Replay    string `json:"replay,omitempty"`     // hmac: time, monotonic
	Window    uint32 `json:"window,omitempty"`     // hmac, s
}

// Statistics of one virtual router since Discontinuity. The first block is RFC
// 8347's (its global counters, Global, stand beside it per router), the second RFC 2787's for
// authentication with keepalived's for the trailer, the third ours.
type Statistics struct {
	Discontinuity      time.Time `json:"discontinuity-datetime,omitzero"`
	MasterTransitions  uint64    `json:"master-transitions"`
	AdvertisementRcvd  uint64    `json:"advertisement-rcvd"`
	AdvertisementSent  uint64    `json:"advertisement-sent"`
	IntervalErrors     uint64    `json:"interval-errors"`
	PriorityZeroRcvd   uint64    `json:"priority-zero-pkts-rcvd"`
	PriorityZeroSent   uint64    `json:"priority-zero-pkts-sent"`
	InvalidTypeRcvd    uint64    `json:"invalid-type-pkts-rcvd"`
	AddressListErrors  uint64    `json:"address-list-errors"`
	PacketLengthErrors uint64    `json:"packet-length-errors"`
	ChecksumErrors     uint64    `json:"checksum-errors"`
	VersionErrors      uint64    `json:"version-errors"`
	VRIDErrors         uint64    `json:"vrid-errors"`
	TTLErrors          uint64    `json:"ip-ttl-errors"`

	AuthFailures     uint64 `json:"auth-failures"`
	InvalidAuthType  uint64 `json:"invalid-auth-type"`
	AuthTypeMismatch uint64 `json:"auth-type-mismatch"`
	ReplayErrors     uint64 `json:"replay-errors"`
	AuthMissing      uint64 `json:"auth-ext-missing"` // keepalived's auth_ext_* (hmac)
	AuthMalformed    uint64 `json:"auth-ext-malformed"`
	AuthUnknownKey   uint64 `json:"auth-ext-unknown-key"`
	AuthStale        uint64 `json:"auth-ext-stale"`
	AuthUnsigned     uint64 `json:"auth-ext-unsigned-accepted"` // by permissive or receive-only

	LegacyChecksum uint64 `json:"checksum-legacy-pseudo-accepted"`
	OwnerConflicts uint64 `json:"owner-conflicts"`  // priority 255 heard, which is ours
	OwnAddressRcvd uint64 `json:"own-address-rcvd"` // our own source address heard
	Repairs        uint64 `json:"repairs"`          // of what others have done to the interface
	SendErrors     uint64 `json:"send-errors"`
	GARPSent       uint64 `json:"garp-sent"`
	UNASent        uint64 `json:"una-sent"`
	// Drops are by vrrp.Drop word, those that happened. They have what could not be told
	// a virtual router, too, so that they cannot be added up over those of an interface.
	Drops map[string]uint64 `json:"drops,omitempty"`
	Own   vrrp.Counters     `json:"-"` // of packets to this virtual router alone
}
