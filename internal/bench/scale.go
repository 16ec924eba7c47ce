package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// perLAN is how many virtual routers one LAN of the crowd has at most.
const perLAN = 250

// crowd is two machines with many virtual routers on as many LANs as they need.
type crowd struct {
	contender
	routers  int
	interval time.Duration
	machines [2]*machine
	parents  []string           // by LAN
	cables   [2][]*netlab.Cable // by machine and LAN; none: from one machine to the other
}

// crowdAddr is an address of a LAN: 198.18.0.0/15 is for benchmarks (RFC 2544). The
// virtual ones have the number of their router.
func crowdAddr(lan int, last byte) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(lan), last})
}

// newCrowd makes them, with a switch for each LAN, or with a cable from one machine to the
// other in its place.
func newCrowd(lab *netlab.Lab, c contender, routers int, interval time.Duration, crossed bool) (*crowd, error) {
	w := &crowd{contender: c, routers: routers, interval: interval}
	var lists [2][]peers.Router
	for n := range routers {
		lan, vrid := n/perLAN, byte(n%perLAN+1)
		for i := range lists {
			lists[i] = append(lists[i], peers.Router{
				Parent: fmt.Sprint("eth", lan), VRID: vrid, Priority: priorities[i], Interval: interval,
				VIPs: []netip.Addr{crowdAddr(lan, vrid)}, VMAC: fmt.Sprintf("v%d-%d", lan, vrid),
			})
		}
	}
	var hosts [2]*netlab.Host
	for i := range hosts {
		h, err := lab.Host(fmt.Sprint("r", i+1), c.host)
		if err != nil {
			return nil, err
		}
		hosts[i], w.machines[i] = h, &machine{Host: h, contender: c, routers: lists[i]}
	}
	for lan := range (routers + perLAN - 1) / perLAN {
		name := fmt.Sprint("eth", lan)
		w.parents = append(w.parents, name)
		var addrs [2]netip.Prefix
		for i := range addrs {
			addrs[i] = netip.PrefixFrom(crowdAddr(lan, byte(254-i)), 24)
		}
		if crossed {
			if err := lab.Cross(name, hosts[0], hosts[1], addrs[0], addrs[1]); err != nil {
				return nil, err
			}
			continue
		}
		s, err := lab.Switch(fmt.Sprint("lan", lan), netlab.SwitchOptions{})
		if err != nil {
			return nil, err
		}
		for i, h := range hosts {
			cable, err := lab.Connect(h, name, s, netlab.CableOptions{Addrs: addrs[i : i+1]})
			if err != nil {
				return nil, err
			}
			w.cables[i] = append(w.cables[i], cable)
		}
	}
	return w, nil
}

// roll is called at the other end of a machine's cables: it notes when each virtual router of a machine is
// first heard to serve, and its address first announced.
type roll struct {
	want     int
	sniffers []*netlab.Sniffer

	mu        sync.Mutex
	from      time.Time
	spoken    map[[2]byte]time.Time // by LAN and VRID; guarded by mu
	announced map[[2]byte]time.Time // guarded by mu
}

func (w *crowd) call(machine int) (*roll, error) {
	r := &roll{want: w.routers, from: time.Now(), spoken: map[[2]byte]time.Time{}, announced: map[[2]byte]time.Time{}}
	for lan, name := range w.parents {
		opts := netlab.SnifferOptions{
			Match: netlab.Or(netlab.MatchAdverts(), netlab.MatchARP()), Limit: 1 << 20,
			OnFrame: func(f netlab.Frame) { r.note(byte(lan), f) },
		}
		var s *netlab.Sniffer
		var err error
		if w.crossed() {
			s, err = w.machines[1-machine].StartSniffer(name, opts)
		} else {
			s, err = w.cables[machine][lan].StartSniffer(opts)
		}
		if err != nil {
			return nil, err
		}
		r.sniffers = append(r.sniffers, s)
	}
	return r, nil
}

func (w *crowd) crossed() bool { return len(w.cables[0]) == 0 }

func (r *roll) note(lan byte, f netlab.Frame) {
	if f.Out {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := f.Advert(); ok && a.Priority > 0 {
		first(r.spoken, [2]byte{lan, a.VRID}, f.At)
	} else if a, ok := f.ARP(); ok && a.SenderIP == a.TargetIP {
		first(r.announced, [2]byte{lan, a.SenderIP.As4()[3]}, f.At)
	}
}

func first(in map[[2]byte]time.Time, key [2]byte, at time.Time) {
	if _, known := in[key]; !known {
		in[key] = at
	}
}

// patient is how long the last announcement may come after the last advert.
const patient = 3 * time.Second

// complete waits until all have been heard, and announced or not to be any more.
// complete is false if they were not within the limit.
func (r *roll) complete(ctx context.Context, limit time.Duration) (complete bool, err error) {
	var spoken, announced int
	count := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		spoken, announced = len(r.spoken), len(r.announced)
		return spoken >= r.want
	}
	complete, err = until(ctx, limit, count)
	if err == nil && complete {
		_, err = until(ctx, patient, func() bool { return count() && announced >= r.want })
	}
	for _, s := range r.sniffers {
		err = errors.Join(err, s.Close())
	}
	return complete, err
}

// last is when the last of them came, never if not all have.
func (r *roll) last(of map[[2]byte]time.Time, since time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(of) < r.want {
		return never
	}
	var late time.Duration
	for _, at := range of {
		late = max(late, at.Sub(since))
	}
	return late
}

