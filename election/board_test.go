package election

import (
	"slices"
	"testing"
)

// shared is what the processes of one machine share, in memory: what package
// grouplock does with files.
type shared struct {
	lab    *lab
	word   Word
	since  Time
	wishes Wishes
	want   int // -M
	seats  []*seat
}

// seat is one process's place at the board.
type seat struct {
	*shared
	p     *proc
	alive bool
	facts []Facts
}

var _ Board = (*seat)(nil)

func (s *shared) join(p *proc) *seat {
	x := &seat{shared: s, p: p, alive: true}
	if len(s.seats) > 0 && !slices.ContainsFunc(s.seats, func(y *seat) bool { return y.alive }) {
		// All have died: whoever comes first begins anew.
		s.word, s.since = s.word.Next(Held, Startup), s.lab.now
	}
	s.seats = append(s.seats, x)
	return x
}

func (s *shared) Load() Word     { return s.word }
func (s *shared) Since() Time    { return s.since }
func (s *shared) Wishes() Wishes { return s.wishes }

// Missing counts the process itself, and the others from their first Publish.
func (x *seat) Missing() int {
	n := x.want - 1
	for _, y := range x.seats {
		if y != x && y.alive && y.facts != nil {
			n--
		}
	}
	return n
}

func (x *seat) Swap(old, new Word, at Time) bool {
	if x.word != old {
		return false
	}
	x.word, x.since = new.WithSlot(uint8(len(x.seats))), at
	x.Ring()
	return true
}

func (x *seat) Wish(old, new Wishes) bool {
	if x.wishes != old {
		return false
	}
	x.wishes = new
	x.Ring()
	return true
}

func (x *seat) Others(dst []Facts) []Facts {
	for _, y := range x.seats {
		if y != x && y.alive {
			dst = append(dst, y.facts...)
		}
	}
	return dst
}

func (x *seat) Publish(own []Facts) { x.facts = append(x.facts[:0], own...) }

func (x *seat) Ring() {
	for _, y := range x.seats {
		if y != x && y.alive && y.p != nil {
			x.lab.after(x.lab.bell, func() { y.p.rung = true })
		}
	}
}

// leave takes the process away; the others hear of it as soon as of a ring.
func (x *seat) leave(why Reason) {
	if !x.alive {
		return
	}
	x.alive = false
	for _, y := range x.seats {
		if y != x && y.alive {
			x.lab.after(x.lab.bell, func() { y.p.post(Event{Kind: EvMemberGone, Reason: why}) })
		}
	}
}

func TestLocalBoard(t *testing.T) {
	var b LocalBoard
	w := b.Load()
	if w.State() != Init || w.Epoch() != 0 || b.Since() != 0 {
		t.Fatalf("the zero board is %v in epoch %d since %d", w.State(), w.Epoch(), b.Since())
	}
	if !b.Swap(w, w.Next(Held, Startup), 7) || b.Load().State() != Held || b.Since() != 7 {
		t.Fatal("a swap of the present word is not done")
	}
	if b.Swap(w, w.Next(Master, Startup), 8) || b.Load().State() != Held || b.Since() != 7 {
		t.Fatal("a swap of an old word is done")
	}
	if !b.Wish(Wishes{}, Wishes{Soft: true}) || b.Wish(Wishes{}, Wishes{Hold: true}) || !b.Wishes().Soft {
		t.Fatal("a wish must replace the present ones only")
	}
}

func TestWord(t *testing.T) {
	w := MakeWord(1<<39, Linger, OperatorBackup).WithSlot(200)
	if w.Epoch() != 1<<39 || w.State() != Linger || w.Reason() != OperatorBackup || w.Slot() != 200 {
		t.Fatalf("%#x is read as epoch %d %v %v slot %d", uint64(w), w.Epoch(), w.State(), w.Reason(), w.Slot())
	}
	n := w.Next(Backup, Successor)
	if n.Epoch() != w.Epoch()+1 || n.State() != Backup || n.Reason() != Successor || n.Slot() != 0 {
		t.Fatalf("the next word is %#x", uint64(n))
	}
}

func TestWordsOfTheClosedLists(t *testing.T) {
	seen := map[string]bool{}
	for r := NoReason; r <= StaysOut; r++ {
		if s := r.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("reason %d is %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if s := (StaysOut + 1).String(); s != "unknown" {
		t.Errorf("a reason that does not exist is %q", s)
	}
	for s := Init; s <= Listen; s++ {
		want := map[State]State{Init: Init, Master: Master, Linger: Master}[s]
		if s != Init && want == Init {
			want = Backup
		}
		if s.Outward() != want || s.Serving() != (want == Master) {
			t.Errorf("%v is %v to the outside, serving %v", s, s.Outward(), s.Serving())
		}
	}
}
