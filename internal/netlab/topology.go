package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// LAN says who has which address on one LAN.
type LAN struct {
	Bits   int // length of the prefix
	R1, R2 netip.Addr
	VIP    netip.Addr
	VRID   uint8
	Host   netip.Addr // the client on A, the server on B
	Asker  netip.Addr
}

// Net returns the LAN's prefix.
func (l LAN) Net() netip.Prefix { return l.On(l.R1).Masked() }

// On returns an address of the LAN with the length of its prefix.
func (l LAN) On(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, l.Bits) }

// DocumentationLANs returns 192.0.2.0/24 with VIP .100 and VRID 51, and
// 198.51.100.0/24 with VIP .100 and VRID 52.
func DocumentationLANs() (a, b LAN) {
	return lan(netip.AddrFrom4([4]byte{192, 0, 2, 0}), 100, 51), lan(netip.AddrFrom4([4]byte{198, 51, 100, 0}), 100, 52)
}

// ManualLANs returns those of the 2008 manual: VIP 10.16.1.200 with VRID 51 and
// 10.17.1.200 with VRID 52.
func ManualLANs() (a, b LAN) {
	return lan(netip.AddrFrom4([4]byte{10, 16, 1, 0}), 200, 51), lan(netip.AddrFrom4([4]byte{10, 17, 1, 0}), 200, 52)
}

func lan(network netip.Addr, vip, vrid byte) LAN {
	at := func(last byte) netip.Addr {
		b := network.As4()
		b[3] = last
		return netip.AddrFrom4(b)
	}
	return LAN{Bits: 24, R1: at(2), R2: at(3), VIP: at(vip), VRID: vrid, Host: at(10), Asker: at(20)}
}

// TwoRoutersOptions say how TwoRouters differs from the usual.
type TwoRoutersOptions struct {
	A, B   LAN // zero: DocumentationLANs
	Router HostOptions
	Switch SwitchOptions
	// Askers adds a host to each LAN, for an Asker whose answers do not mingle
	// with the traffic of client and server.
	Askers bool
}

// TwoRoutersNet is the usual laboratory: the routers R1 and R2, each with eth0
// on LAN A and eth1 on LAN B, a client on A and a server on B that reach one
// another by way of the VIPs. Nobody has the VIPs yet: that is what vrrpd is
// for.
//
//	Client --- A ---+--- eth0 R1 eth1 ---+--- B --- Server
//	                +--- eth0 R2 eth1 ---+
type TwoRoutersNet struct {
	LANA, LANB             LAN
	A, B                   *Switch
	R1, R2, Client, Server *Host
	R1A, R1B, R2A, R2B     *Cable // eth0 and eth1 of each router
	ClientCable            *Cable // eth0 of the client
	ServerCable            *Cable // eth0 of the server
	AskerA, AskerB         *Host  // eth0; nil without Askers
}

// TwoRouters builds a TwoRoutersNet; when it cannot, what it has built goes with
// the lab.
func TwoRouters(lab *Lab, opts TwoRoutersOptions) (*TwoRoutersNet, error) {
	a, b := DocumentationLANs()
	if opts.A.Bits == 0 {
		opts.A = a
	}
	if opts.B.Bits == 0 {
		opts.B = b
	}
	n := &TwoRoutersNet{LANA: opts.A, LANB: opts.B}
	if err := n.places(lab, opts); err != nil {
		return nil, err
	}
	type plug struct {
		ifname string
		sw     *Switch
		lan    LAN
		addr   netip.Addr
		cable  **Cable // nil: nobody asks for it
	}
	end := func(sw *Switch, lan LAN, addr netip.Addr, cable **Cable) []plug {
		return []plug{{"eth0", sw, lan, addr, cable}}
	}
	router := func(a, b netip.Addr, cableA, cableB **Cable) []plug {
		return []plug{{"eth0", n.A, n.LANA, a, cableA}, {"eth1", n.B, n.LANB, b, cableB}}
	}
	var work []func() error
	for _, h := range []struct {
		host  *Host
		plugs []plug
	}{
		{n.R1, router(n.LANA.R1, n.LANB.R1, &n.R1A, &n.R1B)},
		{n.R2, router(n.LANA.R2, n.LANB.R2, &n.R2A, &n.R2B)},
		{n.Client, end(n.A, n.LANA, n.LANA.Host, &n.ClientCable)},
		{n.Server, end(n.B, n.LANB, n.LANB.Host, &n.ServerCable)},
		{n.AskerA, end(n.A, n.LANA, n.LANA.Asker, nil)},
		{n.AskerB, end(n.B, n.LANB, n.LANB.Asker, nil)},
	} {
		if h.host == nil {
			continue
		}
		work = append(work, func() error {
			for _, p := range h.plugs {
				cable, err := lab.Connect(h.host, p.ifname, p.sw, CableOptions{Addrs: []netip.Prefix{p.lan.On(p.addr)}})
				if err != nil {
					return err
				}
				if p.cable != nil {
					*p.cable = cable
				}
			}
			if len(h.plugs) > 1 {
				return nil
			}
			return h.host.AddRoute(netip.PrefixFrom(netip.IPv4Unspecified(), 0), h.plugs[0].lan.VIP)
		})
	}
	if err := together(work); err != nil {
		return nil, fmt.Errorf("build two routers: %w", err)
	}
	return n, nil
}

// together runs the functions at the same time and joins their errors.
func together(work []func() error) error {
	errs := make([]error, len(work))
	var wg sync.WaitGroup
	for i, f := range work {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// places makes the hosts and switches, all at the same time.
func (n *TwoRoutersNet) places(lab *Lab, opts TwoRoutersOptions) error {
	light := HostOptions{Light: true, NoForward: true}
	hosts := []struct {
		name string
		opts HostOptions
		to   **Host
		want bool
	}{
		{"r1", opts.Router, &n.R1, true},
		{"r2", opts.Router, &n.R2, true},
		{"client", light, &n.Client, true},
		{"server", light, &n.Server, true},
		{"asker-a", light, &n.AskerA, opts.Askers},
		{"asker-b", light, &n.AskerB, opts.Askers},
	}
	var work []func() error
	for _, sw := range []struct {
		name string
		to   **Switch
	}{{"lan-a", &n.A}, {"lan-b", &n.B}} {
		work = append(work, func() (err error) {
			*sw.to, err = lab.Switch(sw.name, opts.Switch)
			return err
		})
	}
	for _, h := range hosts {
		if !h.want {
			continue
		}
		// In order, so that numbers and MACs are the same in every run.
		host, err := lab.reserveHost(h.name, h.opts)
		if err != nil {
			return fmt.Errorf("build two routers: %w", err)
		}
		*h.to = host
		work = append(work, func() error { return host.start(h.opts) })
	}
	if err := together(work); err != nil {
		return fmt.Errorf("build two routers: %w", err)
	}
	return nil
}
