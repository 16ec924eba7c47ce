package netlab

import (
	"errors"
	"slices"
	"sync"
)

// stack holds what has to be closed, in the order in which it was made. The
// zero value is ready for use.
type stack struct {
	mu    sync.Mutex
	items []*item
}

// item is one thing on a stack.
type item struct {
	from *stack
	do   func() error
	once sync.Once
	err  error
}

// push puts something on the stack; close is called once, by closeAll or by
// the item's own Close.
func (s *stack) push(close func() error) *item {
	i := &item{from: s, do: close}
	s.mu.Lock()
	s.items = append(s.items, i)
	s.mu.Unlock()
	return i
}

// Close closes the item and takes it off its stack; a second call returns what
// the first one returned, when that is done.
func (i *item) Close() error {
	i.once.Do(func() {
		i.err = i.do()
		s := i.from
		s.mu.Lock()
		if at := slices.Index(s.items, i); at >= 0 {
			s.items = slices.Delete(s.items, at, at+1)
		}
		s.mu.Unlock()
	})
	return i.err
}

// closeAll closes what is on the stack, the youngest first.
func (s *stack) closeAll() error {
	var errs []error
	for {
		s.mu.Lock()
		if len(s.items) == 0 {
			s.mu.Unlock()
			return errors.Join(errs...)
		}
		top := s.items[len(s.items)-1]
		s.mu.Unlock()
		errs = append(errs, top.Close())
	}
}
