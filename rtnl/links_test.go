package rtnl

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Links are what a map would be, in order.
func TestLinks(t *testing.T) {
	var links Links
	want := map[int]Link{}
	for n := range 1000 {
		l := Link{Index: rand.IntN(50), MTU: n}
		if n%3 == 0 {
			links.Delete(l.Index)
			delete(want, l.Index)
		} else {
			links.Set(l)
			want[l.Index] = l
		}
		if got, known := links.Get(l.Index); got != want[l.Index] || known != (n%3 != 0) {
			t.Fatalf("%d: %+v %t, want %+v", l.Index, got, known, want[l.Index])
		}
		var in []int
		for _, l := range links {
			in = append(in, l.Index)
			if l != want[l.Index] {
				t.Fatalf("%+v, want %+v", l, want[l.Index])
			}
		}
		if !slices.Equal(in, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("%v, want %v", in, want)
		}
	}
}
