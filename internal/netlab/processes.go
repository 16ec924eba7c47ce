package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is one process of a host, started by the lab or by whatever it
// started.
type Process struct {
	PID  int // as the lab sees it
	Own  int // as the host sees it, as in its pid files
	Args []string

	space string // its process namespace
}

// Processes lists the processes that live on the host, those in the background
// too, without the holder and without zombies.
func (h *Host) Processes() ([]Process, error) {
	if h.holder == nil {
		return nil, nil
	}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.PID()))
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", h.name, err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var list []Process
	for _, dir := range dirs {
		if link, err := os.Readlink(dir + "/ns/pid"); err != nil || link != space {
			continue // a zombie has no namespaces any more
		}
		p := Process{space: space}
		p.PID, _ = strconv.Atoi(filepath.Base(dir))
		cmdline, err := os.ReadFile(dir + "/cmdline")
		status, err2 := os.ReadFile(dir + "/status")
		if p.PID == h.PID() || err != nil || err2 != nil {
			continue
		}
		p.Args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		for line := range strings.Lines(string(status)) {
			if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
				fields := strings.Fields(ids)
				p.Own, _ = strconv.Atoi(fields[len(fields)-1])
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// Find lists the processes of the host whose program has the given base name.
func (h *Host) Find(program string) ([]Process, error) {
	all, err := h.Processes()
	var found []Process
	for _, p := range all {
		if filepath.Base(p.Args[0]) == program {
			found = append(found, p)
		}
	}
	return found, err
}

// Signal sends a signal to the process if it is still there and still on its
// host: a number that went to another process meanwhile is not hit.
func (p Process) Signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err == nil {
		defer unix.Close(fd)
		link, linkErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.PID))
		if linkErr != nil || link != p.space {
			return fmt.Errorf("send %v to %d (%s): %w", sig, p.PID, p.Args[0], os.ErrProcessDone)
		}
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("send %v to %d (%s): %w", sig, p.PID, p.Args[0], err)
	}
	return nil
}
