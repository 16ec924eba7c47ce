package act

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"vrrpd/cmd/atropos/internal/show"
	"vrrpd/control"
)

// Reexec has every process of the run directory go on as the program that is installed
// now, one after the other: the next one only when the one before it serves. The first
// that cannot ends it, and those behind it stay what they are.
func (a Act) Reexec(ctx context.Context) int {
	all, err := control.Discover(ctx, a.RunDir)
	if err != nil {
		return a.fail(err)
	}
	all = slices.DeleteFunc(all, func(p control.Process) bool { return control.IsDead(p.Err) })
	if len(all) == 0 {
		fmt.Fprintf(a.Err, "atropos: no vrrpd is running here (looked in %s)\n", a.RunDir)
		return Nobody
	}
	seen := map[int]bool{} // a process with a file has a socket for each group
	var done []outcome
	for _, p := range all {
		o := outcome{Group: p.Instance}
		switch {
		case p.Err != nil:
			o.Message = p.Err.Error()
		case seen[p.Status.PID]:
			continue
		default:
			seen[p.Status.PID] = true
			o.Result = a.reexec(ctx, p)
		}
		done = append(done, o)
		if !a.JSON && o.Done {
			fmt.Fprintf(a.Out, "%s: %s\n", show.Clean(o.Group), show.Clean(o.Message))
		}
		if !o.Done {
			fmt.Fprintf(a.Err, "atropos: %s: %s\n", show.Clean(o.Group), show.Clean(o.Message))
			break
		}
	}
	code := Done
	if !done[len(done)-1].Done {
		code = Failed
	}
	if a.JSON {
		if c := a.json(done); c != Done {
			code = c
		}
	}
	return code
}

func (a Act) reexec(ctx context.Context, p control.Process) control.Result {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	r, err := control.NewClient(p.Path).Command(ctx, control.Reexec)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		// It was tried before, so this is rare.
		return control.Result{Message: "the new program has ended without an answer, and is cleaned up after as after a crash: see the journal and atropos --state"}
	case err != nil:
		return control.Result{Message: verdict(control.Reexec, err)}
	}
	return r
}
