package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// What a forwarded packet costs is measured with machines that stand side by side on
// the same two LANs, each MASTER of an address of its own. A sender gives each of them in
// turn a handful of frames for a host behind it: a veth pair delivers within the system
// call that sends, so the time that the call takes is that of the whole way, bridges
// included. Before anything is started the same is measured once: by what the machines
// differ then is subtracted afterwards. Two machines are compared turn by turn, and the
// median of the differences counts, because others use the processors, too, and the clock
// of a processor changes.

// Ways through a machine.
const (
	toParent  = "MAC of the card"
	toVirtual = "virtual MAC"
)

const (
	handful = 64 // frames in a turn
	senderN = 250
	sinkN   = 251
)

// behind is the destination of the packets: nobody has it, they end at the sink.
var behind = crowdAddr(1, 200)

// stall is one of the machines that stand side by side.
type stall struct {
	name string
	run  *contender // nil: nothing
	// interval is that of its adverts.
	interval time.Duration
	h        *netlab.Host
	vrid     byte
}

// pathLab is all of them.
type pathLab struct {
	lab    *netlab.Lab
	sender *netlab.Host
	link   int // the sender's interface
	mac    netlab.MAC
	sinkAt netlab.MAC
	a, b   *netlab.Switch
	sink   *netlab.Cable
	stalls []*stall
	fd     int
}

// measurePath measures what a packet costs with nothing running, with each contender,
// and with vrrpd on each rung of its lease; and what each of these adds by itself.
func measurePath(ctx context.Context, list []contender, budget time.Duration) (rows []pathRow, tolls []toll, err error) {
	lab, err := netlab.New()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	p := &pathLab{lab: lab, fd: -1}
	defer func() {
		if p.fd >= 0 {
			_ = unix.Close(p.fd)
		}
	}()
	p.stalls = []*stall{{name: bareName}}
	for _, c := range list {
		if c.name != ourName {
			p.stalls = append(p.stalls, &stall{name: c.name, run: &c, interval: time.Second})
			continue
		}
		for _, rung := range rungs() {
			p.stalls = append(p.stalls, &stall{name: ourName + ", " + rung, run: c.leased(rung), interval: time.Second})
		}
		// What it chooses itself, and what that is instead of.
		for _, interval := range tollIntervals()[1:] {
			p.stalls = append(p.stalls, &stall{name: fmt.Sprintf("%s, adverts every %v", ourName, interval), run: &c, interval: interval})
		}
		least := tollIntervals()[2]
		p.stalls = append(p.stalls, &stall{name: fmt.Sprintf("%s, clsact, adverts every %v", ourName, least), run: c.leased("clsact"), interval: least})
	}
	if err := p.layOut(ctx); err != nil {
		return nil, nil, err
	}
	var ways []way
	for _, s := range p.stalls {
		ways = append(ways, way{s, toParent})
	}
	alone, err := p.race(ctx, ways, budget/3)
	if err != nil {
		return nil, nil, err
	}
	if err := p.serve(ctx); err != nil {
		return nil, nil, err
	}
	for _, s := range p.stalls {
		if s.run != nil {
			ways = append(ways, way{s, toVirtual})
		}
	}
	busy, err := p.race(ctx, ways, budget*2/3)
	if err != nil {
		return nil, nil, err
	}
	if tolls, err = p.tolls(ctx, budget*3/2); err != nil {
		return nil, nil, err
	}
	rows = compare(p.stalls, alone, busy)
	for _, row := range rows {
		tell("%-16s %-34s %4d ns, %s", row.Way, row.Contender, row.Quick.Nanoseconds(), row.more())
	}
	return rows, tolls, nil
}

// leased is vrrpd with a rung of its lease.
func (c contender) leased(rung string) *contender {
	run := c
	run.commands = func(_ *netlab.Host, routers []peers.Router, _ bool) ([]netlab.Command, error) {
		return []netlab.Command{{Path: c.path, Args: append(routerArgs(routers[0]), "--lease", rung)}}, nil
	}
	return &run
}

// bareName is the machine on which nothing runs, noLease the one without a guard.
const (
	bareName = "nothing"
	noLease  = ourName + ", none"
)

