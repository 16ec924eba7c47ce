package siblings

import (
	"time"

	"vrrpd/election"
)

// Sibling is what is known of another process of the machine that is dead or stuck.
type Sibling struct {
	// Realised is the last word that it had carried out, or was about to if that
	// one serves.
	Realised election.Word
	Expelled bool // the election says so of its facts; false if it has published none
}

// Machine is what whoever takes care of a sibling knows of the machine.
type Machine struct {
	Word     election.Word
	Interval time.Duration // of the adverts
}

// Burial is what one process does for another that cannot do it any more, for each
// of its virtual routers: close its guard, take its addresses away, and then say
// what it would have said.
type Burial struct {
	// Words are when priority 0 is said for each of its virtual routers, counted
	// from now; none if it served nothing.
	Words []time.Duration

	epoch uint64
}

// Bury is the burial of a sibling that has died. Whoever has taken its lock does
// this, and only he.
func Bury(dead Sibling, m Machine) Burial {
	b := Burial{epoch: m.Word.Epoch()}
	if dead.Realised.State().Serving() && !dead.Expelled {
		words := election.ResignTimes(m.Interval)
		b.Words = words[:]
	}
	return b
}

// Expel is what a survivor does for a sibling that lives, when the machine was in
// the state from and has just become HELD because one is stuck; it does nothing for
// those that are not. The lock of a stuck one cannot be taken, so all survivors take
// its addresses away, which does no harm twice. The one that has made the
// transition, and has the slot, speaks, if it is one that ends a service: otherwise
// the machine has left before, and another one serves.
func Expel(s Sibling, from election.State, m Machine, slot uint8) (b Burial, ok bool) {
	b.epoch = m.Word.Epoch()
	if !s.Expelled {
		return b, false
	}
	if s.Realised.State().Serving() && from.Serving() && m.Word.Slot() == slot {
		words := election.ResignTimes(m.Interval)
		b.Words = words[:]
	}
	return b, true
}

// Holds reports whether the word for the other one may still be said: a later epoch
// has words of its own, and it may be served again by then.
func (b Burial) Holds(now election.Word) bool { return now.Epoch() == b.epoch }
