package election

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// engine drives a Machine as a daemon would, without anything of its own that
// allocates.
type engine struct {
	m      *Machine
	now    Time
	events []Event
	acts   []Action
	sent   int
}

// newEngine is a machine of n members, brought to MASTER by silence.
func newEngine(n int) *engine {
	routers := make([]Router, n)
	for i := range routers {
		routers[i] = Router{
			Family: 4, VRID: uint8(1 + i%255), Version: 3, Priority: 100, Interval: 100 * time.Millisecond, Preempt: true,
			VIP:    netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}),
			Source: netip.AddrFrom4([4]byte{198, 51, 100, 10}),
		}
	}
	e := &engine{m: New(Config{}, new(LocalBoard), routers), now: epoch}
	e.events, e.acts = make([]Event, 0, 4*n), make([]Action, 0, 16*n+16)
	e.acts = e.m.Start(e.now, e.acts)
	for e.m.View().Word.State() != Master {
		e.tick()
	}
	return e
}

// tick waits for the deadline and takes a step; what was sent is reported with
// the next one.
func (e *engine) tick() {
	e.now = max(e.now, e.m.Deadline())
	e.step()
}

func (e *engine) step() {
	e.acts = e.m.Step(e.now, e.events, e.acts[:0])
	e.events = e.events[:0]
	for i := range e.acts {
		if a := &e.acts[i]; a.Kind == DoAdvert {
			e.sent++
			e.events = append(e.events, Event{Kind: EvSent, VR: a.VR, Priority: a.Priority, At: e.now, After: e.now})
		}
	}
}

// hear has every member receive an advert of the given priority.
func (e *engine) hear(priority uint8) {
	e.now += int64(100 * time.Millisecond)
	for i := range e.m.own {
		e.events = append(e.events, Event{
			Kind: EvAdvert, VR: i, Addr: netip.AddrFrom4([4]byte{198, 51, 100, 20}),
			MAC: MAC{2, 0, 0, 0, 0, 20}, Priority: priority, Interval: 100 * time.Millisecond,
		})
	}
	e.step()
}

func TestStepDoesNotAllocate(t *testing.T) {
	for _, n := range []int{1, 100} {
		e := newEngine(n)
		before := e.sent
		if a := testing.AllocsPerRun(100, e.tick); a != 0 {
			t.Errorf("MASTER of %d: %v allocations for each step", n, a)
		}
		if e.sent < before+10*n {
			t.Errorf("MASTER of %d: %d adverts, so nothing was measured", n, e.sent-before)
		}
		if a := testing.AllocsPerRun(100, func() { e.hear(50) }); a != 0 {
			t.Errorf("MASTER of %d that hears an inferior one: %v allocations", n, a)
		}
		e.hear(200)
		if s := e.m.View().Word.State(); s != Backup {
			t.Fatalf("%v", s)
		}
		if a := testing.AllocsPerRun(100, func() { e.hear(200) }); a != 0 {
			t.Errorf("BACKUP of %d that hears its master: %v allocations", n, a)
		}
		if s := e.m.View().Word.State(); s != Backup {
			t.Fatalf("%v", s)
		}
	}
}

// The same with the facts of another process to be read.
func TestStepDoesNotAllocateWithOthers(t *testing.T) {
	e := newEngine(2)
	other := e.m.own[1]
	other.BeatAt, other.LeaseAt = e.now+int64(time.Hour), 0
	e.m.board = &neighbour{Board: e.m.board, facts: []Facts{other, other, other}}
	e.tick()
	if a := testing.AllocsPerRun(100, e.tick); a != 0 {
		t.Errorf("%v allocations for each step", a)
	}
	if s := e.m.View().Word.State(); s != Master {
		t.Fatalf("%v", s)
	}
}

// neighbour is a Board with another process that never changes.
type neighbour struct {
	Board
	facts []Facts
}

func (n *neighbour) Others(dst []Facts) []Facts { return append(dst, n.facts...) }

func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("master of %d, adverts due", n), func(b *testing.B) {
			e := newEngine(n)
			b.ReportAllocs()
			for b.Loop() {
				e.now = e.m.nextAdvert
				e.step()
			}
		})
		b.Run(fmt.Sprintf("master of %d, nothing to do", n), func(b *testing.B) {
			e := newEngine(n)
			e.step()
			b.ReportAllocs()
			for b.Loop() {
				e.now++
				if e.now >= e.m.nextAdvert {
					e.step()
				}
				e.step()
				e.m.Deadline()
			}
		})
		b.Run(fmt.Sprintf("backup of %d, one advert received", n), func(b *testing.B) {
			e := newEngine(n)
			e.hear(200)
			b.ReportAllocs()
			for b.Loop() {
				e.now++
				e.events = append(e.events, Event{
					Kind: EvAdvert, VR: 0, Addr: netip.AddrFrom4([4]byte{198, 51, 100, 20}),
					MAC: MAC{2, 0, 0, 0, 0, 20}, Priority: 200, Interval: 100 * time.Millisecond,
				})
				e.step()
				e.m.Deadline()
			}
		})
		b.Run(fmt.Sprintf("backup of %d, adverts received", n), func(b *testing.B) {
			e := newEngine(n)
			e.hear(200)
			b.ReportAllocs()
			for b.Loop() {
				e.hear(200)
			}
		})
	}
}
