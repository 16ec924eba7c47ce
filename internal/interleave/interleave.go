// Package interleave runs a few threads of a program one step at a time and
// tries every order of their steps.
//
// A thread says what it is about to do to what it shares with the others (an
// Op), and waits there until it is its turn. Nothing else than those operations
// may touch what is shared, and an execution must depend on nothing but the
// order. An order is tried by running the program anew, from its beginning.
//
// Orders that differ only in the sequence of neighbouring operations which do not
// conflict (no object that one writes and the other reads or writes) have the
// same outcome; only one of them is run to its end. Two reductions see to that,
// and leave out nothing but orders that are equivalent to one that is tried:
// where an execution has met two operations that conflict and could have been
// done the other way round, and only there, it goes back to do so (source sets,
// Abdulla, Aronis, Jonsson and Sagonas 2014); and when all orders that
// begin with an operation have been tried, those that begin with another one need
// not try it again until something happens that conflicts with it (sleep sets,
// Godefroid 1996).
//
// Where that is too many, an exploration can be bounded to orders in which a
// thread that could go on is interrupted a few times only, which is where most
// mistakes are (Musuvathi and Qadeer 2007).
package interleave

import (
	"fmt"
	"iter"
	"strings"
)

// MaxThreads is how many threads a program can have.
const MaxThreads = 4

// Op is one operation on shared objects; it happens at once.
type Op struct {
	Name   string
	Reads  Objects
	Writes Objects
}

// Objects is a set of up to 64 shared objects, a bit for each.
type Objects uint64

func (a *Op) conflicts(b *Op) bool {
	return a.Writes&(b.Reads|b.Writes) != 0 || b.Writes&a.Reads != 0
}

// Thread is one sequence of steps. Before each operation on something shared it
// calls at, which returns when the operation may be done. Until its first
// operation it may do only what concerns nobody else.
type Thread func(at func(Op))

// Program is built anew for every execution.
type Program struct {
	Threads []Thread
	// End judges an execution whose threads have all ended.
	End func() error
}

// Result says how much was tried.
type Result struct {
	Orders  int // complete executions
	Cut     int // executions given up, because what would follow has been tried
	Longest int // operations of the longest execution
}

// Add makes r the sum of both.
func (r *Result) Add(s Result) {
	r.Orders += s.Orders
	r.Cut += s.Cut
	r.Longest = max(r.Longest, s.Longest)
}

func (r Result) String() string {
	return fmt.Sprintf("%d orders of up to %d operations (and %d given up as equivalent)", r.Orders, r.Longest, r.Cut)
}

// Failure is an execution that End did not like.
type Failure struct {
	Err   error
	Order []string // what was done, and by which thread
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%v; the order was:\n  %s", f.Err, strings.Join(f.Order, "\n  "))
}

func (f *Failure) Unwrap() error { return f.Err }

// node is a point of an execution at which a thread was chosen.
type node struct {
	pending [MaxThreads]Op
	alive   uint // threads that have not ended
	asleep  uint // threads that need not go first here
	todo    uint // threads that have to go first here, unless asleep
	chosen  int
	// last is the thread that went before, or -1, and interrupted is how often
	// one that could go on had to wait; where that is limited.
	last, interrupted int
	// known is what the operation done here follows from: of each thread's
	// operations those up to a place in the path, counted from 1.
	known clock
}

type clock [MaxThreads]int

func (c *clock) join(d *clock) {
	for i := range c {
		c[i] = max(c[i], d[i])
	}
}

func (n *node) op() *Op { return &n.pending[n.chosen] }

// choose takes the first thread of a set that is not asleep; false: there is none.
func (n *node) choose(from uint) bool {
	for i := range n.pending {
		if (n.alive&from&^n.asleep)>>i&1 == 1 {
			n.chosen = i
			return true
		}
	}
	return false
}

// Limits bound an exploration; the zero value bounds nothing.
type Limits struct {
	// Longest is how many operations an execution may have; one that is longer
	// is a failure, of threads that never end.
	Longest int
	// Most is how many executions there may be; more are an error.
	Most int
	// Interruptions is how often a thread may have to wait that could go on;
	// 0: any number.
	Interruptions int
}

// Explore tries every order of the program's operations within the limits. The
// error is a Failure, or says that not every order was tried.
func Explore(build func() Program, limits Limits) (Result, error) {
	e := explorer{limits: limits}
	var r Result
	for {
		p := build()
		if len(p.Threads) > MaxThreads {
			return r, fmt.Errorf("%d threads, at most %d are possible", len(p.Threads), MaxThreads)
		}
		ended, err := e.execute(p)
		r.Longest = max(r.Longest, len(e.path))
		if ended {
			r.Orders++
			err = p.End()
		} else if err == nil {
			r.Cut++
		}
		if err != nil {
			return r, &Failure{err, e.order()}
		}
		switch {
		case !e.next():
			return r, nil
		case limits.Most > 0 && r.Orders+r.Cut >= limits.Most:
			return r, fmt.Errorf("not every order was tried: there are more than %d", limits.Most)
		}
	}
}

// explorer is a depth-first search; path is the present execution.
type explorer struct {
	path   []node
	limits Limits
}

