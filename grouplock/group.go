package grouplock

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"vrrpd/election"
	"vrrpd/grouplock/siblings"
)

// Group is this process's place in its group: an election.Board shared with the
// other processes of the machine.
//
// Swap, Others, Publish and Describe are for the one goroutine that owns the
// machine; every other method may be called from anywhere.
type Group struct {
	dir      *directory
	instance string
	name     string // of the group
	boot     [2]uint64
	own      header
	previous *Member
	volatile bool

	member *os.File // holds the locks
	record *cells   // our record
	shared *os.File // the group file
	common *cells   // its content

	// bell is what a ring writes; only that it is written matters.
	bell [1]byte

	// seen is what the two copies of each of our facts contain, published the BeatAt
	// of those that were published while nobody read them. Loop only.
	room      int // words of each identity in the record that have blocks
	published election.Time

	// Run alone changes what it knows of the others (Join before it, Leave after
	// it); the methods of the board see it as one immutable roster.
	running sync.Mutex // held by Run
	inotify *os.File
	watches watches
	roster  atomic.Pointer[roster]

	left   atomic.Bool
	counts struct{ ignored, damaged, torn, dropped, unrung atomic.Uint64 }
}

var _ election.Board = (*Group)(nil)

// roster is who else is in the group. It is never changed, only replaced.
type roster struct {
	live []*neighbour
	dead []*neighbour
}

// Stats are counters since Join.
type Stats struct {
	Ignored uint64 // files that could not be used
	Damaged uint64 // records that were cut off while mapped
	Torn    uint64 // reads of facts given up because they changed all the time; the last good ones were used
	Dropped uint64 // facts published beyond the capacity
	Unrung  uint64 // bells that could not be rung
}

// Stats returns the counters.
func (g *Group) Stats() Stats {
	return Stats{
		Ignored: g.counts.ignored.Load(),
		Damaged: g.counts.damaged.Load(),
		Torn:    g.counts.torn.Load(),
		Dropped: g.counts.dropped.Load(),
		Unrung:  g.counts.unrung.Load(),
	}
}

// Instance is the name of this process's member file, without suffix.
func (g *Group) Instance() string { return g.instance }

// Name is the name of the group.
func (g *Group) Name() string { return g.name }

// Slot is this process's number in the group, 1..MaxProcesses.
func (g *Group) Slot() uint8 { return g.own.slot }

// Capacity is how many virtual routers this process can publish.
func (g *Group) Capacity() int { return g.own.capacity }

// Previous is the record of the process that had our instance before us in this
// boot, if that has not left in order and nobody has cleaned up after it: the
// caller must. Otherwise nil.
func (g *Group) Previous() *Member { return g.previous }

// Volatile reports whether the run directory is in memory (tmpfs), as it should
// be: elsewhere a store into the record may wait for the disk.
func (g *Group) Volatile() bool { return g.volatile }

// Load returns the present word.
func (g *Group) Load() election.Word { return election.Word(g.common.load(grpWord)) }

// Since returns when the present word was set, exactly, or 0 if that is unknown.
func (g *Group) Since() election.Time { return sinceWord(g.common) }

// Swap replaces old by new, stamped with the time at, and rings; false means
// that the word was no longer old, that new is not of the following epoch, or
// that this process has left.
func (g *Group) Swap(old, new election.Word, at election.Time) bool {
	if g.left.Load() || !swapWord(g.common, g.own.slot, old, new, at) {
		return false
	}
	g.Ring()
	return true
}

// Wishes returns the operator's wishes.
func (g *Group) Wishes() election.Wishes { return unpackWishes(g.common.load(grpWishes)) }

// Wish replaces the wishes if they are still old, and rings.
func (g *Group) Wish(old, new election.Wishes) bool {
	if g.left.Load() || !g.common.swap(grpWishes, packWishes(old), packWishes(new)) {
		return false
	}
	g.Ring()
	return true
}

// Others appends the facts of every virtual router of the other live processes,
// in the order of their slots.
func (g *Group) Others(dst []election.Facts) []election.Facts {
	for _, n := range g.roster.Load().live {
		count, torn, ok := n.refresh()
		if torn > 0 {
			g.counts.torn.Add(uint64(torn))
		}
		if !ok && !n.damaged.Swap(true) {
			g.counts.damaged.Add(1)
		}
		if ok {
			dst = append(dst, n.last[:count]...)
		}
	}
	return dst
}

