package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"vrrpd/config"
	"vrrpd/daemon"
	"vrrpd/internal/reexec"
	"vrrpd/sysd"
)

// A process whose program is replaced (atropos reexec) begins here: it is configured by
// what the last program was, not by what the files contain now.

// runner is what goes on.
type runner interface{ Run(context.Context) error }

// successor makes what goes on with a state; it starts and changes nothing. The file is
// read again only by a reload. allowCores is called if there is no key in it.
func successor(s *reexec.State, self *daemon.Program, opt daemon.Options, allowCores func()) (runner, error) {
	cfg, err := config.Parse(s.Args, os.Getenv)
	if err != nil {
		return nil, err
	}
	if cfg.Mode != config.Run {
		return nil, fmt.Errorf("the arguments %v run nothing", s.Shown)
	}
	self.Path, self.Args, self.Shown, self.File = s.Program, s.Args, s.Shown, s.File
	opt.Inherited = s
	if s.File == "" {
		if !keyed(cfg) {
			allowCores()
		}
		return daemon.Inherit(cfg, opt)
	}
	cfg.ConfigFile = s.File
	groups, err := parseFile(cfg, s.Config)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(groups, keyed) {
		allowCores()
	}
	self.Offer(s.Config)
	self.Accept()
	return daemon.NewProcess(groups, loader(cfg, self), opt)
}

// takeOver goes on with what another program has left to this process. If that cannot
// be, it ends as by a crash: who cleans up after one finds everything as it was.
func takeOver(s *reexec.State, allowCores func()) int {
	dest := sysd.Auto
	if s.Quiet {
		dest = sysd.Syslog
	}
	log, done := openLog(dest)
	defer done()
	self := &daemon.Program{FlushLog: log.Flush, Quiet: s.Quiet}
	r, err := successor(s, self, options(log, self), allowCores)
	if err == nil {
		err = r.Run(context.Background())
	}
	if err != nil {
		log.Error("vrrpd cannot go on", "err", err)
		done()
		fmt.Fprintln(os.Stderr, "vrrpd:", err)
		return exitCode(err)
	}
	return 0
}

// couldTakeOver is asked by another program before it gives anything up.
func couldTakeOver(allowCores func()) int {
	s, err := reexec.Asked()
	if err == nil {
		log, done := openLog(sysd.Stderr)
		defer done()
		self := &daemon.Program{}
		_, err = successor(s, self, options(log, self), allowCores)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vrrpd:", err)
		return exitCode(err)
	}
	fmt.Println(reexec.Yes(version))
	return 0
}
