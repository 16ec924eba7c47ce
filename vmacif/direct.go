package vmacif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// DirectSpec says which virtual addresses shall be on a parent itself.
type DirectSpec struct {
	Parent string
	VRID   uint8 // 1..255
	Family uint8 // 4 or 6
	// Addresses are the virtual addresses with the lengths that they shall have on
	// the parent, in the user's order.
	Addresses []netip.Prefix
	// Owner is the instance that they belong to: see Spec.
	Owner string
	// Was looks at the parent, by its index, before anything is changed. It is noted, for
	// who has to clean up. nil: nothing else is changed.
	Was func(index int) (DirectWas, error)
}

// DirectWas is what else of the parent may be changed, before that was (package
// lease). A note of the same owner and parent that is there already knows better.
type DirectWas struct {
	Qdisc bool `json:"qdisc"` // it had a clsact (or ingress) queueing discipline
	Queue int  `json:"queue"` // length of its transmit queue
}

// Direct has the addresses of a virtual router without a virtual MAC: they are on
// the parent, which keeps its MAC, its settings, and all of its own addresses. Its
// methods may be called from the loop and from a worker at the same time.
//
// What it may remove is noted on the disk before it is added (directnotes.go), so
// that a crash leaves nothing and nobody ever removes what is not a virtual address.
//
// An IPv4 address has the length that the user wrote, and so a route of its own if
// the parent has no other in that subnet. An IPv6 address is without one, and
// deprecated: the kernel answers for it and never chooses it as the source of what
// the machine begins by itself, which would break when it moves.
type Direct struct {
	h     *Hands
	index int

	up atomic.Bool // what was asked for last
	mu sync.Mutex  // guards spec.Parent, and is held while addresses change
	// spec but for Parent is fixed.
	spec DirectSpec
}

// Direct makes sure that none of the addresses is on the parent, whatever a dead
// predecessor has left, and notes that they may come to be there. The caller must
// hold whatever makes spec.Owner the only living instance of that name.
func (h *Hands) Direct(spec DirectSpec) (*Direct, error) {
	parent, stale, err := h.surveyDirect(spec)
	if err != nil {
		return nil, err
	}
	for _, d := range stale {
		if err := h.discard(d); err != nil {
			return nil, err
		}
	}
	if len(stale) > 0 {
		over := func(index int, u string) bool {
			return u == spec.Owner && index == stale[0].Parent && !h.standsOn(u, index)
		}
		if err := h.journals().release(over); err != nil {
			return nil, err
		}
	}
	// It may have had others, or on another parent. The note is replaced in one step: it
	// is never missing while something of ours is on the parent.
	err = h.eachDirect(func(n *directNote) (bool, error) {
		if !n.same(spec) {
			return false, nil
		}
		return false, h.takeOff(n.Index, n.Addresses)
	})
	if err != nil {
		return nil, fmt.Errorf("remove virtual addresses: %w", err)
	}
	d := &Direct{h: h, index: parent.Index, spec: spec}
	var was DirectWas
	if spec.Was != nil {
		if was, err = spec.Was(parent.Index); err != nil {
			return nil, err
		}
	}
	if err := h.noteDirect(spec, parent.Index, was); err != nil {
		return nil, err
	}
	return d, d.RemoveAddrs()
}

// Index is that of the parent.
func (d *Direct) Index() int { return d.index }

// Up adds the addresses: 0.1 ms. What is there stays.
func (d *Direct) Up(ctx context.Context) error {
	d.up.Store(true)
	d.mu.Lock()
	defer d.mu.Unlock()
	reqs := make([]netlink.Message, 0, len(d.spec.Addresses))
	for _, p := range d.spec.Addresses {
		req, err := directRequest(d.index, p)
		if err != nil {
			return fmt.Errorf("add %s to %s: %w", p, d.spec.Parent, err)
		}
		reqs = append(reqs, req)
	}
	results, err := d.h.wire.exchange(ctx, reqs, nil)
	if err != nil {
		return fmt.Errorf("add the virtual addresses to %s: %w", d.spec.Parent, err)
	}
	var errs []error
	for n, err := range results {
		if err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("add %s to %s: %w", d.spec.Addresses[n], d.spec.Parent, err))
		}
	}
	return errors.Join(errs...)
}

// RemoveAddrs removes the addresses, and no others. A parent that does not exist has
// none.
func (d *Direct) RemoveAddrs() error {
	d.up.Store(false)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.h.takeOff(d.index, d.spec.Addresses); err != nil {
		return fmt.Errorf("remove the virtual addresses from %s: %w", d.spec.Parent, err)
	}
	return nil
}

// Down has nothing to do: the parent stays as it is.
func (d *Direct) Down() error { return nil }

// Delete removes the addresses and the note of them. What else is on the parent has to
// be gone by then.
func (d *Direct) Delete() error {
	if err := d.RemoveAddrs(); err != nil {
		return err
	}
	return d.h.releaseDirect(func(n *directNote) bool { return n.same(d.spec) })
}

// Inspect says what somebody else has done to the addresses, and changes nothing.
func (d *Direct) Inspect() (found Found, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.look()
}

func (d *Direct) look() (found Found, err error) {
	addrs, err := d.h.wire.held(d.index)
	if err != nil {
		return Found{}, fmt.Errorf("read the addresses of %s: %w", d.spec.Parent, err)
	}
	up := d.up.Load()
	for _, p := range d.spec.Addresses {
		switch {
		case up && !slices.ContainsFunc(addrs, func(a held) bool { return a.Prefix == p && !a.Peer.IsValid() }):
			found.Service = append(found.Service, "address "+p.Addr().String())
		case !up:
			for _, a := range addrs {
				if a.Prefix.Addr() == p.Addr() {
					found.Service = append(found.Service, "address "+a.Prefix.String())
				}
			}
		}
	}
	return found, nil
}

