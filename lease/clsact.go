package lease

import (
	"errors"
	"fmt"
	"strings"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// filterPriority is the first of all, and filterHandle ours among what else
	// may have it.
	filterPriority = 1
	filterHandle   = 0x76727270 // "vrrp"
)

// hooks are the two sides of a clsact queueing discipline.
var hooks = [...]struct {
	parent uint32
	side   string
}{
	{netlib.HANDLE_MIN_INGRESS, "ingress"},
	{netlib.HANDLE_MIN_EGRESS, "egress"},
}

// clsact puts the program on an interface as two filters of traffic control.
type clsact struct{ route *netlib.Handle }

func qdisc(index int) *netlib.Clsact {
	return &netlib.Clsact{QdiscAttrs: netlib.QdiscAttrs{
		LinkIndex: index, Handle: netlib.MakeHandle(0xffff, 0), Parent: netlib.HANDLE_CLSACT,
	}}
}

func filter(t target, side int, handle uint32) *netlib.BpfFilter {
	return &netlib.BpfFilter{
		FilterAttrs: netlib.FilterAttrs{
			LinkIndex: t.index, Parent: hooks[side].parent, Handle: handle,
			Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: t.block.progs[side].FD(), Name: t.prog, DirectAction: true,
	}
}

// install replaces a filter of a dead instance in one step of the kernel: there
// is no moment without one.
func (c clsact) install(t target) error {
	q := qdisc(t.index)
	handle := t.handle | t.mark
	err := c.add(t, q)
	if errors.Is(err, unix.EEXIST) {
		marked, err := c.marked(t)
		if err != nil {
			return err
		}
		if !marked {
			handle = t.handle
		}
		// An ingress queueing discipline in its place would take both filters
		// for the way in. A change that changes nothing is refused for another
		// kind.
		if err := c.route.QdiscChange(q); err != nil {
			return fmt.Errorf("an ingress queueing discipline of somebody else is in the way: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("add the clsact queueing discipline: %w", err)
	}
	for side, h := range hooks {
		if err := c.route.FilterReplace(filter(t, side, handle)); err != nil {
			return fmt.Errorf("add the %s filter: %w", h.side, err)
		}
	}
	// A guard of a version of vrrpd that chose another place.
	_, err = c.drop(t, func(f *netlib.BpfFilter) bool { return f.Priority != filterPriority || f.Handle != handle })
	return err
}

// add adds the queueing discipline. The kernel gives an interface without a transmit
// queue (a length of 0) one on that occasion, which a parent does not keep.
func (c clsact) add(t target, q *netlib.Clsact) error {
	if !t.direct() {
		return c.route.QdiscAdd(q)
	}
	k, err := c.route.LinkByIndex(t.index)
	if err != nil {
		return noLink(err)
	}
	if err := c.route.QdiscAdd(q); err != nil || k.Attrs().TxQLen != 0 {
		return err
	}
	if err := c.route.LinkSetTxQLen(k, 0); err != nil {
		return fmt.Errorf("restore the length of the transmit queue: %w", err)
	}
	return nil
}

// restore makes an interface what it was before a guard, as far as nobody else needs
// what has come since.
func (c clsact) restore(k netlib.Link, was Bare) error {
	index := k.Attrs().Index
	if kind, err := ingress(c.route, k); err != nil {
		return err
	} else if kind == "clsact" && !was.Qdisc {
		used := 0
		for _, h := range hooks {
			filters, err := c.list(index, h.parent)
			if err != nil {
				return err
			}
			used += len(filters)
		}
		if used == 0 {
			if err := c.route.QdiscDel(qdisc(index)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("delete the clsact queueing discipline: %w", err)
			}
		}
	}
	// What the kernel has made of 0.
	const standard = 1000 // DEFAULT_TX_QUEUE_LEN
	if was.Queue == 0 && k.Attrs().TxQLen == standard {
		if err := c.route.LinkSetTxQLen(k, 0); err != nil {
			return fmt.Errorf("restore the length of the transmit queue: %w", err)
		}
	}
	return nil
}

// marked reports whether a queueing discipline that is there already was made for a
// guard like this one: some guard on the interface says so. Where there is no mark to
// look for it makes no difference.
func (c clsact) marked(t target) (bool, error) {
	for _, h := range hooks {
		filters, err := c.list(t.index, h.parent)
		if err != nil {
			return false, err
		}
		for _, f := range filters {
			if bpf, ok := f.(*netlib.BpfFilter); ok && strings.HasPrefix(bpf.Name, parentProg) && bpf.Handle&madeMark != 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

func (c clsact) check(t target) error {
	for side, h := range hooks {
		filters, err := c.list(t.index, h.parent)
		if err != nil {
			return err
		}
		found := errMissing
		for _, f := range filters {
			switch bpf, ok := f.(*netlib.BpfFilter); {
			case !ok || !t.isOurPlace(bpf):
			case bpf.Id != int(t.block.ids[side]) || !bpf.DirectAction:
				found = errForeign
			default:
				found = nil
			}
		}
		if found != nil {
			return fmt.Errorf("the %s filter %w", h.side, found)
		}
	}
	return nil
}

// absent tells what there is in the place of the filters, nil if nothing is.
func (c clsact) absent(t target) error {
	for _, h := range hooks {
		filters, err := c.list(t.index, h.parent)
		if err != nil {
			return err
		}
		for _, f := range filters {
			if bpf, ok := f.(*netlib.BpfFilter); ok && bpf.Name == t.prog {
				return fmt.Errorf("the %s filter %w", h.side, errForeign)
			}
		}
	}
	return nil
}

// remove takes our filters away, and with the last of all filters the queueing
// discipline; from a parent only one that was made for a guard.
func (c clsact) remove(t target) error {
	return c.removeThose(t, func(*netlib.BpfFilter) bool { return true })
}

// withdraw removes the filters that run a program of this process only.
func (c clsact) withdraw(t target) error {
	return c.removeThose(t, func(f *netlib.BpfFilter) bool {
		return f.Id == int(t.block.ids[0]) || f.Id == int(t.block.ids[1])
	})
}

func (c clsact) removeThose(t target, which func(*netlib.BpfFilter) bool) error {
	d, err := c.drop(t, which)
	if err != nil || d.ours == 0 || d.others > 0 || t.mark != 0 && !d.marked {
		return err
	}
	if c.route.QdiscChange(qdisc(t.index)) != nil {
		return nil // not a clsact: not ours
	}
	err = c.route.QdiscDel(qdisc(t.index))
	if err != nil && !gone(err) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("delete the clsact queueing discipline: %w", err)
	}
	return nil
}

// dropped is what drop has done: how many filters it has deleted, how many stay, and
// whether one of the former said that the queueing discipline was made for it.
type dropped struct {
	ours, others int
	marked       bool
}

// drop deletes the filters with our name that also satisfy which.
func (c clsact) drop(t target, which func(*netlib.BpfFilter) bool) (d dropped, err error) {
	for _, h := range hooks {
		filters, err := c.list(t.index, h.parent)
		if err != nil {
			return d, err
		}
		for _, f := range filters {
			bpf, ok := f.(*netlib.BpfFilter)
			if !ok || bpf.Name != t.prog || !which(bpf) {
				d.others++
				continue
			}
			d.marked = d.marked || bpf.Handle&madeMark != 0
			// As listed, but for the parent, which is told as it was asked for.
			bpf.LinkIndex, bpf.Parent = t.index, h.parent
			if err := c.route.FilterDel(bpf); err != nil && !gone(err) && !errors.Is(err, unix.ENOENT) {
				return d, fmt.Errorf("delete an %s filter: %w", h.side, err)
			}
			d.ours++
		}
	}
	return d, nil
}

// list returns nothing for an interface that does not exist.
func (c clsact) list(index int, parent uint32) ([]netlib.Filter, error) {
	attrs := netlib.NewLinkAttrs()
	attrs.Index = index
	filters, err := c.route.FilterList(&netlib.Macvlan{LinkAttrs: attrs}, parent)
	if err != nil && !gone(err) {
		return nil, fmt.Errorf("list the filters: %w", err)
	}
	return filters, nil
}

func (t target) isOurPlace(f *netlib.BpfFilter) bool {
	return f.Name == t.prog && f.Priority == filterPriority && f.Handle&^t.mark == t.handle
}
