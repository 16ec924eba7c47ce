// Command vrrpd is the VRRP daemon; see docs/vrrpd.8. This file is wiring only:
// what was asked for (config), where it runs (background.go), and what does it
// (daemon).
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"vrrpd/config"
	"vrrpd/daemon"
	"vrrpd/sysd"
)

// version is set by the linker.
var version = "unknown"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(takeArgs())) }

func run(args []string) int {
	// First thing: a terminal that went away must not kill a router.
	sysd.SurviveSIGPIPE()
	start := inherited()
	args, err := start.args(args)
	if err != nil {
		return start.failed(err)
	}
	cfg, err := config.Parse(args, os.Getenv)
	if err != nil {
		return start.failed(err)
	}
	if err := absolute(&cfg); err != nil {
		return start.failed(err)
	}
	load := loader(cfg)
	switch cfg.Mode {
	case config.Example:
		fmt.Print(config.ExampleFile())
		return 0
	case config.Help:
		fmt.Print(config.Usage)
		return 0
	case config.Version:
		fmt.Println("vrrpd", version)
		return 0
	case config.Check:
		if cfg.ConfigFile != "" {
			return checkFile(load)
		}
		return checked(daemon.Check(cfg))
	case config.Release:
		log, done := openLog(sysd.Auto)
		defer done()
		release := daemon.Release
		if cfg.ConfigFile != "" {
			release = func(cfg config.Config, log *slog.Logger) error { return releaseFile(cfg, load, log) }
		}
		if err := release(cfg, log); err != nil {
			return start.failed(err)
		}
		return 0
	}
	if start == nil && !stayForeground(cfg) {
		return goBackground(args, cfg.ConfigFile)
	}
	keepFromCores(cfg)
	dest := sysd.Auto
	if start != nil {
		dest = sysd.Syslog
	}
	log, done := openLog(dest)
	defer done()
	opt := daemon.Options{
		Log:     log,
		Version: version,
		Notify:  sysd.NewNotifier(os.Getenv("NOTIFY_SOCKET"), log),
		Warn:    start.warn,
		Ready:   start.ready,
	}
	if cfg.ConfigFile != "" {
		err = runFile(load, opt)
	} else {
		err = daemon.New(cfg, opt).Run(context.Background())
	}
	if err != nil {
		if start != nil {
			log.Error("vrrpd cannot go on", "err", err)
		}
		done() // what was logged comes before the last word
		return start.failed(err)
	}
	return 0
}

// checked tells what a check has found on this machine.
func checked(notes, warnings []string, err error) int {
	for _, n := range notes {
		fmt.Println("vrrpd:", n)
	}
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "vrrpd: warning:", w)
	}
	if err != nil {
		return (*starter)(nil).failed(err)
	}
	fmt.Println("vrrpd: this would work here")
	return 0
}

// openLog opens the log and starts its writer; done writes what is waiting.
func openLog(dest sysd.Dest) (*slog.Logger, func()) {
	l, err := sysd.Open(sysd.Options{Dest: dest})
	if err != nil {
		panic(err) // an unknown destination is a mistake in this file
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = l.Run(ctx)
	}()
	return slog.New(l.Handler()), sync.OnceFunc(func() {
		cancel()
		<-stopped
	})
}

// exitCode tells wrong usage from what went wrong.
func exitCode(err error) int {
	var usage config.UsageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}
