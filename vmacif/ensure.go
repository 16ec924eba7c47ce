package vmacif

import (
	"context"
	"errors"
	"fmt"
	"net"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// broadcastQueue is how many broadcast frames may wait to be copied to the
// macvlans of one parent. With the kernel's 1,000, bursts were dropped when 250
// of them were up. The largest wish among a parent's macvlans counts.
const broadcastQueue = 4096

// fate is what becomes of an interface that already has the wanted name.
type fate uint8

const (
	create  fate = iota // there is none
	adopt               // a leftover that can be used as it is
	replace             // a leftover that cannot
)

// survey is the machine as one Spec sees it. Nothing in it is a refusal.
type survey struct {
	parent   device
	existing device // meaningful unless fate is create
	fate     fate
	stale    []device // other interfaces of this owner, or dead twins: to be deleted
	all      []device
}

// Ensure makes the interface of a virtual router: a macvlan in bridge mode on
// the parent, down, without addresses, with its alias, MAC and settings. A
// leftover that a dead instance made is recognised by its alias and put into
// exactly the same state, or made again if its parent, mode or MAC is another.
// The parent's settings are journalled and set. After an error everything is as
// before, except that leftovers of dead instances may be gone.
//
// The caller must hold whatever makes spec.Owner the only living instance of
// that name. A Refused error means that spec cannot be had on this machine.
func (h *Hands) Ensure(spec Spec) (*Iface, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	s, err := h.survey(spec)
	if err != nil {
		return nil, err
	}
	for _, d := range s.stale {
		if err := h.discard(d); err != nil {
			return nil, err
		}
	}
	j := h.journals()
	if _, err := j.acquire(s.parent, spec); err != nil {
		return nil, advise(err)
	}
	i := &Iface{h: h, spec: spec}
	if err := i.build(s.fate, s.existing, s.parent); err != nil {
		undo := j.release(func(u string) bool { return u == spec.Owner })
		return nil, advise(errors.Join(err, undo))
	}
	h.remember(i)
	return i, nil
}

// build makes the interface, or makes it right, and leaves it down and empty.
func (i *Iface) build(f fate, existing, parent device) error {
	spec, h := i.spec, i.h
	if f == replace {
		if err := h.discard(existing); err != nil {
			return err
		}
		f = create
	}
	if f == create {
		attrs := netlib.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex, attrs.Group = spec.Name, parent.Index, h.group
		attrs.HardwareAddr = net.HardwareAddr(spec.MAC[:])
		link := &netlib.Macvlan{LinkAttrs: attrs, Mode: netlib.MACVLAN_MODE_BRIDGE, BCQueueLen: broadcastQueue}
		if err := h.slow.LinkAdd(link); err != nil {
			return fmt.Errorf("create %s on %s: %w", spec.Name, spec.Parent, err)
		}
		d, err := h.wire.device(spec.Name, 0)
		if err != nil {
			return fmt.Errorf("create %s on %s: %w", spec.Name, spec.Parent, err)
		}
		existing = d
	}
	i.index.Store(int64(existing.Index))
	err := i.nameplate()
	if err == nil {
		_, err = tuneVMAC(spec.Name, parent.Name, spec.Family)
	}
	if err == nil {
		err = i.RemoveAddrs()
	}
	if err == nil && existing.Up {
		err = i.down()
	}
	if err != nil {
		return errors.Join(err, h.discard(existing))
	}
	return nil
}

// nameplate is the second message: alias, link group, no IPv6 link-local
// address from the MAC.
func (i *Iface) nameplate() error {
	for _, ipv6 := range [...]bool{true, false} {
		req, err := nameplateRequest(i.Index(), i.spec.alias(), i.h.group, ipv6)
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

// discard deletes an interface that may already be gone.
func (h *Hands) discard(d device) error {
	attrs := netlib.NewLinkAttrs()
	attrs.Name, attrs.Index = d.Name, d.Index
	err := h.slow.LinkDel(&netlib.Macvlan{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", d.Name, err)
	}
	return nil
}

// advise adds what to do to the errors that have an answer.
func advise(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (vrrpd needs CAP_NET_ADMIN: run it as root)", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w (/proc/sys is read-only here: in a container make it writable, in a systemd unit leave ProtectKernelTunables off)", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (this kernel lacks macvlan, CONFIG_MACVLAN: load the module, or do without a virtual MAC with -n)", err)
	}
	return err
}

// survey looks at what Ensure would have to do, and refuses what it must not.
func (h *Hands) survey(spec Spec) (survey, error) {
	var s survey
	var err error
	if s.all, err = h.wire.devices(); err != nil {
		return s, fmt.Errorf("list interfaces: %w", err)
	}
	for _, d := range s.all {
		if d.Name == spec.Parent {
			s.parent = d
		}
	}
	if s.parent.Index == 0 {
		return s, noParent(spec, s.all)
	}
	if err := judgeParent(spec, s.parent, s.all); err != nil {
		return s, err
	}
	for _, d := range s.all {
		if d.Name == spec.Name {
			if s.fate, err = h.judge(spec, d, s.parent); err != nil {
				return s, err
			}
			s.existing = d
			continue
		}
		owner, tagged := ownerOf(d.Alias)
		mine := tagged && d.Kind == "macvlan" && (owner == spec.Owner || !h.alive(owner))
		twin := d.Kind == "macvlan" && !d.Foreign && d.Parent == s.parent.Index && d.MAC == spec.MAC
		switch {
		case twin && tagged && !mine:
			return s, refuse("VRID %d on %s is already served by the running instance %s with the interface %s: choose another VRID, or stop that instance", spec.VRID, spec.Parent, owner, d.Name)
		case twin && !mine:
			return s, refuse("%s on %s already has the virtual MAC %s and was not made by vrrpd: stop the program that uses it, or choose another VRID", d.Name, spec.Parent, macString(spec.MAC))
		case twin, mine && owner == spec.Owner:
			s.stale = append(s.stale, d)
		case tagged && d.Kind == "macvlan" && !d.Foreign && d.Parent == s.parent.Index && h.apart(owner) && h.alive(owner):
			return s, refuse("%s of the running instance %s stands on %s, too, and what the settings of %s were is noted in another place than by this one, so that each would undo what the other needs: give both the same run directory (-f), or run both as the same user", d.Name, owner, spec.Parent, spec.Parent)
		}
	}
	return s, nil
}

// judge decides about an interface of the wanted name.
func (h *Hands) judge(spec Spec, d, parent device) (fate, error) {
	owner, tagged := ownerOf(d.Alias)
	fits := d.Kind == "macvlan" && !d.Foreign && d.Parent == parent.Index && d.Mode == modeBridge && d.MAC == spec.MAC
	// An instance that died between the two messages of creation left no
	// alias, but its link group.
	unborn := d.Alias == "" && d.Group&groupMask == groupMark && fits
	switch {
	case d.Kind != "macvlan" || (!tagged && !unborn):
		return 0, refuse("an interface %s exists that vrrpd did not make: choose another name with --name, or delete it", spec.Name)
	case tagged && owner != spec.Owner && h.alive(owner):
		return 0, refuse("the interface %s belongs to the running instance %s: choose another name with --name", spec.Name, owner)
	case fits:
		return adopt, nil
	}
	return replace, nil
}
