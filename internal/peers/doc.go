// Package peers writes what other implementations of VRRP are configured with, for
// the hosts of a laboratory: the tests stand vrrpd beside them (internal/interop), the
// benchmark measures them in the same way (internal/bench).
//
// It only writes; hosts are made and programs are started by who asks. Everything lies
// in directories that a netlab.Host has for itself.
package peers

import (
	"fmt"
	"net/netip"
	"time"

	"vrrpd/internal/netlab"
)

// Router is one virtual router as every implementation has to be told of it.
type Router struct {
	Parent   string // interface that carries the adverts
	VRID     uint8
	Priority int
	Interval time.Duration // of adverts, a multiple of 10 ms; 0: not written, the default
	VIPs     []netip.Addr
	// VMAC is the name of the interface with the virtual MAC. "": none, and the
	// addresses are on the parent.
	VMAC string
}

// MAC is the virtual MAC of the router.
func (r Router) MAC() netlab.MAC {
	mac := netlab.VMAC(r.VRID)
	if len(r.VIPs) > 0 && r.VIPs[0].Is6() {
		mac[4] = 2
	}
	return mac
}

// seconds writes an interval as a decimal number of seconds.
func seconds(d time.Duration) string { return fmt.Sprint(d.Seconds()) }
