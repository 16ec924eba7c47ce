package interleave

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// counter is the textbook's race: two threads that each read, and then write.
func counter(threads int) func() Program {
	return func() Program {
		x := 0
		add := func(at func(Op)) {
			at(Op{Name: "read", Reads: 1})
			n := x
			at(Op{Name: "write", Writes: 1})
			x = n + 1
		}
		p := Program{End: func() error {
			if x != threads {
				return fmt.Errorf("%d, want %d", x, threads)
			}
			return nil
		}}
		for range threads {
			p.Threads = append(p.Threads, add)
		}
		return p
	}
}

func TestRaceIsFound(t *testing.T) {
	for threads := 2; threads <= MaxThreads; threads++ {
		_, err := Explore(counter(threads), Limits{Longest: 100})
		var f *Failure
		if !errors.As(err, &f) || len(f.Order) != 2*threads {
			t.Fatalf("%d threads: %v", threads, err)
		}
	}
	if _, err := Explore(counter(1), Limits{Longest: 100}); err != nil {
		t.Fatal(err)
	}
}

// outcomes collects what the orders of a program lead to.
func outcomes(t *testing.T, threads [][]Op) (map[string]int, Result) {
	t.Helper()
	seen := map[string]int{}
	r, err := Explore(func() Program {
		// An object remembers who wrote it last; a read remembers what was there.
		var last [64]string
		log := make([]strings.Builder, len(threads))
		p := Program{End: func() error {
			key := fmt.Sprint(last[:4])
			for i := range log {
				key += "|" + log[i].String()
			}
			seen[key]++
			return nil
		}}
		for i, ops := range threads {
			p.Threads = append(p.Threads, func(at func(Op)) {
				for k, op := range ops {
					at(op)
					for o := range last {
						if op.Reads>>o&1 == 1 {
							fmt.Fprintf(&log[i], "%d=%s ", o, last[o])
						}
						if op.Writes>>o&1 == 1 {
							last[o] += fmt.Sprintf("%d.%d,", i, k)
						}
					}
				}
			})
		}
		return p
	}, Limits{Longest: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return seen, r
}

// Every order of operations that all conflict is another one, and is tried once.
func TestEveryOrder(t *testing.T) {
	write := Op{Name: "write", Writes: 1}
	for _, c := range []struct{ threads, ops, want int }{{2, 3, 20}, {2, 5, 252}, {3, 2, 90}, {4, 2, 2520}} {
		var all [][]Op
		for range c.threads {
			var ops []Op
			for range c.ops {
				ops = append(ops, write)
			}
			all = append(all, ops)
		}
		seen, r := outcomes(t, all)
		if len(seen) != c.want || r.Orders != c.want || r.Cut != 0 || r.Longest != c.threads*c.ops {
			t.Errorf("%d threads of %d: %d outcomes of %v, want %d", c.threads, c.ops, len(seen), r, c.want)
		}
	}
}

// What the reduction leaves out has no outcome of its own: the same programs,
// with every operation made to conflict by an object that nobody looks at, lead
// to the same outcomes in far more orders.
func TestReductionKeepsEveryOutcome(t *testing.T) {
	var tried, without Result
	programs := [][][]Op{
		{{{Writes: 1}, {Reads: 2}, {Writes: 4}}, {{Writes: 2}, {Reads: 1}, {Reads: 4}}},
		{{{Reads: 1}, {Reads: 2}, {Writes: 1}, {Writes: 2}}, {{Reads: 2}, {Reads: 1}, {Writes: 2}, {Writes: 1}}},
		{{{Writes: 1}, {Reads: 2}}, {{Writes: 2}, {Reads: 4}}, {{Writes: 4}, {Reads: 1}}},
		{{{Writes: 1}, {Writes: 2}}, {{Reads: 1}, {Reads: 3}}, {{Reads: 2, Writes: 4}, {Writes: 1}}},
		{{{Reads: 8}, {Reads: 8}}, {{Reads: 8}, {Reads: 8}}},
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		programs = append(programs, randomProgram(rnd))
	}
	for n, p := range programs {
		reduced, r := outcomes(t, p)
		var forced [][]Op
		for _, ops := range p {
			var list []Op
			for _, op := range ops {
				op.Writes |= 1 << 40
				list = append(list, op)
			}
			forced = append(forced, list)
		}
		all, every := outcomes(t, forced)
		if len(reduced) != len(all) {
			t.Errorf("program %d: %d outcomes, and %d without the reduction", n, len(reduced), len(all))
		}
		for key := range all {
			if reduced[key] != 1 {
				t.Errorf("program %d: the outcome %s is met %d times", n, key, reduced[key])
			}
		}
		if r.Orders > every.Orders || n < 5 && r.Orders == every.Orders {
			t.Errorf("program %d: %d orders with the reduction, %d without", n, r.Orders, every.Orders)
		}
		tried.Add(r)
		without.Add(every)
	}
	t.Logf("%v; without the reduction %v", tried, without)
}

func randomProgram(rnd *rand.Rand) [][]Op {
	p := make([][]Op, 2+rnd.IntN(2))
	for i := range p {
		for range 1 + rnd.IntN(6-len(p)) {
			op := Op{Reads: 1 << rnd.IntN(4)}
			if rnd.IntN(2) == 0 {
				op.Writes = 1 << rnd.IntN(4)
			}
			p[i] = append(p[i], op)
		}
	}
	return p
}

// Orders with a limited number of interruptions: of two threads of n operations
// that cannot be interrupted there are two, with one interruption allowed each
// can be interrupted at n-1 points more.
func TestInterruptions(t *testing.T) {
	build := func(ops ...int) func() Program {
		return func() Program {
			p := Program{End: func() error { return nil }}
			for _, n := range ops {
				p.Threads = append(p.Threads, func(at func(Op)) {
					for range n {
						at(Op{Name: "write", Writes: 1})
					}
				})
			}
			return p
		}
	}
	for _, c := range []struct {
		ops       []int
		most      int
		want      int
		described string
	}{
		{[]int{1, 1}, 1, 2, "nothing can be interrupted"},
		{[]int{5, 1}, 1, 6, "in any of four places"},
		{[]int{5, 5}, 1, 10, "either, in any of four places"},
		{[]int{3, 3}, 5, 20, "as often as possible"},
		{[]int{2, 2, 2}, 9, 90, "as often as possible"},
	} {
		r, err := Explore(build(c.ops...), Limits{Interruptions: c.most})
		if err != nil || r.Orders != c.want || r.Cut != 0 {
			t.Errorf("%v interrupted up to %d times (%s): %v, %v, want %d", c.ops, c.most, c.described, r, err, c.want)
		}
	}
	if _, err := Explore(counter(2), Limits{Interruptions: 1}); err == nil {
		t.Error("a race that one interruption shows is not found")
	}
}

func TestLimits(t *testing.T) {
	forever := func() Program {
		return Program{Threads: []Thread{func(at func(Op)) {
			for {
				at(Op{Name: "spin", Reads: 1})
			}
		}}}
	}
	if _, err := Explore(forever, Limits{Longest: 50}); err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("a thread that never ends: %v", err)
	}
	if _, err := Explore(counter(1), Limits{Longest: 50, Most: 1}); err != nil {
		t.Errorf("one execution of one: %v", err)
	}
	good := func() Program {
		p := counter(3)()
		p.End = func() error { return nil }
		return p
	}
	if r, err := Explore(good, Limits{Longest: 50, Most: 10}); err == nil || r.Orders+r.Cut != 10 {
		t.Errorf("cut short without a word: %v, %v", r, err)
	}
	tooMany := func() Program { return counter(MaxThreads + 1)() }
	if _, err := Explore(tooMany, Limits{Longest: 50}); err == nil {
		t.Error("more threads than possible")
	}
}

func TestPanicOfAThreadIsNotSwallowed(t *testing.T) {
	defer func() {
		if r := recover(); r != "ouch" {
			t.Errorf("recovered %v", r)
		}
	}()
	Explore(func() Program {
		return Program{Threads: []Thread{func(at func(Op)) {
			at(Op{Name: "one"})
			panic("ouch")
		}}}
	}, Limits{Longest: 50})
}
