// Package rtnl is vrrpd's eyes: what the kernel says about links and addresses.
//
// Kernel events are hints, state is the truth. A Watcher keeps a table of every
// link and address of one network namespace; it subscribes before it takes its
// first dump, compares what each event says with the table, and hands out only
// differences (the kernel's own "what changed" field is zero when a carrier is
// lost, so it cannot be asked). When the kernel drops events because the socket
// was full (ENOBUFS), the connection lives on: the Watcher drains it, dumps
// again, and delivers what the lost events would have said.
//
// # Links
//
// A link is usable when Link.Carrier says so. The kernel computes IFF_RUNNING
// from the operational state (UP, or UNKNOWN for drivers that keep none) and
// IFF_LOWER_UP from the carrier itself; the first may lag behind the second by
// up to a second, because linkwatch batches, and either may be the first to
// say that a cable is gone. So both are wanted for "yes", and one is enough for
// "no". It is the same rule for a veth pair, a tap, a bridge and a real card.
//
// An event of a link that stands on another one (macvlan, VLAN) makes the
// Watcher look at the lower link too: under a thousand macvlans the lower
// link's own event was measured 193 ms late, or missing. That look is one
// ioctl under RCU: it does not queue behind the RTNL mutex, which somebody may
// be holding for the 16 ms that a macvlan takes to go down.
//
// # What it must never do
//
// It changes nothing in the kernel, polls nothing, and knows nothing about
// virtual routers. It never reports a change that the table already knew.
package rtnl
