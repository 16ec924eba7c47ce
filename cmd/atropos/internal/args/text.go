package args

// Text is what --help prints.
const Text = `usage: atropos [-f DIR] [--json] COMMAND

Shows and changes the VRRP state of this machine as a whole. Each command may be
written as --state, -state or state.

  --state      the machine, why it is in this state, and each virtual router
  --why        the last transitions, each with its reason
  --watch      a live table on a terminal (q ends), else events, one line each
  is-master    nothing but an exit code: 0 this machine is MASTER, 1 it is not

  --backup     the whole machine goes BACKUP now; it does not take the state back
               by itself, but still takes over if the other machine dies
  --hold       not even then, until --release
  --release    forget --backup and --hold
  --reduce     priority -10, or what vrrpd -z says
  --increase   priority +10, or what vrrpd -x says
  --reload     vrrpd reads its configuration file, or its keys, again; what has
               not changed goes on without a gap
  --reexec     every vrrpd goes on as the program that is installed now, one after
               the other: same process, nothing fails over

  --help, --version

  -f DIR       run directory of vrrpd (VRRPD_RUN_DIR, or ` + DefaultRunDir + `)
  --json       the same for programs, with the names of RFC 8347

exit: 0 done; 1 refused or failed; 2 wrong usage; 3 no vrrpd is running here
`
