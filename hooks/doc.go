// Package hooks runs the user's -U and -D commands: in order, one at a time,
// time-limited, and never in the way of the election.
//
// Runner.Post only puts a Job down; Runner.Run, in a goroutine of its own,
// executes. Whatever a command does (hang, fail, be missing, flood its output,
// leave children behind) ends in a Result and changes nothing else.
//
// # What waits
//
// The election may change sides faster than scripts run. Of what waits only
// that is kept which the machine's state still needs, and the last command run
// is always the one of the present state:
//
//   - a job for the same state as the last one waiting replaces it: the newer
//     facts count;
//   - at most two jobs wait. A third can only return to the state of the first
//     (MASTER runs; BACKUP and MASTER wait; BACKUP comes): what lies between
//     the two has never begun, so its job and the older of the two go, and the
//     newer one waits in their place.
//
// What runs is never cut short for a newer job, and the first job waiting is
// not dropped because it leads back to what runs: a MASTER script that began
// before a BACKUP may have done half of its work on addresses that have gone
// since, so both run again.
//
// Post every transition, also one without a command (an empty Argv): it runs
// nothing, and takes part in the above. Otherwise a -U without a -D could run
// when the machine is BACKUP again.
//
// # What a command sees
//
// What every program of the user sees (package child), and the nine VRRP_* of Job.
package hooks
