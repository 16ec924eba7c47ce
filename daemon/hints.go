package daemon

import "sync"

// hints say which interfaces something may have happened to, perhaps by our own hand:
// those with one of the names or indexes, or all of them. What a change of a thousand
// interfaces makes the kernel tell is gone through once, not a thousand times.
type hints struct {
	all     bool
	indexes map[int]bool
	names   map[string]bool
}

// hints returns what collects them, for any goroutine, and has the loop run act when
// there are any.
func (d *Daemon) hints(act func(hints)) func(index int, name string) {
	var mu sync.Mutex
	var waiting *hints
	return func(index int, name string) {
		mu.Lock()
		defer mu.Unlock()
		if waiting == nil {
			waiting = &hints{indexes: make(map[int]bool), names: make(map[string]bool)}
			d.inbox.call(func() {
				mu.Lock()
				about := *waiting
				waiting = nil
				mu.Unlock()
				act(about)
			})
		}
		switch {
		case index == 0 && name == "":
			waiting.all = true
		case index != 0:
			waiting.indexes[index] = true
		default:
			waiting.names[name] = true
		}
	}
}

// has reports whether an interface is meant.
func (h hints) has(index int, name string) bool {
	return h.all || index != 0 && h.indexes[index] || h.names[name]
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
