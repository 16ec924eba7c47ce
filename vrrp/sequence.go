package vrrp

import "errors"

// ErrUsedUp: every number of an Authentication Header has been used with this key.
var ErrUsedUp = errors.New("the sequence numbers of this key are used up: give all machines another one")

const (
	// aheadAH and aheadTrailer are how far a reserve lies ahead of the numbers in use:
	// far enough that it needs to be stored rarely, and near enough that peers take
	// what has that number for fresh.
	aheadAH      = 256
	aheadTrailer = 2 * second
	// spareTrailer is what is reserved at least: 16 million numbers, or 4 ms.
	spareTrailer = second >> 8
)

// Sequence is the numbering of what one virtual router sends. It is a value that the
// caller owns.
//
// No number may be used twice, by a process that was killed and its successor least
// of all. So numbers are reserved before they are used: Reserve is stored (and one
// message, the last word of a dead process, may be signed with it in advance), and a
// restart begins behind it.
type Sequence struct {
	Last    uint64 // the last number used
	Reserve uint64 // everything up to it may have been used by the time somebody reads it
}

// Begin continues a numbering from a stored reserve (0: none) at the start, or burns
// the present one: what was signed with it may have been sent by somebody else.
func (a *Auth) Begin(s *Sequence, reserve uint64, clock Stamp) {
	switch a.Kind() {
	case HeaderAuth:
		// The seconds of the clock are ahead of whatever a former life has sent, if
		// nothing was stored (RFC 2402 wants a counter; nothing says where it starts).
		s.Last = max(s.Last, reserve, uint64(clock.seconds()))
	case TrailerAuth:
		if reserve != 0 && (s.Last == 0 || Stamp(reserve).after(Stamp(s.Last))) {
			s.Last = reserve
		}
	}
	s.Reserve = 0
}

// Heard makes us speak above a number that a peer has used: keepalived compares
// ours with the last number of anybody.
func (a *Auth) Heard(s *Sequence, sequence uint64) {
	if a.Kind() == HeaderAuth {
		s.Last = max(s.Last, sequence)
	}
}

// Next is the number for the next packet. clock is the present time of day.
//
// A trailer's is the clock itself, and one more than the last when the clock has not
// gone on. Under ByTime a clock that was set back by more than the window starts the
// numbering again: peers want it near theirs.
func (a *Auth) Next(s *Sequence, clock Stamp) (uint64, error) {
	switch a.Kind() {
	case HeaderAuth:
		if s.Last >= lastAHSequence {
			return 0, ErrUsedUp
		}
		s.Last++
	case TrailerAuth:
		last := Stamp(s.Last)
		leads := last.after(clock) && last.away(clock) > int64(a.config.Window)
		switch {
		case s.Last == 0 || clock.after(last), a.config.Replay == ByTime && leads:
			s.Last = uint64(clock)
		default:
			s.Last++
		}
	}
	return s.Last, nil
}

// Spent reports whether it is time to reserve anew: half of the reserve is used, or
// the clock was set.
func (a *Auth) Spent(s *Sequence, clock Stamp) bool {
	if s.Reserve == 0 {
		return true
	}
	if a.Kind() == HeaderAuth {
		return s.Reserve < s.Last+aheadAH/2
	}
	reserve, last := Stamp(s.Reserve), Stamp(s.Last)
	if clock.after(last) {
		last = clock
	}
	return !reserve.after(Stamp(s.Last)+spareTrailer/2) || !reserve.after(clock+a.ahead()/2) || reserve.after(last+2*aheadTrailer)
}

// Renew reserves numbers anew and returns the reserve, to be stored.
func (a *Auth) Renew(s *Sequence, clock Stamp) uint64 {
	if a.Kind() == HeaderAuth {
		s.Reserve = min(s.Last+aheadAH, lastAHSequence)
		return s.Reserve
	}
	// A numbering that leads the clock, after a restart, is not to lead it by more with
	// every further one: peers have a window.
	reserve, least := clock+a.ahead(), Stamp(s.Last)+spareTrailer
	if s.Last != 0 && least.after(reserve) {
		reserve = least
	}
	s.Reserve = uint64(reserve)
	return s.Reserve
}

// ahead is how far a trailer's reserve lies ahead of the clock.
func (a *Auth) ahead() Stamp {
	// One with a window of a second is not to be stale before it is sent.
	if a.config.Replay == ByTime && a.config.Window < 2 {
		return second
	}
	return aheadTrailer
}
