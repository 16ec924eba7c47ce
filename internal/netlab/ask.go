package netlab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// askAgain is the pause between two questions of Resolve, Ping and PingMAC.
const askAgain = 50 * time.Millisecond

// Resolve asks for the MAC of an IPv4 address by raw ARP, past the host's own
// neighbour table, until somebody answers.
func (h *Host) Resolve(ctx context.Context, ifname string, ip netip.Addr) (MAC, error) {
	list, err := h.ResolveAll(ctx, ifname, ip, 0)
	if err != nil {
		return MAC{}, err
	}
	return list[0], nil
}

// ResolveAll is Resolve, but listens for a window after the first answer and
// returns all answering MACs, each once, in order.
func (h *Host) ResolveAll(ctx context.Context, ifname string, ip netip.Addr, window time.Duration) ([]MAC, error) {
	from, err := h.source(ifname)
	if err != nil {
		return nil, err
	}
	question := ARP{SenderMAC: from.mac, SenderIP: from.ip, TargetIP: ip}.Frame(from.mac, Broadcast())
	answers := func(f Frame) bool {
		a, ok := f.ARP()
		return ok && !f.Out && a.Reply && a.SenderIP == ip && a.TargetMAC == from.mac
	}
	frames, err := h.question(ctx, ifname, MatchARP(), question, answers, window)
	if err != nil {
		return nil, fmt.Errorf("resolve %v: %w", ip, err)
	}
	var list []MAC
	seen := make(map[MAC]bool)
	for _, f := range frames {
		if a, _ := f.ARP(); !seen[a.SenderMAC] {
			seen[a.SenderMAC] = true
			list = append(list, a.SenderMAC)
		}
	}
	return list, nil
}

// PingMAC sends ICMP echo requests for an IPv4 address to a MAC of its choice
// until it is answered, and returns the source MAC of the answer.
func (h *Host) PingMAC(ctx context.Context, ifname string, mac MAC, ip netip.Addr) (MAC, error) {
	from, err := h.source(ifname)
	if err != nil {
		return MAC{}, err
	}
	request := Echo{Src: from.ip, Dst: ip, ID: 0x6c61}
	answers := func(f Frame) bool {
		e, ok := f.Echo()
		return ok && !f.Out && e.Reply && e.Src == ip && e.ID == request.ID
	}
	frames, err := h.question(ctx, ifname, MatchICMP(), request.Frame(from.mac, mac), answers, 0)
	if err != nil {
		return MAC{}, fmt.Errorf("ping %v at %v: %w", ip, mac, err)
	}
	return frames[0].Src(), nil
}

// station is who asks.
type station struct {
	mac MAC
	ip  netip.Addr // 0.0.0.0 if the interface has none
	ip6 netip.Addr // link-local; invalid: none
}

func (h *Host) source(ifname string) (station, error) {
	l, err := h.Link(ifname)
	if err != nil {
		return station{}, err
	}
	if !l.Exists() {
		return station{}, fmt.Errorf("%s has no interface %s", h.name, ifname)
	}
	s := station{mac: l.MAC, ip: netip.IPv4Unspecified()}
	for _, a := range l.Addrs {
		switch ip := a.Addr(); {
		case ip.Is4() && s.ip.IsUnspecified():
			s.ip = ip
		case ip.Is6() && ip.IsLinkLocalUnicast() && !s.ip6.IsValid():
			s.ip6 = ip
		}
	}
	return s, nil
}

// question sends a frame again and again until one that answers it comes, and
// returns that one and those that come within the window after it.
func (h *Host) question(ctx context.Context, ifname string, match Match, ask []byte, answers func(Frame) bool, window time.Duration) ([]Frame, error) {
	sniffer, err := h.StartSniffer(ifname, SnifferOptions{Match: match})
	if err != nil {
		return nil, err
	}
	defer sniffer.Close()
	in, err := h.OpenInjector(ifname)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	for {
		if err := in.Send(ask); err != nil {
			return nil, err
		}
		turn, cancel := context.WithTimeout(ctx, askAgain)
		first, err := sniffer.WaitFor(turn, answers)
		cancel()
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil || window <= 0 {
			return []Frame{first}, err
		}
		turn, cancel = context.WithTimeout(ctx, window)
		_, err = sniffer.WaitFor(turn, func(Frame) bool { return false })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		var list []Frame
		for _, f := range sniffer.Frames(0) {
			if answers(f) {
				list = append(list, f)
			}
		}
		return list, nil
	}
}

// Ping sends ICMP echo requests to an address the way any program of the host
// would (routes, neighbour table) until it is answered, and returns the time
// the answered one took.
func (h *Host) Ping(ctx context.Context, ip netip.Addr) (time.Duration, error) {
	network, bind, request, reply := "ip4:icmp", "0.0.0.0", byte(8), byte(0)
	if ip.Is6() {
		network, bind, request, reply = "ip6:ipv6-icmp", "::", 128, 129
	}
	var conn net.PacketConn
	err := h.DoNet(func() (err error) {
		conn, err = net.ListenPacket(network, bind)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ping %v from %s: %w", ip, h.name, err)
	}
	defer conn.Close()
	buf := make([]byte, 1500)
	sent := make(map[uint16]time.Time)
	for seq := uint16(0); ; seq++ {
		msg := []byte{request, 0, 0, 0, 'l', 'a'}
		msg = binary.BigEndian.AppendUint16(msg, seq)
		if ip.Is4() {
			binary.BigEndian.PutUint16(msg[2:], checksum(msg)) // for IPv6 the kernel does it
		}
		sent[seq] = time.Now()
		// An error here is as good as no answer: no route yet, no neighbour.
		_, sendErr := conn.WriteTo(msg, &net.IPAddr{IP: ip.AsSlice()})
		turn := sent[seq].Add(askAgain)
		if limit, ok := ctx.Deadline(); ok && limit.Before(turn) {
			turn = limit
		}
		if err := conn.SetReadDeadline(turn); err != nil {
			return 0, err
		}
		for {
			n, from, err := conn.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return 0, fmt.Errorf("ping %v from %s: %w", ip, h.name, err)
			}
			peer, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
			if n < 8 || buf[0] != reply || peer.Unmap() != ip {
				continue
			}
			if at, ok := sent[binary.BigEndian.Uint16(buf[6:])]; ok {
				return time.Since(at), nil
			}
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("ping %v from %s: %w", ip, h.name, errors.Join(ctx.Err(), sendErr))
		}
	}
}

// Neighbour returns what the host's kernel believes to be the MAC of an address;
// false if it has no valid belief.
func (h *Host) Neighbour(ip netip.Addr) (MAC, bool, error) {
	list, err := h.nl.NeighList(0, 0)
	if err != nil {
		return MAC{}, false, fmt.Errorf("list neighbours of %s: %w", h.name, err)
	}
	for _, n := range list {
		addr, _ := netip.AddrFromSlice(n.IP)
		if mac, ok := macFrom(n.HardwareAddr); ok && addr.Unmap() == ip {
			return mac, true, nil
		}
	}
	return MAC{}, false, nil
}
