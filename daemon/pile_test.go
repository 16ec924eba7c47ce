package daemon

import (
	"runtime"
	"slices"
	"sync"
	"testing"
)

func TestPile(t *testing.T) {
	var p pile[int]
	if !p.empty() || len(p.take(nil)) != 0 {
		t.Error("a new pile is not empty")
	}
	if !p.put(1) || p.put(2) || p.put(3) || p.empty() {
		t.Error("only the first of three finds the pile empty")
	}
	if got := p.take([]int{0}); !slices.Equal(got, []int{0, 1, 2, 3}) || !p.empty() {
		t.Errorf("took %v, want what was there before it and 1, 2, 3 in the order they came", got)
	}
	if !p.put(4) {
		t.Error("who comes after the pile was taken does not find it empty")
	}
}

// What many goroutines put is taken once, each one's in its order, and whoever finds the
// pile empty, and tells the taker so, is enough for that: nothing is left behind.
func TestPile_Many(t *testing.T) {
	const hands, each = 8, 5000
	type item struct{ hand, n int }
	var p pile[item]
	bell := make(chan struct{}, hands*each)
	var putting sync.WaitGroup
	for hand := range hands {
		putting.Go(func() {
			for n := range each {
				if p.put(item{hand, n}) {
					bell <- struct{}{}
				}
				if n%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	go func() { putting.Wait(); close(bell) }()
	var next [hands]int
	var all []item
	for range bell {
		all = p.take(all[:0])
		if len(all) == 0 {
			t.Fatal("told of something, and nothing is there")
		}
		for _, x := range all {
			if x.n != next[x.hand] {
				t.Fatalf("%d of hand %d comes where %d was due", x.n, x.hand, next[x.hand])
			}
			next[x.hand]++
		}
	}
	for hand, n := range next {
		if n != each {
			t.Errorf("%d of %d of hand %d have come", n, each, hand)
		}
	}
}
