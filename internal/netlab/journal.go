package netlab

import (
	"context"
	"slices"
	"sync"
)

// journal is a list that grows while others read it and wait for what is to
// come.
type journal[T any] struct {
	mu      sync.Mutex
	list    []T           // guarded by mu
	changed chan struct{} // closed and replaced with every change; guarded by mu
	ended   error         // why nothing more will come; guarded by mu
}

func newJournal[T any]() *journal[T] { return &journal[T]{changed: make(chan struct{})} }

// add appends what make returns for its number, unless there are limit entries
// already; then it returns false.
func (j *journal[T]) add(limit int, make func(number int) T) (T, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.list) >= limit {
		var none T
		return none, false
	}
	v := make(len(j.list))
	j.list = append(j.list, v)
	j.ring()
	return v, true
}

// end says that nothing more will come, and why.
func (j *journal[T]) end(why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = why
	j.ring()
}

// ring wakes those who wait; mu is held.
func (j *journal[T]) ring() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// mark returns the number that the next entry will get.
func (j *journal[T]) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.list)
}

// from returns the entries from number mark on.
func (j *journal[T]) from(mark int) []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list[min(mark, len(j.list)):])
}

// wait returns the first entry from number mark on, past or to come, that
// fulfils cond.
func (j *journal[T]) wait(ctx context.Context, mark int, cond func(T) bool) (T, error) {
	var none T
	for {
		j.mu.Lock()
		fresh, changed, ended := j.list[min(mark, len(j.list)):], j.changed, j.ended
		j.mu.Unlock()
		if i := slices.IndexFunc(fresh, cond); i >= 0 {
			return fresh[i], nil
		}
		mark += len(fresh)
		if ended != nil {
			return none, ended
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}
