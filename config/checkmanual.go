package config

// checksManual is the part of vrrpd.toml(5) about checks.
const checksManual = `.SH CHECKS
A machine with a check that fails is held, if the check has no weight: it hands over at
once if it is MASTER, is not elected, and waits for the hold-down when the check passes
again.
A check that fails whenever this machine is MASTER and passes when it is not makes the
hold-down (or with a weight, the time for which it must be well) twice as long each time.
.PP
With a weight it changes the priority of the group, which all virtual routers share.
Only the order of the machines counts: with priority 150 here and 100 there a weight of
\-40 changes the adverts and nothing else, and one of \-60 makes the other machine take
over.
That is a hand-over like any other: its hole is some milliseconds.
The other machine must preempt for that.
.PP
Which one to choose: hold what this machine cannot do without (nothing behind it is
reached); give a weight to what both machines may lose at the same time, so that one of
them goes on serving.
.PP
.B atropos \-\-state
shows every check, since when it is as it is, and what it said last; each change is in the
journal.
At the start a check has not passed until it has said so.
.PP
A machine that is cut off by a switch keeps its carrier, hears no other MASTER, and
serves a LAN on which nobody is; its other LANs go with it.
It notices by a check of the gateway and the other machine:
.PP
.nf
.RS
[[check]]
name = "lan"
interface = "eth0"
address = ["10.16.1.254", "10.16.1.3"]
.RE
.fi
.PP
A service that has to run, and a line whose loss makes this machine the worse one, but
not useless:
.PP
.nf
.RS
[[check]]
name = "named"
process = "named"

[[check]]
name = "uplink"
interface = "eth2"
weight = \-60
.RE
.fi
.PP
A program of one's own; as it is a list, every part is one argument, and no shell has a
say:
.PP
.nf
.RS
[[check]]
name = "web"
command = ["/usr/local/bin/check\-web", "\-\-timeout", "2"]
user = "nobody"
interval = 5
timeout = 3
weight = \-60
.RE
.fi
`
