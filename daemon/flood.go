package daemon

import "time"

// Of valid adverts the election needs few: facts are level-triggered, and of many
// that come within a few milliseconds the highest priority decides. A flood of
// forged ones must not keep the loop busy. Without authentication nobody can tell
// a forged advert from a true one, so none is judged by its sender: what is let
// through is the first floodBudget of each window, and whatever has a higher
// priority than all of these.
//
// What is dropped could only have said again what others have said: that there is a
// master of this priority or a lower one. A true master's advert is dropped only
// while others of the same or of a higher priority are believed.
const (
	floodWindow = int64(10 * time.Millisecond)
	floodBudget = 16
)

// floodgate counts the valid adverts for one virtual router. Guarded by the mu of
// its parent.
type floodgate struct {
	since   int64 // boottime ns of the window's beginning
	adverts int   // in the window
	zeros   int   // those of them that resign; they have a budget of their own
	highest uint8
}

// drops counts an advert of the priority and reports whether it is one too many.
func (g *floodgate) drops(priority uint8, now int64) bool {
	if now-g.since >= floodWindow {
		*g = floodgate{since: now}
	}
	if priority == 0 {
		g.zeros++
		return g.zeros > floodBudget
	}
	g.adverts++
	if g.adverts > floodBudget && priority <= g.highest {
		return true
	}
	g.highest = max(g.highest, priority)
	return false
}
