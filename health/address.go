package health

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrrpd/lan"
	"vrrpd/rtnl"
)

// asker is a lan.Asker.
type asker interface {
	Ask(mac [6]byte, source, target netip.Addr, to [6]byte) error
	Next(deadline time.Time) (lan.Answer, error)
	Close() error
}

func openAsker(index int, name string, family uint8) (asker, error) {
	return lan.OpenAsker(index, name, family)
}

// target is where a check asks for its addresses.
type target struct {
	*watch
	asker asker // nil: not open
	index int   // of the interface that it is open on
	// macs have answered the last time: they are asked alone, so that the others on
	// the LAN are left in peace.
	macs map[netip.Addr][6]byte
}

func (t *target) close() {
	if t.asker != nil {
		t.asker.Close()
		t.asker = nil
	}
}

// observe asks once for all of the addresses, and waits for the first answer.
func (t *target) observe(ctx context.Context) (observation, bool) {
	is, told := t.iface()
	if !told {
		return observation{}, false
	}
	deadline := time.Now().Add(t.check.timeout())
	if o := is.carries(t.check.Interface); !o.ok {
		t.close()
		return o, true
	}
	if err := t.open(is.Link.Index); err != nil {
		return bad("%v", err), true
	}
	socket := t.asker
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	for _, a := range t.check.Addresses {
		source, ok := sourceFor(is.Addrs, a)
		if !ok {
			return bad("%s has no link-local address to ask from", t.check.Interface), true
		}
		if err := socket.Ask(is.Link.MAC, source, a, t.macs[a]); err != nil {
			t.close()
			return bad("%v", err), true
		}
	}
	for {
		answer, err := socket.Next(deadline)
		if err != nil {
			if time.Now().Before(deadline) {
				t.close() // the socket is of no more use
				return bad("%v", err), true
			}
			clear(t.macs) // everybody is asked the next time
			return bad("no answer from %s on %s", list(t.check.Addresses), t.check.Interface), true
		}
		if slices.Contains(t.check.Addresses, answer.IP) {
			t.macs[answer.IP] = answer.MAC
			return good("%s answers", answer.IP), true
		}
	}
}

// open opens the socket, anew if the interface is another one by now.
func (t *target) open(index int) error {
	if t.asker != nil && t.index == index {
		return nil
	}
	t.close()
	family := uint8(4)
	if t.check.Addresses[0].Is6() {
		family = 6
	}
	a, err := t.set.options.open(index, t.check.Interface, family)
	if err != nil {
		return err
	}
	t.asker, t.index, t.macs = a, index, map[netip.Addr][6]byte{}
	return nil
}

// sourceFor chooses which of an interface's addresses asks for target: one of the
// same subnet, as the kernel does. An IPv4 one need not be there: it is left open
// then (RFC 5227 section 2.1.1).
func sourceFor(addrs []rtnl.Addr, target netip.Addr) (netip.Addr, bool) {
	if target.Is6() {
		return rtnl.PrimaryIPv6(addrs, netip.Addr{})
	}
	for _, a := range addrs {
		if !a.Deprecated && !a.Secondary && a.Prefix.Addr().Is4() && !a.Prefix.IsSingleIP() && a.Prefix.Contains(target) {
			return a.Prefix.Addr(), true
		}
	}
	source, _ := rtnl.PrimaryIPv4(addrs)
	return source, true
}

func list(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}
