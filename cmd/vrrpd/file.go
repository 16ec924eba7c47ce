package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"vrrpd/config"
	"vrrpd/daemon"
	"vrrpd/internal/trusted"
	"vrrpd/sysd"
)

// fileEnv has the whole path of the configuration file for a child in the background,
// whose working directory is another one.
const fileEnv = "VRRPD_CONFIG_FILE"

// absolute makes the path of the configuration file one that stays right.
func absolute(cfg *config.Config) error {
	if cfg.ConfigFile == "" {
		return nil
	}
	if path := os.Getenv(fileEnv); path != "" {
		os.Unsetenv(fileEnv) // not for the scripts
		cfg.ConfigFile = path
		return nil
	}
	path, err := filepath.Abs(cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("-c %s: %w", cfg.ConfigFile, err)
	}
	cfg.ConfigFile = path
	return nil
}

// maxConfig is more than 4,000 virtual routers need.
const maxConfig = 16 << 20

// loader returns what reads the configuration file, each time anew, and notes for
// another program what it contains.
func loader(cfg config.Config, self *daemon.Program) func() ([]config.Config, error) {
	return func() ([]config.Config, error) {
		text, err := trusted.Read(cfg.ConfigFile, false, maxConfig)
		if err != nil {
			return nil, config.UsageError(fmt.Sprintf("-c %s: %v", cfg.ConfigFile, err))
		}
		self.Offer(text)
		return parseFile(cfg, text)
	}
}

func parseFile(cfg config.Config, text []byte) ([]config.Config, error) {
	groups, err := config.ParseFile(cfg.ConfigFile, text, cfg.RunDir)
	for _, g := range groups {
		keepFromCores(g)
	}
	return groups, err
}

// runFile runs what a file says.
func runFile(load func() ([]config.Config, error), opt daemon.Options) error {
	groups, err := load()
	if err != nil {
		return err
	}
	opt.Program.Accept()
	for _, w := range config.Warnings(groups) {
		opt.Warn(w)
		opt.Log.Warn(w)
	}
	p, err := daemon.NewProcess(groups, load, opt)
	if err != nil {
		return err
	}
	return p.Run(context.Background())
}

// checkFile validates a file and the machine, and says what it comes to.
func checkFile(load func() ([]config.Config, error)) int {
	groups, err := load()
	if err != nil {
		return (*starter)(nil).failed(err)
	}
	for _, line := range config.Plan(groups) {
		fmt.Println("vrrpd:", line)
	}
	warnings := config.Warnings(groups)
	var notes []string
	for _, g := range groups {
		n, w, e := daemon.Check(g)
		notes, warnings = append(notes, n...), append(warnings, w...)
		err = errors.Join(err, e)
	}
	return checked(notes, warnings, err)
}

// releaseFile cleans up after the groups of a file. One with a mistake does not keep
// anything from being cleaned up: then it is done after every dead instance.
func releaseFile(cfg config.Config, load func() ([]config.Config, error), log *slog.Logger) error {
	groups, err := load()
	if err != nil {
		log.Warn(err.Error()+": cleaning up after every dead instance", sysd.KeyMessageID, sysd.MessageReload)
		if cfg.RunDir == "" {
			cfg.RunDir = config.DefaultRunDir
		}
		return daemon.Release(cfg, log)
	}
	var errs []error
	for _, g := range groups {
		errs = append(errs, daemon.Release(g, log))
	}
	return errors.Join(errs...)
}
