package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each letter is an observation: + good, - bad; capitals (P, M) are made while the
// machine serves. The verdict after each: p passing, f failing.
func TestGauge(t *testing.T) {
	for _, c := range []struct {
		rise, fall int
		seen, want string
	}{
		{1, 1, "+-+-", "pfpf"},
		{3, 2, "+", "p"},
		{3, 2, "-", "f"},
		{3, 2, "+-+-", "pppp"},
		{3, 2, "+--", "ppf"},
		{3, 2, "-++-+++", "ffffffp"},
		{3, 2, "-+++-+--", "fffppppf"},
		{0, 0, "+-+", "pfp"},
		// Only on the MASTER: the second time it must be well twice as often.
		{1, 1, "PM+M++", "pfpffp"},
		{2, 1, "PM++M++++M++++++++", "pffpffffpffffffffp"},
		// Not only there.
		{1, 1, "PM+-+M+", "pfpfpfp"},
		{1, 1, "PM+M++-+", "pfpffpfp"},
	} {
		g := NewGauge(c.rise, c.fall, time.Second, Pending)
		var got strings.Builder
		for i, o := range c.seen {
			before := g.Verdict()
			changed := g.Observe(time.Duration(i)*time.Second, o == '+' || o == 'P', o == 'P' || o == 'M')
			if changed != (g.Verdict() != before) {
				t.Errorf("%s: changed is %v at %d", c.seen, changed, i)
			}
			got.WriteByte(g.Verdict().String()[0])
		}
		if got.String() != c.want {
			t.Errorf("rise %d fall %d: %s gives %s, want %s", c.rise, c.fall, c.seen, got.String(), c.want)
		}
	}
}

// What fails only on the MASTER is believed later and later, up to five minutes; an
// hour without makes it forgotten.
func TestGaugeGetsSlower(t *testing.T) {
	g := NewGauge(3, 1, time.Second, Passing)
	now := time.Duration(0)
	var got []int
	for range 10 {
		g.Observe(now, false, true)
		n := 0
		for g.Verdict() != Passing {
			now += time.Second
			n++
			g.Observe(now, true, false)
		}
		got = append(got, n)
	}
	if want := "[3 6 12 24 48 96 192 300 300 300]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	g.Observe(now+onlyServing, false, true)
	if g.wanted != 3 {
		t.Errorf("after an hour %d are wanted", g.wanted)
	}
}

// A gauge that is given at once, or whose interval is long, never wants fewer than
// rise.
func TestGaugePatience(t *testing.T) {
	g := NewGauge(5, 1, time.Hour, Passing)
	for range 5 {
		g.Observe(0, false, true)
		if g.wanted != 5 {
			t.Fatalf("%d are wanted", g.wanted)
		}
		for g.Verdict() != Passing {
			g.Observe(0, true, false)
		}
	}
	if got := NewGauge(1, 1, time.Second, Passing); !got.Settled() {
		t.Error("what passes from the beginning is not settled")
	}
}

// Whatever is observed: the verdict changes only after rise or fall observations in a
// row, all of which say so; settled means that one more of the same changes nothing.
func TestGaugeRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rise, fall := rapid.IntRange(1, 5).Draw(t, "rise"), rapid.IntRange(1, 5).Draw(t, "fall")
		g := NewGauge(rise, fall, time.Second, rapid.SampledFrom([]Verdict{Pending, Passing}).Draw(t, "begin"))
		run, last := 0, false
		for i := range rapid.IntRange(1, 100).Draw(t, "observations") {
			ok, serving := rapid.Bool().Draw(t, "ok"), rapid.Bool().Draw(t, "serving")
			if ok == last {
				run++
			} else {
				run, last = 1, ok
			}
			before, settled := g.Verdict(), g.Settled()
			changed := g.Observe(time.Duration(i)*time.Second, ok, serving)
			after := g.Verdict()
			switch {
			case changed != (before != after):
				t.Fatalf("changed %v, from %v to %v", changed, before, after)
			case after == Pending:
				t.Fatal("nothing is decided")
			case before == Pending && (after == Passing) != ok:
				t.Fatal("the first one does not decide")
			case before != Pending && changed && (after == Passing) != ok:
				t.Fatal("the verdict is against what was seen")
			case before != Pending && changed && ok && run < rise, before != Pending && changed && !ok && run < fall:
				t.Fatalf("changed after %d", run)
			case before != Pending && !changed && !ok && before == Passing && run >= fall:
				t.Fatalf("not changed after %d", run)
			case settled && changed && ok == (before == Passing):
				t.Fatal("settled, and changed by the same")
			case !changed && ok == (after == Passing) && !g.Settled():
				t.Fatal("not settled, and nothing speaks against it")
			}
		}
	})
}

func TestSum(t *testing.T) {
	for _, c := range []struct {
		weights []int
		v       Verdict
		want    Sum
	}{
		{nil, Failing, Sum{}},
		{[]int{0}, Passing, Sum{}},
		{[]int{0}, Failing, Sum{Hold: true}},
		{[]int{0}, Pending, Sum{Hold: true}},
		{[]int{-20, 30}, Passing, Sum{Weight: 30}},
		{[]int{-20, 30}, Failing, Sum{Weight: -20}},
		{[]int{-20, 30, -7}, Pending, Sum{Weight: -27}},
	} {
		var got Sum
		for _, w := range c.weights {
			got.Add(w, c.v)
		}
		if got != c.want {
			t.Errorf("%v %v: %+v", c.weights, c.v, got)
		}
	}
	// One that fails holds, wherever it stands.
	var s Sum
	s.Add(0, Failing)
	s.Add(0, Passing)
	if !s.Hold {
		t.Error("a check that passes ends the hold of another")
	}
}
