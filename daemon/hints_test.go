package daemon

import "testing"

// What was said of interfaces is told the loop once, as one.
func TestHints(t *testing.T) {
	d := &Daemon{inbox: &inbox{}}
	var about hints
	acts := 0
	hint := d.hints(func(h hints) { about = append(hints(nil), h...); acts++ })
	for _, c := range []struct {
		what string
		say  func()
		want [4]bool // index 7, name vrrp51, index 9, neither
	}{
		{"an index", func() { hint(7, "ignored") }, [4]bool{true, false, false, false}},
		{"a name", func() { hint(0, "vrrp51") }, [4]bool{false, true, false, false}},
		{"several, in any order", func() { hint(9, ""); hint(0, "vrrp51"); hint(7, ""); hint(9, "") }, [4]bool{true, true, true, false}},
		{"all", func() { hint(9, ""); hint(0, "") }, [4]bool{true, true, true, true}},
	} {
		acts = 0
		c.say()
		_, calls := d.inbox.take(nil, nil)
		for _, f := range calls {
			f()
		}
		got := [4]bool{about.has(7, ""), about.has(0, "vrrp51"), about.has(9, "vrrp52"), about.has(3, "ignored")}
		if acts != 1 || got != c.want {
			t.Errorf("%s: told %d times, of %v, want once, %v", c.what, acts, got, c.want)
		}
		if about.has(0, "") != (c.want[3]) {
			t.Errorf("%s: an interface that does not exist is meant", c.what)
		}
	}
}
