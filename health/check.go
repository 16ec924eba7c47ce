package health

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"vrrpd/internal/child"
)

// Check is one thing to watch. One of Command, Interface, Addresses and Process says
// what; the others are zero.
type Check struct {
	// Name tells it from the others, in messages and in status displays.
	Name string
	// Weight is added to the priority of the machine while the check passes, if it is
	// positive, or while it fails, if it is negative. 0: the machine is held while the
	// check does not pass.
	Weight int
	// Interval between two observations; of what is told, by when it counts as
	// observed again.
	Interval time.Duration
	// Timeout is how long a command may run, or an answer may take; 0: Interval.
	Timeout time.Duration
	// Rise and Fall are how many successes and failures in a row make the check pass
	// and fail; at least 1.
	Rise, Fall int

	// Command is the program that is run; exit status 0 is success.
	Command []string
	// RunAs is who it runs as; nil: the same as the daemon.
	RunAs *child.Identity

	// Interface must be up and have a carrier. With Addresses it is where they are
	// asked for.
	Interface string
	// Addresses, of one family: one of them at least must answer on Interface.
	Addresses []netip.Addr

	// Process must run.
	Process Process
}

// Process says which process is meant. The zero value is none.
type Process struct {
	// PIDFile is where it writes its number, as an absolute path.
	PIDFile string
	// Name is that of its command, as ps -o comm shows it, or the absolute path of its
	// program. With PIDFile the process that is named there must have it.
	Name string
}

// Kind is what a check watches.
type Kind string

const (
	KindCommand   Kind = "command"
	KindInterface Kind = "interface"
	KindAddress   Kind = "address"
	KindProcess   Kind = "process"
)

// Kind tells the checks apart.
func (c *Check) Kind() Kind {
	switch {
	case len(c.Command) > 0:
		return KindCommand
	case len(c.Addresses) > 0:
		return KindAddress
	case c.Interface != "":
		return KindInterface
	}
	return KindProcess
}

func (c *Check) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return c.Interval
}

func (c *Check) equal(d *Check) bool { return reflect.DeepEqual(c, d) }

func (p Process) String() string {
	if p.Name != "" {
		return p.Name
	}
	return "the process of " + p.PIDFile
}

// Report says that the verdict of a check has changed.
type Report struct {
	Check Check
	Was   Verdict
	Now   Verdict
	// Detail is what was observed: "exit status 1: connection refused".
	Detail string
	// Sum of all checks, from here on.
	Sum Sum
}

// Status is a check for status displays.
type Status struct {
	Check   Check
	Verdict Verdict
	Since   time.Time // of the verdict; zero: from the beginning
	Detail  string    // of the last observation
	Last    time.Time // of the last observation; zero: none
	// Observations and how many of them were failures.
	Observations, Failures uint64
}

// observation is what was seen at one moment.
type observation struct {
	ok     bool
	detail string
}

func bad(format string, args ...any) observation {
	return observation{detail: fmt.Sprintf(format, args...)}
}

func good(format string, args ...any) observation {
	return observation{true, fmt.Sprintf(format, args...)}
}
