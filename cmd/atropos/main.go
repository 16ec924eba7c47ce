// Command atropos shows and changes the state of the whole machine; see
// docs/atropos.8. This file is wiring only: what was asked for (args), what is
// done about it (act), and what a person reads (show).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"vrrpd/cmd/atropos/internal/act"
	"vrrpd/cmd/atropos/internal/args"
	"vrrpd/cmd/atropos/internal/screen"
	"vrrpd/control"
)

// version is set by the linker.
var version = "unknown"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	req, err := args.Parse(os.Args[1:], os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "atropos:", err)
		return act.Usage
	}
	a := act.Act{RunDir: req.RunDir, JSON: req.JSON, Out: os.Stdout, Err: os.Stderr}
	if screen.Is(os.Stdout, os.Getenv("TERM")) {
		a.Display = func() (act.Display, error) { return screen.Open(os.Stdin, os.Stdout) }
	}
	switch req.Command {
	case args.Help:
		fmt.Print(args.Text)
		return act.Done
	case args.Version:
		fmt.Println("atropos", version)
		return act.Done
	case args.State:
		return a.State(ctx)
	case args.Why:
		return a.Why(ctx)
	case args.Watch:
		return a.Watch(ctx)
	case args.IsMaster:
		return a.IsMaster(ctx)
	case args.Command(control.Reexec):
		return a.Reexec(ctx)
	default:
		return a.Command(ctx, control.Verb(req.Command))
	}
}
