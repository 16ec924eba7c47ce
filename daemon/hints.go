package daemon

// hints say which interfaces something may have happened to, perhaps by our own hand:
// those with one of the names or indexes, or all of them. What a change of a thousand
// interfaces makes the kernel tell is gone through once, not a thousand times.
type hints struct {
	all     bool
	indexes map[int]bool
	names   map[string]bool
}

// hint is one of them; the zero hint means all interfaces.
type hint struct {
	index int
	name  string
}

// hints returns what collects them, for any goroutine, and has the loop run act when
// there are any.
func (d *Daemon) hints(act func(hints)) func(index int, name string) {
	var waiting pile[hint]
	return func(index int, name string) {
		if waiting.put(hint{index, name}) {
			d.inbox.call(func() { act(gather(waiting.take(nil))) })
		}
	}
}

func gather(all []hint) hints {
	about := hints{indexes: make(map[int]bool), names: make(map[string]bool)}
	for _, h := range all {
		switch {
		case h == hint{}:
			about.all = true
		case h.index != 0:
			about.indexes[h.index] = true
		default:
			about.names[h.name] = true
		}
	}
	return about
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
