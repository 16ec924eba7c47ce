package sim

import (
	"fmt"
	"math"
	"time"

	"vrrpd/election"
)

const (
	us  = int64(time.Microsecond)
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// never is later than everything.
const never = math.MaxInt64

// World is one run of a scenario. It is not safe for concurrent use, and needs
// nothing outside of itself: many run in parallel.
type World struct {
	Scenario
	now   int64
	seq   uint64
	queue queue
	rand  uint64

	hosts []*host
	lans  []*lan

	checker checker
	failure *Violation
	trace   func(string) // nil: nobody listens
	story   *story       // nil: nobody listens
	// replaced is given each machine before a step, and returns what goes on; nil: the
	// same.
	replaced func(p *proc) *election.Machine

	flight int64 // longest time that a frame takes
	steps  int   // how often a machine was stepped
}

// event is one thing that will happen.
type event struct {
	kind  eventKind
	p     *proc
	h     *host
	at    int64
	frame frame
	do    func()
}

type eventKind uint8

const (
	wakeUp   eventKind = iota // a process may have something to do
	doorbell                  // a sibling has rung
	arrival                   // a frame reaches a machine
	errand                    // anything else
)

// New builds the world of a scenario. Nothing has started in it.
func New(s Scenario) *World {
	w := &World{Scenario: s, rand: mix(s.Seed ^ 0x2545f4914f6cdd1d), flight: int64(s.Delay[1])}
	for l := range s.LANs {
		w.lans = append(w.lans, newLAN(l, len(s.Machines)))
	}
	for i := range s.Machines {
		w.hosts = append(w.hosts, w.newHost(i))
	}
	w.checker.init(w)
	return w
}

// random returns a number in [0, n); the sequence is that of the seed.
func (w *World) random(n int64) int64 {
	if n <= 0 {
		return 0
	}
	w.rand += 0x9e3779b97f4a7c15
	return int64(mix(w.rand) % uint64(n))
}

// mix is the output function of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// between returns a time in [a, b).
func (w *World) between(a, b int64) int64 {
	if b <= a {
		return a
	}
	return a + w.random(b-a)
}

// chance is true with probability p.
func (w *World) chance(p float64) bool {
	return p > 0 && float64(w.random(1<<30))/(1<<30) < p
}

func (w *World) push(at int64, e event) {
	if at < w.now {
		at = w.now
	}
	e.at = at
	w.seq++
	w.queue.push(at, w.seq, e)
}

// after does something later.
func (w *World) after(d int64, do func()) { w.push(w.now+d, event{kind: errand, do: do}) }

// run lets the time pass until the given point, which is included, or until an
// invariant is violated.
func (w *World) run(until int64) {
	for w.failure == nil && w.queue.len() > 0 && w.queue.next() <= until {
		w.one()
	}
	if w.failure == nil && w.now < until {
		w.advance(until)
	}
}

// one lets one thing happen.
func (w *World) one() {
	e := w.queue.pop()
	if e.at > w.now {
		w.advance(e.at)
		if w.failure != nil {
			return
		}
	}
	switch e.kind {
	case wakeUp:
		e.p.woken(e.at)
	case doorbell:
		if e.p.runs() {
			e.p.wake(w.now)
		}
	case arrival:
		w.arrive(e.h, &e.frame)
	case errand:
		e.do()
	}
	if w.story != nil {
		w.story.look()
	}
}

// advance moves the clock and has the invariants checked before anything
// changes: whatever was true until now was true for this long.
func (w *World) advance(to int64) {
	w.now = to
	w.checker.check(w)
}

// logf writes a line of the trace.
func (w *World) logf(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf("%12.6f  ", float64(w.now)/1e9) + fmt.Sprintf(format, args...))
	}
}

// Violation is an invariant that did not hold.
type Violation struct {
	At   time.Duration
	Rule string // the letter of check.go
	Text string
}

func (v *Violation) Error() string { return fmt.Sprintf("(%s) at %v: %s", v.Rule, v.At, v.Text) }

// fail records the first violation.
func (w *World) fail(rule, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Violation{At: time.Duration(w.now), Rule: rule, Text: fmt.Sprintf(format, args...)}
		w.logf("VIOLATION (%s) %s", rule, w.failure.Text)
	}
}

// interval is the advertisement interval of everybody, in ns.
func (w *World) interval() int64 { return int64(w.Interval) }

// skew is the skew time of a priority, in ns.
func (w *World) skew(p uint8) int64 {
	return int64(election.SkewTime(w.Version, p, w.Interval))
}

// down is the master-down interval of a priority, in ns.
func (w *World) down(p uint8) int64 { return 3*w.interval() + w.skew(p) }

// leaseSpan is how long a lease lasts: two intervals, three below 100 ms.
func (w *World) leaseSpan() int64 {
	if w.interval() < 100*ms {
		return 3 * w.interval()
	}
	return 2 * w.interval()
}

// queue is a heap of events by time and then by order of arrival. The events
// lie in a pool, so that only small items move.
type queue struct {
	heap []item
	pool []event
	free []int32
}

type item struct {
	at  int64
	seq uint64
	idx int32
}

func (q *queue) len() int    { return len(q.heap) }
func (q *queue) next() int64 { return q.heap[0].at }

func (a item) before(b item) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (q *queue) push(at int64, seq uint64, e event) {
	var idx int32
	if n := len(q.free); n > 0 {
		idx = q.free[n-1]
		q.free = q.free[:n-1]
		q.pool[idx] = e
	} else {
		idx = int32(len(q.pool))
		q.pool = append(q.pool, e)
	}
	q.heap = append(q.heap, item{at, seq, idx})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(q.heap[up]) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *queue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && q.heap[c+1].before(q.heap[c]) {
			c++
		}
		if !q.heap[c].before(q.heap[i]) {
			break
		}
		q.heap[i], q.heap[c] = q.heap[c], q.heap[i]
		i = c
	}
	e := q.pool[top.idx]
	q.pool[top.idx] = event{}
	q.free = append(q.free, top.idx)
	return e
}
