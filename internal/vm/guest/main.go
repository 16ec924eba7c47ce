// Command guest is the first process of the machine that package vm boots: it loads
// the modules, runs the tests, says their exit code and ends the machine.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the first process of a virtual machine: go run ./internal/vm")
		os.Exit(2)
	}
	code, err := run()
	if err != nil {
		fmt.Println("vm:", err)
		code = 1
	}
	fmt.Printf("vm: the tests ended with exit code %d\n", code)
	unix.Sync()
	fmt.Println("vm:", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)) // of which it does not return
}

func run() (code int, err error) {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return 0, fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := load("/modules/order"); err != nil {
		return 0, err
	}
	text, err := os.ReadFile("/args")
	if err != nil {
		return 0, err
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err == nil {
		fmt.Println("vm: kernel", unix.ByteSliceToString(kernel.Release[:]))
	}
	args := strings.Split(string(text), "\x00")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = []string{"PATH=/programs:/bin", "HOME=/root", "TMPDIR=/tmp", "VRRPD_TEST_PROGRAMS=/programs", "NETLAB_REQUIRED=1", "VRRPD_KERNEL_REQUIRED=1"}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// load loads modules in the order of a list.
func load(list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(text)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = errors.Join(unix.FinitModule(int(f.Fd()), "", 0), f.Close())
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}
