package lan

import "time"

// Reading a frame costs half a microsecond in a batch, and ten times as much when
// the reader is woken for it alone. Whoever sends a hundred thousand forged frames
// per second could so take half of a processor. So a reader to whom more comes
// than fifty virtual routers have to say reads at intervals: what has come meanwhile is
// read, and counted, all the same. What comes first is read at once, be it priority 0.
const (
	paceWindow = int64(10 * time.Millisecond)
	// paceFrames per paceWindow are 5,000 per second.
	paceFrames = 50
	// In the longest pause 100,000 frames per second fill less than half of the
	// buffer.
	shortestPause, longestPause = time.Millisecond, 10 * time.Millisecond
)

// pace tells when to read at intervals.
type pace struct {
	since  int64 // boottime ns of the window's beginning
	frames int   // in the window
	busy   bool
	length time.Duration // of a pause
	memory int64         // ns: for how long a window with many frames tells of the next one
}

// newPace makes pauses of a tenth of the interval between adverts, as far as the
// buffer allows: what is read late by that much is not late.
func newPace(interval time.Duration) pace {
	return pace{length: min(max(interval/10, shortestPause), longestPause), memory: 2 * int64(interval)}
}

// flooded counts frames that were read until nothing was left, and reports whether to
// pause. Where the last ones were many, as of a master with many virtual routers an interval
// ago, those that now begin to come will be, too: they gather from the first one on.
func (p *pace) flooded(frames int, now int64) bool {
	if frames == 0 {
		return false
	}
	if elapsed := now - p.since; elapsed >= paceWindow {
		p.busy = p.frames > paceFrames && elapsed < max(2*paceWindow, p.memory)
		p.since, p.frames = now, 0
	}
	p.frames += frames
	p.busy = p.busy || p.frames > paceFrames
	return p.busy
}