// Reconcile removes what Inspect finds on a BACKUP. What is missing on a MASTER is
// for Up, under the epoch of whoever calls it.
func (d *Direct) Reconcile() (changed Found, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if changed, err = d.look(); err != nil || d.up.Load() || !changed.Any() {
		return changed, err
	}
	return changed, d.h.takeOff(d.index, d.spec.Addresses)
}

// Reform has nothing to do: a parent has no form of ours.
func (d *Direct) Reform() (changed Found, err error) { return Found{}, nil }

// Relabel takes note of the parent's new name.
func (d *Direct) Relabel(parent string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spec.Parent = parent
	return nil
}

// FollowMTU has nothing to do.
func (d *Direct) FollowMTU(int) error { return nil }

// Forwards reports whether neighbour advertisements say that this is a router.
func (d *Direct) Forwards() bool {
	d.mu.Lock()
	parent := d.spec.Parent
	d.mu.Unlock()
	v, err := readSysctl("ipv6", parent, "forwarding")
	return err == nil && v != "0"
}

// takeOff removes virtual addresses from a parent: first, without a question, as
// they were added, which ends the service; then in whatever other length somebody
// else has added one of them.
func (h *Hands) takeOff(index int, addrs []netip.Prefix) error {
	others, err := h.bystanders(index, addrs)
	if err != nil {
		return err
	}
	var ours []held
	for _, p := range addrs {
		ours = append(ours, held{Index: index, Prefix: p})
	}
	for range clearRounds {
		if err := h.removeHeld(ours); err != nil {
			return err
		}
		there, err := h.wire.held(index)
		if err != nil {
			return err
		}
		ours = slices.DeleteFunc(there, func(a held) bool {
			return !slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr() == a.Prefix.Addr() })
		})
		if len(ours) == 0 {
			return h.putBack(index, others)
		}
	}
	return errors.New("somebody keeps adding them")
}

// removeHeld removes addresses that may be there: a secondary address may have gone
// with its primary one.
func (h *Hands) removeHeld(addrs []held) error {
	reqs := make([]netlink.Message, 0, len(addrs))
	for _, a := range addrs {
		req, err := removeRequest(a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Prefix, err)
		}
		reqs = append(reqs, req)
	}
	results, err := h.wire.exchange(context.Background(), reqs, nil)
	if err != nil {
		return err
	}
	for n, err := range results {
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("%s: %w", addrs[n].Prefix, err)
		}
	}
	return nil
}

// bystander is an address of somebody else that may go with one of ours.
type bystander struct {
	held
	body []byte // as the kernel tells of it, with label and lifetimes
}

// bystanders are those IPv4 addresses that the kernel holds for secondary ones of a
// virtual address, because they came later into its subnet: it deletes them together,
// unless promote_secondaries is set.
func (h *Hands) bystanders(index int, addrs []netip.Prefix) ([]bystander, error) {
	subnet := func(p netip.Prefix) bool { return p.Addr().Is4() && p.Bits() < 32 }
	if !slices.ContainsFunc(addrs, subnet) {
		return nil, nil
	}
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[0] = unix.AF_INET
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	all, err := dump(h.wire, unix.RTM_GETADDR, body, func(b []byte) (bystander, bool, error) {
		a, ok, err := decodeHeld(b)
		// The flags that fit into 8 bits are in the header, too.
		return bystander{a, slices.Clone(b)}, ok && a.Index == index && b[2]&unix.IFA_F_SECONDARY != 0, err
	})
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	return slices.DeleteFunc(all, func(b bystander) bool {
		return !slices.ContainsFunc(addrs, func(p netip.Prefix) bool {
			return subnet(p) && p.Masked() == b.Prefix.Masked() && p.Addr() != b.Prefix.Addr()
		}) || slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr() == b.Prefix.Addr() })
	}), err
}

// putBack adds those of them again that have gone.
func (h *Hands) putBack(index int, others []bystander) error {
	if len(others) == 0 {
		return nil
	}
	there, err := h.wire.held(index)
	if err != nil {
		return err
	}
	for _, o := range others {
		if slices.Contains(there, o.held) {
			continue
		}
		err := h.wire.one(context.Background(), request(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, o.body), nil)
		if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("put %s back, which the kernel has removed with them: %w", o.Prefix, err)
		}
	}
	return nil
}

// directRequest adds a virtual address to a parent.
func directRequest(index int, p netip.Prefix) (netlink.Message, error) {
	a, flags := held{Index: index, Prefix: p, Scope: unix.RT_SCOPE_UNIVERSE}, uint32(0)
	if p.Addr().Is6() {
		flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
	}
	body, err := addrBody(a, flags)
	if err == nil && p.Addr().Is6() {
		body = append(body, deprecated()...)
	}
	return request(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, body), err
}

// deprecated is the attribute of an address that is valid for ever and preferred
// never: struct ifa_cacheinfo. The library does not encode it.
func deprecated() []byte {
	const size = 4 + 16
	b := make([]byte, size)
	binary.NativeEndian.PutUint16(b, size)
	binary.NativeEndian.PutUint16(b[2:], unix.IFA_CACHEINFO)
	binary.NativeEndian.PutUint32(b[8:], 1<<32-1) // after ifa_prefered = 0
	return b
}
