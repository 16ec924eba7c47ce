package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	run      string
	verbose  bool
	required bool
	kvm      bool
	limit    time.Duration
	cache    string
}

func main() {
	var o options
	flag.StringVar(&o.run, "run", "^TestParent_", "which tests of internal/acceptance")
	flag.BoolVar(&o.verbose, "v", false, "show the kernel's messages")
	flag.BoolVar(&o.required, "required", false, "fail if something is missing, instead of saying so")
	flag.BoolVar(&o.kvm, "kvm", false, "use KVM: faster, where it works")
	flag.DurationVar(&o.limit, "limit", 20*time.Minute, "end the machine after this time")
	flag.StringVar(&o.cache, "cache", "", "directory for kernel and busybox (default: in the user's cache directory)")
	flag.Parse()
	code, err := run(o)
	var missing missingError
	switch {
	case errors.As(err, &missing) && !o.required:
		fmt.Fprintf(os.Stderr, "vm: SKIPPED: %v\n", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = 1
	}
	os.Exit(code)
}

func run(o options) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := tools(); err != nil {
		return 0, err
	}
	if o.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return 0, err
		}
		o.cache = filepath.Join(dir, "vrrpd-vm")
	}
	parts, err := fetch(ctx, o.cache)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "vrrpd-vm-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	files, err := system(ctx, dir, parts, o)
	if err != nil {
		return 0, err
	}
	initrd := filepath.Join(dir, "initrd")
	if err := writeArchive(initrd, files); err != nil {
		return 0, err
	}
	return boot(ctx, parts.kernel, initrd, o)
}

// missingError says what has to be installed.
type missingError string

func (e missingError) Error() string { return string(e) }

func tools() error {
	for _, tool := range []struct{ name, from string }{
		{"qemu-system-x86_64", "qemu-system-x86"}, {"apt-get", "apt"}, {"dpkg-deb", "dpkg"},
	} {
		if _, err := exec.LookPath(tool.name); err != nil {
			return missingError(fmt.Sprintf("%s is missing (Debian package %s)", tool.name, tool.from))
		}
	}
	return nil
}

// system is the file system of the machine.
func system(ctx context.Context, dir string, p parts, o options) ([]file, error) {
	programs := filepath.Join(dir, "programs")
	if err := os.Mkdir(programs, 0o755); err != nil {
		return nil, err
	}
	for _, b := range [][]string{
		{"build", "-ldflags", "-X main.version=acceptance-test", "-o", programs, "vrrpd/cmd/vrrpd", "vrrpd/cmd/atropos"},
		{"build", "-o", filepath.Join(dir, "init"), "vrrpd/internal/vm/guest"},
		{"test", "-c", "-o", filepath.Join(dir, "tests"), "vrrpd/internal/acceptance"},
	} {
		cmd := exec.CommandContext(ctx, "go", b...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(b, " "), err, out)
		}
	}
	args := []string{"/tests", "-test.run", o.run, "-test.timeout", o.limit.String(), "-test.parallel", "2", "-test.v"}
	files := []file{
		{name: "init", from: filepath.Join(dir, "init")},
		{name: "tests", from: filepath.Join(dir, "tests")},
		{name: "args", text: strings.Join(args, "\x00")},
		{name: "programs/vrrpd", from: filepath.Join(programs, "vrrpd")},
		{name: "programs/atropos", from: filepath.Join(programs, "atropos")},
		{name: "bin/busybox", from: p.busybox},
		{name: "etc/passwd", text: "root:x:0:0:root:/:/bin/sh\n"},
		{name: "etc/group", text: "root:x:0:\n"},
	}
	modules, err := inOrder(p.modules, needed)
	if err != nil {
		return nil, err
	}
	var order []string
	for i, path := range modules {
		name := fmt.Sprintf("modules/%02d-%s", i, filepath.Base(path))
		order = append(order, "/"+name)
		files = append(files, file{name: name, from: path})
	}
	return append(files, file{name: "modules/order", text: strings.Join(order, "\n")}), nil
}

// needed are the modules that the tests need; what they need themselves comes along.
var needed = []string{
	"bonding", "team", "8021q", "bridge", "veth", "macvlan", "dummy", "tun", "vrf", "wireguard", // interfaces
	"sch_ingress", "cls_bpf", "nf_tables", // guards
	"overlay", "af_packet", // the laboratory
}
