package daemon

import (
	"cmp"
	"slices"
	"strings"
)

// hints say which interfaces something may have happened to, perhaps by our own hand:
// those with one of the names or indexes, or all of them. What a change of a thousand
// interfaces makes the kernel tell is gone through once, not a thousand times.
type hints []hint // in order

// hint is one of them; the zero hint means all interfaces.
type hint struct {
	index int
	name  string
}

func (h hint) compare(other hint) int {
	return cmp.Or(cmp.Compare(h.index, other.index), strings.Compare(h.name, other.name))
}

// hints returns what collects them, for any goroutine, and has the loop run act, which must
// not keep them, when there are any.
func (d *Daemon) hints(act func(hints)) func(index int, name string) {
	var waiting pile[hint]
	var all hints // the loop's, for the next time
	acting := func() {
		all = waiting.take(all[:0])
		slices.SortFunc(all, hint.compare)
		act(all)
	}
	return func(index int, name string) {
		if index != 0 {
			name = ""
		}
		if waiting.put(hint{index, name}) {
			d.inbox.call(acting)
		}
	}
}

// has reports whether an interface is meant.
func (h hints) has(index int, name string) bool {
	said := func(x hint) bool {
		_, found := slices.BinarySearchFunc(h, x, hint.compare)
		return found
	}
	return said(hint{}) || index != 0 && said(hint{index: index}) || name != "" && said(hint{name: name})
}

// routersOf are the routers that hints about interfaces or parents mean.
func (d *Daemon) routersOf(h hints) (all []*router) {
	for _, r := range d.routers {
		if h.has(r.index, r.cfg.Name) || h.has(r.parent.link.Index, r.parent.name) {
			all = append(all, r)
		}
	}
	return all
}
