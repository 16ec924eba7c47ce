package grouplock

import (
	"fmt"
	"testing"

	"vrrpd/election"
	"vrrpd/internal/interleave"
)

// The word and its time, operation of memory by operation of memory, in every
// order that two or three processes can do them in.

// watched is the group file of one process: others may run before each
// operation on it.
type watched struct {
	*cells
	at func(interleave.Op)
	// single is what a mutation breaks: both cells of a slot are the same.
	single bool
	// blind: the swap does not compare.
	blind bool
	// left is after how many more operations the process is killed; 0: never.
	left int
	// asked is the range of epochs that there were while the time was asked for,
	// operation by operation; first is 0 before.
	asking      bool
	first, last uint64
}

// killed unwinds a process that is killed in the middle of a change.
type killed struct{}

// before waits for the turn of the operation.
func (w *watched) before(op interleave.Op) {
	if w.left > 0 {
		if w.left--; w.left == 0 {
			panic(killed{})
		}
	}
	if !w.asking {
		w.at(op)
		return
	}
	op.Reads |= object(grpWord) // because we look at it
	w.at(op)
	w.last = election.Word(w.cells.load(grpWord)).Epoch()
	if w.first == 0 {
		w.first = w.last
	}
}

// object is the bit of a word of the group file: the word, or one of the cells
// of the first slots.
func object(i int) interleave.Objects {
	if i < grpSlots {
		return 1 << i
	}
	return 1 << (i - 4) // slot 1 begins at 20
}

func (w *watched) fold(i int) int {
	if w.single && i >= grpSlots {
		return i &^ 2
	}
	return i
}

func (w *watched) load(i int) uint64 {
	i = w.fold(i)
	w.before(interleave.Op{Name: fmt.Sprint("load ", i), Reads: object(i)})
	return w.cells.load(i)
}

func (w *watched) store(i int, v uint64) {
	i = w.fold(i)
	w.before(interleave.Op{Name: fmt.Sprint("store ", i), Writes: object(i)})
	w.cells.store(i, v)
}

func (w *watched) swap(i int, old, new uint64) bool {
	w.before(interleave.Op{Name: "swap", Writes: object(i)})
	if w.blind {
		w.cells.store(i, new)
		return true
	}
	return w.cells.swap(i, old, new)
}

// history is what really happened: the time of each word that there was.
type history struct {
	common *cells
	stamps []election.Time // by epoch
	errs   []error
}

func newHistory() *history {
	h := &history{common: &cells{words: make([]uint64, groupWords)}}
	clearGroup(h.common, [2]uint64{1, 2})
	swapWord(h.common, 1, 0, election.Word(0).Next(election.Held, election.Startup), 100)
	h.stamps = []election.Time{0, 100}
	return h
}

func (h *history) epoch() uint64 { return election.Word(h.common.load(grpWord)).Epoch() }

func (h *history) failf(format string, args ...any) {
	h.errs = append(h.errs, fmt.Errorf(format, args...))
}

// change tries one transition and reports whether it was won.
func (h *history) change(m *watched, slot uint8) bool {
	old := election.Word(m.load(grpWord))
	at := election.Time(1000*int64(slot) + int64(old.Epoch()))
	if !swapWord(m, slot, old, old.Next(election.Backup, election.Recovered), at) {
		return false
	}
	// Nothing has happened since the swap: the next operation has not begun.
	if h.epoch() != old.Epoch()+1 || int(h.epoch()) != len(h.stamps) {
		h.failf("slot %d wins epoch %d, and %d have been won", slot, old.Epoch()+1, len(h.stamps)-1)
	}
	h.stamps = append(h.stamps, at)
	return true
}

// killedIn is a change in the middle of which the process is killed.
func (h *history) killedIn(m *watched, slot uint8) {
	defer func() {
		m.left = 0
		if r := recover(); r != nil && r != (killed{}) {
			panic(r)
		}
	}()
	h.change(m, slot)
}

// since asks for the time of the present word. It is that of a word which was
// there while it was asked for, and unknown (0) only if there was more than one.
func (h *history) since(m *watched) {
	m.asking, m.first = true, 0
	at := sinceWord(m)
	m.asking = false
	first, last := m.first, m.last
	for e := first; e <= last && int(e) < len(h.stamps); e++ {
		if at == h.stamps[e] {
			return
		}
	}
	if at == 0 && first != last {
		return
	}
	h.failf("the words of epochs %d to %d were set at %v, and %d is read", first, last, h.stamps[first:], at)
}

func (h *history) end() error {
	if len(h.errs) > 0 {
		return h.errs[0]
	}
	if int(h.epoch()) != len(h.stamps)-1 {
		return fmt.Errorf("epoch %d after %d transitions", h.epoch(), len(h.stamps)-1)
	}
	return nil
}

// wordThread is what one process does: c tries a transition, s asks for the time,
// a digit is a transition at which the process is killed before its so manieth
// operation; the next has its slot.
func wordThread(h *history, slot uint8, does string, broken watched) interleave.Thread {
	return func(at func(interleave.Op)) {
		m := broken
		m.cells, m.at = h.common, at
		for _, what := range does {
			switch what {
			case 'c':
				h.change(&m, slot)
			case 's':
				h.since(&m)
			default:
				m.left = int(what - '0')
				h.killedIn(&m, slot)
			}
		}
	}
}

func exploreWord(broken watched, does ...string) (interleave.Result, error) {
	return interleave.Explore(func() interleave.Program {
		h := newHistory()
		p := interleave.Program{End: h.end}
		for i, what := range does {
			p.Threads = append(p.Threads, wordThread(h, uint8(i+1), what, broken))
		}
		return p
	}, interleave.Limits{Longest: 200})
}

func TestWordInEveryOrder(t *testing.T) {
	var all interleave.Result
	for _, does := range [][]string{
		{"c", "c"},
		{"cs", "cs"},
		{"cc", "ss"},
		{"ccc", "s"},
		{"ccs", "cs"},
		{"cc", "cc"},
		{"cc", "c", "s"},
		{"3cs", "cs"},
		{"4cs", "cs"},
		{"5cs", "cs"},
		{"6cs", "cs"},
		{"c4cs", "cs"},
	} {
		r, err := exploreWord(watched{}, does...)
		if err != nil {
			t.Errorf("%v: %v", does, err)
		}
		t.Logf("%v: %v", does, r)
		all.Add(r)
	}
	t.Logf("together: %v", all)
}

// What protects the word is needed.
func TestWordUnprotected(t *testing.T) {
	for name, c := range map[string]struct {
		broken watched
		does   []string
	}{
		"the swap does not compare":      {watched{blind: true}, []string{"c", "c"}},
		"one cell for the time, not two": {watched{single: true}, []string{"cc", "s"}},
	} {
		r, err := exploreWord(c.broken, c.does...)
		if err == nil {
			t.Errorf("%s, and %v notice nothing", name, r)
			continue
		}
		t.Logf("%s: after %v: %v", name, r, err)
	}
}
