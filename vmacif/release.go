package vmacif

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrOthers: the interface that an instance had has been made by another one since.
var ErrOthers = errors.New("it belongs to another instance")

// absent: there is nothing of that instance.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOthers) }

// Leftover finds the interface that a dead, or stuck, instance (owner, as in Spec)
// left under a name, for a process that knows nothing else of it. The result can
// lose its addresses, go down and be deleted; it cannot go up. An error that wraps
// fs.ErrNotExist means that there is no such interface, ErrOthers that another
// instance has made it since, Refused that vrrpd did not. Whether the instance is
// really dead is the caller's knowledge.
//
// An instance that died between the two messages of a creation has left an interface
// that does not say whose it is: it is everybody's.
func (h *Hands) Leftover(name, owner string) (*Iface, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	d, err := h.wire.device(name, 0)
	if errors.Is(err, errGone) {
		return nil, fmt.Errorf("clean up %s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("clean up %s: %w", name, err)
	}
	whose, tagged := ownerOf(d.Alias)
	unborn := d.Alias == "" && d.Group&groupMask == groupMark
	if d.Kind != "macvlan" || (!tagged && !unborn) {
		return nil, refuse("an interface %s exists that vrrpd did not make: it is left alone", name)
	}
	if tagged && whose != owner {
		return nil, fmt.Errorf("clean up %s: %w, %s", name, ErrOthers, whose)
	}
	i := &Iface{h: h, spec: Spec{Name: name, MAC: d.MAC, Owner: whose}}
	i.index.Store(int64(d.Index))
	return i, nil
}

// Silence ends the service of a dead or stuck sibling: no address, and down. It
// does not delete, because the sibling's successor, or the sibling itself when
// it comes back, expects the interface. No such interface of that owner: nothing to
// do.
func (h *Hands) Silence(name, owner string) error {
	i, err := h.Leftover(name, owner)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(i.RemoveAddrs(), i.Down())
}

// Release removes what a dead instance left behind: its interface, and its part
// in the parent's settings. No such interface of that owner: its parent may have
// gone; what the instance journalled is found by ReleaseOwner.
func (h *Hands) Release(name, owner string) error {
	i, err := h.Leftover(name, owner)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	// The addresses first: they end the service, the rest waits for the kernel.
	return errors.Join(i.RemoveAddrs(), i.Delete())
}

// ReleaseAll does so for several, which go in one message as by DeleteAll. Of the parents'
// settings only ReleaseOwner knows then.
func (h *Hands) ReleaseAll(names []string, owner string) error {
	var errs []error
	left := make(map[int]bool)
	for _, name := range names {
		i, err := h.Leftover(name, owner)
		if err == nil {
			left[i.Index()] = true
			err = i.RemoveAddrs()
		}
		if !absent(err) {
			errs = append(errs, err)
		}
	}
	if len(left) > 1 {
		errs = append(errs, h.deleteTogether(left))
	}
	for _, name := range names {
		errs = append(errs, h.Release(name, owner))
	}
	return errors.Join(errs...)
}

// ReleaseOwner takes one instance, and every dead one, off the lists of users
// of all parents, and restores the settings of those that have nobody left. It
// is for an instance whose interface no longer exists.
func (h *Hands) ReleaseOwner(owner string) error {
	j := h.journals()
	return j.release(func(_ int, u string) bool { return u == owner || !j.alive(u) })
}
