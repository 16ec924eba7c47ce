package election

import (
	"net/netip"
	"time"
)

// EventKind says what happened.
type EventKind uint8

const (
	// EvAdvert: a valid advert of one of our virtual routers was received
	// (VR, Addr, MAC, Priority, Interval).
	EvAdvert EventKind = iota + 1
	// EvAnswer: somebody answered our question for the VIP (VR, MAC).
	EvAnswer
	// EvFarewell: the machine with this address (Addr) has said that it no longer
	// serves the VIP (VR).
	EvFarewell
	// EvFault: a fault of a member appeared or went (VR, Fault, On).
	EvFault
	// EvSource: the member's own primary address is now Addr (VR, Addr).
	EvSource
	// EvSent: an advert was really sent (VR, Priority; At: clock before, After:
	// clock after the send).
	EvSent
	// EvSendFailed: an advert could not be sent (VR).
	EvSendFailed
	// EvPrepared: the interface stands behind its closed guard (VR, Epoch).
	EvPrepared
	// EvMemberGone: a process of the group has died (MemberDead) or left
	// (MemberLeft); the word for the fault that Missing then shows (Reason).
	EvMemberGone
	// EvSuspended: boottime and monotonic time have parted by more than a
	// lease: the machine slept.
	EvSuspended
	// EvBackup, EvHold, EvRelease: atropos --backup, --hold, --release.
	EvBackup
	EvHold
	EvRelease
	// EvPriority: the operator sets the group's priority (Priority, 1..255; 0: as
	// configured again).
	EvPriority
	// EvChecks: the checks of this process add Weight to the group's priority, and hold
	// the machine or do not (On: FaultCheck of all of its members).
	EvChecks
	// EvStop: the process wants to leave for good.
	EvStop
)

// Event is one thing that happened. Fields that its kind does not name are
// ignored.
type Event struct {
	Kind     EventKind
	Priority uint8
	On       bool
	Reason   Reason
	Fault    Fault
	VR       int // the local member: its index in New, or its id in Add
	Addr     netip.Addr
	MAC      MAC
	Weight   int           // may be negative
	Interval time.Duration // as advertised
	At       Time
	After    Time
	Epoch    uint64
}

// ActionKind says what to do.
type ActionKind uint8

const (
	// DoAdvert sends one advert of member VR with Priority, at once. When it
	// was really sent and Lease is not 0, the guard of VR is opened until the
	// clock read before the send plus Lease. The caller answers with EvSent or
	// EvSendFailed. Neighbouring DoAdverts form a batch.
	DoAdvert ActionKind = iota + 1
	// DoRenew lets the guard of member VR pass frames until Until.
	DoRenew
	// DoCloseGuard makes the guard of member VR drop everything, now.
	DoCloseGuard
	// DoPrepare sets up the interface of member VR behind its closed guard and
	// answers with EvPrepared.
	DoPrepare
	// DoUnprepare takes a prepared interface down again.
	DoUnprepare
	// DoPromote brings the interface of member VR up with its addresses; it
	// must be harmless when that is already so.
	DoPromote
	// DoDemote removes every address of member VR's interface, then takes it
	// down.
	DoDemote
	// DoAnnounce sends gratuitous ARP (unsolicited NA) for member VR's
	// addresses with the VMAC, now and with the usual repetitions.
	DoAnnounce
	// DoAnnounceOwn announces the machine's own addresses on the parent, and says
	// there that it does not serve member VR's VIP any more.
	DoAnnounceOwn
	// DoProbe asks the LAN of member VR for its first VIP, with the physical
	// MAC and without a sender address.
	DoProbe
	// DoHook runs the on-master (Up) or on-backup command.
	DoHook
	// DoReport tells people: a transition of the machine (From, To, Reason) or,
	// with From == To, an alarm about member VR.
	DoReport
	// DoExit: everything is left in order; the process may go.
	DoExit
	// DoGone: the member VR that was to be retired serves no more and is none of
	// the machine's any longer.
	DoGone
)

// Action is one thing to carry out, in order. VR is the local member, or -1
// where the action concerns the whole process.
type Action struct {
	Kind     ActionKind
	Priority uint8
	Up       bool
	On       bool // DoReport of an alarm: it begins (true) or has gone
	From, To State
	Reason   Reason
	VR       int
	Epoch    uint64
	Lease    time.Duration
	Until    Time
	Peer     netip.Addr // DoReport: the router it is about, if any
}
