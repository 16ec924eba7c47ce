package vmacif

import (
	"errors"
	"fmt"
	"io/fs"
)

// Leftover finds the interface that a dead, or stuck, instance left under a
// name, for a process that knows nothing else of it. The result can lose its
// addresses, go down and be deleted; it cannot go up. An error that wraps
// fs.ErrNotExist means that there is no such interface, Refused that vrrpd did
// not make it. Whether the instance is really dead is the caller's knowledge.
func (h *Hands) Leftover(name string) (*Iface, error) {
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
	owner, tagged := ownerOf(d.Alias)
	unborn := d.Alias == "" && d.Group&groupMask == groupMark
	if d.Kind != "macvlan" || (!tagged && !unborn) {
		return nil, refuse("an interface %s exists that vrrpd did not make: it is left alone", name)
	}
	i := &Iface{h: h, spec: Spec{Name: name, MAC: d.MAC, Owner: owner}}
	i.index.Store(int64(d.Index))
	return i, nil
}

// Silence ends the service of a dead or stuck sibling: no address, and down. It
// does not delete, because the sibling's successor, or the sibling itself when
// it comes back, expects the interface. No such interface: nothing to do.
func (h *Hands) Silence(name string) error {
	i, err := h.Leftover(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(i.RemoveAddrs(), i.Down())
}

// Release removes what a dead instance left behind: its interface, and its part
// in the parent's settings. No such interface: its parent may have gone; what
// the instance journalled is found by ReleaseOwner.
func (h *Hands) Release(name string) error {
	i, err := h.Leftover(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// The addresses first: they end the service, the rest waits for the kernel.
	return errors.Join(i.RemoveAddrs(), i.Delete())
}

// ReleaseOwner takes one instance, and every dead one, off the lists of users
// of all parents, and restores the settings of those that have nobody left. It
// is for an instance whose interface no longer exists.
func (h *Hands) ReleaseOwner(owner string) error {
	j := h.journals()
	return j.release(func(_ int, u string) bool { return u == owner || !j.alive(u) })
}
