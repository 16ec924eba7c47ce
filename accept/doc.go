// Package accept is Accept_Mode False (RFC 9568 section 6.1): a machine that is MASTER
// forwards for its virtual addresses without being one of their hosts.
//
// The kernel answers for an address in two ways, and cannot have one without the other:
// it answers ARP and neighbour solicitations, which a MASTER must, and it takes packets
// to the address for its own, which this one must not. So the address stays, and a table
// of nftables drops what is addressed to it, from wherever it comes: through the virtual
// MAC, the parent, another LAN, or from this machine. Neighbour discovery passes, which
// IPv6 needs; ARP is not seen there. What is forwarded is not touched.
//
// A filter is no part of the lease and knows no state: a BACKUP does not have the address,
// so the table has nothing to do there. It is made before the interface can come up, and
// taken away after the addresses have gone. What a dead process has left is replaced by
// its successor, or swept when the interface is gone.
package accept
