package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vrrpd/config"
	"vrrpd/daemon"
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

// loader returns what reads the configuration file, each time anew.
func loader(cfg config.Config) func() ([]config.Config, error) {
	return func() ([]config.Config, error) {
		text, err := readConfig(cfg.ConfigFile)
		if err != nil {
			return nil, config.UsageError(fmt.Sprintf("-c %s: %v", cfg.ConfigFile, err))
		}
		return config.ParseFile(cfg.ConfigFile, text, cfg.RunDir)
	}
}

// readConfig reads a file that names commands which will run as root: nobody else may
// have written it.
func readConfig(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		var why *os.PathError
		if errors.As(err, &why) {
			err = why.Err
		}
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("not a regular file")
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		return nil, fmt.Errorf("it belongs to user %d, who can change what runs as root; chown it to root", st.Uid)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("others may write to it (mode %04o); chmod it to 0644", st.Mode&0o7777)
	case st.Size > maxConfig:
		return nil, fmt.Errorf("%d bytes are too many for a configuration", st.Size)
	}
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

// runFile runs what a file says.
func runFile(load func() ([]config.Config, error), opt daemon.Options) error {
	groups, err := load()
	if err != nil {
		return err
	}
	for _, g := range groups {
		keepFromCores(g)
	}
	for _, w := range config.Warnings(groups) {
		opt.Warn(w)
		opt.Log.Warn(w)
	}
	return daemon.NewProcess(groups, load, opt).Run(context.Background())
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