// rungs are those of vrrpd's lease.
func rungs() []string { return []string{"none", "clsact", "tcx", "nftables"} }

// way is one through a machine.
type way struct {
	*stall
	to string
}

// layOut makes the machines, and the sender's socket.
func (p *pathLab) layOut(ctx context.Context) (err error) {
	if p.a, err = p.lab.Switch("lan-a", netlab.SwitchOptions{}); err != nil {
		return err
	}
	if p.b, err = p.lab.Switch("lan-b", netlab.SwitchOptions{}); err != nil {
		return err
	}
	light := netlab.HostOptions{Light: true, NoForward: true}
	if p.sender, err = p.lab.Host("sender", light); err != nil {
		return err
	}
	if _, err = p.connect(p.sender, 0, senderN); err != nil {
		return err
	}
	sink, err := p.lab.Host("sink", light)
	if err != nil {
		return err
	}
	if p.sink, err = p.connect(sink, 1, sinkN); err != nil {
		return err
	}
	l, err := sink.Link("eth1")
	if err != nil {
		return err
	}
	p.sinkAt = l.MAC
	for i, s := range p.stalls {
		s.vrid = byte(i + 1)
		var opts netlab.HostOptions
		if s.run != nil {
			opts = s.run.host
		}
		if s.h, err = p.lab.Host(fmt.Sprint("r", i+1), opts); err != nil {
			return err
		}
		for lan := range 2 {
			if _, err := p.connect(s.h, lan, byte(100+i)); err != nil {
				return err
			}
		}
		if err := s.neighbour(p.sinkAt); err != nil {
			return err
		}
		// The switches learn where everybody is.
		for _, from := range []*netlab.Host{p.sender, sink} {
			lan := 0
			if from == sink {
				lan = 1
			}
			if _, err := from.Ping(ctx, crowdAddr(lan, byte(100+i))); err != nil {
				return err
			}
		}
	}
	l, err = p.sender.Link("eth0")
	if err != nil {
		return err
	}
	p.link, p.mac = l.Index, l.MAC
	return p.sender.DoNet(func() (err error) {
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open the sender's socket: %w", err)
		}
		return unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	})
}

func (p *pathLab) connect(h *netlab.Host, lan int, last byte) (*netlab.Cable, error) {
	at := []*netlab.Switch{p.a, p.b}[lan]
	return p.lab.Connect(h, fmt.Sprint("eth", lan), at, netlab.CableOptions{
		Addrs: []netip.Prefix{netip.PrefixFrom(crowdAddr(lan, last), 24)},
	})
}

// neighbour tells the machine where the destination is, for good.
func (s *stall) neighbour(mac netlab.MAC) error {
	nl := s.h.Netlink()
	link, err := nl.LinkByName("eth1")
	if err != nil {
		return err
	}
	err = nl.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: unix.NUD_PERMANENT, IP: behind.AsSlice(), HardwareAddr: net.HardwareAddr(mac[:]),
	})
	if err != nil {
		return fmt.Errorf("set a neighbour of %s: %w", s.h.Name(), err)
	}
	return nil
}

// serve starts what is to run, and waits until each is MASTER of its address.
func (p *pathLab) serve(ctx context.Context) error {
	for _, s := range p.stalls {
		if s.run == nil {
			continue
		}
		m := &machine{Host: s.h, contender: *s.run, routers: []peers.Router{{
			Parent: "eth0", VRID: s.vrid, Priority: priorities[0], Interval: s.interval,
			VIPs: []netip.Addr{crowdAddr(0, s.vrid)}, VMAC: fmt.Sprint("vrrp", s.vrid),
		}}}
		if _, err := m.start(); err != nil {
			return err
		}
	}
	for _, s := range p.stalls {
		if s.run == nil {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, 20*time.Second)
		mac, err := p.sender.Resolve(limit, "eth0", crowdAddr(0, s.vrid))
		cancel()
		if err != nil {
			return fmt.Errorf("%s does not serve: %w", s.name, err)
		}
		if mac != netlab.VMAC(s.vrid) {
			return fmt.Errorf("%s serves with %v, not with its virtual MAC", s.name, mac)
		}
	}
	return pass(ctx, 3*time.Second) // announcements, adverts that tell the switch, a lease that changes over
}