// next goes back to the last point at which another thread has to be tried.
func (e *explorer) next() bool {
	for len(e.path) > 0 {
		n := &e.path[len(e.path)-1]
		n.asleep |= 1 << n.chosen
		if n.choose(n.todo) {
			return true
		}
		e.path = e.path[:len(e.path)-1]
	}
	return false
}

// order tells the present execution.
func (e *explorer) order() []string {
	var list []string
	for i := range e.path {
		n := &e.path[i]
		list = append(list, fmt.Sprintf("%d: %s", n.chosen, n.op().Name))
	}
	return list
}

// gone unwinds a thread whose execution has been given up.
type gone struct{}

// execute runs the program along the path and then on, until all threads have
// ended (true) or what follows has been tried already.
func (e *explorer) execute(p Program) (ended bool, err error) {
	now := node{}
	var resume [MaxThreads]func() (Op, bool)
	for i, thread := range p.Threads {
		next, stop := iter.Pull(sequence(thread))
		defer stop()
		resume[i] = next
		now.proceed(i, next)
	}
	var known [MaxThreads]clock // of each thread's last operation
	for depth := 0; now.alive != 0; depth++ {
		if depth >= len(e.path) {
			if e.limits.Longest > 0 && depth >= e.limits.Longest {
				return false, fmt.Errorf("no end after %d operations", depth)
			}
			if !e.begin(&now) {
				return false, nil
			}
			e.path = append(e.path, now)
		}
		n := &e.path[depth]
		if e.limits.Interruptions == 0 && depth == len(e.path)-1 { // else it was done before
			n.known = e.races(depth, known[n.chosen])
		}
		known[n.chosen] = n.known
		if e.limits.Interruptions > 0 {
			now.proceed(n.chosen, resume[n.chosen])
			continue
		}
		now.asleep = n.asleep
		// Who sleeps wakes up when something happens that concerns it.
		for i := range p.Threads {
			if now.asleep>>i&1 == 1 && now.pending[i].conflicts(n.op()) {
				now.asleep &^= 1 << i
			}
		}
		now.proceed(n.chosen, resume[n.chosen])
	}
	return true, nil
}

// begin decides who goes first at a new point, and who else has to; false: what
// follows has been tried.
func (e *explorer) begin(n *node) bool {
	if e.limits.Interruptions == 0 {
		ok := n.choose(n.alive)
		n.todo = 1 << n.chosen // the others if need be: see races
		return ok
	}
	n.todo, n.last, n.interrupted = n.alive, -1, 0
	if len(e.path) > 0 {
		b := &e.path[len(e.path)-1]
		n.last, n.interrupted = b.chosen, b.interrupted
		if b.last >= 0 && b.chosen != b.last && b.alive>>b.last&1 == 1 {
			n.interrupted++
		}
	}
	if n.last < 0 || n.alive>>n.last&1 == 0 {
		return n.choose(n.todo)
	}
	if n.interrupted == e.limits.Interruptions {
		n.todo = 1 << n.last
	}
	return n.choose(1 << n.last)
}

// races returns what the operation at a place of the path follows from, given
// what its thread's last one did. Of the operations that it follows directly,
// each could have been done after it: where it was done, somebody must go first
// who leads there.
func (e *explorer) races(depth int, known clock) clock {
	n := &e.path[depth]
	var direct []int
	for i := depth - 1; i >= 0; i-- {
		m := &e.path[i]
		if i < known[m.chosen] || !m.op().conflicts(n.op()) {
			continue
		}
		direct = append(direct, i)
		known.join(&m.known)
	}
	n.known = known
	n.known[n.chosen] = depth + 1
	for _, i := range direct {
		m, set := &e.path[i], e.leaders(i, depth)
		switch own := uint(1) << n.chosen; {
		case m.todo&set != 0:
		case set&own != 0:
			m.todo |= own
		default:
			m.todo |= set & -set
		}
	}
	return n.known
}

// leaders are the threads with which an order can begin in which the operation
// at last comes before the one at first: of what has been done in between and does
// not follow from that, each whose operation follows from none of the others.
func (e *explorer) leaders(first, last int) (set uint) {
	q := e.path[first].chosen
	var began clock // of each thread the first operation that stays, counted from 1
	for k := first + 1; k <= last; k++ {
		m := &e.path[k]
		if k < last && m.known[q] > first {
			continue // follows from it
		}
		if began[m.chosen] > 0 {
			continue
		}
		free := true
		for t, b := range began {
			free = free && (b == 0 || m.known[t] < b)
		}
		if free {
			set |= 1 << m.chosen
		}
		began[m.chosen] = k + 1
	}
	return set
}

// proceed lets a thread do what it waits for, until it is about to do the next.
func (n *node) proceed(i int, next func() (Op, bool)) {
	op, more := next()
	n.pending[i] = op
	n.alive &^= 1 << i
	if more {
		n.alive |= 1 << i
	}
}

func sequence(thread Thread) iter.Seq[Op] {
	return func(yield func(Op) bool) {
		defer func() {
			switch r := recover().(type) {
			case nil, gone:
			default:
				panic(r)
			}
		}()
		thread(func(op Op) {
			if !yield(op) {
				panic(gone{})
			}
		})
	}
}
