package daemon

import (
	"math"
	"slices"
	"testing"
)

func TestAgendaOrder(t *testing.T) {
	var a agenda
	if a.next() != math.MaxInt64 {
		t.Error("an empty agenda is due")
	}
	var done []string
	put := func(at int64, name string) { a.add(at, func() { done = append(done, name) }) }
	put(30, "c")
	put(10, "a")
	put(20, "b1")
	put(20, "b2")
	put(40, "d")
	if a.next() != 10 {
		t.Errorf("next is %d, want 10", a.next())
	}
	a.run(9)
	if len(done) != 0 {
		t.Errorf("%v was done too early", done)
	}
	a.run(30)
	if want := []string{"a", "b1", "b2", "c"}; !slices.Equal(done, want) {
		t.Errorf("done %v, want %v", done, want)
	}
	if a.next() != 40 {
		t.Errorf("next is %d, want 40", a.next())
	}
}

// An item may put another one on the agenda, also one that is due already.
func TestAgendaGrows(t *testing.T) {
	var a agenda
	n := 0
	a.add(1, func() {
		n++
		a.add(1, func() { n += 10 })
		a.add(5, func() { n += 100 })
	})
	a.run(2)
	if n != 11 || a.next() != 5 {
		t.Errorf("n = %d, next = %d; want 11 and 5", n, a.next())
	}
}
