package health

import (
	"context"
	"errors"
	"strings"

	"vrrpd/internal/child"
)

// command runs the check's command once.
func (w *watch) command(ctx context.Context) (observation, bool) {
	first := ""
	c := child.Command{
		Argv: w.check.Command, Environ: append(w.set.options.Environ[:len(w.set.options.Environ):len(w.set.options.Environ)], "VRRP_CHECK="+w.check.Name),
		RunAs: w.check.RunAs, Limit: w.check.timeout(),
		Output: func(line string) {
			if first == "" {
				first = strings.TrimSpace(line)
			}
		},
	}
	p, err := w.launch(ctx, c)
	if err != nil {
		return bad("%v", err), true
	}
	r := p.Wait(ctx)
	w.runs(0)
	switch {
	case errors.Is(r.Err, child.ErrStopped):
		return observation{}, false
	case r.Err == nil:
		return good("%s", first), true
	case first == "":
		return bad("%v", r.Err), true
	}
	return bad("%v: %s", r.Err, first), true
}

// launch starts the command and notes which process it is.
func (w *watch) launch(ctx context.Context, c child.Command) (*child.Process, error) {
	w.set.starting.RLock()
	defer w.set.starting.RUnlock()
	p, err := w.set.options.Start(ctx, c)
	if err == nil {
		w.runs(p.PID())
	}
	return p, err
}

// runs notes which process the command is.
func (w *watch) runs(pid int) {
	w.set.mu.Lock()
	w.pid = pid
	w.set.mu.Unlock()
}
