package vmacif

// A program that is replaced while it runs leaves its interfaces, addresses and settings
// as they are: who has them is said by aliases, notes and journals, under the name of the
// instance, which stays. The next one has to know only that they are there.

// Adopt goes on with an interface that another program of the same instance has made by
// this Spec, on the parent with this index, and asks the kernel for nothing. up is what
// was asked for last, and risen that it may be up, which that program has known.
func (h *Hands) Adopt(spec Spec, index, parent int, up, risen bool) *Iface {
	i := &Iface{h: h, spec: spec}
	i.index.Store(int64(index))
	i.parent.Store(int64(parent))
	i.up.Store(up)
	i.risen.Store(risen)
	h.remember(i)
	return i
}

// Risen reports whether the interface may be up by our hand.
func (i *Iface) Risen() bool { return i.risen.Load() }

// AdoptDirect goes on with the addresses on a parent in the same way. What may be there
// has been noted.
func (h *Hands) AdoptDirect(spec DirectSpec, index int, up bool) *Direct {
	d := &Direct{h: h, index: index, spec: spec}
	d.up.Store(up)
	return d
}
