package daemon

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"vrrpd/lease"
	"vrrpd/vmacif"
)

// carrier is what has the virtual addresses of a router while it serves: an interface
// of its own with the virtual MAC (vmacif.Iface), or, with -n, the parent itself
// (vmacif.Direct). The rest of the daemon does not mind which, but for links.go, because a
// parent is nothing that is ours to repair, and reload.go.
type carrier interface {
	// Index is that of the interface that has the addresses, and the guard.
	Index() int
	// Up makes it serve, RemoveAddrs ends that; Down does slowly what may be left.
	Up(context.Context) error
	RemoveAddrs() error
	Down() error
	// Delete ends it: nothing of it remains.
	Delete() error
	// Inspect, Reform and Reconcile find and put right what others have done.
	Inspect() (vmacif.Found, error)
	Reform() (vmacif.Found, error)
	Reconcile() (vmacif.Found, error)
	// Relabel and FollowMTU follow the parent.
	Relabel(parent string) error
	FollowMTU(mtu int) error
	Forwards() bool
}

// direct is what package vmacif shall put on the parent of this router.
func (d *Daemon) direct(r *router) vmacif.DirectSpec {
	return vmacif.DirectSpec{
		Parent: r.cfg.Interface, VRID: r.cfg.VRID, Family: uint8(r.rules.Family), Addresses: r.cfg.Addresses, Owner: d.owner(),
		Was: func(index int) (vmacif.DirectWas, error) {
			bare, err := d.guards.Bare(index)
			return vmacif.DirectWas(bare), err
		},
	}
}

// mac is the MAC that the virtual addresses live at and that adverts come from.
func (r *router) mac() [6]byte {
	if r.style.noVMAC {
		return r.parent.link.MAC
	}
	return r.vmac
}

// checkCarrier says whether the machine can have the router's carrier.
func (d *Daemon) checkCarrier(r *router, look *vmacif.Checker) (warnings []string, err error) {
	if r.cfg.NoVMAC {
		return d.hands.CheckDirect(d.direct(r))
	}
	return look.Check(r.spec(d.owner()))
}

// makeCarrier makes it, without an address.
func (d *Daemon) makeCarrier(r *router) (carrier, error) {
	made, errs := d.makeCarriers([]*router{r})
	return made[0], errs[0]
}

// makeCarriers makes those of many routers. It may run on the worker, for routers that
// are not ours yet.
func (d *Daemon) makeCarriers(routers []*router) ([]carrier, []error) {
	made, errs := make([]carrier, len(routers)), make([]error, len(routers))
	var specs []vmacif.Spec
	var whose []int
	for i, r := range routers {
		if !r.cfg.NoVMAC {
			specs, whose = append(specs, r.spec(d.owner())), append(whose, i)
			continue
		}
		if c, err := d.hands.Direct(d.direct(r)); err != nil {
			errs[i] = err
		} else {
			made[i] = c
		}
	}
	if len(specs) == 0 {
		return made, errs
	}
	ifaces, failed := d.hands.EnsureAll(specs)
	for n, i := range whose {
		if errs[i] = failed[n]; ifaces[n] != nil {
			made[i] = ifaces[n]
		}
	}
	return made, errs
}

// attach puts a closed guard on a router's carrier.
func (d *Daemon) attach(r *router, c carrier) (*lease.Guard, error) {
	if r.cfg.NoVMAC {
		return d.guards.AttachDirect(c.Index(), lease.Direct{Family: uint8(r.rules.Family), VRID: r.cfg.VRID, Addresses: r.vips})
	}
	return d.guards.Attach(c.Index())
}

// attachNew puts closed guards on the interfaces among carriers that are new, all
// together. Where there is none in what it returns one is to be attached.
func (d *Daemon) attachNew(carriers []carrier) []*lease.Guard {
	guards := make([]*lease.Guard, len(carriers))
	var fresh []lease.New
	var whose []int
	for i, c := range carriers {
		if v, ok := c.(*vmacif.Iface); ok && v.Fresh() {
			fresh, whose = append(fresh, lease.New{Index: v.Index(), Name: v.Name()}), append(whose, i)
		}
	}
	made, _ := d.guards.AttachNew(fresh) // what has failed is tried again, and tells why
	for n, i := range whose {
		guards[i] = made[n]
	}
	return guards
}

// endCarrier ends what carried the addresses of a router that is gone, and its guard. On
// a parent the note goes last.
func endCarrier(c carrier, guard *lease.Guard) error {
	var errs []error
	detach := func() {
		if guard != nil {
			errs = append(errs, guard.Detach())
		}
	}
	_, direct := c.(*vmacif.Direct)
	if direct {
		detach()
	}
	if c != nil {
		errs = append(errs, c.Delete())
	}
	if !direct {
		detach()
	}
	return errors.Join(errs...)
}

// deleteCarriers ends them all. On parents the note goes last.
func (d *Daemon) deleteCarriers() error {
	return errors.Join(d.hands.DeleteAll(), removeDirect(d.guards, d.hands, d.owner()))
}

// removeDirect removes everything that an instance, which does not live, has left on
// parents: addresses first, then the guards that are for nothing any more.
func removeDirect(guards *lease.Guards, hands *vmacif.Hands, owner string) error {
	left, err := hands.DirectOf(owner)
	if err != nil || len(left) == 0 {
		return err
	}
	errs := []error{hands.StripDirect(owner)}
	for _, l := range left {
		errs = append(errs, guards.RemoveDirect(l.Index, l.Family, l.VRID, lease.Bare(l.Was)))
	}
	if err := errors.Join(errs...); err != nil {
		return err // noted still, for whoever has more luck
	}
	return hands.ReleaseDirect(owner)
}

// silenceDirect closes the guards of what an instance has on parents, by putting
// others in their places: see silence.
func silenceDirect(guards *lease.Guards, hands *vmacif.Hands, owner string) error {
	left, err := hands.DirectOf(owner)
	if guards.Rung() == lease.None {
		return err
	}
	for _, l := range left {
		d := lease.Direct{Family: l.Family, VRID: l.VRID}
		for _, p := range l.Addresses {
			d.Addresses = append(d.Addresses, p.Addr())
		}
		_, e := guards.AttachDirect(l.Index, d)
		if !errors.Is(e, unix.ENODEV) && !errors.Is(e, lease.ErrStale) {
			err = errors.Join(err, e)
		}
	}
	return err
}
