package sim

import "vrrpd/election"

// port is one machine's place on one LAN: the cable, and the interface with the
// virtual addresses (the data plane).
type port struct {
	w     *World
	host  *host
	lan   int
	owner *proc // the process whose member lives here; nil before the first
	vr    int   // its index there

	link    bool  // carrier
	blocked bool  // no frame passes, and the carrier does not show it
	mute    bool  // adverts cannot be sent
	mutedAt int64 // when that last changed
	unfit   bool  // a check of the member fails
	weight  int   // what the checks of the member add to the priority

	spoke int64         // when it last advertised a priority above 0
	up    bool          // interface up, addresses in place
	guard election.Time // frames pass before this; without a guard it is not asked
	gen   int           // grows with every order, so that a late set-up is recognised

	// Served for the last time (or serving since) [from, until); off is when
	// that last ended. Global time.
	was         bool
	from, until int64
	off         int64
}

// passes reports whether frames go in and out. For a virtual machine that is
// paused they wait.
func (t *port) passes() bool { return t.link && !t.blocked && !t.host.asleep }

// serving reports whether the addresses answer on this LAN at this moment.
func (t *port) serving() bool { return t.was && t.w.now < t.until }

// mark must follow everything that may change whether the port serves.
func (t *port) mark() {
	w, before := t.w, t.serving()
	if t.was && !before && t.until < w.now {
		t.was, t.off = false, t.until // the lease has ended meanwhile
	}
	until := int64(never)
	if w.Guard {
		until = t.host.global(t.guard)
	}
	now := t.up && t.link && !t.host.asleep && !t.host.frozen && w.now < until
	switch {
	case now:
		if !before {
			t.from = w.now
		}
		t.was, t.until = true, until
		if !before {
			w.checker.served(w, t)
			w.logf("%s serves %s", t.host.name, w.lans[t.lan].name())
		}
	case t.was:
		t.was, t.until, t.off = false, w.now, w.now
		if before {
			w.logf("%s stops serving %s", t.host.name, w.lans[t.lan].name())
		}
	}
}

// stopped is when the port last stopped serving; for one that serves, now.
func (t *port) stopped() int64 {
	switch {
	case t.serving():
		return t.w.now
	case t.was:
		return t.until
	}
	return t.off
}

// setUp brings the interface up; that takes its time.
func (t *port) setUp(d int64, done func()) {
	t.gen++
	gen, owner := t.gen, t.owner
	t.w.after(d, func() { t.isUp(gen, owner, done) })
}

func (t *port) isUp(gen int, owner *proc, done func()) {
	switch {
	case gen != t.gen || t.owner != owner || !owner.alive:
		return
	case owner.stopped():
		owner.onResume = append(owner.onResume, func() { t.isUp(gen, owner, done) })
		return
	}
	t.up = true
	t.mark()
	if done != nil {
		done()
	}
}

// takeDown removes the addresses.
func (t *port) takeDown() {
	t.gen++
	t.up = false
	t.mark()
}

// open lets the guard pass frames until the given time of the machine's clock.
func (t *port) open(until election.Time) {
	t.guard = until
	t.mark()
}