// race gives each way its turn, again and again, and returns the time of a packet in
// each turn of each.
func (p *pathLab) race(ctx context.Context, ways []way, budget time.Duration) (map[way]sample, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frames := map[way][]byte{}
	for _, w := range ways {
		to := netlab.VMAC(w.vrid)
		if w.to == toParent {
			l, err := w.h.Link("eth0")
			if err != nil {
				return nil, err
			}
			to = l.MAC
		}
		frames[w] = netlab.Echo{Src: crowdAddr(0, senderN), Dst: behind}.Frame(p.mac, to)
	}
	addr := &unix.SockaddrLinklayer{Ifindex: p.link, Halen: 6}
	got := map[way]sample{}
	turn := func(w way) error {
		copy(addr.Addr[:], frames[w])
		began := time.Now()
		for range handful {
			if err := unix.Sendto(p.fd, frames[w], 0, addr); err != nil {
				return fmt.Errorf("send to %s: %w", w.name, err)
			}
		}
		got[w] = append(got[w], time.Since(began)/handful)
		return nil
	}
	for _, w := range ways {
		// Each way leads to the sink, or what is measured is how quickly one drops.
		before, err := p.arrived()
		if err != nil {
			return nil, err
		}
		if err := turn(w); err != nil {
			return nil, err
		}
		var after uint64
		ok, err := until(ctx, 2*time.Second, func() bool {
			after, err = p.arrived()
			return err == nil && after-before >= handful
		})
		if err != nil || !ok {
			return nil, fmt.Errorf("%s, %s: %d of %d packets arrived: %w", w.name, w.to, after-before, handful, err)
		}
	}
	clear(got)
	for deadline := time.Now().Add(budget); time.Now().Before(deadline) && ctx.Err() == nil; {
		for _, w := range ways {
			if err := turn(w); err != nil {
				return nil, err
			}
		}
	}
	return got, ctx.Err()
}

// arrived is how many frames the sink has been given.
func (p *pathLab) arrived() (uint64, error) {
	l, err := p.sink.Switch.Netlink().LinkByName(p.sink.Port)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Statistics.TxPackets, nil
}

// quick is the duration that one turn in twenty does not reach.
func (s sample) quick() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s.sorted()[len(s)/20]
}

// compare makes the rows: each way beside the one that has less on it, with what the
// machines differed by before taken off.
func compare(stalls []*stall, alone, busy map[way]sample) (rows []pathRow) {
	i := slices.IndexFunc(stalls, func(s *stall) bool { return s.name == bareName })
	bare := way{stalls[i], toParent}
	none := bare
	if i := slices.IndexFunc(stalls, func(s *stall) bool { return s.name == noLease }); i >= 0 {
		none = way{stalls[i], toVirtual}
	}
	for _, to := range []string{toParent, toVirtual} {
		for _, s := range stalls {
			w, base := way{s, to}, bare
			if to == toVirtual {
				base = none
			}
			if busy[w] == nil {
				continue
			}
			row := pathRow{Contender: s.name, Way: to, Turns: len(busy[w]), Quick: busy[w].quick(), Median: busy[w].median()}
			// The others have no lease that could be compared with none.
			if w != base && (to == toParent || strings.HasPrefix(s.name, ourName)) {
				row.Base = base.name
				row.Low, row.More, row.High = paired(busy[w], busy[base], alone[way{s, toParent}], alone[way{base.stall, toParent}])
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// paired is how much more one way takes than another one, beyond what they differed by
// before: medians of the differences turn by turn, and the bounds for both together.
func paired(with, without, before, beforeWithout sample) (low, more, high time.Duration) {
	l, m, h := with.less(without).confidence()
	bl, bm, bh := before.less(beforeWithout).confidence()
	more = m - bm
	return more - hypot(m-l, bh-bm), more, more + hypot(h-m, bm-bl)
}

// less is the sample less another one, item by item.
func (s sample) less(other sample) (d sample) {
	for i := range min(len(s), len(other)) {
		d = append(d, s[i]-other[i])
	}
	return d
}

func hypot(a, b time.Duration) time.Duration {
	return time.Duration(math.Hypot(float64(a), float64(b)))
}
