package acceptance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrrpd/internal/netlab"
)

// crew is what runs on a machine: one process, or one for each LAN.
type crew struct {
	size  int
	lease string
	ipv6  bool
	// direct: without a virtual MAC.
	direct bool
}

func (c crew) String() string {
	if c.ipv6 {
		return fmt.Sprintf("%d with %s for IPv6", c.size, c.lease)
	}
	if c.direct {
		return fmt.Sprintf("%d with %s without a virtual MAC", c.size, c.lease)
	}
	return fmt.Sprintf("%d with %s", c.size, c.lease)
}

var (
	// crews are drawn from by most machines.
	crews = []crew{
		{size: 1, lease: "clsact"}, {size: 2, lease: "clsact"}, {size: 2, lease: "clsact", ipv6: true}, {size: 2, lease: "tcx"},
		{size: 2, lease: "clsact", direct: true},
	}
	// slowCrews need intervals of a second.
	slowCrews = []crew{{size: 1, lease: "nftables"}}
)

// berth is a virtual router of a crew.
type berth struct {
	lan
	name, instance string
	vips           []netip.Addr
}

// berths are the crew's virtual routers, by LAN.
func (c crew) berths() (all []berth) {
	for i, l := range lans[:c.size] {
		b := berth{l, l.vrrp(), l.instance(), []netip.Addr{l.vip}}
		if six := lans6[i]; c.ipv6 {
			b.name, b.instance, b.vips = six.name(), six.instance(), []netip.Addr{six.local(), six.vip()}
		}
		if c.direct {
			b.name = l.nic
		}
		all = append(all, b)
	}
	return all
}

// killInterval is the interval of the crews that need no slower one, and of the rival.
const killInterval = 40 * time.Millisecond

// args is the command line of a virtual router's process.
func (c crew) args(b berth) []string {
	line := fmt.Sprintf("-i %s -v %d -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh --foreground --lease %s --vrrp-version 3 %s",
		b.nic, b.vrid, c.lease, b.vips[len(b.vips)-1])
	interval := killInterval
	if c.lease == "nftables" {
		interval = time.Second
	}
	line += fmt.Sprintf(" -d %g", interval.Seconds())
	if c.direct {
		line += " -n"
	}
	if c.size > 1 {
		line += fmt.Sprintf(" -M %d", c.size)
	}
	return strings.Fields(line)
}

// rival is an advert of a better machine.
func (b berth) rival() []byte {
	const interval = uint16(killInterval / (10 * time.Millisecond))
	f := good(3)
	f.vrid, f.addrs, f.src, f.interval = b.vrid, b.vips, b.host(66).Addr(), interval
	if !b.vips[0].Is6() {
		return f.frame()
	}
	src, group := netip.MustParseAddr("fe80::66"), netip.MustParseAddr("ff02::12")
	msg := []byte{3<<4 | 1, b.vrid, f.priority, byte(len(b.vips)), 0, byte(interval), 0, 0}
	for _, a := range b.vips {
		msg = append(msg, a.AsSlice()...)
	}
	pseudo := append(src.AsSlice(), group.AsSlice()...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(msg)), 0, 0, 0, 112)
	binary.BigEndian.PutUint16(msg[6:], onesSum(append(pseudo, msg...)))
	frame := []byte{0x33, 0x33, 0, 0, 0, 0x12, 0, 0, 0x5e, 0, 2, b.vrid, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(msg)), 112, 255}
	frame = append(append(frame, src.AsSlice()...), group.AsSlice()...)
	return append(frame, msg...)
}

// serves tells whether the virtual interface is as a MASTER's is.
func (b berth) serves(k netlab.Link) bool {
	for _, a := range b.vips {
		if !k.Has(a) {
			return false
		}
	}
	return k.Up && k.Carrier
}

// rests tells whether an interface is as a BACKUP's is.
func (b berth) rests(c crew, k netlab.Link) bool {
	if c.direct {
		return k.Exists() && !slices.ContainsFunc(b.vips, k.Has)
	}
	return k.Exists() && !k.Up && len(k.Addrs) == 0
}
