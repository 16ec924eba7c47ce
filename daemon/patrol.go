package daemon

import "time"

// Some of what others do nobody tells: a guard of TCX that is removed, a sysctl that is
// written by way of another mount of /proc. A machine in that condition works until
// its processes die, and then answers beside its successor. So each interface is looked
// at now and then, one after the other.
const (
	// patrolRound is how long it takes to look at all, if they are few.
	patrolRound = 5 * time.Second
	// patrolStep is the least time between two: a look costs 0.1 ms of a processor.
	patrolStep = time.Second
)

// patrol looks at a router, later, and then at the next one. There may be none for a
// while, and others the next time.
func (d *Daemon) patrol(n int) {
	every := max(patrolRound/time.Duration(max(len(d.routers), 1)), patrolStep)
	d.agenda.idly(boottime()+int64(every), func() {
		if len(d.routers) > 0 {
			r := d.routers[n%len(d.routers)]
			d.inspect(r)
			d.checkUntold(r)
		}
		d.patrol(n + 1)
	})
}
