package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// ground is what the machine looks like, as far as a lab could leave marks that
// are its own without doubt.
type ground struct {
	links  []string // whatever they are called
	mounts []string // those of the laboratory's kind
}

func survey() (ground, error) {
	var g ground
	links, err := net.Interfaces()
	if err != nil {
		return g, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		g.links = append(g.links, l.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return g, fmt.Errorf("list mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		// proc_pid_mountinfo(5): the mount point is the fifth field; behind the
		// dash come type and source.
		front, back, _ := strings.Cut(line, " - ")
		if f, b := strings.Fields(front), strings.Fields(back); len(f) > 4 && len(b) > 1 && b[1] == "netlab" {
			g.mounts = append(g.mounts, f[4])
		}
	}
	return g, nil
}

// leftovers reports what is there now and was not before, and processes that
// this one has started.
func (g ground) leftovers() error {
	now, err := survey()
	if err != nil {
		return err
	}
	return errors.Join(g.compare(now), children())
}

// compare reports what a laboratory has left between the two surveys. What
// other programs did meanwhile does not have its names.
func (g ground) compare(now ground) error {
	var errs []error
	for _, l := range now.links {
		ours := slices.ContainsFunc([]string{"vrrp5", "r1-", "r2-", "client-", "server-"}, func(name string) bool {
			return strings.HasPrefix(l, name)
		})
		if ours && !slices.Contains(g.links, l) {
			errs = append(errs, fmt.Errorf("interface %s is left over", l))
		}
	}
	for _, m := range now.mounts {
		if !slices.Contains(g.mounts, m) {
			errs = append(errs, fmt.Errorf("a mount on %s is left over", m))
		}
	}
	return errors.Join(errs...)
}

// children reports processes whose parent is this one. The kernel's list is
// per thread.
func children() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	var left []string
	// What was killed is gone when it has been waited for, a moment later.
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		for _, t := range tasks {
			list, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
			left = append(left, strings.Fields(string(list))...)
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v are left over", left)
		}
	}
}
