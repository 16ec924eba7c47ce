package election

// Reason says why a transition happened or what an alarm is about. It is a
// closed list: the same words stand in the journal, in atropos, in the hooks'
// environment (VRRP_REASON) and in the tests.
type Reason uint8

const (
	NoReason Reason = iota

	// Entering HELD.
	Startup         // the first member of the machine joined
	LinkDown        // the parent has no carrier or is administratively down
	ParentGone      // the parent interface does not exist
	NoAddress       // the parent has no primary address to send from
	SendFailed      // adverts could not be sent for longer than an interval
	InterfaceFault  // the VMAC interface cannot be set up or kept
	CheckFailed     // a configured check says the machine is unfit
	MemberMissing   // fewer processes than -M asks for
	MemberDead      // a process of the group died
	MemberStuck     // a process of the group lives but does not move
	MemberLeft      // a process of the group is stopping or has stopped
	OperatorHold    // atropos --hold
	IntervalDiffers // the members of the group have different intervals

	// HELD to BACKUP.
	Recovered // no fault is left and the hold-down is over

	// BACKUP to MASTER.
	MasterTimeout  // no acceptable advert for a master-down interval (RFC 9568 6.4.2)
	MasterResigned // priority 0 was heard and the skew time is over (RFC 9568 6.4.2)
	Unanswered     // a master resigned on one LAN and nobody answers on the others
	Preempted      // the only master heard has a lower priority

	// Back from PREPARE.
	Vetoed // an acceptable advert arrived while the promotion was prepared

	// MASTER to BACKUP or LINGER.
	SuperiorAdvert // a higher priority was heard (RFC 9568 6.4.3)
	TieLost        // the same priority from a higher address (RFC 9568 6.4.3)
	OperatorBackup // atropos --backup, SIGUSR2
	Stop           // SIGTERM, SIGINT
	Successor      // LINGER: the successor's first advert was heard
	NoSuccessor    // LINGER ended and nobody had taken over
	LeaseExpired   // the loop was late and somebody else speaks
	Suspended      // the machine was suspended for longer than its lease

	// LISTEN to BACKUP.
	MasterHeard // somebody serves

	// Alarms. None of them changes the state.
	PeerDeaf         // an inferior master goes on: it does not hear us
	OwnAddressHeard  // an advert with our own source address
	PriorityDiffers  // members of one machine ask for different priorities
	PreemptDiffers   // members of one machine disagree on preemption
	TooManyMembers   // more processes than -M says
	Partition        // one LAN of the group is silent while another hears a master
	MixedView        // an inferior master on one LAN, silence on another
	PartitionOver    // the partition or mixed view has gone
	SamePriorityPeer // a peer with our priority: the address decides
	StaysOut         // a router that was added to a MASTER meets another one, and waits
)

var reasonWords = [...]string{
	NoReason:         "none",
	Startup:          "startup",
	LinkDown:         "link-down",
	ParentGone:       "parent-gone",
	NoAddress:        "no-address",
	SendFailed:       "send-failed",
	InterfaceFault:   "interface-fault",
	CheckFailed:      "check-failed",
	MemberMissing:    "member-missing",
	MemberDead:       "member-dead",
	MemberStuck:      "member-stuck",
	MemberLeft:       "member-left",
	OperatorHold:     "operator-hold",
	IntervalDiffers:  "interval-differs",
	Recovered:        "recovered",
	MasterTimeout:    "master-timeout",
	MasterResigned:   "master-resigned",
	Unanswered:       "unanswered",
	Preempted:        "preempted",
	Vetoed:           "vetoed",
	SuperiorAdvert:   "superior-advert",
	TieLost:          "tie-lost",
	OperatorBackup:   "operator-backup",
	Stop:             "stop",
	Successor:        "successor",
	NoSuccessor:      "no-successor",
	LeaseExpired:     "lease-expired",
	Suspended:        "suspended",
	MasterHeard:      "master-heard",
	PeerDeaf:         "peer-deaf",
	OwnAddressHeard:  "own-address-heard",
	PriorityDiffers:  "priority-differs",
	PreemptDiffers:   "preempt-differs",
	TooManyMembers:   "too-many-members",
	Partition:        "partition",
	MixedView:        "mixed-view",
	PartitionOver:    "partition-over",
	SamePriorityPeer: "same-priority-peer",
	StaysOut:         "stays-out",
}

func (r Reason) String() string {
	if int(r) < len(reasonWords) {
		return reasonWords[r]
	}
	return "unknown"
}
