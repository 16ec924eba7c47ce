package control

import (
	"context"
	"io"
	"sync"
	"time"
)

// pace lets time pass between the beginnings of two answers of one kind, so that whoever
// asks, and however much, takes a quarter of a processor at most: the port for metrics is open
// to every user of the machine. Who asks now and then does not wait.
type pace struct {
	mu    sync.Mutex
	next  time.Time     // guarded by mu; no answer is begun before
	taken time.Duration // guarded by mu; for the last answer, beside answerWork
}

const (
	// answerWork is what any answer costs beside what it says: the connection, the
	// request.
	answerWork = 100 * time.Microsecond
	// paceRest times what one takes lies between two beginnings.
	paceRest    = 4
	paceLongest = time.Second
)

// enter waits until an answer may be begun; an error says that nobody waits for it any more.
func (p *pace) enter(ctx context.Context) error {
	p.mu.Lock()
	at := p.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	p.next = at.Add(min(paceRest*(answerWork+p.taken), paceLongest))
	p.mu.Unlock()
	wait := time.NewTimer(time.Until(at))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave is told how long it took to make an answer, beside answerWork.
func (p *pace) leave(taken time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = taken
}

// stopwatch counts how long its writer was not waited for.
type stopwatch struct {
	w     io.Writer
	began time.Time
	away  time.Duration
}

func (s *stopwatch) Write(b []byte) (int, error) {
	at := time.Now()
	n, err := s.w.Write(b)
	s.away += time.Since(at)
	return n, err
}

func (s *stopwatch) elapsed() time.Duration { return time.Since(s.began) - s.away }
