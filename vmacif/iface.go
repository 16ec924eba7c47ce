package vmacif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Iface is the interface of one virtual router. Its methods may be called from
// the loop and from a worker at the same time.
type Iface struct {
	h    *Hands
	spec Spec // of a leftover: Name, MAC and Owner only; Parent and Addresses are under mu

	fresh  bool         // it was made, not found
	index  atomic.Int64 // set by Ensure
	parent atomic.Int64 // index of the parent, set by Ensure; 0 of a leftover

	// up is what was asked for last, and mu keeps a Down that a worker carries
	// out late from undoing an Up that came after it was ordered.
	up atomic.Bool
	mu sync.Mutex
	// risen: it may be up by our hand, because no Down came after the last Up.
	risen atomic.Bool
	right right // guarded by mu
}

// Name is the interface's name.
func (i *Iface) Name() string { return i.spec.Name }

// Owner is the instance that the interface belongs to.
func (i *Iface) Owner() string { return i.spec.Owner }

// Index is the index that the interface was made with.
func (i *Iface) Index() int { return int(i.index.Load()) }

// Fresh reports that Ensure has made the interface, and has not found one of a dead
// instance: nothing that others may have put on it is there.
func (i *Iface) Fresh() bool { return i.fresh }

// State is what was found.
type State struct {
	Exists    bool
	Index     int
	Up        bool // administratively
	Parent    int  // index
	MAC       [6]byte
	Addresses []netip.Prefix // IPv4 and IPv6, in the kernel's order
}

// State observes the interface. An interface that does not exist is no error.
func (i *Iface) State() (State, error) {
	d, addrs, err := i.observe()
	if errors.Is(err, errGone) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	s := State{Exists: true, Index: d.Index, Up: d.Up, Parent: d.Parent, MAC: d.MAC}
	for _, a := range addrs {
		s.Addresses = append(s.Addresses, a.Prefix)
	}
	return s, nil
}

// observe reads the interface that has the name, whatever its index is now.
func (i *Iface) observe() (device, []held, error) {
	d, err := i.h.wire.device(i.spec.Name, 0)
	if err != nil {
		return device{}, nil, fmt.Errorf("read %s: %w", i.spec.Name, err)
	}
	addrs, err := i.h.wire.held(d.Index)
	if err != nil {
		return device{}, nil, fmt.Errorf("read the addresses of %s: %w", i.spec.Name, err)
	}
	return d, addrs, nil
}

// Up makes the interface serve: the virtual addresses, then the up flag, in one
// system call: 0.2 ms for one address on a busy machine. Doing it twice is harmless; what is
// there stays, and addresses that are not ours stay as well, because scripts
// put production addresses there. After an error the interface may be half
// done: the caller demotes or repairs.
//
// A Down that a worker has begun is waited for; one that it begins later, but
// was ordered before, does nothing.
func (i *Iface) Up(ctx context.Context) error {
	i.up.Store(true)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.risen.Store(true)
	return i.raise(ctx, i.spec.Addresses)
}

// raise adds addresses and sets the interface up; the caller holds mu.
func (i *Iface) raise(ctx context.Context, addrs []netip.Addr) error {
	reqs, err := i.raising(nil, addrs)
	if err != nil {
		return err
	}
	results, err := i.h.wire.exchange(ctx, reqs, nil)
	if err != nil {
		return fmt.Errorf("set %s up: %w", i.spec.Name, err)
	}
	return i.raised(results, addrs)
}

// raising appends what has the kernel do it.
func (i *Iface) raising(reqs []netlink.Message, addrs []netip.Addr) ([]netlink.Message, error) {
	for _, ip := range addrs {
		req, err := addRequest(held{Index: i.Index(), Prefix: placed(ip), Scope: unix.RT_SCOPE_UNIVERSE})
		if err != nil {
			return reqs, fmt.Errorf("add %s to %s: %w", ip, i.spec.Name, err)
		}
		reqs = append(reqs, req)
	}
	req, err := upRequest(i.Index())
	if err != nil {
		return reqs, fmt.Errorf("set %s up: %w", i.spec.Name, err)
	}
	return append(reqs, req), nil
}

// raised judges what has become of it.
func (i *Iface) raised(results []error, addrs []netip.Addr) error {
	var errs []error
	for n, err := range results {
		switch {
		case err == nil || errors.Is(err, unix.EEXIST):
		case n < len(addrs):
			errs = append(errs, fmt.Errorf("add %s to %s: %w", addrs[n], i.spec.Name, err))
		default:
			errs = append(errs, fmt.Errorf("set %s up: %w", i.spec.Name, err))
		}
	}
	return errors.Join(errs...)
}

