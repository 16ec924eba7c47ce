package daemon

import (
	"context"
	"slices"
	"testing"
)

// heardBy writes down what a service manager is told.
type heardBy struct{ said []string }

func (h *heardBy) Ready()                    { h.said = append(h.said, "ready") }
func (h *heardBy) Status(text string)        { h.said = append(h.said, text) }
func (h *heardBy) Stopping()                 { h.said = append(h.said, "stopping") }
func (h *heardBy) Reloading()                { h.said = append(h.said, "reloading") }
func (h *heardBy) Watchdog()                 { h.said = append(h.said, "watchdog") }
func (h *heardBy) Run(context.Context) error { return nil }

// Groups speak with one voice: the watchdog is told when every loop has turned, the
// status is that of all, what concerns the process no group says.
func TestSharedNotifier(t *testing.T) {
	var h heardBy
	s := newShare(&h)
	a, b := s.of("a"), s.of("b")
	heard := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(h.said, want) {
			t.Errorf("%s: told %q, want %q", what, h.said, want)
		}
		h.said = nil
	}
	a.Watchdog()
	a.Watchdog()
	heard("one of two")
	b.Watchdog()
	heard("both", "watchdog")
	b.Watchdog()
	heard("one of two again")
	a.Watchdog()
	heard("both again", "watchdog")

	b.Status("MASTER")
	a.Status("BACKUP")
	heard("status", "MASTER", "a: BACKUP; b: MASTER")
	a.Ready()
	a.Stopping()
	a.Reloading()
	heard("of a group")
	s.ready()
	s.reloading()
	s.stopping()
	heard("of the process", "ready", "reloading", "stopping")

	// One that has ended is not waited for.
	b.Watchdog()
	s.leave("a")
	heard("a has ended", "MASTER")
	b.Watchdog()
	heard("the one that is left", "watchdog")
	newShare(nil).of("x").Status("nobody hears")
}
