package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is the present state of an interface.
type Link struct {
	Name    string
	Index   int // 0: there is no such interface
	Kind    string
	Parent  int // index of the lower interface of a macvlan
	MAC     MAC
	MTU     int
	Up      bool // administratively
	Carrier bool // up and connected: IFF_LOWER_UP
	Addrs   []netip.Prefix

	inBridge, forwarding bool // of a switch's port
}

// Exists tells whether there is such an interface.
func (l Link) Exists() bool { return l.Index != 0 }

// Has tells whether the interface has the address, with whatever length.
func (l Link) Has(addr netip.Addr) bool {
	return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// Link returns the state of an interface; a missing one is no error.
func (p *place) Link(name string) (Link, error) {
	found, err := p.nl.LinkByName(name)
	if _, missing := err.(netlink.LinkNotFoundError); missing {
		return Link{Name: name}, nil
	}
	if err != nil {
		return Link{}, fmt.Errorf("read %s of %s: %w", name, p.name, err)
	}
	a := found.Attrs()
	l := Link{
		Name: a.Name, Index: a.Index, Kind: found.Type(), Parent: a.ParentIndex, MTU: a.MTU,
		Up:       a.RawFlags&unix.IFF_UP != 0,
		Carrier:  a.RawFlags&unix.IFF_LOWER_UP != 0,
		inBridge: a.MasterIndex != 0 && (a.Slave == nil || a.Slave.SlaveType() != "bond"),
	}
	l.MAC, _ = macFrom(a.HardwareAddr)
	if l.inBridge {
		if l.forwarding, err = p.portForwards(a.Index); err != nil {
			return Link{}, fmt.Errorf("read %s of %s: %w", name, p.name, err)
		}
	}
	addrs, err := p.nl.AddrList(found, netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		addrs, err = p.nl.AddrList(found, netlink.FAMILY_ALL)
	}
	if errors.Is(err, unix.ENODEV) {
		return Link{Name: name}, nil // it went between the two questions
	}
	if err != nil {
		return Link{}, fmt.Errorf("read addresses of %s of %s: %w", name, p.name, err)
	}
	for _, addr := range addrs {
		ip, ok := netip.AddrFromSlice(addr.IP)
		bits, _ := addr.Mask.Size()
		if ok {
			l.Addrs = append(l.Addrs, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return l, nil
}

// WaitLink waits until the interface fulfils cond, and returns its state then.
// It looks at once, and again after every event of a link or an address.
func (p *place) WaitLink(ctx context.Context, name string, cond func(Link) bool) (Link, error) {
	conn, err := p.subscribe()
	if err != nil {
		return Link{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(past()) })
	defer stop()
	for {
		l, err := p.Link(name)
		if err != nil || cond(l) {
			return l, err
		}
		// Overrun is as good as an event: something happened.
		if _, err := conn.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return l, fmt.Errorf("await a state of %s of %s; it is %+v: %w", name, p.name, l, err)
		}
	}
}

// WaitAddr waits until the interface has the address, or has it no longer. An
// interface that is not there has no addresses.
func (p *place) WaitAddr(ctx context.Context, name string, addr netip.Addr, present bool) (Link, error) {
	return p.WaitLink(ctx, name, func(l Link) bool { return l.Has(addr) == present })
}

// subscribe opens a socket that receives the events of links and addresses.
func (p *place) subscribe() (*mdnetlink.Conn, error) {
	conn, err := p.dialRoute()
	if err != nil {
		return nil, err
	}
	for _, group := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
		if err := conn.JoinGroup(group); err != nil {
			return nil, errors.Join(fmt.Errorf("subscribe to link events of %s: %w", p.name, err), conn.Close())
		}
	}
	return conn, nil
}

// dialRoute opens a route netlink socket in the namespace.
func (p *place) dialRoute() (*mdnetlink.Conn, error) {
	var conn *mdnetlink.Conn
	err := p.DoNet(func() (err error) {
		conn, err = mdnetlink.Dial(unix.NETLINK_ROUTE, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink on %s: %w", p.name, err)
	}
	return conn, nil
}
