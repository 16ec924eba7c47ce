// Package act does what atropos was asked to do and says with which code it
// ends. It must never leave a person without a reason: every code but 0 comes
// with a line on stderr, except that of is-master.
package act

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"vrrpd/cmd/atropos/internal/show"
	"vrrpd/control"
	"vrrpd/election"
)

// Exit codes, part of the interface.
const (
	Done   = 0
	Failed = 1 // refused or failed, with why
	Usage  = 2
	Nobody = 3 // no vrrpd is running here
)

// commandLimit is how long an outcome may take: longer than the longest
// hand-over (one skew time at the longest interval, 41 s).
const commandLimit = 90 * time.Second

// Act is one run of atropos.
type Act struct {
	RunDir   string
	JSON     bool
	Out, Err io.Writer
	// Display takes the terminal that Out is, for Watch; nil: it is none.
	Display func() (Display, error)
}

// look returns the machine, or the code to end with.
func (a Act) look(ctx context.Context) (v control.View, code int) {
	v, err := control.Look(ctx, a.RunDir)
	switch {
	case err != nil:
		return v, a.fail(err)
	case v.Empty():
		fmt.Fprintf(a.Err, "atropos: no vrrpd is running here (looked in %s)\n", a.RunDir)
		a.troubles(v)
		return v, Nobody
	case len(v.Groups) == 0:
		a.troubles(v)
		return v, Failed
	}
	return v, Done
}

// troubles names the processes that say nothing.
func (a Act) troubles(v control.View) {
	for _, line := range show.Troubles(v) {
		fmt.Fprintln(a.Err, "atropos:", line)
	}
}

func (a Act) fail(err error) int {
	fmt.Fprintln(a.Err, "atropos:", err)
	return Failed
}

func (a Act) json(v any) int {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return a.fail(err)
	}
	return Done
}

// State shows the machine. It fails, after showing what there is, when a
// process does not answer or the processes of a group disagree.
func (a Act) State(ctx context.Context) int {
	v, code := a.look(ctx)
	if code != Done {
		return code
	}
	if a.JSON {
		code = a.json(v)
	} else if _, err := io.WriteString(a.Out, show.State(v, time.Now())); err != nil {
		code = a.fail(err)
	}
	if code == Done && !v.Whole() {
		if a.JSON {
			a.troubles(v)
		}
		return Failed
	}
	return code
}

// Why shows the last transitions.
func (a Act) Why(ctx context.Context) int {
	v, code := a.look(ctx)
	if code != Done {
		return code
	}
	if a.JSON {
		return a.json(show.Explain(v))
	}
	if _, err := io.WriteString(a.Out, show.Why(v, time.Now())); err != nil {
		return a.fail(err)
	}
	a.troubles(v)
	return Done
}

// Watch shows events until ctx ends: on a terminal in a table of the machine, else as
// lines. Processes that start later are watched too.
func (a Act) Watch(ctx context.Context) int {
	v, code := a.look(ctx)
	if code != Done {
		return code
	}
	if a.Display != nil && !a.JSON {
		return a.live(ctx, v)
	}
	enc := json.NewEncoder(a.Out)
	err := control.Follow(ctx, a.RunDir, func(e control.Event) error {
		if a.JSON {
			return enc.Encode(e)
		}
		_, err := fmt.Fprintln(a.Out, show.Event(e, time.Now()))
		return err
	})
	if err != nil {
		return a.fail(err)
	}
	return Done
}

// IsMaster answers by its code alone: the machine is MASTER if every group is.
func (a Act) IsMaster(ctx context.Context) int {
	v, code := a.look(ctx)
	if code != Done {
		return code
	}
	for _, g := range v.Groups {
		if g.State != election.Master.String() {
			return Failed
		}
	}
	return Done
}

// outcome of a command for one group.
type outcome struct {
	Group string `json:"group"`
	control.Result
}

// Command has every group carry out the verb, all at once.
func (a Act) Command(ctx context.Context, verb control.Verb) int {
	v, code := a.look(ctx)
	if code != Done {
		return code
	}
	limited, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	groups := v.Groups
	if verb == control.Reload {
		groups = control.Processwise(groups)
	}
	all := make([]outcome, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() {
			r, err := g.Command(limited, verb)
			if err != nil {
				r = control.Result{Message: verdict(verb, err)}
			}
			all[i] = outcome{g.Machine.Group, r}
		})
	}
	wg.Wait()
	if a.JSON {
		code = a.json(all)
	}
	for _, o := range all {
		line := show.Clean(o.Message)
		if len(all) > 1 {
			line = show.Clean(o.Group) + ": " + line
		}
		switch {
		case !o.Done:
			code = Failed
			fmt.Fprintln(a.Err, "atropos:", line)
		case !a.JSON:
			fmt.Fprintln(a.Out, line)
		}
	}
	return code
}

func verdict(verb control.Verb, err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s: no outcome after %s; see atropos --state", verb, commandLimit)
	}
	return fmt.Sprintf("%s: %v; see atropos --state", verb, err)
}
