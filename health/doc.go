// Package health watches what a machine needs to be worth electing: the user's check
// commands, interfaces, addresses that must answer on a LAN, and processes.
//
// A check passes or fails. With a weight it changes the priority of the machine;
// without one it holds the machine as long as it fails. A positive weight is added
// while the check passes, a negative one while it fails, as administrators of
// keepalived know it. What that means for the election is decided there; this package
// never touches it, and never waits for it: a Set tells of every change through one
// function.
//
// # What is asked, and what is told
//
// Commands and addresses are asked every interval, because nothing tells of them.
// Interfaces are told by rtnl. The end of a process is told by its pidfd, its
// beginning by its pid file (inotify); only a process that is known by name alone and
// is not there is looked for, once an interval.
//
// # Rise and fall
//
// A check that passes fails after Fall failures in a row, and passes again after Rise
// successes in a row (Gauge). What is told counts as seen again every interval for as
// long as something speaks against the verdict, so rise and fall mean the same for
// all kinds. The very first result decides by itself.
//
// Until that first result a check that was there from the start is pending, which
// counts as a failure: a machine of which nothing is known yet is not better than one
// that is known to be well. One that is added to a machine at work passes until it
// says otherwise, because adding it must not move the machine.
//
// A check that fails whenever the machine is MASTER and is well when it is not would
// move a machine to and fro for ever by its weight: each time it must succeed twice as
// often before it passes again.
package health
