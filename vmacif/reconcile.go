package vmacif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrGone is returned, wrapped, when the interface or its parent does not exist
// any more: Ensure makes it again.
var ErrGone = errGone

// Found is what is not as it should be, in words.
type Found struct {
	// Form is of the interface itself, whatever its state ("mac
	// 02:00:00:00:00:09", "name x0", "alias"), and of settings, its own and its
	// parent's ("sysctl eth0.arp_ignore=0").
	Form []string
	// Service is "down" and "address 192.0.2.1" (missing) on a MASTER, "up" and
	// "address 192.0.2.1/24" (there) on a BACKUP.
	Service []string
}

// Any reports whether anything is wrong.
func (f Found) Any() bool { return len(f.Form)+len(f.Service) > 0 }

// Inspect says what somebody else has done to the interface, and changes nothing.
// What is right follows from what was asked for last: Up or RemoveAddrs; who
// calls them while Inspect looks may see what is not done yet.
//
// Like every read of a link it queues behind whoever holds the RTNL mutex.
func (i *Iface) Inspect() (Found, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.asItWas() {
		return Found{}, nil
	}
	return i.reconcile(true, true)
}

// Reconcile puts right what Inspect finds, and says what that was; after an
// error as far as it came. Addresses that are not ours stay on a MASTER. Taking
// the interface down (on a BACKUP), and setting its MAC while it is up, wait for a
// grace period of the kernel's RCU (16 ms).
func (i *Iface) Reconcile() (changed Found, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reconcile(false, true)
}

// Reform does so for the form alone: it never makes an interface serve.
func (i *Iface) Reform() (changed Found, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reconcile(false, false)
}

// reconcile compares the interface with what it should be, and unless look is set
// makes it so; its service, too, if that is set. The caller holds mu.
func (i *Iface) reconcile(look, service bool) (found Found, err error) {
	i.right = right{}
	will := i.will()
	d, err := i.h.wire.device("", i.Index())
	if err != nil {
		return Found{}, fmt.Errorf("read %s: %w", i.spec.Name, err)
	}
	parent, err := i.h.wire.device("", d.Parent)
	if err != nil {
		return Found{}, fmt.Errorf("read the parent of %s: %w", i.spec.Name, err)
	}
	if found.Form, err = i.fixIdentity(look, d); err != nil {
		return found, advise(err)
	}
	more, told, err := i.fixSettings(look, d, parent)
	found.Form = append(found.Form, more...)
	if err != nil {
		return found, advise(err)
	}
	if !service {
		return found, nil
	}
	s := emptySum.number(uint64(d.sum)).number(uint64(parent.sum))
	addrs, err := i.h.wire.eachHeld(d.Index, func(body []byte) { s = s.number(uint64(addressSum(body))) })
	if err != nil {
		return found, advise(fmt.Errorf("read the addresses of %s: %w", i.spec.Name, err))
	}
	if found.Service, err = i.fixService(look, d, addrs); err != nil {
		return found, advise(err)
	}
	if look && told && !found.Any() && will == i.will() {
		i.right = right{sum: s, parent: int32(d.Parent), will: will}
	}
	return found, nil
}

// fixIdentity: name, mode, MAC, alias, link group and address generation.
func (i *Iface) fixIdentity(look bool, d device) (found []string, err error) {
	if d.Name != i.spec.Name {
		found = append(found, "name "+d.Name)
		if !look {
			if err := i.h.slow.LinkSetName(i.link(), i.spec.Name); err != nil {
				return found, fmt.Errorf("rename %s to %s: %w", d.Name, i.spec.Name, err)
			}
		}
	}
	if d.Mode != modeBridge {
		found = append(found, "mode")
		if !look {
			req, err := modeRequest(d.Index)
			if err == nil {
				err = i.h.wire.one(context.Background(), req, nil)
			}
			if err != nil {
				return found, fmt.Errorf("set %s to bridge mode: %w", i.spec.Name, err)
			}
		}
	}
	if d.MAC != i.spec.MAC {
		found = append(found, "mac "+macString(d.MAC))
		if !look {
			if err := i.h.slow.LinkSetHardwareAddr(i.link(), net.HardwareAddr(i.spec.MAC[:])); err != nil {
				return found, fmt.Errorf("set the MAC of %s: %w", i.spec.Name, err)
			}
		}
	}
	if d.Alias != i.spec.alias() || d.Group != i.h.group || (d.GenMode >= 0 && d.GenMode != genModeNone) {
		found = append(found, "alias")
		if !look {
			if err := i.nameplate(); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// fixSettings: the sysctls of the parent and of the interface. told: the kernel has told
// all of them with the interfaces.
func (i *Iface) fixSettings(look bool, d, parent device) (found []string, told bool, err error) {
	wanted, err := vmacWanted(parent, i.spec.Family)
	if err != nil {
		return nil, false, err
	}
	told = d.conf.tells(wanted) && parent.conf.tells(wanted)
	for _, x := range [...]struct {
		device
		wanted []setting
	}{{parent, parentWanted(i.spec.Family)}, {d, wanted}} {
		wrong, more, err := differ(x.device, x.wanted)
		found = append(found, more...)
		if err != nil {
			return found, told, err
		}
		if look || len(wrong) == 0 {
			continue
		}
		name := x.Name
		if x.Index == d.Index {
			name = i.spec.Name // which it has by now
		}
		if err := correct(name, wrong); err != nil {
			return found, told, err
		}
	}
	return found, told, nil
}

// fixService: up with the virtual addresses, or down without any.
func (i *Iface) fixService(look bool, d device, addrs []held) (found []string, err error) {
	if !i.up.Load() {
		return i.fixBackup(look, d, addrs)
	}
	var missing []netip.Addr
	for _, ip := range i.spec.Addresses {
		if !slices.ContainsFunc(addrs, func(a held) bool { return a.Prefix == placed(ip) && !a.Peer.IsValid() }) {
			found = append(found, "address "+ip.String())
			missing = append(missing, ip)
		}
	}
	if !d.Up {
		found = append(found, "down")
	}
	if look || len(found) == 0 {
		return found, nil
	}
	return found, i.raise(context.Background(), missing)
}

func (i *Iface) fixBackup(look bool, d device, addrs []held) (found []string, err error) {
	for _, a := range addrs {
		found = append(found, "address "+a.Prefix.String())
	}
	// As long as a Down of ours is due the flag is our own.
	up := d.Up && !i.risen.Load()
	if up {
		found = append(found, "up")
	}
	if look || len(found) == 0 {
		return found, nil
	}
	if err := i.clear(); err != nil {
		return found, err
	}
	if up {
		return found, i.down()
	}
	return found, nil
}

// Relabel writes the new name of the parent into the alias, after it was renamed.
func (i *Iface) Relabel(parent string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.spec.Parent, i.right = parent, right{}
	if err := i.nameplate(); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// FollowMTU gives the interface the MTU of its parent, after that was changed.
// The kernel does so by itself only when the parent's becomes smaller.
func (i *Iface) FollowMTU(mtu int) error {
	err := i.h.slow.LinkSetMTU(i.link(), mtu)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("set the MTU of %s to %d: %w", i.spec.Name, mtu, err)
	}
	return nil
}
