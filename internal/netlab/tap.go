package netlab

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Tap is an interface of a host that is connected with a switch not by a veth pair
// but by this process, which carries every frame from one tap to another. To the
// kernel it is like a network card: unlike a veth's, its carrier is reported by
// linkwatch, which is in no hurry when it was changed a moment ago.
type Tap struct {
	*Cable // Cut and Plug are the switch's; Carrier is the card's

	card, port *os.File
	fd         int // of card
	pumps      sync.WaitGroup
}

// ConnectTap is Connect with a tap.
func (l *Lab) ConnectTap(h *Host, ifname string, s *Switch, opts CableOptions) (*Tap, error) {
	fail := func(err error) (*Tap, error) {
		return nil, fmt.Errorf("connect tap %s of %s to %s: %w", ifname, h.name, s.name, err)
	}
	if err := l.refuse(); err != nil {
		return fail(err)
	}
	t := &Tap{Cable: &Cable{Host: h, Switch: s, IfName: ifname, Port: h.name + "-" + ifname}}
	if err := t.open(); err != nil {
		return fail(errors.Join(err, t.close()))
	}
	if err := t.plug(opts); err != nil {
		return fail(errors.Join(err, t.close()))
	}
	t.pumps.Go(func() { pump(t.card, t.port) })
	t.pumps.Go(func() { pump(t.port, t.card) })
	t.item = h.inside.push(t.close)
	if err := t.settle(); err != nil {
		return fail(errors.Join(err, t.item.Close()))
	}
	return t, nil
}

// open makes the two taps, which live as long as their descriptors.
func (t *Tap) open() error {
	err := t.Host.DoNet(func() (err error) {
		t.card, t.fd, err = openTap(t.IfName)
		return err
	})
	if err != nil {
		return err
	}
	return t.Switch.DoNet(func() (err error) {
		t.port, _, err = openTap(t.Port)
		return err
	})
}

func openTap(name string) (*os.File, int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("open /dev/net/tun", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
	}
	if err != nil {
		return nil, -1, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), fd, nil
}

// plug gives the taps what Connect gives the ends of a cable, and sets them up.
func (t *Tap) plug(opts CableOptions) error {
	port, err := t.Switch.nl.LinkByName(t.Port)
	if err != nil {
		return fmt.Errorf("find %s: %w", t.Port, err)
	}
	t.index = port.Attrs().Index
	nic, err := t.Host.nl.LinkByName(t.IfName)
	if err != nil {
		return fmt.Errorf("find %s: %w", t.IfName, err)
	}
	if opts.MAC != (MAC{}) {
		if err := t.Host.nl.LinkSetHardwareAddr(nic, opts.MAC[:]); err != nil {
			return fmt.Errorf("set the MAC of %s: %w", t.IfName, err)
		}
	}
	if err := t.Switch.nl.LinkSetMasterByIndex(port, t.Switch.bridge); err != nil {
		return fmt.Errorf("put %s into the bridge: %w", t.Port, err)
	}
	for _, addr := range opts.Addrs {
		if err := t.Host.AddAddr(t.IfName, addr); err != nil {
			return err
		}
	}
	// A card has no carrier until it is up, and tells when it gets one; a tap has
	// one from the beginning, of which it tells nothing.
	return errors.Join(t.Carrier(false), t.Switch.nl.LinkSetUp(port), t.Host.nl.LinkSetUp(nic), t.Carrier(true))
}

// Carrier gives the host's interface its carrier, or takes it away, as the driver
// of a card does.
func (t *Tap) Carrier(on bool) error {
	value := 0
	if on {
		value = 1
	}
	return os.NewSyscallError("TUNSETCARRIER", unix.IoctlSetPointerInt(t.fd, unix.TUNSETCARRIER, value))
}

// pump carries frames until an end is closed, or has gone with its namespace.
// What cannot be delivered, because an interface is down, is lost, as on a wire.
func pump(from, to *os.File) {
	frame := make([]byte, 1<<16)
	for {
		n, err := from.Read(frame)
		if err != nil {
			return
		}
		_, _ = to.Write(frame[:n])
	}
}

func (t *Tap) close() error {
	var errs []error
	for _, f := range []*os.File{t.card, t.port} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	t.pumps.Wait()
	return errors.Join(errs...)
}