// Missing is how many processes fewer than wanted are alive; negative when there
// are more. A process counts from its first Publish: before, it has no vote, and
// nobody must be promoted without it.
func (g *Group) Missing() int {
	others := 0
	for _, n := range g.roster.Load().live {
		if n.votes() {
			others++
		}
	}
	return siblings.Missing(g.own.wanted, others)
}

// Publish makes the facts of this process visible, in the order of the
// identities. Facts beyond the capacity are dropped and counted. The first
// Publish, and one of another length, rings.
func (g *Group) Publish(own []election.Facts) {
	if g.left.Load() {
		return
	}
	if g.unread(own) {
		return
	}
	if extra := len(own) - g.own.capacity; extra > 0 {
		g.counts.dropped.Add(uint64(extra))
		own = own[:g.own.capacity]
	}
	for i := range own {
		factsLatch(i).writeFacts(g.record, blockOf(&own[i]))
	}
	if n := uint64(len(own)) + 1; g.record.load(recPublished) != n {
		g.record.store(recPublished, n)
		g.Ring()
	}
}

// unread reports that these facts need not be published: nobody shares the fate of this
// process, and what is there is no older than a process that was busy for half of an
// interval would leave it; or, of one that speaks in every interval and publishes that, for
// a whole one. It tells of the last adverts, by whose leases who joins judges us. A thousand
// virtual routers are many stores.
func (g *Group) unread(own []election.Facts) bool {
	if len(own) == 0 {
		return false
	}
	alone := g.own.wanted == 1 && len(g.roster.Load().live) == 0 && g.record.load(recPublished) == uint64(len(own))+1
	age := own[0].BeatAt - g.published
	if alone && own[0].SentAt < g.published && (age < own[0].Interval/2 || age < own[0].Interval && g.speaks(own)) {
		return true
	}
	g.published = own[0].BeatAt
	return false
}

// speaks reports that these facts are of one whose last adverts, of all virtual routers,
// are published, and whose next ones are about to leave.
func (g *Group) speaks(own []election.Facts) bool {
	if own[0].BeatAt-own[0].SentAt > own[0].Interval*5/4 {
		return false
	}
	for i := range own {
		if own[i].SentAt >= g.published {
			return false
		}
	}
	return true
}

// Ring wakes the other processes of the group. It costs a system call if there
// is somebody to wake, and nothing otherwise: a process that joins later reads
// everything, and is rung once more by all who notice it.
func (g *Group) Ring() {
	if g.left.Load() || len(g.roster.Load().live) == 0 {
		return
	}
	if _, err := g.member.WriteAt(g.bell[:], 8*recBell); err != nil {
		g.counts.unrung.Add(1)
	}
}

// Realise says that this process has carried out the state of w, or that it is
// about to if it is one that serves: what a survivor must undo.
func (g *Group) Realise(w election.Word) {
	if !g.left.Load() {
		g.record.store(recRealised, uint64(w))
	}
}

// Describe replaces the identity of virtual router i, 0..Capacity()-1, for
// instance because the parent's address and with it the frame has changed.
func (g *Group) Describe(i int, id Identity) error {
	if i < 0 || i >= g.own.capacity {
		return fmt.Errorf("describe virtual router %d: the record holds %d", i, g.own.capacity)
	}
	if err := id.check(); err != nil {
		return fmt.Errorf("describe virtual router %d: %w", i, err)
	}
	if err := g.makeRoom(id.words()); err != nil {
		return fmt.Errorf("describe virtual router %d: %w", i, err)
	}
	writeIdentity(g.record, g.own.capacity, i, id)
	return nil
}

// Forget takes the description of virtual router i away: there is none.
func (g *Group) Forget(i int) {
	if i >= 0 && i < g.own.capacity {
		writeIdentity(g.record, g.own.capacity, i, Identity{})
	}
}

// Members returns copies of the records of the other processes of the group that
// are alive or dead and not cleaned up, sorted by instance.
func (g *Group) Members() []Member {
	r := g.roster.Load()
	list := make([]Member, 0, len(r.live)+len(r.dead))
	for _, n := range r.live {
		list = append(list, n.member(Alive))
	}
	for _, n := range r.dead {
		list = append(list, n.member(Dead))
	}
	sortMembers(list)
	return list
}

// Identity returns the virtual routers of another process of the group, alive
// (perhaps stuck) or dead.
func (g *Group) Identity(instance string) ([]Identity, error) {
	for _, m := range g.Members() {
		if m.Instance == instance {
			return m.Routers, nil
		}
	}
	return nil, fmt.Errorf("%s is no other process of group %s", instance, g.name)
}