// Times of the measurement with many virtual routers.
const (
	// settled is when what follows the start is over: the others repeat their
	// announcements 5 s after it; ours looks at its interfaces and gives memory back.
	settled = 15 * time.Second
	// swept is how long the kernel may need for what is left of the last laboratory: a
	// thousand interfaces are deleted after its namespaces are gone, with the mutex held
	// that whoever makes interfaces waits for.
	swept = 5 * time.Second
	// standsBy is how long one that makes no interfaces listens before it is measured.
	standsBy = 2 * time.Second
	seconds  = 15 // measured: what others do on a shared computer lasts for some of them
	// allLimit is until all are MASTER. The slowest measured needed 20 s for 750.
	allLimit = 30 * time.Second
)

// measureScale measures one contender with a number of virtual routers; crossed, with nothing
// between the machines, only what adverts cost.
func measureScale(ctx context.Context, c contender, routers int, interval time.Duration, crossed bool) (s scale, err error) {
	s = scale{Contender: c.name, Routers: routers, Interval: interval}
	if err := pass(ctx, swept); err != nil {
		return s, err
	}
	lab, err := netlab.New()
	if err != nil {
		return s, err
	}
	var w *crowd
	defer func() {
		if err != nil && w != nil {
			for _, m := range w.machines {
				for _, l := range m.lastWords() {
					tell("    %s: %s", m.Name(), l)
				}
			}
		}
		err = errors.Join(err, lab.Close())
	}()
	if w, err = newCrowd(lab, c, routers, interval, crossed); err != nil {
		return s, err
	}
	if err := w.begin(ctx, &s); err != nil {
		return s, err
	}
	if err := w.steady(ctx, &s); err != nil || crossed || c.name == floorName {
		return s, err
	}
	err = w.takeOver(ctx, &s)
	return s, err
}

// begin starts the machines, and waits until nothing happens any more.
func (w *crowd) begin(ctx context.Context, s *scale) error {
	r, err := w.call(0)
	if err != nil {
		return err
	}
	began, err := w.machines[0].start()
	if err != nil {
		return err
	}
	if ok, err := r.complete(ctx, allLimit); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("%d of %d spoke within %v of the start", len(r.spoken), w.routers, allLimit))
	}
	s.Masters = r.last(r.spoken, began) - masterDown(w.interval, priorities[0])
	if _, err := w.machines[1].start(); err != nil {
		return err
	}
	if w.name == floorName { // it has no interfaces
		return pass(ctx, standsBy)
	}
	if err := w.standBy(ctx, 1, w.routers); err != nil {
		return err
	}
	return pass(ctx, settled)
}

// takeOver stops the first machine, and waits for the second one to have taken over.
func (w *crowd) takeOver(ctx context.Context, s *scale) error {
	r, err := w.call(1)
	if err != nil {
		return err
	}
	struck := time.Now()
	if err := w.machines[0].terminate(); err != nil {
		return err
	}
	if _, err := r.complete(ctx, allLimit); err != nil {
		return err
	}
	skewed := struck.Add(skew(w.interval, priorities[1]))
	s.Takeover, s.Announced, s.Taken = r.last(r.spoken, skewed), r.last(r.announced, skewed), len(r.spoken)
	return nil
}

// standBy waits until a machine has made all of its interfaces.
func (w *crowd) standBy(ctx context.Context, machine, routers int) error {
	have := 0
	ok, err := until(ctx, time.Minute, func() bool {
		links, err := w.machines[machine].Netlink().LinkList()
		have = 0
		for _, l := range links {
			if l.Type() == "macvlan" {
				have++
			}
		}
		return err == nil && have >= routers
	})
	if err == nil && !ok {
		err = fmt.Errorf("%s: machine %d has %d of %d interfaces after a minute", w.name, machine+1, have, routers)
	}
	return err
}

// steady measures processor time and memory while nothing happens.
func (w *crowd) steady(ctx context.Context, s *scale) error {
	before, err := w.snapshot()
	if err != nil {
		return err
	}
	s.Processes = len(before.processes[0])
	for range seconds {
		if err := pass(ctx, time.Second); err != nil {
			return err
		}
		now, err := w.snapshot()
		if err != nil {
			return err
		}
		adverts := now.frames - before.frames
		if adverts == 0 {
			return fmt.Errorf("%s: no advert within a second", w.name)
		}
		s.Sent = append(s.Sent, (now.cpu[0]-before.cpu[0])/time.Duration(adverts))
		s.Received = append(s.Received, (now.cpu[1]-before.cpu[1])/time.Duration(adverts))
		before = now
	}
	for i, into := range [2][2]*int64{{&s.RSS, &s.PSS}, {&s.RSSBackup, &s.PSSBackup}} {
		for _, p := range before.processes[i] {
			m, err := p.Memory()
			if err != nil {
				return err
			}
			*into[0] += m.RSS
			*into[1] += m.PSS
		}
	}
	return nil
}

// snapshot is what both machines have used so far, and how many frames the first has
// sent, which are adverts, and nearly all of which the second has received.
type snapshot struct {
	processes [2][]netlab.Process
	cpu       [2]time.Duration
	frames    uint64
}

func (w *crowd) snapshot() (s snapshot, err error) {
	for i, m := range w.machines {
		if s.processes[i], err = m.Processes(); err != nil {
			return s, err
		}
	}
	for i := range w.machines {
		for _, p := range s.processes[i] {
			used, err := p.CPU()
			if err != nil {
				return s, err
			}
			s.cpu[i] += used
		}
	}
	for _, name := range w.parents {
		l, err := w.machines[0].Netlink().LinkByName(name)
		if err != nil {
			return s, err
		}
		s.frames += l.Attrs().Statistics.TxPackets
	}
	return s, nil
}
