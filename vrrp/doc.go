// Package vrrp is the wire: VRRP version 2 (RFC 2338, RFC 3768) and version 3
// (RFC 5798, RFC 9568) advertisements to bytes and back, and the ladder of
// checks between a received packet and an Advert that the election may see.
//
// It is pure. Nothing here opens a socket, reads a clock, writes a log or keeps
// state between two calls; it imports nothing of ours and must never learn what
// an interface is. In steady state neither encoding nor decoding allocates.
// Every packet that is not accepted has a reason from a closed list (Drop), and
// the same words stand in the counters that atropos shows.
//
// # Receiving
//
// It takes two steps, because only the VRID tells which virtual router of an
// interface a packet is for. Identify reads as much as that takes; the caller
// looks the virtual router up by address family and VRID (DropVRID if there is
// none); then the Rules of that router judge the packet. Rules.Receive repeats
// what Identify did and so is complete by itself.
//
// The caller hands over the IP payload, cut to the length that the IP header
// states: Ethernet pads short frames, and whatever follows the message counts
// as part of it here.
//
// # Where the standards leave a choice
//
//   - VRRPv3 over IPv4 has two checksums in the field: over the message alone
//     (RFC 9568 section 5.2.8) and with a pseudo-header (most implementations of
//     RFC 5798). Both are accepted, Advert.LegacyChecksum tells which one it
//     was, and a ChecksumForm chooses the one that is sent.
//   - An address list that differs drops a version 2 advert unless its sender
//     owns the addresses (see Rules.Receive). The lists are compared as sets: the
//     order that RFC 9568 section 5.2.9 recommends is no reason for two masters.
//   - Anything after the message is DropLength, in both versions.
//   - Rules.Beside2 hears version 2 beside version 3 (RFC 9568 section 8.4.2), with all
//     checks of version 2 but that of the interval, which is learned in either version.
//
// # Authentication
//
// A key belongs to Rules on receive and to an argument beside the ChecksumForm on
// send (Auth), because it is a router's configuration and not part of a message. Two
// of its forms lie outside the message and leave Size as it is: the IP Authentication
// Header of RFC 2338 before it, the HMAC trailer of draft-cassen-vrrp-auth-hmac behind
// it. Both are what keepalived, their only other implementation, puts on the wire, to
// the last bit; AppendPayload lays them out once, and SignPacket or SignPayload number
// and sign them in place for every time they are sent.
//
// What has to be remembered from one packet to the next is a value of the caller's:
// Marks (who has used which number) and Sequence (which numbers we have used). Both
// outlive a process if the caller stores them, so that a restart neither repeats a
// number nor takes an old one for new.
//
// The order of the checks is keepalived's, because its counters and ours are read
// side by side: presence, form, time, key, digest, number, and only then the checksum
// and what the message says.
package vrrp
