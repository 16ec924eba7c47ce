package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
	"vrrpd/internal/realtime"
	"vrrpd/lan"
	"vrrpd/vrrp"
)

// floorName is how the floor is asked for (-with floor); it is no implementation.
const floorName = "floor"

// floorContender is the least that any program can need on this way: one goroutine that
// does nothing but the system calls, as few as there can be. The machine with the
// better priority sends the frames of its virtual routers at every interval; the other
// sleeps until something comes, lets it gather, and takes it. The rest is the kernel.
func floorContender() (contender, error) {
	self, err := os.Executable()
	if err != nil {
		return contender{}, err
	}
	return contender{
		name: floorName, daemon: floorName, path: self, version: "of the system calls",
		commands: func(_ *netlab.Host, routers []peers.Router, _ bool) ([]netlab.Command, error) {
			role := "hear"
			if routers[0].Priority == priorities[0] {
				role = "speak"
			}
			args := []string{floorName, role, routers[0].Interval.String()}
			for _, r := range routers {
				args = append(args, fmt.Sprintf("%s,%d,%s", r.Parent, r.VRID, r.VIPs[0]))
			}
			return []netlab.Command{{Path: self, Args: args}}, nil
		},
	}, nil
}

// floor is the program.
func floor(args []string) error {
	interval, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	frames, sources := map[string][][]byte{}, map[string]netip.Addr{}
	for _, text := range args[2:] {
		f := strings.Split(text, ",")
		vrid, _ := strconv.Atoi(f[1])
		vip := netip.MustParseAddr(f[2])
		// The card's own address, as in everybody's adverts: the peer's kernel drops early
		// what comes from one that it has no route back to.
		src, known := sources[f[0]]
		if !known {
			if src, err = addressOf(f[0]); err != nil {
				return err
			}
			sources[f[0]] = src
		}
		a := vrrp.Advert{Version: 3, VRID: uint8(vrid), Priority: uint8(priorities[0]), Interval: interval, Addrs: []netip.Addr{vip}}
		payload, err := a.AppendPayload(nil, src, vrrp.IPv4.Group(), 0, nil)
		if err != nil {
			return err
		}
		frames[f[0]] = append(frames[f[0]], lan.AppendAdvert(nil, vrrp.IPv4.VMAC(uint8(vrid)), src, vrrp.IPv4.Group(), 1, payload))
	}
	var socks []int
	var batches [][]mmsghdr
	for name, list := range frames {
		card, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		protocol := 0
		if args[0] == "hear" {
			protocol = int(netOrder(unix.ETH_P_IP))
		}
		s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, protocol)
		if err != nil {
			return err
		}
		if err := unix.Bind(s, &unix.SockaddrLinklayer{Protocol: uint16(protocol), Ifindex: card.Index}); err != nil {
			return err
		}
		if protocol != 0 {
			if err := join(s, card.Index); err != nil {
				return err
			}
		}
		socks, batches = append(socks, s), append(batches, messages(list))
	}
	if args[0] == "hear" {
		return floorHears(socks)
	}
	return floorSpeaks(socks, batches, interval)
}

// addressOf is the first IPv4 address of a card.
func addressOf(name string) (netip.Addr, error) {
	card, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %w", name, err)
	}
	addrs, err := card.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("addresses of %s: %w", name, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no IPv4 address", name)
}

func netOrder(v uint16) uint16 { return v<<8 | v>>8 }

// join makes the machine a member of the group, for the switch, the card and IP.
func join(sock, index int) error {
	group := vrrp.IPv4.Group().As4()
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
	copy(mreq.Address[:], []byte{1, 0, 0x5e, group[1] & 0x7f, group[2], group[3]})
	if err := unix.SetsockoptPacketMreq(sock, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return err
	}
	member, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	return unix.SetsockoptIPMreqn(member, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group, Ifindex: int32(index)})
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

func messages(list [][]byte) []mmsghdr {
	all := make([]mmsghdr, len(list))
	for i, b := range list {
		iov := &unix.Iovec{Base: unsafe.SliceData(b)}
		iov.SetLen(len(b))
		all[i].hdr.Iov = iov
		all[i].hdr.SetIovlen(1)
	}
	return all
}

// gather is how long what comes is left to gather.
const gather = 10 * time.Millisecond

// floorSpeaks waits as the daemon does: what waits in a bare system call is interrupted by
// the runtime's signals every 10 ms, and would speak ten times too often.
func floorSpeaks(socks []int, batches [][]mmsghdr, interval time.Duration) error {
	bell, err := realtime.NewBell(false)
	if err != nil {
		return err
	}
	for next := realtime.Boottime(); ; next += int64(interval) {
		for realtime.Boottime() < next {
			bell.Wait(next)
		}
		for i, s := range socks {
			for b := batches[i]; len(b) > 0; {
				n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
				if errno != 0 {
					return errno
				}
				b = b[n:]
			}
		}
	}
}

func floorHears(socks []int) error {
	bell, err := realtime.NewBell(false)
	if err != nil {
		return err
	}
	const many = 256
	into := messages(slices.Collect(slices.Chunk(make([]byte, many*128), 128)))
	for _, s := range socks {
		var ear *realtime.Ear
		gathering := false
		if ear, err = bell.Listen(s, func() {
			if gathering = !gathering; gathering {
				ear.Pause(realtime.Boottime() + int64(gather))
				return
			}
			for {
				_, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s), uintptr(unsafe.Pointer(&into[0])), many, unix.MSG_DONTWAIT, 0, 0)
				if errno != 0 {
					return
				}
			}
		}); err != nil {
			return err
		}
	}
	for {
		bell.Wait(math.MaxInt64)
		bell.Serve()
	}
}
