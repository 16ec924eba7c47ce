package rtnl

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// note is one decoded kernel message: exactly one of link and addr is set,
// gone says whether it appeared or went.
type note struct {
	link Link
	addr Addr
	gone bool
}

// table is what is known about a network namespace. Its methods append the
// differences that they make to a slice; it does no I/O. It belongs to the
// goroutine in Watcher.Run.
type table struct {
	links Links
	// addrs holds the addresses of each interface in the kernel's order, which
	// decides what an interface's primary address is.
	addrs map[int][]Addr
}

func newTable() *table {
	return &table{addrs: make(map[int][]Addr)}
}

// know begins with what somebody has seen.
func (t *table) know(k Known) {
	for _, l := range k.Links {
		t.links.Set(l)
	}
	for _, a := range k.Addrs {
		t.addrs[a.Index] = append(t.addrs[a.Index], a)
	}
}

// apply takes one message in.
func (t *table) apply(n note, out []Change) []Change {
	switch {
	case n.link.Index > 0 && n.gone:
		return t.dropLink(n.link.Index, out)
	case n.link.Index > 0:
		return t.setLink(n.link, out)
	case n.gone:
		return t.dropAddr(n.addr, out)
	default:
		return t.setAddr(n.addr, out)
	}
}

func (t *table) setLink(l Link, out []Change) []Change {
	old, known := t.links.Get(l.Index)
	if known && old == l {
		return out
	}
	if known && !old.sameDevice(l) {
		out = t.dropLink(l.Index, out)
		old = Link{}
	}
	t.links.Set(l)
	return append(out, Change{Kind: LinkChanged, Old: old, New: l})
}

func (t *table) dropLink(index int, out []Change) []Change {
	old, known := t.links.Get(index)
	if !known {
		return out
	}
	for _, a := range t.addrs[index] {
		out = append(out, Change{Kind: AddrGone, Addr: a})
	}
	delete(t.addrs, index)
	t.links.Delete(index)
	return append(out, Change{Kind: LinkGone, Old: old})
}

func (t *table) setAddr(a Addr, out []Change) []Change {
	list := t.addrs[a.Index]
	if i := slices.IndexFunc(list, a.same); i >= 0 {
		if list[i] == a {
			return out
		}
		if list[i].Secondary == a.Secondary {
			list[i] = a
			return append(out, Change{Kind: AddrAdded, Addr: a})
		}
		// A promoted address moves to where a new primary one would be.
		list = slices.Delete(list, i, i+1)
	}
	t.addrs[a.Index] = slices.Insert(list, place(list, a), a)
	return append(out, Change{Kind: AddrAdded, Addr: a})
}

// place is where the kernel inserts an IPv4 address (__inet_insert_ifa): a
// primary one behind the last primary one whose scope is not narrower, or in
// front; a secondary one at the end. The order of IPv6 addresses decides
// nothing here.
func place(list []Addr, a Addr) int {
	if a.Secondary || !a.Prefix.Addr().Is4() {
		return len(list)
	}
	at := 0
	for i, b := range list {
		if b.Prefix.Addr().Is4() && !b.Secondary && a.Scope <= b.Scope {
			at = i + 1
		}
	}
	return at
}

func (t *table) dropAddr(a Addr, out []Change) []Change {
	list := t.addrs[a.Index]
	i := slices.IndexFunc(list, a.same)
	if i < 0 {
		return out
	}
	out = append(out, Change{Kind: AddrGone, Addr: list[i]})
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(t.addrs, a.Index)
	} else {
		t.addrs[a.Index] = list
	}
	return out
}

// sync makes the table what a dump says. whole is false when the dump may have
// missed something: then what it does not mention is kept.
func (t *table) sync(d dump, whole bool, out []Change) []Change {
	links := make(map[int]Link, len(d.links))
	for _, l := range d.links {
		links[l.Index] = l
	}
	addrs := make(map[int][]Addr, len(d.links))
	for _, a := range d.addrs {
		addrs[a.Index] = append(addrs[a.Index], a)
	}
	// Sorted, so that the same differences always come in the same order.
	if whole {
		for _, index := range slices.Sorted(maps.Keys(t.addrs)) {
			for _, a := range slices.Clone(t.addrs[index]) {
				if !slices.ContainsFunc(addrs[index], a.same) {
					out = t.dropAddr(a, out)
				}
			}
		}
		for _, l := range slices.Clone(t.links) {
			if _, ok := links[l.Index]; !ok {
				out = t.dropLink(l.Index, out)
			}
		}
	}
	for _, index := range slices.Sorted(maps.Keys(links)) {
		out = t.setLink(links[index], out)
	}
	for _, index := range slices.Sorted(maps.Keys(addrs)) {
		for _, a := range addrs[index] {
			out = t.setAddr(a, out)
		}
		if whole {
			t.addrs[index] = addrs[index]
		}
	}
	return out
}

// decode turns a kernel message into a note; ok is false for one that says
// nothing about links or addresses.
func decode(typ uint16, body []byte) (n note, ok bool, err error) {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		n.gone = typ == unix.RTM_DELLINK
		n.link, ok, err = decodeLink(body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		n.gone = typ == unix.RTM_DELADDR
		n.addr, ok, err = decodeAddr(body)
	}
	return n, ok, err
}
