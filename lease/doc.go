// Package lease is the kernel-enforced dead-man of vrrpd: a master that has not
// said for two intervals that it lives goes silent, whatever has become of its
// process.
//
// Every virtual interface (vrrp51) gets a guard in the kernel, which drops
// every frame that comes in or goes out, except while the clock shows less than
// a deadline. The daemon moves the deadline on after each advert that was really
// sent: to the time read before the send plus two intervals. The peers wait
// three, so the old master is silent before a new one speaks: after SIGKILL,
// SIGSTOP, the OOM killer, a loop that is stuck, or a suspend. Nothing has to
// run for a guard to close, only for it to stay open.
//
// This package knows neither adverts nor states; it stores what it is told. It
// must never silence a parent, where the adverts arrive and where the machine lives
// (Attach takes nothing but macvlans), and never attach as a bpf_link, which dies
// with its process: then the traffic would come back when the daemon is killed.
//
// Without a virtual MAC the addresses are on the parent. Its guard (AttachDirect) is
// another program, which looks for these addresses and lets everything else pass,
// open or closed, for some 25 ns per frame, with one address or with 255.
//
// # The ladder
//
// Open and Attach try, and step down where the kernel, the process or the
// interface does not allow it. Rung and Skipped tell what was had and why not
// better.
//
//   - Clsact: a program of eBPF as the first filter on both sides of a clsact
//     queueing discipline. Linux 5.8, CAP_BPF and CAP_NET_ADMIN.
//   - TCX: the same program attached by BPF_PROG_ATTACH. Linux 6.6. Each
//     attachment waits for a grace period of RCU under the RTNL mutex (9 ms and
//     more), and so does the deletion of the interface: one VR does not notice, a
//     thousand do. Per frame it is the cheaper one, and a guard that began as Clsact
//     can change to it while it is in force (Lighten).
//   - Nftables: a netdev table whose chains accept while a set has an element,
//     which has a timeout. Linux 5.16, CAP_NET_ADMIN only. See below.
//   - None: the deadline is remembered and nobody enforces it.
//
// All interfaces of a process share one program and one array of deadlines,
// mapped into memory and indexed by interface index; for every 512 indexes that
// are in use there is another pair. Renew and Close are a store of 64 bits. The
// program compares with bpf_ktime_get_boot_ns, so deadlines are absolute:
// nothing that happens between reading the clock and storing can lengthen a
// lease. It says "next" to frames that it passes, so that filters of others
// still see them, and it drops what it does not know.
//
// Measured on Linux 6.18 (2 cores of an AMD EPYC, shared with other work):
//
//	                     clsact    tcx       nftables
//	renew, with clock    0.22 us   0.22 us   17 us        (the clock: 0.22 us)
//	attach               0.5 ms    31 ms     0.7 ms       (clsact: 0.19 ms of it are the three messages)
//	verify               0.08 ms   0.003 ms  0.09 ms      (a guard that is in place)
//	per frame            120 ns    55 ns     230 ns       (a filter that does nothing: 120 ns, TCX 53 ns)
//	  near the deadline  165 ns    100 ns
//
// What the program itself costs is the clock: 40 ns of 45; looking the deadline up
// is in the noise. So it reads the clock once a tick of the kernel (1 to 10 ms), as
// long as the deadline is more than seven ticks away, which is more than a tick that
// is late can be wrong by (program.go). From then on it reads it for every frame: a
// lease ends to the microsecond. A machine that sends every 0.1 s is never so near
// its deadline while it lives; one that sends every 10 ms always is, with ticks of 4
// ms (Near), and there the guard changes to TCX. With other work on the machine
// everything takes up to twice as long.
//
// Each guard on a parent has programs and an array of its own, because others stand
// there, too, of this process and of others. They are filters with names and handles
// of their own; what was there before is there afterwards, the queueing discipline
// included. Nftables is not for parents.
//
// A thousand guards take 0.5 to 0.9 MB of resident memory.
//
// # The order of things
//
// Start: make the interface (down, empty), Attach, which closes, and then, when
// it is to serve: addresses and up, advert, Renew, announce. Attach replaces
// what a dead instance has left, whatever rung that was on, and reads back what
// it did. Two guards on an interface must both agree, so a stale one that stayed
// would keep it silent for ever.
//
// Leave: Close first of all; then whatever takes time (adverts with priority 0,
// addresses away, interface down). Detach comes last, when the interface is down
// and empty or has been deleted, because nothing guards it from then on. Where
// the interface is deleted, Clsact and TCX need no Detach; Nftables does, since
// its table stays. Before the deletion, Loosen sees to it that nobody waits for TCX.
//
// Repair: Verify tells whether the guard is still there, Repair puts it back
// with the deadline that it has; one that Lighten has made a guard of TCX is one of
// Clsact after that, until Lighten is called again. The kernel reports changes of
// filters and queueing disciplines to the multicast group RTNLGRP_TC, those of nftables
// to NFNLGRP_NFTABLES, those of TCX to nobody; Watch listens to them. The guard stays in
// place while an interface goes down and up; an interface that was deleted and made
// again has another index and needs another Attach.
//
// A process that ends, or Guards.Close, leaves the guards in place, and they
// expire. Any process can Attach to, or Remove from, an interface of another.
//
// # Limits
//
//   - It stops what comes in on and goes out of the virtual interface: ARP,
//     requests to the virtual addresses, forwarding for the virtual MAC. What
//     the machine itself originates from a virtual address, its established
//     connections included, leaves by the parent, and no guard sees it. A send
//     on the virtual interface that the guard drops is ENOBUFS for the sender.
//   - Of a machine that was suspended, frames may pass in the tick (1 to 10 ms) in
//     which it wakes up, before its network cards do. So they may, before Linux 5.18,
//     while the one processor that counts the ticks is kept from running for longer
//     than 28 ms (at HZ=250) by whatever runs this virtual machine.
//   - Frames that wait in a queue behind the guard are past it.
//   - The clock is CLOCK_BOOTTIME, which goes on while a machine is suspended: a
//     lease has expired when it wakes up. The clock of a paused virtual machine
//     stops: its lease is as long after the pause as before it, and the machine
//     serves until it has read its sockets or the rest of the lease (at most two
//     intervals) has passed. The same goes for one that is restored from a
//     snapshot.
//   - Others on the same interface come first if they want to: a TCX program
//     that ends with "pass" is before any clsact filter, and so is another bpf
//     filter of priority 1 that was added later. Verify does not see that: it knows
//     guards by their name.
//   - Without CAP_SYS_ADMIN a TCX program of a dead instance can be neither
//     identified nor replaced or detached: Attach then puts a closed guard beside it
//     and says ErrStale, and the interface has to be deleted and made again.
//
// Nftables has more, and is the last rung for them:
//
//   - Its timeouts are relative, in ticks of the kernel (4 ms at HZ=250, up to
//     10): a lease ends up to a few ticks early or one late. Hence whole-second
//     intervals only (Config.Interval).
//   - A process that is stopped between reading the clock and the kernel's
//     answer opens for the whole timeout when it goes on. Renew notices and sets
//     it right at once, but the guard was open for an instant.
//   - Timeouts stand still while the machine is suspended.
//   - Renew and Close are transactions and wait for those of others, for instance
//     the reload of a large firewall.
//   - "flush ruleset", with which most firewall scripts begin, deletes the guard.
package lease
