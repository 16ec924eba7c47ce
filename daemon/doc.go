// Package daemon owns every virtual router of one process and wires the rooms
// together: a packet comes in through lan and is judged by vrrp; election
// decides; vmacif, lan and hooks carry the decision out; grouplock shares it
// with the machine's other processes; control and sysd tell people.
//
// One goroutine owns the truth: the loop. It reads adverts itself. Readers of the rest
// (kernel events, the group's doorbell, the control socket, signals)
// decode and post to the inbox, and touch nothing else. What is slow runs
// elsewhere and its result comes back through the inbox: taking an interface
// down waits for the kernel, commands of the user may sleep an hour, journald
// may be stuck; no advert waits for any of them.
//
// What must never happen here: a decision. Whatever could be argued about is in
// package election, where it can be tested without a kernel.
//
//	process.go   several groups in one process, and reloading their file
//	start.go     setting everything up, and taking it down in reverse
//	loop.go      the loop: wait, hear, drain, step, carry out; errands
//	inbox.go     what others post, and how the loop is woken
//	pile.go      what any goroutine leaves for the loop, without a mutex
//	agenda.go    what is due later: repeated announcements
//	worker.go    what must not be waited for
//	parent.go    one parent interface: its port, its adverts in
//	links.go     what the kernel says of links and addresses becomes facts
//	carryout.go  actions of the election become frames and interfaces
//	announce.go  gratuitous ARP: where addresses live now
//	flood.go     how many valid adverts are judged
//	router.go    one virtual router: its prebuilt frames
//	members.go   which virtual routers there are
//	reload.go    another configuration while everything goes on
//	carrier.go   what has its addresses: an interface, or the parent itself
//	peers.go     adverts to and from unicast peers
//	iface.go     its interface: set-up, retries, repairs
//	group.go     the other processes: doorbell, the dead, their cleaning
//	hooks.go     the user's commands
//	notify.go    one voice for several groups
//	checks.go    the user's checks become facts of the election
//	report.go    transitions and alarms become log records, STATUS and history
//	survey.go    what the loop notes when somebody asks for the state
//	status.go    what the control socket makes of that, off the loop
//	metrics.go   Prometheus on a loopback address, for all groups
//	command.go   what the operator asks for, and when that is done
//	signals.go   the same by signals
//	auth.go      signing what is sent, what authentication has proven, reload of keys
//	authfile.go  numbers that survive a restart
//	authtext.go  what is wrong with a peer's authentication, in words
//	keyfile.go   keys in files
//	release.go   vrrpd --release and --check
package daemon
