package systemdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

const (
	// enableEnv has the tests run at all.
	enableEnv = "VRRPD_SYSTEMD"

	// requiredEnv turns skips into failures, so that a CI run cannot pass
	// because something was missing.
	requiredEnv = "VRRPD_SYSTEMD_REQUIRED"
	// cacheEnv is the folder of the root file system.
	cacheEnv = "VRRPD_ROOTFS_CACHE"
	// buildLimit bounds debootstrap.
	buildLimit = 8 * time.Minute
)

// ground is what all tests of this process stand on; TestMain lays it.
var ground struct {
	missing error  // why the tests cannot run here
	root    string // root file system of the containers, never written to
	bin     string // folder with vrrpd and atropos
	contrib string // contrib/systemd of this tree
}

func TestMain(m *testing.M) {
	netlab.Hook()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ground.missing = missing()
	if ground.missing != nil {
		return m.Run() // every test says what is missing
	}
	removeStale()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", ours, os.Getpid()))
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemdtest:", err)
		return 1
	}
	return m.Run()
}

// ours begins the name of everything that could outlive this process; the number
// of the process follows, then a hyphen.
const ours = "vrrpd-systemdtest-"

// abandoned tells whether what has this name belonged to a process that is dead.
func abandoned(name string) bool {
	rest, found := strings.CutPrefix(name, ours)
	number, _, _ := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(number)
	return found && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// removeStale removes what test processes that were killed have left.
func removeStale() {
	err := removeStaleGroups()
	dirs, globErr := filepath.Glob(filepath.Join(os.TempDir(), ours+"*"))
	err = errors.Join(err, globErr)
	for _, dir := range dirs {
		if abandoned(filepath.Base(dir)) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemdtest: left by an earlier run:", err)
	}
}

// missing tells in plain words why this machine cannot run the tests; nil if it
// can.
func missing() error {
	if os.Getenv(enableEnv) == "" {
		return fmt.Errorf("these tests boot containers and take a minute: set %s=1, or make systemd", enableEnv)
	}
	if err := netlab.Available(); err != nil {
		return err
	}
	for _, tool := range []struct{ name, from string }{
		{"systemd-nspawn", "systemd-container"}, {"nsenter", "util-linux"}, {"debootstrap", "debootstrap"}, {"apt-get", "apt"},
	} {
		if _, err := exec.LookPath(tool.name); err != nil {
			return fmt.Errorf("%s is missing (Debian package %s)", tool.name, tool.from)
		}
	}
	if err := mountable("cgroup2"); err != nil {
		return fmt.Errorf("this kernel lacks control groups version 2: %w", err)
	}
	return nil
}

// prepare builds the programs as make build does, and finds the root.
func prepare(dir string) error {
	ground.bin = dir
	tree, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	ground.contrib = filepath.Join(tree, "contrib", "systemd")
	for _, program := range []string{"vrrpd", "atropos"} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, program), "vrrpd/cmd/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	cache := os.Getenv(cacheEnv)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find a folder for the root file system (set %s): %w", cacheEnv, err)
		}
		cache = filepath.Join(user, "vrrpd")
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./rootfs", cache)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("build the root file system of the containers: %w", errors.Join(err, ctx.Err()))
	}
	ground.root = strings.TrimSpace(string(out))
	return nil
}

// require skips the test where it cannot run.
func require(t *testing.T) {
	t.Helper()
	if ground.missing == nil {
		return
	}
	if os.Getenv(requiredEnv) != "" {
		t.Fatalf("systemd in a container: %v", ground.missing)
	}
	t.Skipf("SKIPPED, systemd in a container: %v", ground.missing)
}

// patience bounds every wait for what takes milliseconds, or a time that is
// known, on an idle machine.
const patience = 30 * time.Second

// within is a context for one wait.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// check ends the test if err is not nil.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
