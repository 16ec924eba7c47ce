package netlab

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Entry is one line of a timeline.
type Entry struct {
	At   time.Time
	Who  string
	What string
}

// Timeline collects what happened, from any goroutine and in any order, for a
// person to read. The zero value is ready for use.
type Timeline struct {
	mu      sync.Mutex
	entries []Entry // guarded by mu
}

// Mark notes something that happens now, and returns when that is.
func (t *Timeline) Mark(who, format string, args ...any) time.Time {
	at := now()
	t.Add(at, who, fmt.Sprintf(format, args...))
	return at
}

// Add notes something that happened.
func (t *Timeline) Add(at time.Time, who, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = append(t.entries, Entry{at, who, what})
}

// AddOutages notes the beginning and the end of each outage.
func (t *Timeline) AddOutages(who string, list []Outage) {
	for _, o := range list {
		t.Add(o.From, who, "not answered from here on")
		if !o.Open {
			t.Add(o.To, who, "answered again: "+o.String())
		}
	}
}

// AddFrames notes the frames that describe finds worth a line.
func (t *Timeline) AddFrames(who string, frames []Frame, describe func(Frame) string) {
	for _, f := range frames {
		if what := describe(f); what != "" {
			t.Add(f.At, who, what)
		}
	}
}

// AddLinkEvents notes the events of a host's interfaces.
func (t *Timeline) AddLinkEvents(who string, list []LinkEvent) {
	for _, e := range list {
		t.Add(e.At, who, e.String())
	}
}

// Entries returns the lines in order of time.
func (t *Timeline) Entries() []Entry {
	t.mu.Lock()
	list := slices.Clone(t.entries)
	t.mu.Unlock()
	slices.SortStableFunc(list, func(a, b Entry) int { return a.At.Compare(b.At) })
	return list
}

// Print writes the timeline, with times in milliseconds since zero.
func (t *Timeline) Print(w io.Writer, zero time.Time) error {
	list := t.Entries()
	width := 0
	for _, e := range list {
		width = max(width, len(e.Who))
	}
	for _, e := range list {
		ms := float64(e.At.Sub(zero)) / float64(time.Millisecond)
		if _, err := fmt.Fprintf(w, "%+10.1f ms  %-*s  %s\n", ms, width, e.Who, e.What); err != nil {
			return fmt.Errorf("print timeline: %w", err)
		}
	}
	return nil
}
