package vmacif

import (
	"context"
	"fmt"

	"github.com/mdlayher/netlink"
)

// UpAll is Up of many, several in one system call. The results are in the order of
// ifaces.
func (h *Hands) UpAll(ctx context.Context, ifaces []*Iface) []error {
	errs := make([]error, len(ifaces))
	for len(ifaces) > 0 {
		some := ifaces[:min(len(ifaces), batch/2)]
		for _, i := range some {
			i.up.Store(true)
			i.mu.Lock()
			i.risen.Store(true)
		}
		h.raiseAll(ctx, some, errs[len(errs)-len(ifaces):])
		for _, i := range some {
			i.mu.Unlock()
		}
		ifaces = ifaces[len(some):]
	}
	return errs
}

// raiseAll is raise of several with all of their addresses; the caller holds mu of each.
func (h *Hands) raiseAll(ctx context.Context, ifaces []*Iface, errs []error) {
	reqs := make([]netlink.Message, 0, 2*len(ifaces))
	ends := make([]int, len(ifaces))
	for n, i := range ifaces {
		before := len(reqs)
		if reqs, errs[n] = i.raising(reqs, i.spec.Addresses); errs[n] != nil {
			reqs = reqs[:before]
		}
		ends[n] = len(reqs)
	}
	results, err := h.wire.exchange(ctx, reqs, nil)
	at := 0
	for n, i := range ifaces {
		switch {
		case errs[n] != nil:
		case err != nil:
			errs[n] = fmt.Errorf("set %s up: %w", i.spec.Name, err)
		default:
			errs[n] = i.raised(results[at:ends[n]], i.spec.Addresses)
		}
		at = ends[n]
	}
}

// RemoveAddrsAll is RemoveAddrs of many: if they are more than oneByOne, what is ours goes
// first, several in one system call, and one look at all addresses of the machine tells
// where there are others. The results are in the order of ifaces.
func (h *Hands) RemoveAddrsAll(ifaces []*Iface) []error {
	errs := make([]error, len(ifaces))
	for _, i := range ifaces {
		i.up.Store(false)
	}
	bare := h.bare(ifaces)
	for n, i := range ifaces {
		if !bare[i.Index()] {
			errs[n] = i.clear()
		}
	}
	return errs
}

// oneByOne is how many interfaces at most are looked at one after the other: the machine
// may have many other addresses.
const oneByOne = 32

// bare removes our addresses from interfaces and returns the indexes of those that have
// none left. Of one that has, or of a few, or if anything fails, the caller finds out by
// itself.
func (h *Hands) bare(ifaces []*Iface) map[int]bool {
	if len(ifaces) <= oneByOne {
		return nil
	}
	var ours []held
	bare := make(map[int]bool, len(ifaces))
	for _, i := range ifaces {
		ours = i.appendOurs(ours)
		bare[i.Index()] = true
	}
	if h.removeHeld(ours) != nil {
		return nil
	}
	left, err := h.wire.held(0)
	if err != nil {
		return nil
	}
	for _, a := range left {
		delete(bare, a.Index)
	}
	return bare
}
