package config

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"vrrpd/internal/realtime"
)

// Mode is what the program was asked to do.
type Mode uint8

const (
	// Run is the daemon.
	Run Mode = iota
	// Help prints Usage to stdout and exits 0.
	Help
	// Version prints the version to stdout and exits 0.
	Version
	// Release cleans up after dead instances: those in Routers, or, when
	// there are none, every dead one of the run directory.
	Release
	// Check has validated the configuration, and exits 0.
	Check
	// Example prints Example() to stdout and exits 0.
	Example
)

var modeWords = [...]string{"run", "help", "version", "release", "check", "example"}

func (m Mode) String() string {
	if int(m) < len(modeWords) {
		return modeWords[m]
	}
	return "unknown"
}

// Leases are the words for the kinds of lease, the best first: see package
// lease. "auto" takes the best that can be had.
var Leases = [...]string{"auto", "clsact", "tcx", "nftables", "none"}

// A lease is shorter than the three intervals and the skew time after which the
// other machine takes over, and longer than the one after which it is renewed.
const (
	minLeaseIntervals = 2
	maxLeaseIntervals = 3
)

// Defaults and limits of what concerns the whole process.
const (
	DefaultRunDir      = "/run/vrrpd"
	MaxMonitor         = 9
	MinAnnounceRefresh = time.Second
	MaxAnnounceRefresh = 24 * time.Hour
)

// Config is everything the user asked for.
type Config struct {
	Mode Mode
	// ConfigFile has everything else, but for RunDir if that is not empty, Mode and
	// Foreground; see ParseFile. "": nothing is in a file.
	ConfigFile string
	// RunDir is where the processes of the machine meet: an absolute, clean
	// path.
	RunDir string
	// Foreground: do not go to the background.
	Foreground bool
	// Group is the name of a group of a configuration file, which is also that of
	// its instance in RunDir; "": the classic form, where both follow from the rest.
	Group string
	// HoldDown is how long a machine that has recovered from a fault waits before it
	// may be elected; 0: two intervals.
	HoldDown time.Duration
	// MixedLimit bounds how long contradicting views keep the machine from
	// preempting; 0: as package election chooses, negative: for ever.
	MixedLimit time.Duration
	// SocketGroup is the group, a name or a number, whose members may ask the control
	// socket; "": that of the process.
	SocketGroup string
	// Realtime is the priority of the thread that hears and speaks, 1 to 49; 0: the
	// ordinary one.
	Realtime int
	// LockMemory: nothing of the process is paged out.
	LockMemory bool
	// Metrics is the loopback address on which the process answers Prometheus; the
	// zero value: none.
	Metrics netip.AddrPort
	// Monitor is how many processes of this machine share one state, 1 to 9;
	// 0: not given.
	Monitor int
	// OnMaster and OnBackup run when this machine changes sides.
	OnMaster, OnBackup Command
	// ReducedPriority and IncreasedPriority replace -10 and +10 on SIGTTIN and
	// SIGTTOU, 1 to 255; 0: not given.
	ReducedPriority, IncreasedPriority uint8
	// Lease is how the kernel silences a machine whose vrrpd does not run any
	// more: one of Leases; "" is "auto".
	Lease string
	// LeaseIntervals is for how many advertisement intervals an advert that was
	// sent lets this machine serve, 2 or 3; 0: as package election chooses.
	LeaseIntervals int
	// AnnounceRefresh is how often a MASTER repeats the announcement of its
	// addresses; 0: after a promotion and a heal only.
	AnnounceRefresh time.Duration
	// ScriptUser is whom OnMaster and OnBackup run as, a name or a number; "": as
	// the daemon.
	ScriptUser string
	// Checks are what must be well besides; the classic form has none.
	Checks []HealthCheck
	// Routers are the virtual routers; the classic form gives exactly one.
	// In mode Release a Router has its Interface, VRID, Family and Name only, and
	// there may be one for either family.
	Routers []Router
}

// Validate reports the first thing that is wrong with a Config, as a
// UsageError. Everything that Parse returns has passed it.
func (c Config) Validate() error {
	switch {
	case c.Mode == Help || c.Mode == Version || c.Mode == Example:
		return nil
	case !path.IsAbs(c.RunDir) || path.Clean(c.RunDir) != c.RunDir:
		return usagef("run directory %s: an absolute path is needed, like %s", show(c.RunDir), DefaultRunDir)
	case c.Monitor < 0 || c.Monitor > MaxMonitor:
		return usagef("%d monitored processes: 1 to %d are possible", c.Monitor, MaxMonitor)
	case c.Realtime != 0 && (c.Realtime < realtime.MinPriority || c.Realtime > realtime.MaxPriority):
		return usagef("real-time priority %d: %s", c.Realtime, realtimeRange)
	case c.Lease != "" && !slices.Contains(Leases[:], c.Lease):
		return usagef("lease %s: one of %s", show(c.Lease), strings.Join(Leases[:], ", "))
	case c.LeaseIntervals != 0 && (c.LeaseIntervals < minLeaseIntervals || c.LeaseIntervals > maxLeaseIntervals):
		return usagef("a lease of %d intervals: %d or %d are possible; the other machines wait for a little more than 3", c.LeaseIntervals, minLeaseIntervals, maxLeaseIntervals)
	case c.AnnounceRefresh != 0 && (c.AnnounceRefresh < MinAnnounceRefresh || c.AnnounceRefresh > MaxAnnounceRefresh):
		return usagef("announcements every %v: %v to %v are possible, or 0 for never", c.AnnounceRefresh, MinAnnounceRefresh, MaxAnnounceRefresh)
	case c.Mode == Release:
		return c.validateRelease()
	case c.Metrics.IsValid() && !c.Metrics.Addr().IsLoopback():
		return usagef("metrics %s: only a loopback address is possible", c.Metrics)
	case len(c.Routers) == 0:
		return usagef("no virtual router is configured")
	}
	type identity struct {
		parent       string
		vrid, family uint8
	}
	identities := make(map[identity]bool, len(c.Routers))
	names := make(map[string]bool, len(c.Routers)) // true: there is such an interface
	for i := range c.Routers {
		r := &c.Routers[i]
		if err := r.Validate(); err != nil {
			return err
		}
		if r.NoVMAC && c.Lease == "nftables" {
			return usagef("lease nftables: it can silence an interface only, and with -n the addresses are on %s itself; leave --lease away", r.Interface)
		}
		if made, taken := names[r.Name]; taken && (made || !r.NoVMAC) {
			return usagef("interface name %s: two virtual routers cannot share it", r.Name)
		}
		names[r.Name] = names[r.Name] || !r.NoVMAC
		id := identity{r.Interface, r.VRID, r.Family}
		if identities[id] {
			return usagef("VRID %d on %s: configured twice", r.VRID, r.Interface)
		}
		identities[id] = true
	}
	return c.validateChecks()
}

func (c Config) validateRelease() error {
	for _, r := range c.Routers {
		if err := r.validateIdentity(); err != nil {
			return err
		}
	}
	return nil
}
