// Package sim is a deterministic simulator of many machines on many LANs. Every
// process in it is a real, unmodified election.Machine; the rest (clocks,
// frames, the memory that the processes of a machine share, interfaces, leases,
// operators and accidents) is a model with a seed.
//
// It exists to be wrong about as little as possible: a Scenario is text, one
// verb per line, so that what a seed found can be read, kept, shrunk and played
// again (see verbs.go for the verbs). The invariants and how their bounds follow
// from the parameters are in check.go; they are checked in unity.go, rivals.go,
// silence.go and trail.go. What the tests do:
//
//	go test ./internal/sim                       a few thousand seeds, and every rule switched off
//	go test ./internal/sim -run TestRandom -seeds=20000
//	go test ./internal/sim -run TestRandom -seed=4711    one seed, with its trace
//	go test ./internal/sim -run TestTranscripts          the stories in testdata, to the letter
//
// # The model
//
// Time is one int64 of nanoseconds; a machine's CLOCK_BOOTTIME has an offset and
// a drift of its own. A process wakes 0 to Jitter after what wakes it, takes
// all that has arrived as one batch, steps, carries out the actions in order (the
// epoch is compared before each action that would serve, as the contract of
// package election asks), and steps again with the results, in no time at all;
// unless a trap stops it between a check and what follows. A process that was
// stopped for an interval or longer drains its sockets before the next step.
//
// The data plane is a function: a member serves its LAN while its interface is
// up with its addresses, its lease (if there is a guard) has not passed, its link
// is up and its machine runs. The kernel of a stopped process goes on serving
// and answering; so does that of a dead one.
//
// What is not modelled: switches' tables of MAC addresses and neighbours' caches
// (hence not the MAC with which a question is asked, nor announcements), the
// authentication of adverts, unicast peers, adding and removing routers at run
// time, and hooks.
package sim
