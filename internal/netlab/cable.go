package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// firstPort keeps the indexes of ports apart from those of the hosts'
// interfaces: where the two ends of a veth pair have equal ones, the kernel takes
// them for real cards and reports a second change within a second late.
const firstPort = 1000

// CableOptions say how a host is connected.
type CableOptions struct {
	MAC   MAC // of the host's interface; zero: one that names host and cable
	Addrs []netip.Prefix
	MTU   int // 0: 1500
}

// Cable connects an interface of a host with a port of a switch.
type Cable struct {
	Host   *Host
	Switch *Switch
	IfName string // the host's end
	Port   string // the switch's end

	item  *item
	index int // of the port

	mu   sync.Mutex
	loss *rules // guarded by mu; nil until something is dropped
}

// Connect plugs a new interface ifname of the host into the switch, both ends
// up, and gives it its addresses.
func (l *Lab) Connect(h *Host, ifname string, s *Switch, opts CableOptions) (*Cable, error) {
	c := &Cable{Host: h, Switch: s, IfName: ifname, Port: h.name + "-" + ifname}
	if err := l.refuse(); err != nil {
		return nil, fmt.Errorf("connect %s of %s to %s: %w", ifname, h.name, s.name, err)
	}
	l.mu.Lock()
	l.ports++
	c.index = firstPort + l.ports
	if len(c.Port) >= unix.IFNAMSIZ {
		c.Port = fmt.Sprintf("port%d", l.ports)
	}
	l.mu.Unlock()
	if err := c.plug(opts); err != nil {
		return nil, fmt.Errorf("connect %s of %s to %s: %w", ifname, h.name, s.name, err)
	}
	c.item = h.inside.push(c.remove)
	return c, nil
}

func (c *Cable) plug(opts CableOptions) error {
	h, s := c.Host, c.Switch
	if opts.MAC == (MAC{}) {
		copy(opts.MAC[:], h.nextMAC())
	}
	if opts.MTU == 0 {
		opts.MTU = 1500
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index, attrs.MTU = c.Port, c.index, opts.MTU
	veth := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         c.IfName,
		PeerHardwareAddr: opts.MAC[:],
		PeerNamespace:    netlink.NsFd(h.spaces.net.Fd()),
		PeerMTU:          uint32(opts.MTU),
	}
	if err := s.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	port := c.port()
	if err := s.nl.LinkSetMasterByIndex(port, s.bridge); err != nil {
		return fmt.Errorf("put %s into the bridge: %w", c.Port, err)
	}
	if err := s.nl.LinkSetUp(port); err != nil {
		return fmt.Errorf("set %s up: %w", c.Port, err)
	}
	for _, addr := range opts.Addrs {
		if err := h.AddAddr(c.IfName, addr); err != nil {
			return err
		}
	}
	nic, err := h.nl.LinkByName(c.IfName)
	if err != nil {
		return fmt.Errorf("find %s: %w", c.IfName, err)
	}
	if err := h.nl.LinkSetUp(nic); err != nil {
		return fmt.Errorf("set %s up: %w", c.IfName, err)
	}
	return c.settle()
}

// nextMAC is one that names the host and how many it has had.
func (h *Host) nextMAC() net.HardwareAddr {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nics++
	return net.HardwareAddr{0x02, 'l', 'a', 'b', h.number, h.nics - 1}
}

// settle waits until the bridge forwards at the port, which it begins to do by
// itself some time after it has a carrier. A port that cannot forward, because
// it is cut or blocked or the host's interface is down, is as settled as it
// will get.
func (c *Cable) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.Switch.WaitLink(ctx, c.Port, func(port Link) bool {
		if nic, err := c.Host.Link(c.IfName); err != nil || !nic.Up {
			return true
		}
		return !port.Up || !port.inBridge || port.forwarding
	})
	return err
}

// Cut pulls the cable out of the switch: when it returns, the host's interface
// has lost its carrier, and the switch has forgotten what it had learnt there.
func (c *Cable) Cut() error {
	if err := c.Switch.nl.LinkSetDown(c.port()); err != nil {
		return fmt.Errorf("cut %s: %w", c.Port, err)
	}
	return nil
}

// Plug puts the cable back, and returns when the switch forwards again. A port
// that is blocked stays blocked.
func (c *Cable) Plug() error {
	if err := c.Switch.nl.LinkSetUp(c.port()); err != nil {
		return fmt.Errorf("plug in %s: %w", c.Port, err)
	}
	return c.settle()
}

// Block makes the port of the switch pass nothing in either direction while
// the host still sees a carrier, like a port that spanning tree has blocked.
func (c *Cable) Block() error {
	// The port leaves the bridge. Its spanning-tree state would not last: the
	// bridge opens a port by itself when its carrier returns.
	if err := c.Switch.nl.LinkSetNoMaster(c.port()); err != nil {
		return fmt.Errorf("block %s: %w", c.Port, err)
	}
	return nil
}

// Unblock ends Block, and returns when the switch forwards again.
func (c *Cable) Unblock() error {
	if err := c.Switch.nl.LinkSetMasterByIndex(c.port(), c.Switch.bridge); err != nil {
		return fmt.Errorf("unblock %s: %w", c.Port, err)
	}
	return c.settle()
}

// Remove takes the cable and the host's interface away for good.
func (c *Cable) Remove() error { return c.item.Close() }

func (c *Cable) remove() error {
	c.mu.Lock()
	loss := c.loss
	c.loss = nil
	c.mu.Unlock()
	var err error
	if loss != nil {
		err = loss.close()
	}
	if c.Host.lab.closing.Load() {
		return err // it goes with its namespaces, all at once
	}
	nic, findErr := c.Host.nl.LinkByName(c.IfName)
	if _, gone := findErr.(netlink.LinkNotFoundError); gone {
		return err // something on the host deleted it
	}
	if findErr == nil {
		findErr = c.Host.nl.LinkDel(nic)
	}
	if findErr != nil {
		err = errors.Join(err, fmt.Errorf("remove %s of %s: %w", c.IfName, c.Host.name, findErr))
	}
	return err
}

func (c *Cable) port() netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: c.index, Name: c.Port}}
}