// SetAddresses changes which virtual addresses the interface shall have when it is up.
// It changes nothing in the kernel: Up adds, Drop removes.
func (i *Iface) SetAddresses(addrs []netip.Addr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.spec.Addresses, i.right = slices.Clone(addrs), right{}
}

// Drop removes addresses from an interface that goes on to serve others. What is not
// there is no error.
func (i *Iface) Drop(addrs []netip.Addr) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	gone := make([]held, len(addrs))
	for n, ip := range addrs {
		gone[n] = held{Index: i.Index(), Prefix: placed(ip), Scope: unix.RT_SCOPE_UNIVERSE}
	}
	return i.remove(gone)
}

// clearRounds bounds how often RemoveAddrs looks for addresses that were added
// while it was removing.
const clearRounds = 4

// RemoveAddrs removes every address of the interface, ours or not: an address
// on an interface that is down would still be local. Our own go first, without
// a question, in one system call: that ends the service. Then it looks for
// others. An interface that does not exist has none.
func (i *Iface) RemoveAddrs() error {
	i.up.Store(false)
	return i.clear()
}

func (i *Iface) clear() error {
	index := i.Index()
	addrs := i.appendOurs(nil)
	for range clearRounds {
		if err := i.remove(addrs); err != nil {
			return err
		}
		var err error
		if addrs, err = i.h.wire.held(index); err != nil {
			return fmt.Errorf("read the addresses of %s: %w", i.spec.Name, err)
		}
		if len(addrs) == 0 {
			return nil
		}
	}
	return fmt.Errorf("remove the addresses of %s: somebody keeps adding some", i.spec.Name)
}

// appendOurs appends the virtual addresses as they are on the interface.
func (i *Iface) appendOurs(to []held) []held {
	for _, ip := range i.spec.Addresses {
		to = append(to, held{Index: i.Index(), Prefix: placed(ip), Scope: unix.RT_SCOPE_UNIVERSE})
	}
	return to
}

// remove removes addresses that may be there.
func (i *Iface) remove(addrs []held) error {
	if err := i.h.removeHeld(addrs); err != nil {
		return fmt.Errorf("remove the addresses of %s: %w", i.spec.Name, err)
	}
	return nil
}

// Down takes the interface down. It takes 16 ms and more, during which nothing
// else in the machine can change an interface or an address: it is for a
// worker, and for some time after RemoveAddrs, which has ended all service. At
// once it would hold up the RemoveAddrs of a sibling process that is leaving in
// the same moment. It does
// nothing if Up was called after the last RemoveAddrs. An interface that does
// not exist is down.
func (i *Iface) Down() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.up.Load() {
		return nil
	}
	return i.down()
}

func (i *Iface) down() error {
	err := i.h.slow.LinkSetDown(i.link())
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("set %s down: %w", i.spec.Name, err)
	}
	i.risen.Store(false)
	return nil
}

// Delete deletes the interface and gives the parent its sysctls back, unless
// another virtual router stands on it. It takes as long as Down.
func (i *Iface) Delete() error {
	i.up.Store(false)
	_ = i.h.loosen(i.Index()) // else its end is longer
	i.mu.Lock()
	err := i.h.slow.LinkDel(i.link())
	i.mu.Unlock()
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", i.spec.Name, err)
	}
	i.h.forget(i)
	return i.h.letGo(i)
}

// link is what the library wants to see. The index is never zero, with which
// the library would go by a name.
func (i *Iface) link() netlib.Link {
	attrs := netlib.NewLinkAttrs()
	attrs.Name, attrs.Index = i.spec.Name, i.Index()
	return &netlib.Macvlan{LinkAttrs: attrs}
}

// placed is a virtual address with the length that it has on the interface: that of
// a host, but of the LAN for a link-local one. The answers to who has asked that one
// have to leave by the interface it is on, and need the route that comes with it.
func placed(ip netip.Addr) netip.Prefix {
	if linkLocal(ip) {
		return netip.PrefixFrom(ip, 64)
	}
	return netip.PrefixFrom(ip, ip.BitLen())
}

// linkLocal: an IPv4 address of 169.254.0.0/16 is like any other here.
func linkLocal(ip netip.Addr) bool { return ip.Is6() && ip.IsLinkLocalUnicast() }
