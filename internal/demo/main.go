// Command demo shows what vrrpd does, on one machine and in half a minute: two
// routers, two LANs, a client and a server in network namespaces, the real
// daemons started with the manual's own lines; then a cable is pulled, a
// process killed, a machine stopped, and for each it shows what the client has
// lost. It runs no programs but vrrpd, atropos and the routers' scripts, changes
// nothing on the machine, and leaves nothing behind, however it ends.
//
// What is drawn (observation.go, timeline.go, bars.go) is a pure function of
// what was recorded (instruments.go); what is done is in show.go and events.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"vrrpd/internal/netlab"
)

func main() {
	netlab.Hook()
	os.Exit(run())
}

// Exit codes.
const (
	exitFailed      = 1 // a step did not come to its expected end, or could not run
	exitUsage       = 2
	exitInterrupted = 130
)

func run() int {
	vrrpd := flag.String("vrrpd", "bin/vrrpd", "the daemon's binary")
	atropos := flag.String("atropos", "bin/atropos", "the client's binary")
	quick := flag.Bool("quick", false, "the first event only")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: what is %q? there are options only\n", flag.Arg(0))
		return exitUsage
	}
	s := screen{os.Stdout, colours(isTerminal(os.Stdout), os.Getenv)}
	s.say("%s: two routers share an address on each of two LANs and change sides\nas a whole. It all lives in network namespaces; your network is not touched.",
		s.do(bold, "vrrpd demo"))

	if err := netlab.Available(); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: cannot run here:", err)
		return exitFailed
	}
	var bin programs
	for _, b := range []struct {
		path string
		into *string
	}{{*vrrpd, &bin.vrrpd}, {*atropos, &bin.atropos}} {
		text, err := os.ReadFile(b.path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "\ndemo: %v: \"make demo\" builds it first\n", err)
			return exitFailed
		}
		*b.into = string(text)
	}

	// The second Ctrl-C ends the process at once, and the kernel cleans up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	defer stop()
	before, err := survey()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return exitFailed
	}
	failed, dirty := perform(ctx, s, bin, *quick)
	if dirty = errors.Join(dirty, before.leftovers()); dirty == nil {
		s.say("\nCleaned up: no process, interface, mount or file of the demo is left.")
	}
	code := 0
	switch {
	case ctx.Err() != nil:
		// What was left undone for that is no failure of its own.
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		code = exitInterrupted
	case failed != nil:
		fmt.Fprintln(os.Stderr, "demo:", failed)
		code = exitFailed
	}
	if dirty != nil {
		fmt.Fprintln(os.Stderr, "demo: not everything could be cleaned up:", dirty)
		code = exitFailed
	}
	return code
}

// perform runs the show in a lab that is gone when it returns, and when it
// panics. It returns why the show failed and what could not be cleaned up.
func perform(ctx context.Context, s screen, bin programs, quick bool) (failed, dirty error) {
	lab, err := netlab.New()
	if err != nil {
		return err, nil
	}
	defer func() { dirty = lab.Close() }()
	l, err := build(lab, bin)
	if err != nil {
		return err, nil
	}
	// The watches end before the lab whose run directories they watch.
	ctx, cancel := context.WithCancel(ctx)
	p := &show{screen: s, laboratory: l}
	defer p.watches.Wait()
	defer cancel()
	return p.run(ctx, quick), nil
}
