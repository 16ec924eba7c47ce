// Package lan sends and hears what virtual routers say on one parent
// interface: adverts, gratuitous ARP and neighbour advertisements, the question who serves an
// address, and the answers to it.
//
// It deals in frames and IP headers and knows nothing of VRRP's own fields:
// which VRID an advert is for, whether its checksum and its TTL are right, is
// the business of package vrrp. It never configures an interface (vmacif) and
// never watches one (rtnl).
//
// # Why packet sockets
//
// Adverts carry the virtual MAC as their source and leave by the parent, which
// no IP socket can do. A packet socket also stands before netfilter: adverts
// are sent and heard whatever the host's firewall says about protocol 112.
//
// # The sockets of a Port
//
//	frames   AF_PACKET, ETH_P_ALL, filtered in the kernel (filter.go): protocols 112
//	         and 51, what goes to ff02::12, ARP replies and neighbour advertisements;
//	         member of the groups' Ethernet addresses (the NIC lets the frames in);
//	         sends, too
//	peers    AF_INET and AF_INET6, raw, where peers are spoken to one by one: sends by
//	         the kernel's routes and neighbours (unicast.go), receives nothing; what
//	         peers send is heard by the packet socket
//	groups   AF_INET and AF_INET6, members of 224.0.0.18 and ff02::12 by interface
//	         index, never read: the kernel speaks IGMP and MLD for them, so that
//	         snooping switches forward
//
// There is one packet socket for everything. A tap for all protocols costs a router a
// third of what one for IPv4 alone costs for each packet that it forwards (filter.go).
// And closing a packet socket waits for a grace period of the kernel's RCU (9 to 18 ms),
// while nobody is told that a process was killed before all of its sockets are closed: one
// less, and the peers take over that much sooner. Frames are sent without an address, to
// where the socket is bound: the kernel reads the protocol of one from its Ethernet header,
// as the socket is for all. Errors of hearing that a send meets are passed on.
//
// The memberships are those of the address families asked for, belong to the sockets and
// survive when the parent goes down and up: the kernel joins again and repeats the report.
//
// The AF_INET6 socket is also a member of the solicited-node groups of the virtual
// addresses. The kernel ignores what it hears there, but a switch that snoops MLD
// forwards the neighbours' questions to this machine before it serves: the reports
// of the virtual interface itself come some milliseconds after it was set up, and a
// guard that is still closed then does not let them out.
//
// The packet socket is waited for at the realtime.Bell of who reads, and is read at
// intervals when more comes than fifty virtual routers have to say (pace.go): 100,000 forged
// frames per second cost 6 % of a core instead of 43 %.
//
// An Asker has a socket of its own: what it asks, for package health, has nothing to
// do with virtual routers, and may be asked of an interface that none stands on.
//
// # Order of closing
//
// Leave ends hearing. Close ends sending (the membership at layer 2 goes), then leaves
// the group (the kernel says so by IGMP). What must still be said, a priority of 0 above
// all, is sent before Close: a frame that Send has accepted leaves even if Close follows.
package lan
