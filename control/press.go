package control

import (
	"sync"
	"time"
)

// press makes an answer that is much work once for everybody who asks meanwhile, and
// lets a while pass before it makes the next one. A thousand virtual routers are a
// megabyte of JSON and more: without that, who asks a hundred times a second would take
// all processors, from the adverts too.
type press[T any] struct {
	// print makes the answer, and says for how long it has worked.
	print func() (answer T, work time.Duration)

	mu   sync.Mutex
	next *edition[T] // guarded by mu; what who asks now gets. nil: nobody has asked

	machine chan struct{} // has room for who is at work
	after   time.Time     // of who is at work: the next one is not begun before
}

func newPress[T any](print func() (answer T, work time.Duration)) *press[T] {
	return &press[T]{print: print, machine: make(chan struct{}, 1)}
}

// edition is an answer for several.
type edition[T any] struct {
	done   chan struct{}
	answer T // shared; written before done is closed
}

const (
	// pressRest times the work is the pause after it, if that was more than pressLight:
	// so it takes a quarter of a processor at most.
	pressRest    = 3
	pressLight   = time.Millisecond
	pressLongest = time.Second
)

// read returns an answer that was begun after it was called. Nobody may change it.
func (p *press[T]) read() T {
	p.mu.Lock()
	e := p.next
	first := e == nil
	if first {
		e = &edition[T]{done: make(chan struct{})}
		p.next = e
	}
	p.mu.Unlock()
	if !first {
		<-e.done
		return e.answer
	}
	// The first one does it for all. Those before it have to have finished.
	defer close(e.done)
	p.machine <- struct{}{}
	defer func() { <-p.machine }()
	if wait := time.Until(p.after); wait > 0 {
		pause := time.NewTimer(wait)
		defer pause.Stop()
		<-pause.C
	}
	p.mu.Lock()
	p.next = nil
	p.mu.Unlock()
	var work time.Duration
	if e.answer, work = p.print(); work > pressLight {
		p.after = time.Now().Add(min(pressRest*work, pressLongest))
	}
	return e.answer
}
