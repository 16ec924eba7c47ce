package act

import (
	"context"
	"os/signal"
	"syscall"
	"time"

	"vrrpd/cmd/atropos/internal/show"
	"vrrpd/control"
)

// Display is a terminal that is drawn upon as a whole; see package screen.
type Display interface {
	Size() (width, height int)
	Draw(lines []string) error
	Changed() <-chan struct{}
	Keys() <-chan byte
	Close() error
}

const (
	// refresh is how often the table is made anew when nothing happens: it counts
	// seconds.
	refresh = time.Second
	// keptEvents is more than a screen has lines.
	keptEvents = 200
)

// live is Watch on a terminal: a table that is drawn anew whenever something happens.
func (a Act) live(ctx context.Context, first control.View) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	d, err := a.Display()
	if err != nil {
		return a.fail(err)
	}
	err = a.drawAll(ctx, d, first)
	if e := d.Close(); err == nil {
		err = e
	}
	if err != nil {
		return a.fail(err)
	}
	return Done
}

// drawAll draws until ctx or the user ends it. Whoever is asked how things are may take
// his time: looking is never waited for.
func (a Act) drawAll(ctx context.Context, d Display, v control.View) error {
	ctx, cancel := context.WithCancel(ctx)
	events, views := make(chan control.Event), make(chan control.View)
	followed := make(chan error, 1)
	go func() {
		followed <- control.Follow(ctx, a.RunDir, func(e control.Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	looking, stale := false, false
	looked := make(chan struct{})
	look := func() {
		if looking {
			stale = true
			return
		}
		looking, stale = true, false
		go func() {
			defer func() { looked <- struct{}{} }()
			v, err := control.Look(ctx, a.RunDir)
			if err != nil {
				return // of the directory; the next look may succeed
			}
			select {
			case views <- v:
			case <-ctx.Done():
			}
		}()
	}
	defer func() {
		cancel()
		if looking {
			<-looked
		}
		if followed != nil {
			<-followed
		}
	}()
	var recent []string
	draw := func() error {
		width, height := d.Size()
		return d.Draw(show.Table(v, recent, time.Now(), width, height))
	}
	if err := draw(); err != nil {
		return err
	}
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	keys := d.Keys()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err := <-followed:
			followed = nil
			return err
		case k, ok := <-keys:
			if !ok {
				keys = nil
			} else if k == 'q' || k == 'Q' {
				return nil
			}
		case e := <-events:
			if recent = append(recent, show.Event(e, time.Now())); len(recent) > keptEvents {
				recent = recent[1:]
			}
			look()
			err = draw()
		case v = <-views:
			err = draw()
		case <-looked:
			if looking = false; stale {
				look()
			}
		case <-d.Changed():
			err = draw()
		case <-tick.C:
			look()
		}
		if err != nil {
			return err
		}
	}
}
