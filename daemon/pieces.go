package daemon

import (
	"cmp"
	"slices"
	"time"

	"vrrpd/election"
)

const (
	// advertPiece is how many adverts of the grid are sent at a time, 1 to 2 ms.
	advertPiece = 256
	// advertSlot is the time that each of them is given: somewhat more than it takes.
	advertSlot = 7 * time.Microsecond
)

// pieces are the adverts of a grid, if they are many. A thousand take 4 to 7 ms, so what
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
	sorted  []election.Action // all of them
}

// inPieces reports whether the actions of a step are adverts of the grid that need not
// leave at once, and takes them over.
func (d *Daemon) inPieces(actions []election.Action) bool {
	n := len(actions)
	if n <= advertPiece || time.Duration(n)*advertSlot > d.interval()/4 || d.standing || d.heir != nil {
		return false
	}
	if slices.ContainsFunc(actions, func(a election.Action) bool { return a.Kind != election.DoAdvert || a.Priority == 0 }) {
		return false
	}
	x := &d.pieces
	x.sorted = append(x.sorted[:0], actions...)
	slices.SortStableFunc(x.sorted, func(a, b election.Action) int {
		return cmp.Compare(d.byVR[a.VR].parent.lan, d.byVR[b.VR].parent.lan)
	})
	// They have their places on the grid, however late the loop has come to the first one.
	x.left, x.decided = x.sorted, boottime()
	x.at = min(d.verdictAt, x.decided)
	return true
}

// nextPiece sends the piece that is due; with all of them what is left. What was decided an
// interval ago is decided again instead.
func (d *Daemon) nextPiece(all bool) {
	x := &d.pieces
	now := boottime()
	if len(x.left) == 0 || !all && now < x.at {
		return
	}
	n := min(len(x.left), advertPiece)
	if all {
		n = len(x.left)
	}
	run := x.left[:n]
	x.left = x.left[n:]
	x.at += int64(n) * int64(advertSlot)
	if now-x.decided >= int64(d.interval())/2 {
		return
	}
	d.advertise(slices.DeleteFunc(run, func(a election.Action) bool { return d.byVR[a.VR] == nil }))
}

// pieceAt is when the next piece is due.
func (d *Daemon) pieceAt() int64 {
	if len(d.pieces.left) == 0 {
		return maxTime
	}
	return d.pieces.at
}
