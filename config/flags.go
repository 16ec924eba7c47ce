package config

import (
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Usage is the text of vrrpd --help, in the order of the manual.
const Usage = `usage: vrrpd -i IFNAME -v VRID [options] IPADDR[/LEN] ...
       vrrpd -c FILE [options]

  -h, --help               this text
  -V, --version            the version
  -n, --no-vmac            no virtual MAC: the addresses are on IFNAME itself,
                           and a change of sides is told to the LAN
  -i, --interface IFNAME   the interface to run on
  -v, --vrid VRID          the id of the virtual router, 1-255
  -s, --no-preempt         switch preemption off (it is on by default)
  -a, --auth AUTH          none (the default), pass/KEY (or pw/KEY), ah/KEY, or
                           hmac/ID:KEY, as often as there are keys; KEY is
                           0xHEX, text, or @FILE, which keeps it out of this
                           line; hmac/@FILE has all keys in a file
  -p, --priority PRIO      priority of this machine, 1-254 (default 100);
                           255: it is the owner
  -d, --interval SECONDS   advertisement interval (default 1); a fraction (0.1)
                           means VRRPv3
  IPADDR[/LEN] ...         the virtual addresses, IPv4 or IPv6; the word ipaddr
                           may stand before them
  -U, --on-master COMMAND  run when this machine becomes MASTER
  -D, --on-backup COMMAND  run when this machine becomes BACKUP
  -M, --monitor N          this process is one of N (1-9) on this machine that
                           share one state
  -f, --run-dir DIR        where these processes meet (default $VRRPD_RUN_DIR,
                           else /run/vrrpd)
  -z PRIO, -x PRIO         priority after SIGTTIN, SIGTTOU instead of -10, +10
  -F, --foreground         stay in the foreground
  -c, --config FILE        virtual routers and groups are those of FILE, see
                           vrrpd.toml(5); besides it only -F, -f, --check and
                           --release
  --vrrp-version 2|3|2+3   protocol version (default 2; 3 for IPv6, or if
                           SECONDS has a fraction); 2+3: both, while the
                           routers of a LAN are changed from 2 to 3
  --checksum FORM          of VRRPv3 over IPv4, as sent: auto (the default; as
                           the peer's), rfc9568, rfc5798; both are accepted
  --no-accept              forward for the virtual addresses and answer ARP and
                           neighbour discovery, but drop what is sent to them
  --peer ADDRESS           send adverts to this machine instead of the group;
                           as often as there are peers
  --peer-ttl N             the least TTL with which a peer's adverts arrive,
                           1-255 (default: any)
  --name IFNAME            the virtual router's interface (default vrrpVRID,
                           vrrpVRIDv6 for IPv6)
  --auth-active ID         hmac: the key to sign with
  --auth-mode MODE         hmac: enforce (default), permissive, receive-only
  --auth-replay RULE       hmac: time (default), monotonic
  --auth-window SECONDS    hmac: how far clocks may differ (default: 3
                           intervals, 5 s at least)
  --ah-icv FORM            ah: keepalived (default), rfc2402
  --preempt-delay SECONDS  wait so long after the start before preempting
  --lease KIND             what silences this machine when vrrpd hangs or dies:
                           auto (the default), clsact, tcx, nftables or none
  --lease-intervals N      for how many intervals an advert lets it serve, 2 or
                           3 (default 2; 3 below 0.1 s)
  --announce-refresh SECONDS
                           as MASTER, announce the addresses again so often
                           (1-86400; default 0: not without a reason)
  --realtime PRIO          real-time priority (1-49) for the thread that hears
                           and speaks; never for COMMANDs
  --lock-memory            keep memory from being paged out
  --script-user NAME       run the commands of -U and -D as this user
  --check                  validate this command line, or FILE, say what it
                           comes to, and exit
  --example                print a configuration file with every key
  --release                clean up after a dead instance: that of -i and -v;
                           without them, after every dead one

COMMAND is split into words without a shell: quote with '...', "..." or \.
`

// form is a classic command line while it is being read.
type form struct {
	Config
	router  Router
	version uint8 // as asked for; 0: not given
	auth    authOptions
	runDir  string      // of -f; "": not given
	check   HealthCheck // of a file
}

// row is one option of vrrpd and what it means.
type row struct {
	Option
	// set reads the value; as is how messages call the option.
	set func(f *form, as, value string) error
	// identity: it tells which instance is meant, so Release looks at it.
	identity bool
}

func rows() []row {
	return []row{
		{Option: Option{'h', "help", ""}},
		{Option: Option{'V', "version", ""}},
		{Option: Option{0, "check", ""}},
		{Option: Option{0, "release", ""}},
		{Option: Option{0, "example", ""}},
		{Option{'n', "no-vmac", ""}, func(f *form, _, _ string) error { f.router.NoVMAC = true; return nil }, false},
		{Option{'i', "interface", "IFNAME"}, setInterface, true},
		{Option{'v', "vrid", "VRID"}, setVRID, true},
		{Option{'s', "no-preempt", ""}, func(f *form, _, _ string) error { f.router.Preempt = false; return nil }, false},
		{Option{'a', "auth", "AUTH"}, setAuth, false},
		{Option{'p', "priority", "PRIO"}, setPriority, false},
		{Option{'d', "interval", "SECONDS"}, setInterval, false},
		{Option{'U', "on-master", "COMMAND"}, setOnMaster, false},
		{Option{'D', "on-backup", "COMMAND"}, setOnBackup, false},
		{Option{'M', "monitor", "N"}, setMonitor, false},
		{Option{'f', "run-dir", "DIR"}, setRunDir, true},
		{Option{'z', "", "PRIO"}, setReduced, false},
		{Option{'x', "", "PRIO"}, setIncreased, false},
		{Option{'F', "foreground", ""}, func(f *form, _, _ string) error { f.Foreground = true; return nil }, false},
		{Option{'c', "config", "FILE"}, setConfigFile, true},
		{Option{0, "vrrp-version", "2|3|2+3"}, setVersion, false},
		{Option{0, "checksum", "FORM"}, setChecksum, false},
		{Option{0, "no-accept", ""}, func(f *form, _, _ string) error { f.router.NoAccept = true; return nil }, false},
		{Option{0, "auth-active", "ID"}, setAuthActive, false},
		{Option{0, "auth-mode", "MODE"}, setAuthMode, false},
		{Option{0, "auth-replay", "RULE"}, setAuthReplay, false},
		{Option{0, "auth-window", "SECONDS"}, setAuthWindow, false},
		{Option{0, "ah-icv", "FORM"}, setAHICV, false},
		{Option{0, "peer", "ADDRESS"}, setPeer, false},
		{Option{0, "peer-ttl", "N"}, setPeerTTL, false},
		{Option{0, "name", "IFNAME"}, setName, true},
		{Option{0, "preempt-delay", "SECONDS"}, setPreemptDelay, false},
		{Option{0, "announce-refresh", "SECONDS"}, setAnnounceRefresh, false},
		{Option{0, "script-user", "NAME"}, setScriptUser, false},
		{Option{0, "realtime", "PRIO"}, setRealtime, false},
		{Option{0, "lock-memory", ""}, func(f *form, _, _ string) error { f.LockMemory = true; return nil }, false},
		{Option{0, "lease", "KIND"}, setLease, false},
		{Option{0, "lease-intervals", "N"}, setLeaseIntervals, false},
	}
}

// Parse reads the arguments of vrrpd, without the program's name. getenv is
// asked for VRRPD_RUN_DIR; nil means an empty environment.
//
// The first --help or --version wins over everything but an unknown option.
// With --release only what names the instance is looked at (-i, -v, --name,
// -f): a service can pass the options of the daemon, and a mistake that has
// come into them since does not keep anything from being cleaned up.
func Parse(args []string, getenv func(string) string) (Config, error) {
	table := rows()
	grammar := Grammar{Options: make([]Option, len(table))}
	for i, r := range table {
		grammar.Options[i] = r.Option
	}
	given, operands, err := grammar.Parse(args)
	if err != nil {
		return Config{}, usagef("%s; try vrrpd --help", err)
	}
	f := form{router: Router{Priority: DefaultPriority, Interval: DefaultInterval, Preempt: true}}
	for _, g := range given {
		switch table[g.Option].Long {
		case "help":
			return Config{Mode: Help}, nil
		case "version":
			return Config{Mode: Version}, nil
		case "example":
			return Config{Mode: Example}, nil
		case "release":
			f.Mode = Release
		case "check":
			f.Mode = Check
		}
	}
	if asked(table, given, "check") && asked(table, given, "release") {
		return Config{}, usagef("--check and --release: only one of them can be done at a time")
	}
	for _, g := range given {
		if r := table[g.Option]; r.set != nil && (r.identity || f.Mode != Release) {
			if err := r.set(&f, g.As, g.Value); err != nil {
				return Config{}, err
			}
		}
	}
	if f.ConfigFile != "" {
		return f.ofFile(table, given, operands)
	}
	if f.RunDir, err = RunDir(f.runDir, getenv); err != nil {
		return Config{}, err
	}
	if f.Mode != Release {
		if err := f.addresses(operands); err != nil {
			return Config{}, err
		}
	}
	return f.finish(operands)
}

// besidesFile are the options that -c leaves room for.
var besidesFile = [...]string{"config", "foreground", "run-dir", "check", "release"}

// ofFile is a command line that names a file for everything else.
func (f *form) ofFile(table []row, given []Given, operands []string) (Config, error) {
	for _, g := range given {
		if !slices.Contains(besidesFile[:], table[g.Option].Long) {
			return Config{}, usagef("%s and -c %s: with a configuration file that stands in the file", g.As, show(f.ConfigFile))
		}
	}
	if len(operands) > 0 {
		return Config{}, usagef("%s and -c %s: with a configuration file the addresses stand in the file", show(operands[0]), show(f.ConfigFile))
	}
	var err error
	if f.runDir != "" {
		f.RunDir, err = RunDir(f.runDir, nil)
	}
	return f.Config, err
}

func asked(table []row, given []Given, long string) bool {
	return slices.ContainsFunc(given, func(g Given) bool { return table[g.Option].Long == long })
}

// finish fills in what follows from the rest and checks the whole.
func (f *form) finish(operands []string) (Config, error) {
	r := &f.router
	if f.Mode == Release && r.Interface == "" && r.VRID == 0 {
		return f.Config, f.Config.Validate()
	}
	if err := f.missing(); err != nil {
		return Config{}, err
	}
	if f.Mode == Release {
		f.Routers = f.released(operands)
		return f.Config, f.Config.Validate()
	}
	if err := f.complete(); err != nil {
		return Config{}, err
	}
	f.Routers = []Router{f.router}
	if err := f.Config.Validate(); err != nil {
		return Config{}, err
	}
	return f.Config, nil
}

// complete fills in what follows from the rest of a virtual router.
func (f *form) complete() error {
	r := &f.router
	r.Family = familyOf(r.Addresses)
	switch {
	case r.NoVMAC && r.Name != "" && r.Name != r.Interface:
		return usagef("--name %s: with -n there is no interface to be named, the addresses are on %s itself; drop one of both", r.Name, r.Interface)
	case r.NoVMAC:
		r.Name = r.Interface
	case r.Name == "":
		r.Name = DefaultName(r.VRID, r.Family)
	}
	if r.Family == 6 {
		r.linkLocalFirst()
	}
	r.Version = f.version
	if r.Version == 0 {
		r.Version = DefaultVersion(r.Family, r.Interval)
	}
	return f.auth.finish(&r.Auth)
}

// missing names everything at once that has to be added.
func (f *form) missing() error {
	var what []string
	if f.router.Interface == "" {
		what = append(what, "-i IFNAME (the interface to run on)")
	}
	if f.router.VRID == 0 {
		what = append(what, "-v VRID (1-255)")
	}
	if len(f.router.Addresses) == 0 && f.Mode != Release {
		what = append(what, "the virtual address, like 10.16.1.200")
	}
	if len(what) == 0 {
		return nil
	}
	return usagef("missing: add %s; try vrrpd --help", strings.Join(what, " and "))
}

// addresses reads the operands. The word ipaddr of the manual's example is not
// one.
func (f *form) addresses(operands []string) error {
	for _, operand := range operands {
		if operand == "ipaddr" {
			continue
		}
		p, err := ParseAddress(operand)
		if err != nil {
			return err
		}
		f.router.Addresses = append(f.router.Addresses, p)
	}
	return nil
}

// released are the virtual routers to be released: of those of an interface and
// VRID the one of IPv4, of IPv6, or both, if no address tells which one. What is no
// address is not looked at.
func (f *form) released(operands []string) []Router {
	families := []uint8{4, 6}
	for _, operand := range operands {
		if p, err := ParseAddress(operand); err == nil {
			families = []uint8{familyOf([]netip.Prefix{p})}
			break
		}
	}
	var all []Router
	for _, family := range families {
		r := Router{Interface: f.router.Interface, VRID: f.router.VRID, Name: f.router.Name, Family: family}
		if r.Name == "" {
			r.Name = DefaultName(r.VRID, family)
		}
		all = append(all, r)
	}
	return all
}

// RunDir is the run directory of both programs: what -f says, else
// VRRPD_RUN_DIR, else DefaultRunDir. It must be an absolute path, because the
// processes that meet there may have been started anywhere.
func RunDir(flag string, getenv func(string) string) (string, error) {
	dir, as := flag, "-f "
	if dir == "" && getenv != nil {
		dir, as = getenv("VRRPD_RUN_DIR"), "VRRPD_RUN_DIR="
	}
	switch {
	case dir == "":
		return DefaultRunDir, nil
	case !path.IsAbs(dir):
		return "", usagef("%s%s: the run directory has to be an absolute path, like %s", as, show(dir), DefaultRunDir)
	case strings.ContainsFunc(dir, unprintable) || strings.ContainsAny(dir, "\n\r"):
		return "", usagef("%s%s: a control character in the run directory; give a path like %s", as, show(dir), DefaultRunDir)
	}
	return path.Clean(dir), nil
}
