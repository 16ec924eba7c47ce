package sysd

import (
	"net/netip"

	"vrrpd/election"
)

// The keys that vrrpd's records use wherever they mean these things. In the
// journal they are VRRP_STATE and so on.
const (
	KeyMessageID = "message_id"       // one of the Message constants
	KeyState     = "vrrp_state"       // where the machine is now
	KeyOldState  = "vrrp_old_state"   // where it was before
	KeyReason    = "vrrp_reason"      // an election.Reason word
	KeyVRID      = "vrrp_vrid"        // 1-255
	KeyInterface = "vrrp_interface"   // vrrp51; stands in front of the line
	KeyParent    = "vrrp_parent"      // eth0
	KeyPriority  = "vrrp_priority"    // the effective one
	KeyPeer      = "vrrp_peer"        // the router it is about
	KeyGroup     = "vrrp_group"       // the group that changed as a whole
	KeyEpoch     = "vrrp_epoch"       // the transition's number
	KeyAddresses = "vrrp_addresses"   // the virtual addresses
	KeyLost      = "log_records_lost" // how many records were not written
)

// MESSAGE_ID of the records that people and programs search for
// (journalctl MESSAGE_ID=...). They are part of the interface and never change.
const (
	MessageMaster     = "d878058e34824189bed19b2156ebc43b" // became MASTER
	MessageBackup     = "0c5c2ce041df4b76bf7aa656dbe8ed15" // became BACKUP
	MessageHeld       = "4d4afb264d1b40e2b7490454f0912d7e" // became HELD
	MessagePhase      = "dba8014f0d8a4d31b377630c46ef6317" // passed through PREPARE, LINGER or LISTEN
	MessageFault      = "7d6173b293d24635a9a87274ed2945f0" // a fault began or went
	MessageAlarm      = "86a0f3b39ee64fe1a05fa45c499db1cb" // an alarm began or went
	MessageCheck      = "3d1f6f2b8a5e4c6c9d0e7a4b51c28f93" // a check fails or passes
	MessageStarted    = "7fa04a1e591347c8b605017f824e3dca" // vrrpd is ready
	MessageStopped    = "942b1d7bfb114862b56bec357e1f8c3a" // vrrpd has left in order
	MessageReload     = "6b2f9c0e4b0d4d0c9a3c7b9d2f3e51a8" // the configuration was reloaded, or not
	MessageHookFailed = "93bbab89b43b4581b9cc8307602c4c9d" // a -U or -D command failed
)

// TransitionMessageID is the MESSAGE_ID of a transition to the state.
func TransitionMessageID(to election.State) string {
	switch to {
	case election.Master:
		return MessageMaster
	case election.Held:
		return MessageHeld
	case election.Prepare, election.Linger, election.Listen:
		return MessagePhase
	default:
		return MessageBackup
	}
}

// TransitionMessage is the sentence for a transition, in the journal as on
// stderr: "BACKUP -> MASTER: master-timeout (peer 192.0.2.2)". An invalid peer
// is left out.
func TransitionMessage(from, to election.State, why election.Reason, peer netip.Addr) string {
	s := from.String() + " -> " + to.String() + ": " + why.String()
	if peer.IsValid() {
		s += " (peer " + peer.String() + ")"
	}
	return s
}
