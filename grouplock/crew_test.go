package grouplock

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"vrrpd/election"
	"vrrpd/internal/interleave"
)

// A crew is the processes of one machine: real elections, each with the loop of
// the daemon around it, over a group file and records that lie in plain memory.
// Every operation of the board, and every send, is a point at which the others
// may run.
type crew struct {
	common *cells
	procs  []*sibling
	trail  []election.Word // every transition won, since the scene began
	errs   []error
	setting
	// young: not everybody had published when the scene began. Once that is
	// done, nobody who counts can notice when he does.
	young bool
}

// setting is how a crew is built, and what a mutation switches off in it.
type setting struct {
	bare    bool // there is no guard
	blind   bool // the swap of the word does not compare
	noFence bool // actions are carried out whatever the word says
	without election.Rules
}

// sibling is one process, with one virtual router, and what it has made of the
// data plane.
type sibling struct {
	crew    *crew
	slot    uint8
	at      func(interleave.Op) // nil: nobody else runs
	record  *cells
	machine *election.Machine
	now     election.Time
	results []election.Event
	acts    []election.Action

	up    bool          // DoPromote was carried out last, not DoDemote
	guard election.Time // open until then
	// stale: an advert has left in another epoch than the one it was decided
	// in, and no priority 0 has followed.
	stale bool
	// superior: a better master is on the LAN, and answers every advert of ours.
	superior bool
	answered bool // what it says has not been read yet
	gone     bool // DoExit
}

var _ election.Board = (*sibling)(nil)

// What is shared: the word with its time, the wishes, and each one's facts.
const (
	theWord   interleave.Objects = 1
	theWishes interleave.Objects = 2
)

func factsOf(slot uint8) interleave.Objects { return 2 << slot }

func (s *sibling) point(name string, reads, writes interleave.Objects) {
	if s.at != nil {
		s.at(interleave.Op{Name: name, Reads: reads, Writes: writes})
	}
}

func (s *sibling) Load() election.Word {
	s.point("load", theWord, 0)
	return s.crew.word()
}

func (s *sibling) Since() election.Time {
	s.point("since", theWord, 0)
	return sinceWord(s.crew.common)
}

func (s *sibling) Swap(old, new election.Word, at election.Time) bool {
	s.point(fmt.Sprintf("swap %v to %v (%v)", old.State(), new.State(), new.Reason()), theWord, theWord)
	c := s.crew
	before := c.word()
	if c.blind {
		old = before.WithSlot(before.Slot())
		new = election.MakeWord(old.Epoch()+1, new.State(), new.Reason())
	}
	if !swapWord(c.common, s.slot, old, new, at) {
		return false
	}
	if c.word().Epoch() != before.Epoch()+1 {
		c.failf("epoch %d follows %d", c.word().Epoch(), before.Epoch())
	}
	c.trail = append(c.trail, c.word())
	return true
}

func (s *sibling) Others(dst []election.Facts) []election.Facts {
	all := interleave.Objects(0)
	for _, q := range s.crew.procs {
		if q != s {
			all |= factsOf(q.slot)
		}
	}
	s.point("read the others", all, 0)
	for _, q := range s.crew.procs {
		if q != s && !q.gone && q.record.load(recPublished) != 0 {
			var f election.Facts
			factsLatch(0).read(q.record, blockOf(&f)[:])
			dst = append(dst, f)
		}
	}
	return dst
}

func (s *sibling) Publish(own []election.Facts) {
	latch := factsLatch(0)
	if block := blockOf(&own[0]); s.record.load(recPublished) != 0 && *block == *latch.copy(s.record, s.record.load(latch.at)) {
		return // nobody could tell
	}
	s.point("publish", 0, factsOf(s.slot))
	latch.writeFacts(s.record, blockOf(&own[0]))
	s.record.store(recPublished, 2)
}

// Ring does nothing: whoever can be rung steps until nothing changes any more.
func (s *sibling) Ring() {}

func (s *sibling) Missing() int {
	missing := len(s.crew.procs) - 1
	for _, q := range s.crew.procs {
		if q != s {
			if s.crew.young {
				s.point("count", factsOf(q.slot), 0)
			}
			if !q.gone && q.record.load(recPublished) != 0 {
				missing--
			}
		}
	}
	return missing
}

func (s *sibling) Wishes() election.Wishes {
	s.point("wishes", theWishes, 0)
	return unpackWishes(s.crew.common.load(grpWishes))
}

func (s *sibling) Wish(old, new election.Wishes) bool {
	s.point("wish", theWishes, theWishes)
	return s.crew.common.swap(grpWishes, packWishes(old), packWishes(new))
}

// newCrew is a machine whose n processes have not started yet.
func newCrew(n int, b setting) *crew {
	c := &crew{common: &cells{words: make([]uint64, groupWords)}, setting: b}
	clearGroup(c.common, [2]uint64{1, 2})
	for i := range n {
		s := &sibling{crew: c, slot: uint8(i + 1), now: crewEpoch,
			record: &cells{words: make([]uint64, recordBytes(1)/8)}}
		s.machine = election.New(election.Config{Guard: !b.bare, Without: b.without}, s, []election.Router{{
			Family: 4, VRID: uint8(51 + i), Version: 3, Priority: 100, Interval: time.Second, Preempt: true,
			VIP:    netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}),
			Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + 32*i)}),
		}})
		c.procs = append(c.procs, s)
	}
	return c
}

