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
	"vrrpd/grouplock"
	"vrrpd/internal/footprint"
	"vrrpd/internal/reexec"
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
	tried := len(args) == 1 && args[0] == reexec.TryFlag
	allowCores := func() {}
	if tried || reexec.Inherits() {
		allowCores = noCores() // execve has allowed them, and there may be keys in the state
	}
	if tried {
		return couldTakeOver(allowCores)
	}
	state, err := reexec.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vrrpd: go on as another program:", err)
		return exitFailed
	}
	if state != nil {
		return takeOver(state, allowCores)
	}
	allowCores()
	start := inherited()
	program, err := reexec.Program(os.Args[0])
	if err != nil {
		return start.failed(err)
	}
	args, err = start.args(args)
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
	self := &daemon.Program{Path: program, Args: args, Shown: config.HideKeys(args), File: cfg.ConfigFile, Quiet: start != nil}
	load := loader(cfg, self)
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
		if err := release(cfg, log.Logger); err != nil {
			return start.failed(err)
		}
		return 0
	}
	if start == nil && !stayForeground(cfg) {
		return goBackground(args, cfg.ConfigFile)
	}
	keepFromCores(cfg)
	footprint.Begin()
	go grouplock.MakeRoom()
	dest := sysd.Auto
	if start != nil {
		dest = sysd.Syslog
	}
	log, done := openLog(dest)
	defer done()
	self.FlushLog = log.Flush
	opt := options(log, self)
	opt.Warn, opt.Ready = start.warn, start.ready
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

// options are what every daemon has of the program.
func options(log *journal, self *daemon.Program) daemon.Options {
	return daemon.Options{
		Log: log.Logger, LogLost: log.Lost, Version: version, Notify: sysd.NewNotifier(os.Getenv("NOTIFY_SOCKET"), log.Logger), Program: self,
	}
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

// journal is an opened log.
type journal struct {
	*slog.Logger
	*sysd.Log
}

// openLog opens the log and starts its writer; done writes what is waiting.
func openLog(dest sysd.Dest) (*journal, func()) {
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
	return &journal{slog.New(l.Handler()), l}, sync.OnceFunc(func() {
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
