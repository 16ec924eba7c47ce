package health

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"

	"vrrpd/internal/child"
)

// A check is in the next program what it was in the last one, also on its way from one
// verdict to the other; one that is new there is pending.
func TestKeptChecks(t *testing.T) {
	checks := []Check{
		{Name: "passes", Command: []string{"true"}, Interval: time.Second, Rise: 2, Fall: 3},
		{Name: "fails", Command: []string{"true"}, Weight: -20, Interval: time.Second, Rise: 2, Fall: 1},
	}
	old := New(Options{})
	old.Apply(checks, Pending)
	see := func(s *Set, name string, ok bool) {
		for _, w := range s.watches {
			if w.check.Name == name {
				w.observe(observation{ok, name + " said so"})
			}
		}
	}
	see(old, "passes", true)
	see(old, "passes", false)
	see(old, "passes", false) // one more, and it fails
	see(old, "fails", false)
	see(old, "fails", true) // one more, and it passes

	kept, running := old.Keep()
	if len(running) != 0 {
		t.Errorf("%v run", running)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	next := New(Options{})
	next.Apply(append(checks, Check{Name: "new", Command: []string{"true"}, Weight: -5, Interval: time.Second}), Pending)
	if sum := next.Resume(kept); sum != (Sum{Weight: -25}) {
		t.Errorf("sum %+v", sum)
	}
	was, is := old.Status(), next.Status()
	for i := range was {
		if w, n := was[i], is[i]; n.Verdict != w.Verdict || !n.Since.Equal(w.Since) || !n.Last.Equal(w.Last) || n.Detail != w.Detail ||
			n.Observations != w.Observations || n.Failures != w.Failures {
			t.Errorf("%+v, was %+v", n, w)
		}
	}
	if is[2].Verdict != Pending {
		t.Errorf("the new one is %v", is[2].Verdict)
	}
	see(next, "passes", false)
	see(next, "fails", true)
	if s := next.Status(); s[0].Verdict != Failing || s[1].Verdict != Passing {
		t.Errorf("after one more observation: %v, %v", s[0].Verdict, s[1].Verdict)
	}
}

// Nonsense changes nothing that it may not.
func TestKeptNonsense(t *testing.T) {
	s := New(Options{})
	s.Apply([]Check{{Name: "a", Command: []string{"true"}, Interval: time.Second, Rise: 2, Fall: 3}}, Pending)
	s.Resume([]Kept{{Name: "a", Verdict: 9}, {Name: "b", Verdict: Passing}})
	if v := s.Status()[0].Verdict; v != Pending {
		t.Errorf("verdict %v", v)
	}
	s.Resume([]Kept{{Name: "a", Verdict: Failing, Against: -7, Wanted: 1 << 40}})
	g := s.watches[0].gauge
	if g.against != 0 || g.wanted != g.patience {
		t.Errorf("%+v", g)
	}
}

// Between Pause and Unpause no command starts; one that is being started is not waited for.
func TestPause(t *testing.T) {
	launching, launch := make(chan struct{}), make(chan struct{})
	b := start(t, Options{Start: func(context.Context, child.Command) (*child.Process, error) {
		launching <- struct{}{}
		<-launch
		return nil, errors.New("launched")
	}}, Pending, Check{Name: "c", Command: []string{"true"}, Interval: time.Millisecond, Rise: 1, Fall: 1})
	<-launching
	if b.Pause() {
		t.Fatal("paused while a command is being started")
	}
	launch <- struct{}{}
	b.becomes(Failing, "launched")
	// The next one may be on its way already.
	for end := time.Now().Add(patience); !b.Pause(); runtime.Gosched() {
		select {
		case <-launching:
			launch <- struct{}{}
		default:
		}
		if time.Now().After(end) {
			t.Fatal("no moment for a pause")
		}
	}
	if b.starting.TryRLock() {
		t.Error("a command may start in a pause")
	}
	b.Unpause()
	<-launching
	close(launch)
	go func() {
		for range launching {
		}
	}()
	b.end()
	close(launching)
}
