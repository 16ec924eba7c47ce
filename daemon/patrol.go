package daemon

import "time"

// Some of what others do nobody tells: a guard of TCX that is removed, a sysctl that is
// written by way of another mount of /proc. A machine in that condition works until
// its processes die, and then answers beside its successor. So each interface is looked
// at now and then, some after the others.
const (
	// patrolEvery is how often some are looked at, which is all if they are few.
	patrolEvery = 5 * time.Second
	// patrolled is how many: a look costs 0.05 ms of a processor, but to wake the worker for
	// it several times of that.
	patrolled = 5
)

// patrol looks at some routers, later, and then at the next ones. There may be none for a
// while, and others the next time.
func (d *Daemon) patrol(n int) {
	d.agenda.idly(boottime()+int64(patrolEvery), func() {
		some := min(len(d.routers), patrolled)
		for i := range some {
			r := d.routers[(n+i)%len(d.routers)]
			d.inspect(r)
			d.checkUntold(r)
		}
		d.patrol(n + some)
	})
}
