package grouplock

import (
	"vrrpd/election"
)

// Status says what has become of the process that owns a member file.
type Status uint8

const (
	// Alive: the process holds its lock. It may still be stuck; only the
	// heartbeat in its facts tells.
	Alive Status = iota + 1
	// Dead: it is gone and nobody has cleaned up after it.
	Dead
	// Left: it has gone in order, or somebody has cleaned up after it.
	Left
	// Stale: the record is from before the last boot; there is nothing to clean.
	Stale
	// Damaged: the file cannot be used; Member.Err says why.
	Damaged
)

var statusWords = [...]string{"unknown", "alive", "dead", "left", "stale", "damaged"}

func (s Status) String() string {
	if int(s) < len(statusWords) {
		return statusWords[s]
	}
	return statusWords[0]
}

// Member is a copy of one process's record.
type Member struct {
	Instance string
	Status   Status
	Err      error // of a Damaged one, else nil
	Group    string
	Pid      int // as the process sees itself; 0: unknown
	Wanted   int // -M, 1..MaxProcesses
	Slot     uint8
	Started  election.Time // when it joined
	// Realised is the word whose state the process has carried out (Realise), 0
	// if none: whether its interfaces served is Realised.State().Serving().
	Realised election.Word
	// Cleaner is the pid of the process that cleans up after it, 0 if none.
	Cleaner int
	// Routers describes its virtual routers in their order; one that was never
	// described is the zero Identity.
	Routers []Identity
	// Facts are those it has published, in the same order; nil if none.
	Facts []election.Facts
}

// readMember copies the record behind c, whose header is h. It accepts any
// content.
func readMember(c *cells, h header, instance string) (Member, error) {
	m := Member{
		Instance: instance,
		Group:    h.group,
		Pid:      h.pid,
		Wanted:   h.wanted,
		Slot:     h.slot,
		Started:  h.start,
		Realised: election.Word(c.load(recRealised)),
		Cleaner:  int(int32(c.load(recCleaner))),
	}
	for i := range h.capacity {
		id, known, err := readIdentity(c, h.capacity, i)
		if err != nil {
			return m, err
		}
		if known {
			for len(m.Routers) < i {
				m.Routers = append(m.Routers, Identity{})
			}
			m.Routers = append(m.Routers, id)
		}
	}
	if n := published(c, h.capacity); n > 0 {
		m.Facts = make([]election.Facts, n)
		for i := range m.Facts {
			factsLatch(i).read(c, blockOf(&m.Facts[i])[:])
		}
	}
	return m, nil
}

// published is how many facts of the record are valid; -1 before the first
// Publish.
func published(c *cells, capacity int) int {
	return int(min(c.load(recPublished), uint64(capacity)+1)) - 1
}
