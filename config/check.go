package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// Defaults and limits of checks.
const (
	MinCheckInterval     = 100 * time.Millisecond
	MaxCheckInterval     = time.Hour
	DefaultCheckInterval = time.Second
	MaxWeight            = 253
	MaxRise              = 1000
	// What is asked is believed later than what is told: a lost frame is nothing yet.
	DefaultRise = 2
	DefaultFall = 3
)

// HealthCheck is something that must be well for this machine to be worth electing. One of
// Command, Process and PIDFile, Addresses, or Interface alone says what.
type HealthCheck struct {
	// Name tells it from the others of its group.
	Name string
	// Weight is added to the priority while the check passes (positive) or fails
	// (negative); 0: the machine is held while it does not pass.
	Weight int
	// Interval between two looks; Timeout of each, 0: Interval.
	Interval, Timeout time.Duration
	// Rise and Fall are how many good and bad looks in a row decide.
	Rise, Fall int

	// Command is run; exit status 0 is good.
	Command Command
	// User is whom it runs as, a name or a number; "": as the other commands of its
	// group.
	User string

	// Interface must have a carrier, or is where Addresses are asked for.
	Interface string
	// Addresses of one family, of which one at least must answer.
	Addresses []netip.Addr

	// Process is the name of a command or the path of a program that must run; PIDFile
	// is where it writes its number.
	Process, PIDFile string
}

// told: nothing has to be asked, because the kernel says it.
func (c *HealthCheck) told() bool { return !c.Command.Given() && len(c.Addresses) == 0 }

// complete fills in what the user has left open.
func (c *HealthCheck) complete() {
	if c.Interval == 0 {
		c.Interval = DefaultCheckInterval
	}
	rise, fall := DefaultRise, DefaultFall
	if c.told() {
		rise, fall = 1, 1
	}
	if c.Rise == 0 {
		c.Rise = rise
	}
	if c.Fall == 0 {
		c.Fall = fall
	}
}

// Validate reports the first thing that is wrong with a HealthCheck.
func (c *HealthCheck) Validate() error {
	process := c.Process != "" || c.PIDFile != ""
	kinds := 0
	for _, given := range [...]bool{c.Command.Given(), process, c.Interface != "" || len(c.Addresses) > 0} {
		if given {
			kinds++
		}
	}
	switch {
	case c.Name == "":
		return usagef("a check needs a name")
	case kinds == 0:
		return usagef("check %s watches nothing: give it command, process, pid_file, or interface, with address if it is to answer there", show(c.Name))
	case kinds > 1:
		return usagef("check %s watches several things: make a [[check]] of command, of process and pid_file, and of interface and address each", show(c.Name))
	case len(c.Addresses) > 0 && c.Interface == "":
		return usagef("check %s: address needs interface, where it is asked for", show(c.Name))
	case !c.Command.Given() && c.User != "":
		return usagef("check %s: user is for a check with a command", show(c.Name))
	case c.told() && c.Timeout != 0:
		return usagef("check %s: timeout is for a check with a command or an address; the kernel tells of the others at once", show(c.Name))
	case c.Weight < -MaxWeight || c.Weight > MaxWeight:
		return usagef("check %s: weight %d, and -%d to %d are possible", show(c.Name), c.Weight, MaxWeight, MaxWeight)
	case c.Interval < MinCheckInterval || c.Interval > MaxCheckInterval:
		return usagef("check %s: interval %v, and %v to %v are possible", show(c.Name), c.Interval, MinCheckInterval, MaxCheckInterval)
	case c.Timeout < 0 || c.Timeout > MaxCheckInterval:
		return usagef("check %s: timeout %v, and %v is the longest", show(c.Name), c.Timeout, MaxCheckInterval)
	case c.Rise < 1 || c.Rise > MaxRise || c.Fall < 1 || c.Fall > MaxRise:
		return usagef("check %s: rise and fall are 1 to %d", show(c.Name), MaxRise)
	}
	for _, a := range c.Addresses {
		switch {
		case a.Is4() != c.Addresses[0].Is4():
			return usagef("check %s: IPv4 and IPv6 addresses need a [[check]] each", show(c.Name))
		case !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			return usagef("check %s: %s is not the address of a machine on a LAN", show(c.Name), a)
		}
	}
	return nil
}

