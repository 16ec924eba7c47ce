package grouplock

import (
	"errors"
	"fmt"

	"vrrpd/election"
)

// A group file is what the processes of a group share, in words of 64 bits:
const (
	grpMagic   = iota // groupMagic
	grpVersion        // groupVersion<<32 | MaxProcesses
	grpBoot0          // boot id
	grpBoot1          //
	grpWord           // election.Word
	grpWishes         // packed election.Wishes
	grpBell           // one byte is written here with pwrite when a process comes or goes
	grpSlots   = 16   // then, for each slot, two {epoch, time}, by the lowest bit of the epoch

	groupWords = grpSlots + 4*(MaxProcesses+1)
	groupBytes = 8 * groupWords

	groupMagic   = 0x565252_50_44_47_52_31 // "VRRPDGR1"
	groupVersion = 1
)

var errNoGroup = errors.New("no group record of this boot")

// checkGroup decides whether the content of a group file can be used as it is.
func checkGroup(c *cells, boot [2]uint64) error {
	switch {
	case len(c.words) < groupWords || c.load(grpMagic) == 0:
		return errNoGroup
	case c.load(grpMagic) != groupMagic:
		return fmt.Errorf("not a vrrpd group file (magic %#x)", c.load(grpMagic))
	case c.load(grpVersion) != groupVersion<<32|MaxProcesses:
		return fmt.Errorf("written by another version of vrrpd (format %#x)", c.load(grpVersion))
	case [2]uint64{c.load(grpBoot0), c.load(grpBoot1)} != boot:
		return errNoGroup
	}
	return nil
}

// clearGroup starts a group from nothing.
func clearGroup(c *cells, boot [2]uint64) {
	c.store(grpMagic, 0)
	for i := 1; i < groupWords; i++ {
		c.store(i, 0)
	}
	c.store(grpVersion, groupVersion<<32|MaxProcesses)
	c.store(grpBoot0, boot[0])
	c.store(grpBoot1, boot[1])
	c.store(grpMagic, groupMagic)
}

// memory is what the word and its time lie in: cells, or in tests cells between
// whose operations something else may happen.
type memory interface {
	load(i int) uint64
	store(i int, v uint64)
	swap(i int, old, new uint64) bool
}

// swapWord is the only way in which the word changes. The time goes first, into
// the one of the slot's two cells that cannot belong to the present word: a
// reader who sees the new word finds its time, and a loser has destroyed nothing.
func swapWord(c memory, slot uint8, old, new election.Word, at election.Time) bool {
	if new.Epoch() != old.Epoch()+1 || c.load(grpWord) != uint64(old) {
		return false
	}
	i := sinceCell(slot, new.Epoch())
	c.store(i, 0)
	c.store(i+1, uint64(at))
	c.store(i, new.Epoch())
	return c.swap(grpWord, uint64(old), uint64(new.WithSlot(slot)))
}

// sinceWord is when the present word was set; 0 if its author is not known.
func sinceWord(c memory) election.Time {
	for {
		w := election.Word(c.load(grpWord))
		if w.Slot() > MaxProcesses {
			return 0
		}
		i := sinceCell(w.Slot(), w.Epoch())
		epoch, at := c.load(i), c.load(i+1)
		if epoch == w.Epoch() && c.load(i) == epoch {
			return election.Time(at)
		}
		if election.Word(c.load(grpWord)) == w {
			return 0
		}
	}
}

func sinceCell(slot uint8, epoch uint64) int {
	return grpSlots + 4*int(slot) + 2*int(epoch&1)
}

const (
	wishSoft = 1 << iota
	wishHold
	wishPriorityShift = 8
)

func packWishes(w election.Wishes) uint64 {
	v := uint64(w.Priority) << wishPriorityShift
	if w.Soft {
		v |= wishSoft
	}
	if w.Hold {
		v |= wishHold
	}
	return v
}

func unpackWishes(v uint64) election.Wishes {
	return election.Wishes{
		Soft:     v&wishSoft != 0,
		Hold:     v&wishHold != 0,
		Priority: uint8(v >> wishPriorityShift),
	}
}
