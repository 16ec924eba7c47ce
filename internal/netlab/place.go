package netlab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// place is a network namespace with a way to change it: what a host and a
// switch have in common.
type place struct {
	lab    *Lab
	name   string
	spaces spaces
	// nl works inside the namespace from any goroutine.
	nl *netlink.Handle
	// inside holds the instruments and cables of this place.
	inside stack
	cookie uint64 // the kernel's number of the network namespace, never reused
}

// init takes hold of the calling thread's namespaces and brings lo up.
func (p *place) init(programs bool) error {
	if err := p.spaces.open(programs); err != nil {
		return fmt.Errorf("open namespaces: %w", err)
	}
	var err error
	if p.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	if p.cookie, err = netnsCookie(); err != nil {
		return fmt.Errorf("read the namespace's cookie: %w", err)
	}
	lo, err := p.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := p.nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// close ends the instruments inside and lets go of the namespaces, after it has
// looked for others that hold them.
func (p *place) close() error {
	err := p.inside.closeAll()
	if p.nl != nil {
		// Through a copy, which keeps the closed sockets in place: a handle
		// that knows it has none works on the network of the calling thread,
		// and a late Cut would take down an interface of the machine.
		handle := *p.nl
		handle.Close()
	}
	if left := p.leftovers(); len(left) > 0 {
		for _, what := range left {
			err = errors.Join(err, fmt.Errorf("%s: left over: %s", p.name, what))
		}
	}
	return errors.Join(err, p.spaces.close())
}

// Name returns the name that the place was given.
func (p *place) Name() string { return p.name }

// Netlink returns a handle that works inside the namespace from any goroutine.
// It lives as long as the place; do not close it.
func (p *place) Netlink() *netlink.Handle { return p.nl }

// DoNet runs f in the network namespace only, on a thread of its own, with the
// file system of the lab's process: for libraries that look at /proc/self.
// Sockets that f opens stay in the namespace; goroutines that f starts are not
// in it. A panic or FailNow in f is the caller's.
func (p *place) DoNet(f func() error) error {
	return onThread(func() error {
		if err := p.spaces.enter(false); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		return f()
	})
}
