package election

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// The two LANs of a machine. A is the one of its reference member.
const (
	A = iota
	B
)

// Last bytes of addresses: a peer below ours, ours, and a peer above.
const (
	low  = 5
	own  = 10
	high = 20
)

// setup says what kind of machine a scene is about; the zero value is VRRPv2,
// priority 100, one second, preemption, two LANs.
type setup struct {
	version   uint8
	priority  uint8
	interval  time.Duration
	noPreempt bool
	noAsk     bool
	alone     bool // one LAN only
	oneLAN    bool // both members stand on LAN A
	cfg       Config
}

// scene is one machine in a lab. Its peers are what the test says.
type scene struct {
	*lab
	setup
	t      *testing.T
	shared *shared
	host   []*proc // by LAN: the process that has the member there
	mark   Time    // the log is read from here on
}

// layouts plays the scene twice: with both members in one process, and with
// two processes of -M 2.
func layouts(t *testing.T, u setup, play func(*testing.T, *scene)) {
	t.Run("one process", func(t *testing.T) { play(t, u.open(t, 1)) })
	t.Run("two processes", func(t *testing.T) { play(t, u.open(t, 2)) })
}

// open boots a machine of one or two processes.
func (u setup) open(t *testing.T, processes int) *scene {
	if u.version == 0 {
		u.version = 2
	}
	if u.priority == 0 {
		u.priority = 100
	}
	if u.interval == 0 {
		u.interval = time.Second
	}
	s := &scene{lab: newLab(t), setup: u, t: t, mark: epoch}
	s.shared = &shared{lab: s.lab, want: processes}
	lans := []int{A, B}
	if u.alone {
		lans = lans[:1]
	}
	s.host = make([]*proc, len(lans))
	if processes > 1 {
		for _, lan := range lans {
			s.boot(lan)
		}
	} else {
		s.boot(lans...)
	}
	s.settle()
	return s
}

// boot starts a process with members on the given LANs.
func (s *scene) boot(lans ...int) *proc {
	routers := make([]Router, len(lans))
	for i, lan := range lans {
		routers[i] = s.router(lan)
	}
	return s.bootAs(routers, lans...)
}

func (s *scene) bootAs(routers []Router, lans ...int) *proc {
	p := &proc{lab: s.lab, lans: lans}
	p.seat = s.shared.join(p)
	p.m = New(s.cfg, p.seat, routers)
	s.procs = append(s.procs, p)
	for _, lan := range lans {
		for lan >= len(s.host) {
			s.host = append(s.host, nil)
		}
		s.host[lan] = p
	}
	p.start()
	return p
}

func (s *scene) router(lan int) Router {
	var at int
	if s.oneLAN {
		at = 1
	}
	return Router{
		Family: 4, LAN: at, VRID: uint8(51 + lan), Version: s.version, Priority: s.priority,
		Interval: s.interval, Preempt: !s.noPreempt, NoAsk: s.noAsk,
		VIP: addr(lan, 200), Source: addr(s.cable(lan), own),
	}
}

// cable is the LAN that a member really stands on.
func (s *scene) cable(lan int) int {
	if s.oneLAN {
		return A
	}
	return lan
}

func addr(lan int, last byte) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, byte(2 + lan), last})
}

// mac is the physical address of a peer.
func mac(lan int, last byte) MAC { return MAC{2, 0, 0, 0, byte(lan), last} }

// vmac is the virtual MAC of the member on a LAN.
func vmac(lan int) MAC { return MAC{0, 0, 0x5e, 0, 1, uint8(51 + lan)} }

func duration(t tb, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("time %q: %v", s, err)
	}
	return d
}

// at lets the time pass until so long after the beginning.
func (s *scene) at(when string) { s.t.Helper(); s.run(epoch + int64(duration(s.t, when))) }

// pass lets the time pass.
func (s *scene) pass(d string) { s.t.Helper(); s.run(s.now + int64(duration(s.t, d))) }

// advert is an advert of the peer with this last byte.
func (s *scene) advert(lan int, priority uint8, last byte) Event {
	return Event{
		Kind: EvAdvert, VR: s.vr(lan), Addr: addr(s.cable(lan), last), MAC: mac(s.cable(lan), last),
		Priority: priority, Interval: s.interval,
	}
}

// vr is the index of the member on a LAN within its process.
func (s *scene) vr(lan int) int { return slices.Index(s.host[lan].lans, lan) }

func (s *scene) facts(lan int) *Facts { return s.host[lan].m.Facts(s.vr(lan)) }

// hear has an advert arrive on a LAN.
func (s *scene) hear(lan int, priority uint8, last byte) {
	s.host[lan].post(s.advert(lan, priority, last))
	s.settle()
}

// post has events happen to the member of a LAN, in one batch.
func (s *scene) post(lan int, events ...Event) {
	for i := range events {
		events[i].VR = s.vr(lan)
	}
	s.host[lan].post(events...)
	s.settle()
}

// bids has a peer say that it no longer serves the VIP of a LAN.
func (s *scene) bids(lan int, last byte) {
	s.post(lan, Event{Kind: EvFarewell, Addr: addr(s.cable(lan), last)})
}

func (s *scene) fault(lan int, f Fault, on bool) {
	s.post(lan, Event{Kind: EvFault, Fault: f, On: on})
}

