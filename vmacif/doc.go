// Package vmacif is vrrpd's hands: the macvlan interface that carries the
// virtual MAC and the virtual addresses of one virtual router.
//
// The interface tells the truth. It exists as long as the daemon runs; on a
// BACKUP it is administratively down and carries no address at all, on the
// MASTER it is up with the virtual addresses. The parent keeps its name, MAC,
// addresses, routes and flags; two of its sysctls are changed while a virtual
// router stands on it.
//
// # Why the interface is as it is
//
//   - Bridge mode: an advert of a peer, whose source MAC is our own virtual MAC,
//     then always reaches the parent. In private mode, with the interface up, it
//     does not, and there are two masters.
//   - Down on a BACKUP: an interface that is up without a virtual address would
//     forward what is sent to the virtual MAC, were it not for rp_filter, which
//     an administrator may change.
//   - No address on a BACKUP, not even one that a script left: an address on an
//     interface that is down is still a local address of the machine.
//   - Two messages to create it: the create message takes neither alias nor
//     IPv6 address generation mode. It is created down with its MAC (udev leaves
//     such a MAC alone) and its link group, then one message adds the alias, by
//     which a leftover is recognised, and "addrgenmode none". Later than that, a
//     link-local address made from the virtual MAC, the same on every router,
//     would have been on the wire.
//   - Virtual addresses are /32 (/128) without a prefix route, whatever length
//     the user wrote: a second connected route would come first after a flap of
//     the parent. A link-local one is a /64 with its route, without which nobody
//     who has asked it could be answered; such routes do not compete, because
//     whoever sends to a link-local address names the interface.
//
// # The order of going up and down
//
// Up adds the addresses first and the up flag last, in one batch of messages.
// Measured (Linux 6.18, TestUpIsSilent): nothing reaches the wire from either
// step: no ARP, no IGMP report, no IPv6; and while the interface is still down
// nothing answers for the address, because the parent has arp_ignore=1. So the
// first instant in which the interface passes frames is one in which it is
// complete. The kernel announces nothing by itself, unless arp_notify is set in
// the "default" or "all" settings; then it sends one gratuitous ARP per address
// with the virtual MAC when the flag goes up, which is true and harmless.
//
// Going down is two calls, because the flag is slow. RemoveAddrs takes
// microseconds and ends all service: nothing answers any more, and nothing is
// forwarded either, because with the interface's rp_filter=2 the kernel holds
// every source for invalid on an interface that has no address (measured,
// TestForwarding; with rp_filter=0 it would go on forwarding). Down waits for a
// grace period of the kernel's RCU (16 ms) while holding the RTNL mutex, on
// which every other change in the machine waits, so it is for a worker and for
// the time when all members of a group have lost their addresses.
//
// # IPv6
//
// The kernel flushes IPv6 addresses when an interface goes down, so Up adds them
// anew each time, without duplicate detection: whoever else has the address is the
// machine that is leaving. The kernel makes an address serve a little after it has
// acknowledged it (a work queue: tens of microseconds, and more on a busy machine);
// a promotion that is prepared behind its closed guard does not notice.
//
// What an interface that is up says by itself are MLD reports, with the virtual MAC
// and from a virtual address (TestUpIsQuiet6). There is no reverse path filter for
// IPv6: between RemoveAddrs and the end of Down a machine that forwards goes on to
// do so for what still arrives at the virtual MAC, unless a guard is closed.
//
// # Sysctls
//
// Only the parent's and the virtual interface's own settings are ever written,
// never those of "all" or "default". See sysctl.go for which and why, and
// journal.go and journaldir.go for how the parent's return to what they were.
//
// # Without a virtual MAC
//
// Direct puts the virtual addresses on the parent itself (direct.go). Nothing else of
// the parent is changed, so there is nothing to restore but that they go.
//
// # Where it may be used
//
// /proc/sys/net shows the network namespace of the calling thread, and netlink
// the one of the thread that called Open: a Hands must be used in the namespace
// in which it was opened.
package vmacif
