// Package interop holds vrrpd against the implementations that a LAN may have beside
// it: the real programs of the distribution, in network namespaces, in both roles. It
// is tests only.
//
// A case (cases_test.go) is what both sides are configured to speak; every case goes
// through the same elections (election_test.go): who serves by priority, what an address
// decides, who does not preempt, hand-overs in order and after a power failure, in both
// directions. The judge is a client that resolves the virtual address afresh again and
// again and sees who answers; what nobody answered for too long is laid at somebody's door
// (share_test.go) and shown with what was said meanwhile (witness_test.go). With -write-doc
// what it saw becomes docs/interop.md.
//
// A machine without the other program skips its cases; with INTEROP_REQUIRED=1, as in
// CI, that is a failure.
package interop