// op is what the operator says, to any process.
func (s *scene) op(k EventKind) { s.post(len(s.host)-1, Event{Kind: k}) }

// peer is another router that speaks once an interval.
type peer struct {
	scene    *scene
	priority uint8
	last     byte
	lans     []int
}

// peer begins to speak now.
func (s *scene) peer(priority uint8, last byte, lans ...int) *peer {
	p := &peer{s, priority, last, lans}
	var speak func()
	speak = func() {
		for _, lan := range p.lans {
			s.host[lan].post(s.advert(lan, p.priority, p.last))
		}
		if len(p.lans) > 0 {
			s.after(s.interval, speak)
		}
	}
	speak()
	s.settle()
	return p
}

// quiet stops it without a word.
func (p *peer) quiet() { p.lans = nil }

// resign stops it with priority 0 on the given LANs.
func (p *peer) resign(lans ...int) {
	p.lans = nil
	for _, lan := range lans {
		p.scene.hear(lan, 0, p.last)
	}
}

// is checks what the word says, once the rings have arrived: every process must
// have obeyed it.
func (s *scene) is(want State, why Reason) {
	s.t.Helper()
	if w := s.shared.word; w.State() != want || w.Reason() != why {
		s.t.Fatalf("at %v: %v (%v), want %v (%v)\n%s", s.clock(), w.State(), w.Reason(), want, why, s.story())
	}
}

func (s *scene) clock() time.Duration { return time.Duration(s.now - epoch) }

// obeyed passes the time that a ring takes and checks that every process serves
// or does not serve as the word says.
func (s *scene) obeyed() {
	s.t.Helper()
	s.run(s.now + int64(s.bell))
	for _, p := range s.procs {
		if p.running() && p.m.seen != s.shared.word {
			s.t.Fatalf("at %v: a process has not obeyed %v", s.clock(), s.shared.word.State())
		}
		for i := range p.m.vr {
			if p.running() && p.m.own[i].Joining == 0 && p.m.vr[i].serving != s.shared.word.State().Serving() {
				s.t.Fatalf("at %v: LAN %c of a %v machine is served: %v", s.clock(), 'A'+p.lan(i), s.shared.word.State(), p.m.vr[i].serving)
			}
		}
	}
}

// fresh forgets what has been done so far.
func (s *scene) fresh() { s.mark = s.now; s.forget() }

func (s *scene) forget() {
	for _, p := range s.procs {
		p.log = nil
	}
}

// done is what has been done since fresh for the LAN, in order, without the
// small steps of the linger lease. Transitions that follow each other are told
// as one: of two processes only the one that makes them sees each.
func (s *scene) done(lan int) []string {
	var lines []string
	p := s.host[lan]
	var from State
	moved := false // the last line is a transition
	for _, e := range p.log {
		a := &e.act
		if !p.concerns(&e, lan) || a.Kind == DoRenew {
			continue
		}
		if !e.transition() {
			moved = false
		} else if moved {
			lines[len(lines)-1] = fmt.Sprintf("%v>%v %v", from, a.To, a.Reason)
			continue
		} else {
			from, moved = a.From, true
		}
		lines = append(lines, e.text)
	}
	return lines
}

// did checks what has been done for the LAN since fresh.
func (s *scene) did(lan int, want ...string) {
	s.t.Helper()
	if got := s.done(lan); !slices.Equal(got, want) {
		s.t.Fatalf("at %v, LAN %c:\n did  %s\n want %s", s.clock(), 'A'+lan, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// times is when, counted from fresh, an action was taken for the LAN.
func (s *scene) times(lan int, action string) []time.Duration {
	var d []time.Duration
	p := s.host[lan]
	for _, e := range p.log {
		if e.text == action && p.concerns(&e, lan) {
			d = append(d, time.Duration(e.at-s.mark))
		}
	}
	return d
}

// timed checks when an action was taken for the LAN, give or take a ring.
func (s *scene) timed(lan int, action string, want ...string) {
	s.t.Helper()
	got := s.times(lan, action)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		w := duration(s.t, want[i])
		ok = got[i] >= w && got[i] <= w+2*s.bell
	}
	if !ok {
		s.t.Fatalf("at %v, LAN %c: %q at %v, want %v\n%s", s.clock(), 'A'+lan, action, got, want, s.story())
	}
}

// story is everything since fresh, for a failure's message.
func (s *scene) story() string {
	var b strings.Builder
	for i, p := range s.procs {
		for _, e := range p.log {
			fmt.Fprintf(&b, "  process %d %12v vr %2d %s\n", i, time.Duration(e.at-epoch), e.vr, e.text)
		}
	}
	return b.String()
}

// master lets the machine become MASTER at boot, hearing nobody.
func (s *scene) master() {
	s.t.Helper()
	s.run(s.now + 4*int64(s.interval) + int64(time.Second))
	s.is(Master, MasterTimeout)
	s.obeyed()
	s.fresh()
}

// kill is SIGKILL for the process of the LAN.
func (s *scene) kill(lan int) {
	s.host[lan].gone = true
	s.host[lan].seat.leave(MemberDead)
}

// stall is SIGSTOP for the process of the LAN; awaken is SIGCONT.
func (s *scene) stall(lan int)  { s.host[lan].stopped = true }
func (s *scene) awaken(lan int) { s.host[lan].stopped = false; s.host[lan].rung = true; s.settle() }
