package daemon

import (
	"runtime"
	"time"
)

// breathAhead is how long before many adverts are due the loop takes breath: for that, it
// has to be let go on by another thread.
const breathAhead = 2500 * time.Microsecond

// breathAt is when the loop takes breath, if it is on a real-time thread and many adverts
// are due next, of a MASTER. The runtime takes a processor of its own away from who has had
// it for 10 ms, waiting in the kernel included, and who has a thread for himself does not go
// on before a thread of ordinary priority has handed him another one: half a millisecond, or
// several. It would do so in the middle of the adverts, as a rule. Who has just given it
// away himself has 10 ms.
func (d *Daemon) breathAt() int64 {
	many := d.serves.Load() && len(d.routers) > atOnce
	if d.realtime == nil || !many || d.breathed == d.verdictAt || len(d.pieces.left) > 0 {
		return maxTime
	}
	return d.verdictAt - int64(breathAhead)
}

// breathe does so, and reports whether there is nothing else to do, as far as is known.
func (d *Daemon) breathe() bool {
	if d.bell.Called() || boottime() < d.breathAt() {
		return false
	}
	d.breathed = d.verdictAt
	if boottime() > d.verdictAt-int64(breathAhead)/2 {
		return false // too late for that
	}
	runtime.Gosched()
	return true
}
