package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
// too, without the holder and without zombies. One that is dying lives until all
// of its threads have let go of its files, and of the locks on them; it has no
// command line any more, but a name.
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
			continue
		}
		p := Process{space: space}
		p.PID, _ = strconv.Atoi(filepath.Base(dir))
		cmdline, err := os.ReadFile(dir + "/cmdline")
		status, err2 := os.ReadFile(dir + "/status")
		if p.PID == h.PID() || err != nil || err2 != nil {
			continue
		}
		fields := statusFields(string(status))
		if strings.HasPrefix(fields["State"], "Z") && slices.Contains([]string{"0", "1"}, fields["Threads"]) {
			continue
		}
		if p.Args = []string{fields["Name"]}; len(cmdline) > 0 {
			p.Args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		}
		if ids := strings.Fields(fields["NSpid"]); len(ids) > 0 {
			p.Own, _ = strconv.Atoi(ids[len(ids)-1])
		}
		list = append(list, p)
	}
	return list, nil
}

// statusFields are the lines of a status file of /proc.
func statusFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields
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