// What is in words, for people.
func (c *HealthCheck) What() string {
	switch {
	case c.Command.Given():
		return c.Command.Line
	case len(c.Addresses) > 0:
		words := make([]string, len(c.Addresses))
		for i, a := range c.Addresses {
			words[i] = a.String()
		}
		return strings.Join(words, ", ") + " on " + c.Interface
	case c.Interface != "":
		return "carrier of " + c.Interface
	case c.Process == "":
		return "process of " + c.PIDFile
	case c.PIDFile == "":
		return "process " + c.Process
	}
	return "process " + c.Process + " of " + c.PIDFile
}

// effect is what it does to the machine, in words.
func (c *HealthCheck) effect() string {
	switch {
	case c.Weight > 0:
		return fmt.Sprintf("adds %d to the priority while it passes", c.Weight)
	case c.Weight < 0:
		return fmt.Sprintf("takes %d from the priority while it fails", -c.Weight)
	}
	return "holds the machine while it fails"
}

// validateChecks reports what is wrong with the checks of a group as a whole.
func (c *Config) validateChecks() error {
	names := map[string]bool{}
	for i := range c.Checks {
		k := &c.Checks[i]
		if err := k.Validate(); err != nil {
			return err
		}
		if names[k.Name] {
			return usagef("check %s: two checks of a group cannot share a name", show(k.Name))
		}
		names[k.Name] = true
		for _, r := range c.Routers {
			for _, p := range r.Addresses {
				if slices.Contains(k.Addresses, p.Addr()) {
					return usagef("check %s: %s is a virtual address of %s, which this machine itself has as MASTER; ask for a gateway, or for the other machine's own address", show(k.Name), p.Addr(), r.Name)
				}
			}
		}
	}
	return nil
}

// checkWarnings are what is allowed in checks and probably not meant.
func (c *Config) checkWarnings() (all []string) {
	for i := range c.Checks {
		k := &c.Checks[i]
		if len(k.Addresses) == 1 && k.Weight == 0 {
			all = append(all, fmt.Sprintf("check %s: if %s itself fails, every machine with this check is held and nobody serves: name the other machine's own address as well (one answer is enough), or give the check a weight",
				k.Name, k.Addresses[0]))
		}
		if k.Interface != "" && len(k.Addresses) == 0 {
			for _, r := range c.Routers {
				if r.Interface == k.Interface {
					all = append(all, fmt.Sprintf("check %s: %s carries virtual routers, so its carrier holds the machine anyway", k.Name, k.Interface))
					break
				}
			}
		}
		if k.Timeout > k.Interval {
			all = append(all, fmt.Sprintf("check %s: timeout %v is longer than interval %v, so a check that hangs is looked at less often", k.Name, k.Timeout, k.Interval))
		}
	}
	return all
}

// The keys of a [[check]].
func checkKeys() []fileKey {
	return []fileKey{
		{"name", ofCheck, text, "required", `"gateway"`,
			"Name of the check, in messages and in atropos --state. Those of a group differ.", setCheckName},
		{"group", ofCheck, text, `"machine"`, `"machine"`,
			"The group whose machine state the check is about.", nil},
		{"weight", ofCheck, number, "none: the machine is held", "-60",
			"Added to the priority of the group: a negative one (-253 to -1) while the check fails, a positive one (1 to 253) while it passes. The result stays within 1 and 254. Nothing moves as long as the order of the machines stays. Without a weight the machine is held while the check does not pass: it hands over at once, and is not elected.", setWeight},
		{"interval", ofCheck, number, "1", "2",
			"Seconds between two looks, 0.1 to 3600. What the kernel tells by itself (carriers, the end of a process) is not looked at; there it is the time after which it counts as seen again.", setCheckInterval},
		{"timeout", ofCheck, number, "interval", "0.5",
			"Seconds that a command may take before it is killed with its whole process group, or an answer before it counts as missing.", setCheckTimeout},
		{"rise", ofCheck, number, "2; 1 for interface and process", "3",
			"How many good looks in a row make the check pass again. The first look of all decides at once. A check that fails on the MASTER alone needs twice as many each time, for up to five minutes.", setRise},
		{"fall", ofCheck, number, "3; 1 for interface and process", "5",
			"How many bad looks in a row make the check fail.", setFall},
		{"command", ofCheck, texts, "none", `["/usr/bin/curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1/"]`,
			"Program that is run. It is well with exit status 0. A text is split into words without a shell, and a list is taken as it is; for a shell write one: [\"/bin/sh\", \"-c\", \"...\"]. It finds the name of the check in VRRP_CHECK. Its first line of output is reported.", nil},
		{"user", ofCheck, text, "script_user of the group", `"nobody"`,
			"Whom the command runs as.", setCheckUser},
		{"interface", ofCheck, text, "none", `"eth2"`,
			"Interface that must be up and have a carrier; with address, the one on which that must answer. Interfaces of virtual routers are watched anyway.", setCheckInterface},
		{"address", ofCheck, texts, "none", `["10.16.1.254", "10.16.1.3"]`,
			"Address, or several of one family, that must answer on interface: one answer is enough. It is asked for by ARP or neighbour solicitation from the interface's own address and MAC, so a firewall does not matter, and it must be on that LAN. This is what tells a machine that it is cut off although its carrier is there. Name the gateway and the other machine's own address: if a gateway alone is asked for and fails, both machines are held.", nil},
		{"process", ofCheck, text, "none", `"named"`,
			"Process that must run: the name of its command (ps -o comm), or the absolute path of its program. Of several one is enough. Its end is told by the kernel at once. Processes in containers are not meant.", setProcess},
		{"pid_file", ofCheck, text, "none", `"/run/named/named.pid"`,
			"File in which that process writes its number; with process, the process must have that name, too. A restart within interval is not noticed if fall is 2 or more.", setPIDFile},
	}
}

