// Package election decides who serves: one VRRP virtual router per member,
// and one verdict for the whole machine.
//
// It is the pure core of vrrpd. Events go in, an ordered list of actions comes
// out (the idea is etcd raft's RawNode): Machine.Step is the only way to
// change a Machine, Machine.Deadline tells when to call it again. Nothing here
// starts a goroutine, reads a clock, opens a socket or writes a log; time is an
// int64 of boottime nanoseconds handed in by the caller. The package imports
// nothing of ours, and must never learn what an interface index is.
//
// # Words
//
// A member is one virtual router (one VRID on one interface and one address
// family). The members of a machine form a group that shares one state, even
// when they live in several processes: what every member knows is in its Facts
// (absolute deadlines, level-triggered), and the machine's state is one 64-bit
// Word {epoch, reason, state} that changes by compare-and-swap only. Both lie
// behind the Board interface, which package grouplock implements over files
// mapped into memory.
//
// The state names are those of RFC 2338 to RFC 5798 and of the YANG model of
// RFC 8347; RFC 9568 calls MASTER "Active" and says "Active_Down_Timer" where
// we say master-down timer. HELD is BACKUP that may not be elected (RFC
// Initialize, as long as something is wrong); PREPARE, LINGER and LISTEN are
// ours: behind a closed guard before the first advert, still serving while the
// successor is awaited, and listening after a suspend.
//
// # The contract of the actions
//
// Actions are carried out in the order in which they stand. Every action
// carries the epoch of the word that the step left behind. Another process may
// have changed the word since: the caller loads it before each send and each
// repair, and drops what would serve (an advert, DoRenew, DoPrepare, DoPromote,
// DoAnnounce, DoProbe) if the epoch has passed. What ends serving (DoCloseGuard,
// DoUnprepare, DoDemote, DoAnnounceOwn, DoHook, DoReport, DoExit) is never
// dropped.
//
// Entering MASTER: DoAdvert for every member (which opens the guards), Promote,
// Announce, Hook(up). With a guard (package lease) PREPARE puts DoPrepare before
// all of that; without one the adverts go before the set-up. Who preempts a master
// that may hang advertises with a Lease of 0, which opens nothing; Probe, and then
// Renew for every member, Announce and Hook(up) follow when that one is silent.
//
// Leaving MASTER: CloseGuard for every member, DoAdvert(0), Demote, AnnounceOwn,
// Hook(down). LINGER: Renew, then DoAdvert(0), again and again.
package election
