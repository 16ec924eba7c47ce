package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// router is one of the two machines under test.
type router struct {
	number int // 0 or 1
	name   string
	host   *netlab.Host
	cables [2]*netlab.Cable // by LAN
	// outside is the run directory by a path that works from outside the host.
	outside string
	shown   int // lines of the scripts' log that have been shown
}

func newRouter(number int, h *netlab.Host) *router {
	return &router{
		number: number, name: h.Name(), host: h,
		outside: fmt.Sprintf("/proc/%d/root%s", h.PID(), runDir),
	}
}

// shell runs a command line on the router as an administrator types it.
func (r *router) shell(ctx context.Context, line string) (netlab.Result, error) {
	return r.host.Run(ctx, netlab.Command{
		Path: "/bin/sh", Args: []string{"-c", line},
		Env: []string{"PATH=" + binDir + ":" + os.Getenv("PATH")},
	})
}

// look asks the router's processes for the state of the machine. It is
// look asks the router's processes for the state of the machine. It is an error
// while not both answer, or while they disagree.
func (r *router) look(ctx context.Context) (control.Group, error) {
	all, err := control.Discover(ctx, r.outside)
	if err != nil {
		return control.Group{}, err
	}
	v := control.Merge(all)
	if len(v.Groups) != 1 || !v.Whole() || len(v.Groups[0].Members) != len(r.cables) {
		return control.Group{}, fmt.Errorf("the vrrpd processes of %s are not of one mind: %d of %d answer", r.name, len(all)-len(v.Silent)-len(v.Dead), len(r.cables))
	}
	return v.Groups[0], nil
}

// serves tells for each LAN whether the router has the virtual address.
func (r *router) serves() (has [2]bool, err error) {
	for i, lan := range plan() {
		l, err := r.host.Link(lan.vmac())
		if err != nil {
			return has, err
		}
		has[i] = l.Has(lan.vip)
	}
	return has, nil
}

// settled tells whether the machine as a whole is in the phase (MASTER or
// BACKUP), by the word of its processes, by the look of its interfaces, and by
// the scripts that they ran last: MASTER is up with the virtual address on every
// LAN, BACKUP is down without any. If not, it says what it is instead.
func (r *router) settled(ctx context.Context, phase string) (bool, string) {
	g, err := r.look(ctx)
	if err != nil {
		return false, err.Error()
	}
	if g.Phase != phase {
		return false, fmt.Sprintf("%s is %s (%s)", r.name, g.Phase, g.Reason)
	}
	for _, lan := range plan() {
		l, err := r.host.Link(lan.vmac())
		if err != nil {
			return false, err.Error()
		}
		switch master := phase == "MASTER"; {
		case !l.Exists():
			return false, fmt.Sprintf("%s is %s without %s", r.name, phase, lan.vmac())
		case master && (!l.Up || !l.Has(lan.vip)), !master && (l.Up || len(l.Addrs) > 0):
			return false, fmt.Sprintf("%s is %s, but its interface is %s", r.name, phase, brief(r.host, lan.vmac()))
		}
	}
	return r.scripted(phase)
}

// scripted tells whether the last script for each virtual router was that of
// the phase.
func (r *router) scripted(phase string) (bool, string) {
	script := "DOWN.sh"
	if phase == "MASTER" {
		script = "MASTER.sh"
	}
	lines, err := r.scriptLines()
	if err != nil {
		return false, err.Error()
	}
	for _, lan := range plan() {
		last := "no script"
		for _, l := range lines {
			if strings.Contains(l, " on "+lan.vmac()+": ") {
				last = l
			}
		}
		if !strings.HasPrefix(last, script+" ") {
			return false, fmt.Sprintf("%s is %s, but has not run %s for %s; the last was: %s", r.name, phase, script, lan.vmac(), last)
		}
	}
	return true, ""
}

// start runs the manual's line for one LAN, and returns how long it took until
// the process in the background was ready, and what the line wrote.
func (r *router) start(ctx context.Context, lan lanPlan) (time.Duration, string, error) {
	began := time.Now()
	res, err := r.shell(ctx, lan.line)
	took := time.Since(began)
	said := strings.TrimSpace(res.Stdout + res.Stderr)
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("%s: %q: exit code %d: %s", r.name, lan.line, res.Code, said)
	}
	return took, said, err
}

// processes are the vrrpd of one LAN, or of all if nic is empty.
func (r *router) processes(nic string) ([]netlab.Process, error) {
	found, err := r.host.Find("vrrpd")
	return slices.DeleteFunc(found, func(p netlab.Process) bool {
		return nic != "" && !slices.Contains(p.Args, nic)
	}), err
}

// signal prepares a signal to the vrrpd processes of one LAN, or of all: to find
// them takes longer than what is to be measured.
func (r *router) signal(nic string, sig syscall.Signal) (send func() error, err error) {
	found, err := r.processes(nic)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: no vrrpd to send %v to", r.name, sig)
	}
	return func() (err error) {
		for _, p := range found {
			err = errors.Join(err, p.Signal(sig))
		}
		return err
	}, err
}

// scriptLines are what the scripts have written since the router was made.
func (r *router) scriptLines() ([]string, error) {
	text, err := r.host.ReadFile(scriptLog)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.FieldsFunc(text, func(c rune) bool { return c == '\n' }), err
}

// ran returns what the scripts have written since the last call.
func (r *router) ran() ([]string, error) {
	lines, err := r.scriptLines()
	fresh := lines[min(r.shown, len(lines)):]
	r.shown = len(lines)
	return fresh, err
}
