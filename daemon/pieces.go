package daemon

import (
	"cmp"
	"slices"
	"time"

	"vrrpd/election"
)

const (
	// advertPiece is how many adverts of the grid are sent at a time, which takes 0.5 to
	// 1.2 ms. Waking up for them costs 12 us.
	advertPiece = 128
	// atOnce is how many are not worth being divided.
	atOnce = 2 * advertPiece
	// Each of them is given a slot of time. An advert takes 3 to 6 us, by what the other
	// processors do meanwhile: a wide slot has room for that. A thousand wide ones are over
	// before the runtime takes a processor away from who has had it for 10 ms (--realtime).
	// The narrow one is the least that an interval must have room for, and the first where
	// it is not known what adverts take.
	narrowSlot, wideSlot = 6 * time.Microsecond, 8 * time.Microsecond
	// widening is by how much slots grow from one interval to the next, from what adverts
	// took that were sent at once. The last one of a thousand is late by half a millisecond
	// each time.
	widening = 500 * time.Nanosecond
)

// pieces are the adverts of a grid, if they are many. A thousand take 3 to 6 ms, so what
// comes last would be early or late by as much as all before it have been quick or slow,
// and whatever else is due would wait for all of them. In pieces, each of which has a time
// of its own within the interval, an advert is as late as its piece begins and takes.
//
// That is for adverts which repeat what the peers know. Those that begin or end something
// leave at once, and what is left of the pieces before them.
type pieces struct {
	left    []election.Action // DoAdverts, neighbours of one parent
	at      int64             // boottime ns: when the next piece is due
	decided int64             // boottime ns
	slot    time.Duration     // of one advert; if all have been sent at once, what each took; 0: not known
	sent    int               // of Daemon.results, how many tell that an advert has been sent
	sorted  []election.Action // all of them
}

// inPieces reports whether the actions of a step are adverts of the grid that need not
// leave at once, and takes them over.
func (d *Daemon) inPieces(actions []election.Action) bool {
	x := &d.pieces
	n := len(actions)
	room := d.interval() / 4 / time.Duration(max(n, 1))
	repeats := func(a election.Action) bool { return a.Kind == election.DoAdvert && a.Priority > 0 }
	if n <= atOnce || room < narrowSlot || d.standing || d.heir != nil || !everyOne(actions, repeats) {
		return false
	}
	x.slot = min(cmp.Or(x.slot, narrowSlot-widening)+widening, wideSlot, room)
	x.sorted = append(x.sorted[:0], actions...)
	byLAN := func(a, b election.Action) int { return cmp.Compare(d.lanOf[a.VR], d.lanOf[b.VR]) }
	if !slices.IsSortedFunc(x.sorted, byLAN) {
		slices.SortStableFunc(x.sorted, byLAN)
	}
	// They have their places on the grid, however late the loop has come to the first one.
	x.left, x.decided = x.sorted, boottime()
	x.at = min(d.verdictAt, x.decided)
	return true
}

// tookAtOnce notes how long many adverts took that were sent at once, or what was left of
// them. Those that were refused took next to nothing.
func (x *pieces) tookAtOnce(n int, took time.Duration) {
	if n > atOnce {
		x.slot = max(took/time.Duration(n), narrowSlot/2)
	}
}

func everyOne(actions []election.Action, are func(election.Action) bool) bool {
	return !slices.ContainsFunc(actions, func(a election.Action) bool { return !are(a) })
}

// passes reports that what is left of the pieces may be said after an action, too: it
// changes nothing of what they say.
func passes(a election.Action) bool {
	switch a.Kind {
	case election.DoRenew, election.DoAnnounce, election.DoProbe, election.DoHook, election.DoReport:
		return true
	}
	return false
}

// nextPiece sends the piece that is due; before actions that must not pass them, all of
// what is left. What was decided half an interval ago is decided again instead.
func (d *Daemon) nextPiece(before []election.Action) {
	x := &d.pieces
	now := boottime()
	whole := !everyOne(before, passes)
	if len(x.left) == 0 || !whole && now < x.at {
		return
	}
	n := min(len(x.left), advertPiece)
	if whole {
		n = len(x.left)
	}
	run := x.left[:n]
	x.left = x.left[n:]
	x.at += int64(n) * int64(x.slot)
	if now-x.decided >= int64(d.interval())/2 {
		return
	}
	d.advertise(slices.DeleteFunc(run, func(a election.Action) bool { return d.byVR[a.VR] == nil }))
	if len(x.left) == 0 {
		d.announcer.resume(boottime())
	}
}

// pieceAt is when the next piece is due.
func (d *Daemon) pieceAt() int64 {
	if len(d.pieces.left) == 0 {
		return maxTime
	}
	return d.pieces.at
}

// aside does what is due without asking the election, when nothing has happened but for
// errands: it sends a piece, or announces. It reports whether that is all. The election,
// which looks at every virtual router in each of its steps, is told of the adverts sent when
// all pieces are, with the times at which they were, and of anything else at once.
func (d *Daemon) aside() bool {
	if d.bell.Called() && d.inbox.errands.empty() || d.inbox.news() || d.board.Load() != d.machine.View().Word {
		return false
	}
	now := boottime()
	if now >= min(d.verdictAt, d.elseAt()) || now-d.turns.last >= int64(d.interval())/2 {
		return false
	}
	d.nextPiece(nil)
	d.announceSome()
	return len(d.results) == 0 || d.untold()
}

// untold reports that all there is to tell the election is what the end of the pieces will
// tell, too: adverts that have been sent.
func (d *Daemon) untold() bool {
	return len(d.pieces.left) > 0 && len(d.results) == d.pieces.sent && len(d.afterStep) == 0
}
