package daemon

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Notifier is who tells the service manager; see sysd.Notifier. No method but Run
// waits.
type Notifier interface {
	Ready()
	Status(text string)
	Stopping()
	Reloading()
	Watchdog()
	Run(context.Context) error
}

// share lets the groups of a process speak to the service manager with one voice.
type share struct {
	to Notifier // nil: there is none

	mu     sync.Mutex
	status map[string]string
	barked map[string]bool // groups, and whether their loop has turned since the last time
}

func newShare(to Notifier) *share {
	return &share{to: to, status: map[string]string{}, barked: map[string]bool{}}
}

// part is the voice of one group.
type part struct {
	*share
	name string
}

func (s *share) of(name string) Notifier {
	s.mu.Lock()
	s.barked[name] = false
	s.mu.Unlock()
	return part{s, name}
}

// leave: the group has ended.
func (s *share) leave(name string) {
	s.mu.Lock()
	delete(s.barked, name)
	delete(s.status, name)
	s.tell()
	s.mu.Unlock()
}

// tell puts the status together. The lock is held.
func (s *share) tell() {
	if s.to == nil {
		return
	}
	names := slices.Sorted(maps.Keys(s.status))
	var all []string
	for _, name := range names {
		text := s.status[name]
		if len(names) > 1 {
			text = name + ": " + text
		}
		all = append(all, text)
	}
	if len(all) > 0 {
		s.to.Status(strings.Join(all, "; "))
	}
}

func (s *share) ready() {
	if s.to != nil {
		s.to.Ready()
	}
}

func (s *share) stopping() {
	if s.to != nil {
		s.to.Stopping()
	}
}

func (s *share) reloading() {
	if s.to != nil {
		s.to.Reloading()
	}
}

// What the whole process is or does is said by Process.
func (p part) Ready()     {}
func (p part) Stopping()  {}
func (p part) Reloading() {}

// Status is that of the group.
func (p part) Status(text string) {
	p.mu.Lock()
	p.status[p.name] = text
	p.tell()
	p.mu.Unlock()
}

// Watchdog says that the loop of the group turns: the service manager hears of it when
// all do.
func (p part) Watchdog() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.barked[p.name] = true
	for _, turned := range p.barked {
		if !turned {
			return
		}
	}
	for name := range p.barked {
		p.barked[name] = false
	}
	if p.to != nil {
		p.to.Watchdog()
	}
}

// Run is that of Process.
func (p part) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
