package sim

import (
	"net/netip"
	"slices"

	"vrrpd/election"
)

// lan is one broadcast domain and what is wrong with it.
type lan struct {
	n     int
	reach [][]bool  // reach[a][b]: b receives what a sends
	last  [][]int64 // when the last frame of a reaches b
	loss  float64   // probability that a frame is lost, for each receiver
	dup   float64   // probability that it arrives twice
	// proxy: a host answers every question with its own MAC (proxy ARP).
	proxy bool
	// drop: those of the next priority 0 that reach nobody, counted from 1.
	drop  []int
	zeros int // priority 0 sent since that was set
}

func newLAN(n, hosts int) *lan {
	l := &lan{n: n, reach: make([][]bool, hosts), last: make([][]int64, hosts)}
	for i := range l.reach {
		l.last[i] = make([]int64, hosts)
		l.reach[i] = make([]bool, hosts)
	}
	l.heal()
	return l
}

func (l *lan) heal() {
	for _, row := range l.reach {
		for i := range row {
			row[i] = true
		}
	}
	l.loss, l.dup, l.drop = 0, 0, nil
}

func (l *lan) name() string { return string(rune('A' + l.n)) }

// frame is what travels on a LAN.
type frame struct {
	kind     frameKind
	lan      int
	from     int // machine
	to       int // machine, for an answer
	priority uint8
	mac      election.MAC
	addr     netip.Addr
}

type frameKind uint8

const (
	advert frameKind = iota
	question
	answer
	farewell
)

// foreignMAC is that of a host with proxy ARP.
var foreignMAC = election.MAC{2, 0xff, 0, 0, 0, 1}

// vmac is the virtual MAC of the LAN's virtual router.
func vmac(lan int) election.MAC { return election.MAC{0, 0, 0x5e, 0, 1, vrid(lan)} }

func vrid(lan int) uint8 { return uint8(51 + lan) }

// address is a machine's own address: 192.0.2.1 and so on upwards, on every
// second LAN downwards if the scenario swaps them.
func (w *World) address(machine, lan int) netip.Addr {
	if w.Swap && lan%2 == 1 {
		machine = len(w.Machines) - 1 - machine
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(32*lan%224 + 1 + machine)})
}

// send puts a frame on a LAN as it leaves a machine's port.
func (w *World) send(h *host, f frame) {
	f.from = h.n
	if w.story != nil {
		w.story.frame(h, f)
	}
	l := w.lans[f.lan]
	if !h.ports[f.lan].passes() {
		return
	}
	if f.kind == advert && f.priority == 0 {
		if l.zeros++; slices.Contains(l.drop, l.zeros) {
			w.logf("LAN %s loses that priority 0", l.name())
			return
		}
	}
	for _, to := range w.hosts {
		if to == h || f.kind == answer && to.n != f.to || !l.reach[h.n][to.n] {
			continue
		}
		w.forward(l, to, f)
	}
	if l.proxy && f.kind == question {
		// The proxy host hears everybody.
		w.push(w.now+2*w.between(int64(w.Delay[0]), int64(w.Delay[1])),
			event{kind: arrival, h: h, frame: frame{kind: answer, lan: f.lan, from: -1, to: h.n, mac: foreignMAC}})
	}
}

func (w *World) forward(l *lan, to *host, f frame) {
	copies := 1
	switch {
	case w.chance(l.loss):
		copies = 0
	case w.chance(l.dup):
		copies = 2
	}
	for range copies {
		at := w.now + w.between(int64(w.Delay[0]), int64(w.Delay[1]))
		if last := &l.last[f.from][to.n]; w.Order {
			at = max(at, *last)
			*last = at
		}
		w.push(at, event{kind: arrival, h: to, frame: f})
	}
}

// arrive is a frame at the port of a machine.
func (w *World) arrive(h *host, f *frame) {
	port := h.ports[f.lan]
	if !port.passes() || h.asleep {
		return
	}
	var e election.Event
	switch f.kind {
	case advert:
		e = election.Event{Kind: election.EvAdvert, Addr: f.addr, MAC: f.mac, Priority: f.priority, Interval: w.Interval}
	case answer:
		e = election.Event{Kind: election.EvAnswer, MAC: f.mac}
	case farewell:
		e = election.Event{Kind: election.EvFarewell, Addr: f.addr}
	case question:
		// The kernel answers, whatever has become of the process.
		if port.serving() {
			w.send(h, frame{kind: answer, lan: f.lan, to: f.from, mac: vmac(f.lan)})
		}
		return
	}
	if p := port.owner; p != nil && p.alive {
		e.VR = port.vr
		p.receive(e)
	}
}
