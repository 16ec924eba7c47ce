// Package sysd is how vrrpd talks to the machine it lives on: readiness, status
// and watchdog to the service manager, and log records to the journal, to
// syslog or to a person's terminal.
//
// It exists so that none of this ever runs on the election loop. Everything
// here is posted without blocking and written by a goroutine that lives in a
// Run(ctx); a stuck journald, a full pipe or a busy service manager costs log
// records (which are counted and reported), never an advert.
//
// What it must never do: send WATCHDOG=1 by itself. There is no ticker in this
// package; the keep-alive goes out because the loop said, just then, that it is
// alive.
//
// # What a record looks like
//
// The same sentence is MESSAGE in the journal and the line on stderr and in
// syslog, because at three in the morning nobody asks for the fields:
//
//	vrrp51: BACKUP -> MASTER: master-timeout (peer 192.0.2.2) vrid=51 parent=eth0
//
// First the interface (key vrrp_interface), then the message, then what the
// message does not say already, as key=value. The journal gets every key in a
// field of its own besides (vrrp_vrid becomes VRRP_VRID, so that
// journalctl VRRP_VRID=51 works), in full length; see the Key constants.
//
// # Time stamps
//
// The journal and syslog have their own. On stderr there is none if stderr is
// connected to the journal (that is also when the native protocol is used
// instead), a short one (15:04:05.000) on a terminal, where a person watches,
// and a full one (RFC 3339 with milliseconds and zone) in a file or a pipe,
// which is read days later.
//
// # SIGPIPE
//
// A stderr whose reader went away kills a Go program by SIGPIPE at its next
// os.Stderr.Write. The handler here writes with the bare system call, which
// only returns EPIPE; for everything else that may write to descriptors 1 and
// 2, main calls SurviveSIGPIPE first thing.
package sysd