func setCheckName(f *form, as, value string) error {
	if value == "" || len(value) > 64 || strings.ContainsFunc(value, unprintable) || strings.ContainsAny(value, "\t\n\r") {
		return usagef("%s %s: 1 to 64 printable letters", as, show(value))
	}
	f.check.Name = value
	return nil
}

func setWeight(f *form, as, value string) error {
	n, ok := whole(strings.TrimPrefix(value, "-"))
	if !ok || n < 1 || n > MaxWeight {
		return usagef("%s %s: -%d to -1, or 1 to %d; without a weight the check holds the machine", as, show(value), MaxWeight, MaxWeight)
	}
	if value[0] == '-' {
		n = -n
	}
	f.check.Weight = n
	return nil
}

func checkSeconds(as, value string) (time.Duration, error) {
	d, ok := seconds(value)
	if !ok || d < MinCheckInterval || d > MaxCheckInterval {
		return 0, usagef("%s %s: a number of seconds from %g to %g", as, show(value), MinCheckInterval.Seconds(), MaxCheckInterval.Seconds())
	}
	return d, nil
}

func setCheckInterval(f *form, as, value string) (err error) {
	f.check.Interval, err = checkSeconds(as, value)
	return err
}

func setCheckTimeout(f *form, as, value string) (err error) {
	f.check.Timeout, err = checkSeconds(as, value)
	return err
}

func times(as, value string) (int, error) {
	n, ok := whole(value)
	if !ok || n < 1 || n > MaxRise {
		return 0, usagef("%s %s: 1 to %d", as, show(value), MaxRise)
	}
	return n, nil
}

func setRise(f *form, as, value string) (err error) {
	f.check.Rise, err = times(as, value)
	return err
}

func setFall(f *form, as, value string) (err error) {
	f.check.Fall, err = times(as, value)
	return err
}

func setCheckUser(f *form, as, value string) error {
	var named form
	err := setScriptUser(&named, as, value)
	f.check.User = named.ScriptUser
	return err
}

func setCheckInterface(f *form, as, value string) error {
	if why := badInterface(value); why != "" {
		return usagef("%s %s: %s", as, show(value), why)
	}
	f.check.Interface = value
	return nil
}

func setProcess(f *form, as, value string) error {
	absolute := strings.HasPrefix(value, "/")
	if value == "" || strings.ContainsFunc(value, unprintable) || !absolute && strings.Contains(value, "/") || absolute && path.Clean(value) != value {
		return usagef("%s %s: give the name of a command, like named, or the absolute path of its program", as, show(value))
	}
	f.check.Process = value
	return nil
}

func setPIDFile(f *form, as, value string) error {
	if !path.IsAbs(value) || path.Clean(value) != value || value == "/" || strings.ContainsFunc(value, unprintable) {
		return usagef("%s %s: an absolute path is needed, like /run/named/named.pid", as, show(value))
	}
	f.check.PIDFile = value
	return nil
}
