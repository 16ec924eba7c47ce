package realtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// explain says what keeps a thread from being real-time, and what to do.
func explain(priority int, err error) error {
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("--realtime %d: sched_setattr: %w", priority, err)
	}
	return fmt.Errorf("--realtime %d: not permitted: %s", priority, machine{}.refusal(priority))
}

// machine is where refusal looks; the zero machine is this one.
type machine struct {
	root string // "": the real one
	// may answers for capabilities and the limit RLIMIT_RTPRIO; nil: the kernel does.
	may func() (bool, uint64)
}

func (m machine) read(name string) string {
	text, _ := os.ReadFile(m.root + name) // what cannot be read says nothing
	return string(text)
}

// refusal is why sched_setattr has said EPERM. The kernel has one word for four reasons.
func (m machine) refusal(priority int) string {
	may := m.may
	if may == nil {
		may = permitted
	}
	if capable, limit := may(); !capable && limit < uint64(priority) {
		return fmt.Sprintf("run vrrpd as root, or give the service CAP_SYS_NICE (CapabilityBoundingSet=, AmbientCapabilities=) or LimitRTPRIO=%d", priority)
	}
	if group, file := m.group(); group != "" {
		if file == "" {
			return fmt.Sprintf("this kernel gives real-time processors to the root of cgroup v2 only (CONFIG_RT_GROUP_SCHED), and vrrpd is in %s: boot with rt_group_sched=0", group)
		}
		return fmt.Sprintf("the control group %s has no time for real-time threads: write some microseconds of each second to %s, or Slice=-.slice in the unit", group, file)
	}
	if strings.Contains(m.read("/proc/self/status"), "\nSeccomp:\t2\n") {
		return "a filter of system calls: RestrictRealtime=no in the unit, and no SystemCallFilter= without @resources"
	}
	return "the kernel, a security module or a container refuses it"
}

// group is the control group that has no time for real-time threads; "": none is known
// to. file is where to give it some; "": there is none (cgroup v2).
func (m machine) group() (name, file string) {
	for line := range strings.Lines(m.read("/proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		controllers := strings.Split(parts[1], ",")
		switch {
		case slices.Contains(controllers, "cpu"):
			file := path.Join("/sys/fs/cgroup", parts[1], parts[2], "cpu.rt_runtime_us")
			if strings.TrimSpace(m.read(file)) == "0" {
				return parts[2], file
			}
			return "", ""
		case parts[0] == "0" && parts[2] != "/":
			// Nothing in there tells of it; the kernel's configuration may.
			name = parts[2]
		}
	}
	if name != "" && m.groupScheduling() {
		return name, ""
	}
	return "", ""
}

// groupScheduling reports whether the kernel divides real-time between control groups.
func (m machine) groupScheduling() bool {
	config := m.read("/boot/config-" + strings.TrimSpace(m.read("/proc/sys/kernel/osrelease")))
	return strings.Contains(config, "\nCONFIG_RT_GROUP_SCHED=y\n") && !strings.Contains(" "+m.read("/proc/cmdline"), " rt_group_sched=0")
}

// permitted reports whether this process may use whatever priority, and else which one
// at most.
func permitted() (bool, uint64) {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_RTPRIO, &l) != nil {
		l.Cur = 0
	}
	return capable(unix.CAP_SYS_NICE), l.Cur
}

// capable reports whether the calling thread has a capability.
func capable(bit uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of 32 capabilities each
	return unix.Capget(&header, &sets[0]) == nil && sets[bit/32].Effective&(1<<(bit%32)) != 0
}
