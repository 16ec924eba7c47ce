package vmacif

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// building is an interface that is being made. Of a thousand each step is one for all of
// them: a few system calls, and no look at anything twice.
type building struct {
	*Iface
	at     int // among those that were asked for
	fate   fate
	device device // as last seen
	parent device
	err    error // ends it: what has been made is deleted again
}

// each calls f for what goes well so far.
func each(all []*building, f func(*building) error) {
	for _, b := range all {
		if b.err == nil {
			b.err = f(b)
		}
	}
}

// builder makes interfaces by way of a connection of its own, if they are many: the loop
// waits for that of the Hands.
type builder struct {
	*Hands
	wire *wire
}

// few are looked at one by one, more in one dump of all interfaces.
const few = 8

// buildAll makes the interfaces, or makes them right, and leaves them down and empty.
func (h *Hands) buildAll(all []*building) {
	m := builder{h, h.wire}
	if len(all) > few {
		w, err := dialWire()
		each(all, func(*building) error { return err })
		if err != nil {
			return
		}
		defer w.Close()
		m.wire = w
	}
	m.build(all)
}

func (h *builder) build(all []*building) {
	h.replaceRaised(all)
	each(all, func(b *building) error {
		if b.fate != replace {
			return nil
		}
		b.fate = create
		return h.discard(b.device)
	})
	h.createAll(all)
	each(all, func(b *building) error {
		b.index.Store(int64(b.device.Index))
		return nil
	})
	h.tuneAll(all)
	h.emptyAll(all)
	for _, b := range all {
		if b.err != nil && b.Index() != 0 {
			b.err = errors.Join(b.err, h.discard(b.device))
		}
	}
}

// replaceRaised deletes what a dead instance has left up, if it is much, so that it is made
// anew: to take each of them down waits for a grace period of RCU (500: 7 s), and all of
// a link group are deleted in one.
func (h *builder) replaceRaised(all []*building) {
	left, raised := make(map[int]*building), make(map[uint32]int) // by index; by group
	for _, b := range all {
		if b.err != nil || b.fate == create {
			continue
		}
		left[b.device.Index] = b
		if b.device.Up && b.device.Group&groupMask == groupMark {
			raised[b.device.Group]++
		}
	}
	for group, count := range raised {
		if count <= few {
			continue
		}
		devices, err := h.wire.devices()
		if err != nil {
			return // they are taken down one by one
		}
		alone := true
		for _, d := range devices {
			alone = alone && (d.Group != group || left[d.Index] != nil)
		}
		if !alone || !h.loosened(group, devices) || h.deleteAllOf(group) != nil {
			continue
		}
		for _, b := range left {
			if b.device.Group == group {
				b.fate = create
			}
		}
	}
}

// together sends one request for each that goes well so far, and calls then with what has
// become of it; told, which may be nil, sees what the kernel says besides.
func (h *builder) together(all []*building, make func(*building) (netlink.Message, error), told func([]byte) error, then func(*building, error) error) {
	var reqs []netlink.Message
	var whose []*building
	each(all, func(b *building) error {
		req, err := make(b)
		if err == nil {
			reqs, whose = append(reqs, req), append(whose, b)
		}
		return err
	})
	results, err := h.wire.exchange(context.Background(), reqs, told)
	for n, b := range whose {
		outcome := err
		if err == nil {
			outcome = results[n]
		}
		b.err = then(b, outcome)
	}
}

// createAll makes those that do not exist. The kernel tells what it has made (6.2); older
// ones are asked.
func (h *builder) createAll(all []*building) {
	var fresh []*building
	for _, b := range all {
		if b.fate == create && b.err == nil {
			fresh = append(fresh, b)
		}
	}
	if len(fresh) == 0 {
		return
	}
	describe := func(b *building, err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("create %s on %s: %w", b.spec.Name, b.spec.Parent, err)
	}
	found := make(map[string]device, len(fresh))
	h.together(fresh, func(b *building) (netlink.Message, error) { return createRequest(b.spec, b.parent.Index, h.group) }, func(body []byte) error {
		d, ok, err := decodeDevice(body)
		if ok {
			found[d.Name] = d
		}
		return err
	}, describe)
	var err error
	if slices.ContainsFunc(fresh, func(b *building) bool { return b.err == nil && found[b.spec.Name].Index == 0 }) {
		found, err = h.seen(fresh)
	}
	each(fresh, func(b *building) error {
		d, there := found[b.spec.Name]
		if err == nil && !there {
			return describe(b, errGone)
		}
		b.device, b.fresh = d, true
		return describe(b, err)
	})
}

