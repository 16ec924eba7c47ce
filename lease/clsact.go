package lease

import (
	"errors"
	"fmt"

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

func filter(t target, parent uint32) *netlib.BpfFilter {
	return &netlib.BpfFilter{
		FilterAttrs: netlib.FilterAttrs{
			LinkIndex: t.index, Parent: parent, Handle: filterHandle,
			Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: t.block.prog.FD(), Name: progName, DirectAction: true,
	}
}

// install replaces a filter of a dead instance in one step of the kernel: there
// is no moment without one.
func (c clsact) install(t target) error {
	q := qdisc(t.index)
	err := c.route.QdiscAdd(q)
	if errors.Is(err, unix.EEXIST) {
		// An ingress queueing discipline in its place would take both filters
		// for the way in. A change that changes nothing is refused for another
		// kind.
		if err := c.route.QdiscChange(q); err != nil {
			return fmt.Errorf("an ingress queueing discipline of somebody else is in the way: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("add the clsact queueing discipline: %w", err)
	}
	for _, h := range hooks {
		if err := c.route.FilterReplace(filter(t, h.parent)); err != nil {
			return fmt.Errorf("add the %s filter: %w", h.side, err)
		}
	}
	// A guard of a version of vrrpd that chose another place.
	_, _, err = c.drop(t.index, func(f *netlib.BpfFilter) bool { return !isOurPlace(f) })
	return err
}

func (c clsact) check(t target) error {
	for _, h := range hooks {
		filters, err := c.list(t.index, h.parent)
		if err != nil {
			return err
		}
		found := errMissing
		for _, f := range filters {
			switch bpf, ok := f.(*netlib.BpfFilter); {
			case !ok || !isOurPlace(bpf):
			case bpf.Id != int(t.block.id) || !bpf.DirectAction:
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

// remove takes our filters away, and with the last of all filters the queueing
// discipline.
func (c clsact) remove(t target) error {
	ours, others, err := c.drop(t.index, func(*netlib.BpfFilter) bool { return true })
	if err != nil || ours == 0 || others > 0 {
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

// drop deletes the filters with our name that also satisfy which, and counts
// them and those that stay.
func (c clsact) drop(index int, which func(*netlib.BpfFilter) bool) (dropped, left int, err error) {
	for _, h := range hooks {
		filters, err := c.list(index, h.parent)
		if err != nil {
			return dropped, left, err
		}
		for _, f := range filters {
			bpf, ok := f.(*netlib.BpfFilter)
			if !ok || bpf.Name != progName || !which(bpf) {
				left++
				continue
			}
			// As listed, but for the parent, which is told as it was asked for.
			bpf.LinkIndex, bpf.Parent = index, h.parent
			if err := c.route.FilterDel(bpf); err != nil && !gone(err) && !errors.Is(err, unix.ENOENT) {
				return dropped, left, fmt.Errorf("delete an %s filter: %w", h.side, err)
			}
			dropped++
		}
	}
	return dropped, left, nil
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

func isOurPlace(f *netlib.BpfFilter) bool {
	return f.Name == progName && f.Priority == filterPriority && f.Handle == filterHandle
}