const crewEpoch = election.Time(1000 * time.Second)

func (c *crew) word() election.Word { return election.Word(c.common.load(grpWord)) }

func (c *crew) failf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (s *sibling) start(now election.Time) {
	s.now = max(s.now, now)
	s.acts = s.machine.Start(s.now, s.acts[:0])
	s.carryOut()
	s.settle()
}

// turn is one turn of the loop: step, carry out, and step with what came of it.
func (s *sibling) turn(now election.Time, events ...election.Event) {
	s.now = max(s.now, now)
	if s.at == nil && s.answered {
		s.answered = false
		events = append(events, heard(200))
	}
	s.step(events)
	s.settle()
}

// settle steps with what came of the last step.
func (s *sibling) settle() {
	for n := 0; len(s.results) > 0; n++ {
		if n > 50 {
			s.crew.failf("process %d steps for ever", s.slot)
			return
		}
		events := s.results
		s.results = nil
		s.step(events)
	}
}

func (s *sibling) step(events []election.Event) {
	s.acts = s.machine.Step(s.now, events, s.acts[:0])
	s.carryOut()
}

// passed compares the epoch before what would serve, as the contract of package
// election asks.
func (s *sibling) passed(a *election.Action) bool {
	epoch := s.Load().Epoch()
	if s.crew.noFence {
		if epoch != a.Epoch {
			s.crew.failf("process %d does in epoch %d what was decided in epoch %d", s.slot, epoch, a.Epoch)
		}
		return false
	}
	return epoch != a.Epoch
}

func (s *sibling) carryOut() {
	for i := range s.acts {
		a := &s.acts[i]
		switch a.Kind {
		case election.DoAdvert, election.DoRenew, election.DoPrepare, election.DoPromote, election.DoAnnounce, election.DoProbe:
			if s.passed(a) {
				continue
			}
		}
		switch a.Kind {
		case election.DoAdvert:
			s.send(a)
		case election.DoRenew:
			s.guard = a.Until
		case election.DoCloseGuard:
			s.guard = 0
		case election.DoPrepare:
			s.results = append(s.results, election.Event{Kind: election.EvPrepared, Epoch: a.Epoch})
		case election.DoPromote:
			s.up = true
		case election.DoDemote, election.DoUnprepare:
			s.up = false
		case election.DoExit:
			if s.at != nil {
				s.crew.failf("process %d exits in the middle of the scene, and nobody could run before", s.slot)
			}
			s.gone, s.up, s.guard = true, false, 0
		}
	}
}

// send is an advert: between the check of the word and this others have run. The
// clock that is read after it is later than whatever has happened before.
func (s *sibling) send(a *election.Action) {
	before := s.now
	s.point(fmt.Sprintf("send %d", a.Priority), theWord, 0)
	s.now = max(s.now, sinceWord(s.crew.common)) + 1000
	switch {
	case a.Priority == 0:
		s.stale = false
	default:
		s.stale = s.stale || s.crew.word().Epoch() != a.Epoch
	}
	s.answered = s.superior
	if a.Lease > 0 {
		s.guard = before + int64(a.Lease)
	}
	s.results = append(s.results, election.Event{Kind: election.EvSent, Priority: a.Priority, At: before, After: s.now})
}

// latest is the clock of whoever is furthest.
func (c *crew) latest() election.Time {
	var t election.Time
	for _, s := range c.procs {
		t = max(t, s.now)
	}
	return t
}

// quiet has everybody look again until nothing changes any more.
func (c *crew) quiet() {
	for n, calm := 0, 0; calm < 2; n++ {
		before := c.word()
		now := c.latest() + 100_000 // a doorbell takes its time
		for _, s := range c.procs {
			if !s.gone {
				s.turn(now)
			}
		}
		if calm++; c.word() != before {
			calm = 0
		}
		if n > 20 {
			c.failf("no rest: %v", c.states())
			return
		}
	}
	c.agree()
}

// pass lets the time pass; the processes run when their deadlines say so.
func (c *crew) pass(until election.Time, asleep ...*sibling) {
	for range 1000 {
		next := election.Time(math.MaxInt64)
		for _, s := range c.procs {
			if !s.gone && !slices.Contains(asleep, s) {
				next = min(next, s.machine.Deadline())
			}
		}
		if next > until {
			return
		}
		before := c.word()
		turn := func(at election.Time) {
			for _, s := range c.procs {
				if !s.gone && !slices.Contains(asleep, s) {
					s.turn(at)
				}
			}
		}
		if turn(next); c.word() != before {
			turn(next + 100_000) // the doorbell
		}
	}
	c.failf("no rest until %v", time.Duration(until))
}

// agree: nobody serves while another one does not, and nobody serves but who may.
func (c *crew) agree() {
	serves := c.word().State().Serving()
	now := c.latest()
	for _, s := range c.procs {
		open := s.up && (c.bare || s.guard > now)
		if !s.gone && open != serves {
			c.failf("all is quiet in %v, and process %d serves: %v", c.word().State(), s.slot, open)
		}
		if s.gone && open {
			c.failf("process %d has gone and serves", s.slot)
		}
		if s.stale && !serves {
			c.failf("process %d has left an advert of an epoch that had passed, and does not serve; no priority 0 has followed", s.slot)
		}
	}
}

func (c *crew) states() (list []string) {
	for _, w := range c.trail {
		list = append(list, fmt.Sprintf("%v(%v)", w.State(), w.Reason()))
	}
	return list
}