// seen reads the interfaces, by name.
func (h *builder) seen(all []*building) (map[string]device, error) {
	found := make(map[string]device, len(all))
	if len(all) > few {
		list, err := h.wire.tuned(h.group)
		for _, d := range list {
			found[d.Name] = d
		}
		return found, err
	}
	for _, b := range all {
		d, err := h.wire.device(b.spec.Name, 0)
		switch {
		case err == nil:
			found[b.spec.Name] = d
		case !errors.Is(err, errGone):
			return nil, err
		}
	}
	return found, nil
}

// tuneAll is the second message, with the settings of IPv4 in it, and whatever else is
// not as wanted after it.
func (h *builder) tuneAll(all []*building) {
	type kind struct {
		parent int
		family uint8
	}
	known := make(map[kind][]setting)
	wanted := func(b *building) (list []setting, err error) {
		k := kind{b.parent.Index, b.spec.Family}
		list, done := known[k]
		if !done {
			var parent device
			if parent, err = h.wire.device("", b.parent.Index); err == nil {
				list, err = vmacWanted(parent, b.spec.Family)
			}
			if err == nil {
				known[k] = list
			}
		}
		return list, err
	}
	h.together(all, func(b *building) (netlink.Message, error) {
		list, err := wanted(b)
		if err != nil {
			return netlink.Message{}, err
		}
		return nameplateRequest(b.Index(), b.spec.alias(), h.group, true, list)
	}, nil, func(b *building, err error) error {
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL) {
			return b.nameplate() // a kernel that does not take all of it
		}
		if err != nil {
			return fmt.Errorf("set the alias of %s: %w", b.spec.Name, err)
		}
		list, err := wanted(b)
		b.device.conf.take(list)
		return err
	})
	// What is new is as the kernel has told, and as it was set since; what somebody else does
	// to it meanwhile he may do at any time.
	var old []*building
	for _, b := range all {
		if b.err == nil && !b.fresh {
			old = append(old, b)
		}
	}
	var found map[string]device
	var err error
	if len(old) > 0 {
		found, err = h.seen(old)
	}
	each(old, func(b *building) error {
		if err != nil {
			return fmt.Errorf("look at %s: %w", b.spec.Name, err)
		}
		d, there := found[b.spec.Name]
		if !there {
			return fmt.Errorf("look at %s: %w", b.spec.Name, errGone)
		}
		b.device = d
		return nil
	})
	each(all, func(b *building) error {
		list, err := wanted(b)
		if err != nil {
			return err
		}
		wrong, _, err := differ(b.device, list)
		if err == nil {
			err = correct(b.spec.Name, wrong)
		}
		return err
	})
}

// emptyAll leaves none with an address, and none up.
func (h *builder) emptyAll(all []*building) {
	var addrs []held
	var err error
	if len(all) > few {
		addrs, err = h.wire.held(0)
	} else {
		for _, b := range all {
			more, e := h.wire.held(b.Index())
			addrs, err = append(addrs, more...), errors.Join(err, e)
		}
	}
	has := make(map[int]bool)
	for _, a := range addrs {
		has[a.Index] = true
	}
	each(all, func(b *building) error {
		if err != nil {
			return fmt.Errorf("read the addresses of %s: %w", b.spec.Name, err)
		}
		b.up.Store(false)
		if has[b.Index()] {
			if err := b.clear(); err != nil {
				return err
			}
		}
		if b.device.Up {
			return b.down()
		}
		return nil
	})
}

// nameplate is the second message alone: alias, link group, no IPv6 link-local
// address from the MAC.
func (i *Iface) nameplate() error {
	for _, ipv6 := range [...]bool{true, false} {
		req, err := nameplateRequest(i.Index(), i.spec.alias(), i.h.group, ipv6, nil)
		if err == nil {
			err = i.h.wire.one(context.Background(), req, nil)
		}
		switch {
		case err == nil:
			return nil
		case ipv6 && i.spec.Family != 6 && errors.Is(err, unix.EAFNOSUPPORT): // no IPv6 in this kernel, or on this interface
		default:
			return fmt.Errorf("set the alias of %s: %w", i.spec.Name, err)
		}
	}
	return nil
}
