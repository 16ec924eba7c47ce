// Package control is how people and programs ask a running vrrpd what it is
// doing and tell it what to do: JSON over HTTP over a unix stream socket, one
// socket per process in the run directory (eth0-51.sock). Server is the
// daemon's side; Client, Discover and View are atropos's.
//
//	GET  /v1/state      Status
//	GET  /v1/is-master  {"master":true}
//	GET  /v1/watch      Events, one JSON object per line, until either side ends
//	GET  /metrics       the same as Status, in the text format of Prometheus
//	POST /v1/backup     Result, when the outcome is known; also
//	                    /v1/hold, /v1/release, /v1/reduce, /v1/increase
//
// Reading is for whoever may connect (the socket is 0660); commands are for
// root and for the user the daemon runs as, as the kernel says who is calling
// (SO_PEERCRED), not as the caller says.
//
// MetricsServer answers /metrics, and nothing else, on a loopback address, too.
//
// What it must never do: make the daemon wait. A status costs the loop some microseconds,
// Feed.Publish drops a reader that is too slow, connections are limited per user, and
// answers are begun no faster than leaves most of a processor to others, so that a flood of
// status requests cannot keep root's --backup out, nor adverts back.
//
// The processes of one machine that share one state (-M) answer one by one.
// They name their group and the epoch of its state; View puts them together
// again: the highest epoch is the truth, and a process that goes on saying
// something else is shown as a disagreement.
package control
