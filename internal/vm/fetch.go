package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// parts is what the machine is made of, besides this tree.
type parts struct {
	kernel, busybox string // files
	modules         string // directory
}

// meta is the package that depends on the current kernel.
const meta = "linux-image-cloud-amd64"

// fetch finds the parts in the cache, or has apt download and unpacks them.
func fetch(ctx context.Context, cache string) (parts, error) {
	root := filepath.Join(cache, "root")
	if p, err := find(root); err == nil {
		return p, nil
	}
	image, err := kernelPackage(ctx)
	if err != nil {
		return parts{}, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return parts{}, err
	}
	dir, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return parts{}, err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(os.Stderr, "vm: fetching %s and busybox-static into %s, once\n", image, cache)
	download := exec.CommandContext(ctx, "apt-get", "-qq", "download", image, "busybox-static")
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		return parts{}, missingError(fmt.Sprintf("apt-get download %s busybox-static: %v (try apt-get update)\n%s", image, err, out))
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return parts{}, err
	}
	unpacked := filepath.Join(dir, "root")
	for _, p := range packages {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", p, unpacked).CombinedOutput(); err != nil {
			return parts{}, fmt.Errorf("unpack %s: %w\n%s", filepath.Base(p), err, out)
		}
	}
	if _, err := find(unpacked); err != nil {
		return parts{}, err
	}
	// Whole or not at all; another run may have been faster.
	if err := os.RemoveAll(root); err != nil {
		return parts{}, err
	}
	if err := os.Rename(unpacked, root); err != nil {
		return parts{}, err
	}
	return find(root)
}

// kernelPackage is the package with the kernel itself.
func kernelPackage(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--important", meta).Output()
	if err != nil {
		return "", missingError(fmt.Sprintf("apt knows no %s (try apt-get update): %v", meta, err))
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s depends on no kernel:\n%s", meta, out)
}

// find looks for the parts below an unpacked root.
func find(root string) (parts, error) {
	one := func(pattern string) (string, error) {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("%d files %s below %s", len(found), pattern, root)
		}
		if err != nil {
			return "", err
		}
		return found[0], nil
	}
	var p parts
	var errs [3]error
	p.kernel, errs[0] = one("boot/vmlinuz-*")
	p.busybox, errs[1] = one("bin/busybox")
	p.modules, errs[2] = one("lib/modules/*")
	return p, errors.Join(errs[:]...)
}
