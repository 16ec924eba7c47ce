package vmacif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Reconcile makes the interface exactly what it should be, for a MASTER (up) or
// a BACKUP, after somebody else has had a hand in it: made again if it was
// deleted, with its alias, mode, MAC and settings; up with every virtual
// address, or down without any. Addresses that are not ours stay on a MASTER.
// changed names what was wrong and has been put right, in words such as
// "missing", "down", "address 192.0.2.1" or "sysctl eth0.arp_ignore=0"; it is
// complete up to the failure when there is an error, too.
//
// Nothing wrong: 0.6 ms, most of it reading sysctls; and like every read of a
// link it queues behind whoever holds the RTNL mutex. Taking the interface down,
// and deleting a wrong one, take 16 ms.
func (i *Iface) Reconcile(up bool) (changed []string, err error) {
	i.up.Store(up)
	i.mu.Lock()
	defer i.mu.Unlock()
	parent, err := i.h.wire.device(i.spec.Parent, 0)
	if errors.Is(err, errGone) {
		all, err := i.h.wire.devices()
		return nil, errors.Join(noParent(i.spec, all), err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", i.spec.Parent, err)
	}
	d, addrs, err := i.observe()
	switch {
	case errors.Is(err, errGone):
		changed = append(changed, "missing")
		if d, err = i.again(create, d, parent); err != nil {
			return changed, err
		}
		addrs = nil
	case err != nil:
		return nil, err
	case d.Index != i.Index() || d.Kind != "macvlan" || d.Parent != parent.Index || d.Foreign:
		f, err := i.h.judge(i.spec, d, parent)
		if err != nil {
			return nil, err
		}
		changed = append(changed, "replaced by another interface")
		if d, err = i.again(f, d, parent); err != nil {
			return changed, err
		}
		addrs = nil
	}

	for _, step := range [...]func(device, device) ([]string, error){i.fixIdentity, i.fixSettings} {
		more, err := step(d, parent)
		changed = append(changed, more...)
		if err != nil {
			return changed, advise(err)
		}
	}
	more, err := i.fixService(up, d, addrs)
	return append(changed, more...), err
}

// again makes the interface from nothing, or takes over the one that is there,
// and journals the parent, which may be another device than before.
func (i *Iface) again(f fate, existing, parent device) (device, error) {
	if _, err := i.h.journals().acquire(parent, i.spec.Owner); err != nil {
		return device{}, advise(err)
	}
	wanted := i.up.Load()
	err := i.build(f, existing, parent)
	i.up.Store(wanted)
	if err != nil {
		return device{}, advise(err)
	}
	d, err := i.h.wire.device(i.spec.Name, 0)
	if err != nil {
		return device{}, fmt.Errorf("read %s: %w", i.spec.Name, err)
	}
	return d, nil
}

// fixIdentity: mode, MAC, alias, link group and address generation.
func (i *Iface) fixIdentity(d, _ device) (changed []string, err error) {
	if d.Mode != modeBridge {
		changed = append(changed, "mode")
		req, err := modeRequest(d.Index)
		if err == nil {
			err = i.h.wire.one(context.Background(), req, nil)
		}
		if err != nil {
			return changed, fmt.Errorf("set %s to bridge mode: %w", i.spec.Name, err)
		}
	}
	if d.MAC != i.spec.MAC {
		changed = append(changed, "mac "+macString(d.MAC))
		if err := i.h.slow.LinkSetHardwareAddr(i.link(), net.HardwareAddr(i.spec.MAC[:])); err != nil {
			return changed, fmt.Errorf("set the MAC of %s: %w", i.spec.Name, err)
		}
	}
	if d.Alias != i.spec.alias() || d.Group != i.h.group || (d.GenMode >= 0 && d.GenMode != genModeNone) {
		changed = append(changed, "alias")
		if err := i.nameplate(); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// fixSettings: the sysctls of the parent and of the interface.
func (i *Iface) fixSettings(_, parent device) (changed []string, err error) {
	if changed, err = tuneParent(parent.Name); err != nil {
		return changed, err
	}
	more, err := tuneVMAC(i.spec.Name, parent.Name)
	return append(changed, more...), err
}

// fixService: up with the virtual addresses, or down without any.
func (i *Iface) fixService(up bool, d device, addrs []held) (changed []string, err error) {
	if !up {
		for _, a := range addrs {
			changed = append(changed, "address "+a.Prefix.String())
		}
		if err := i.RemoveAddrs(); err != nil {
			return changed, err
		}
		if d.Up {
			changed = append(changed, "up")
			return changed, i.down()
		}
		return changed, nil
	}
	var missing []netip.Addr
	for _, ip := range i.spec.Addresses {
		if !slices.ContainsFunc(addrs, func(a held) bool { return a.Prefix == single(ip) && !a.Peer.IsValid() }) {
			changed = append(changed, "address "+ip.String())
			missing = append(missing, ip)
		}
	}
	if !d.Up {
		changed = append(changed, "down")
	}
	if len(changed) == 0 {
		return nil, nil
	}
	return changed, i.raise(context.Background(), missing)
}
