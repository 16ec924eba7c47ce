package config

import (
	"net/netip"
	"time"
)

// The keys of a configuration file. This table is the one source of what is read, of
// the example and of the manual page.

// where a key may stand. What a group may have may also stand at the top, as the
// default of every group; what a virtual router and a group may have is the group's
// default for its virtual routers.
type where uint8

const (
	ofProcess where = 1 << iota
	ofGroup
	ofRouter
	ofCheck
)

// kind is the type of a value.
type kind uint8

const (
	text   kind = iota
	number      // a number of seconds, or whole
	flag        // true or false
	list        // of texts
	texts       // a text, or a list of them
	either      // a number or a text
)

var kindWords = [...]string{text: "string", number: "number", flag: "boolean", list: "array of strings", texts: "string, or array of strings", either: "number or string"}

// fileKey is one key.
type fileKey struct {
	name     string
	where    where
	kind     kind
	fallback string // what holds without it, for people
	example  string // as it stands in the example
	doc      string
	// set reads the value, written as on a command line; as is how messages call the
	// key. nil: it is read by itself.
	set func(f *form, as, value string) error
}

// fileKeys are all keys, in the order of the manual.
func fileKeys() []fileKey {
	return []fileKey{
		{"run_dir", ofProcess, text, `"/run/vrrpd"`, `"/run/vrrpd"`,
			"The run directory: control sockets, records and process ids. It has to be an absolute path, on a tmpfs. Cannot be changed by a reload.", setRunDir},
		{"socket_group", ofProcess, text, "the group of the process", `"adm"`,
			"The group, by name or number, whose members may ask the control sockets (atropos --state). Commands are for root alone. Cannot be changed by a reload.", setSocketGroup},
		{"realtime", ofProcess, number, "none", "5",
			"Real-time priority (SCHED_RR), 1 to 49, of the thread that hears and speaks, so that adverts keep time on a busy machine. Commands do not have it. One that cannot be had is an error at the start. Cannot be changed by a reload.", setRealtime},
		{"lock_memory", ofProcess, flag, "false", "true",
			"Keep what vrrpd uses of the memory from being paged out. If that cannot be, it is an error at the start. Cannot be changed by a reload.", setLockMemory},
		{"metrics", ofProcess, text, "none", `"127.0.0.1:9112"`,
			"A loopback address and port on which GET /metrics answers with the metrics of all groups, for Prometheus. Every user of this machine can read them there; other addresses are refused, because nobody is asked who they are. The control sockets have them, too. Cannot be changed by a reload.", setMetrics},

		{"priority", ofGroup | ofRouter, number, "100", "150",
			"Priority of this machine, 1 to 254; 255: it is the owner. There is one for a group: of virtual routers with different ones the lowest counts, and vrrpd --check warns.", setPriority},
		{"interval", ofGroup, number, "1", "1",
			"Seconds between adverts. A fraction (0.1) means VRRPv3. All machines need the same.", setInterval},
		{"version", ofGroup | ofRouter, either, "2; 3 for IPv6, or if interval has a fraction", "3",
			`Version of the protocol, 2 or 3; "2+3": both, while the routers of a LAN are changed from 2 to 3.`, setVersion},
		{"checksum", ofGroup | ofRouter, text, `"auto"`, `"rfc9568"`,
			"Checksum of VRRPv3 over IPv4, as sent: auto (as the peer's), rfc9568 or rfc5798; both are accepted.", setChecksum},
		{"accept", ofGroup | ofRouter, flag, "true", "false",
			"Take packets that are sent to the virtual addresses. false: forward for them and answer ARP and neighbour discovery, but drop what is sent to them. The owner always takes them.", setAccept},
		{"preempt", ofGroup, flag, "true", "true",
			"Take over from a MASTER of lower priority.", setPreempt},
		{"preempt_delay", ofGroup, number, "0", "30",
			"Seconds that this machine waits after it has become BACKUP from HELD (a start, a fault that has gone) before it takes over from a MASTER of lower priority: time for routes and tunnels to come up.", setPreemptDelay},
		{"hold_down", ofGroup, number, "two intervals", "2",
			"Seconds that this machine waits after a fault has gone before it may be elected at all. It doubles while faults repeat, up to five minutes.", setHoldDown},
		{"mixed_view_limit", ofGroup, number, "60", "60",
			"Seconds for which this machine does not preempt while a MASTER of lower priority is heard on one LAN and nobody on another, because a switch port may be blocked. 0: as long as it lasts.", setMixedLimit},
		{"on_master", ofGroup | ofRouter, text, "none", `"/etc/vrrpd/master.sh"`,
			"Command to run when the machine has become MASTER. In a group it is that of the group, run once with all virtual addresses; in a virtual router it is that of the virtual router, run besides. The command is split into words without a shell.", setOnMaster},
		{"on_backup", ofGroup | ofRouter, text, "none", `"/etc/vrrpd/backup.sh"`,
			"Command to run when the machine has become BACKUP, and at the start.", setOnBackup},
		{"script_user", ofGroup, text, "as the daemon", `"nobody"`,
			"Whom commands run as.", setScriptUser},
		{"reduced_priority", ofGroup, number, "10 less", "90",
			"Priority after SIGTTIN or atropos --reduce.", setReduced},
		{"increased_priority", ofGroup, number, "10 more", "160",
			"Priority after SIGTTOU or atropos --increase.", setIncreased},
		{"lease", ofGroup, text, `"auto"`, `"auto"`,
			"What silences this machine when vrrpd hangs or dies: auto (the best that can be had), clsact, tcx, nftables or none. Cannot be changed by a reload.", setLease},
		{"lease_intervals", ofGroup, number, "2; 3 below 0.1 s", "2",
			"For how many intervals an advert that was sent lets this machine serve, 2 or 3.", setLeaseIntervals},
		{"announce_refresh", ofGroup, number, "0", "300",
			"As MASTER, announce the virtual addresses again every so many seconds, 1 to 86400. 0: only when there is a reason.", setAnnounceRefresh},
		{"auth", ofGroup | ofRouter, texts, `"none"`, `"hmac/@/etc/vrrpd/keys"`,
			`How adverts are authenticated: "none", "pass/@FILE", "ah/@FILE", "hmac/@FILE" (a file with all keys, an asterisk before the one to sign with), or a list of "hmac/ID:@FILE". The keys stand in files that only root can read; a reload reads them again.`, setFileAuth},
		{"auth_active", ofGroup | ofRouter, number, "the only one", "2",
			"hmac: the id of the key to sign with, if the list has several.", setAuthActive},
		{"auth_mode", ofGroup | ofRouter, text, `"enforce"`, `"permissive"`,
			"hmac: what becomes of adverts without a trailer: enforce, permissive or receive-only.", setAuthMode},
		{"auth_replay", ofGroup | ofRouter, text, `"time"`, `"monotonic"`,
			"hmac: how old adverts are told from new ones: time or monotonic.", setAuthReplay},
		{"auth_window", ofGroup | ofRouter, number, "3 intervals, 5 at least", "5",
			"hmac: seconds by which the clocks of two machines may differ.", setAuthWindow},
		{"ah_icv", ofGroup | ofRouter, text, `"keepalived"`, `"rfc2402"`,
			"ah: the form of the integrity check value, keepalived or rfc2402.", setAHICV},

		{"interface", ofRouter, text, "required", `"eth0"`,
			"The interface to run on: a card, VLAN, bond or bridge with an address of its own.", setInterface},
		{"vrid", ofRouter, number, "required", "51",
			"The id of the virtual router on its LAN, 1 to 255.", setVRID},
		{"addresses", ofRouter, list, "required", `["10.16.1.200"]`,
			"The virtual addresses, all of them IPv4 or all of them IPv6. An IPv6 virtual router without a link-local address is given one.", nil},
		{"name", ofRouter, text, `"vrrpVRID", "vrrpVRIDv6" for IPv6`, `"vrrp51"`,
			"Name of the interface that carries the virtual MAC and the virtual addresses. Two virtual routers with one VRID on different interfaces need different names.", setName},
		{"vmac", ofRouter, flag, "true", "false",
			"Have a virtual MAC, on an interface of the virtual router's own. false: the virtual addresses are on the parent itself, with the lengths given here, and a change of sides is told to the LAN.", setVMAC},
		{"peers", ofRouter, list, "none", `["10.16.1.2"]`,
			"Send adverts to each of these machines instead of the group, and hear nobody else.", setPeer},
		{"peer_ttl", ofRouter, number, "any", "255",
			"The least TTL (hop limit) with which adverts of peers arrive, 1 to 255: 255 from a peer on the same LAN, 1 less for each router in between.", setPeerTTL},
		{"group", ofRouter, text, `"machine"`, `"machine"`,
			"The group that the virtual router belongs to. Those of a group are MASTER or BACKUP together.", nil},
	}
}

// DefaultGroup is the group of virtual routers that name none.
const DefaultGroup = "machine"

// MaxHoldDown and MaxMixedLimit are the greatest of their kind.
const (
	MaxHoldDown   = time.Hour
	MaxMixedLimit = 24 * time.Hour
)

func setSocketGroup(f *form, as, value string) error {
	if value == "" {
		return usagef(`%s "": give the name of a group`, as)
	}
	f.SocketGroup = value
	return nil
}

func setMetrics(f *form, as, value string) error {
	a, err := netip.ParseAddrPort(value)
	switch {
	case err != nil || a.Addr().Zone() != "":
		return usagef("%s %s: an address and a port are needed, like 127.0.0.1:9112 or [::1]:9112", as, show(value))
	case !a.Addr().Unmap().IsLoopback():
		return usagef("%s %s: only a loopback address is possible, like 127.0.0.1:%d, because nobody is asked who they are there; let a proxy that asks pass it on", as, show(value), a.Port())
	case a.Port() == 0:
		return usagef("%s %s: a port from 1 to 65535 is needed, like 127.0.0.1:9112", as, show(value))
	}
	f.Metrics = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	return nil
}

func setAccept(f *form, _, value string) error {
	f.router.NoAccept = value == "false"
	return nil
}

func setVMAC(f *form, _, value string) error {
	f.router.NoVMAC = value == "false"
	return nil
}

func setPreempt(f *form, _, value string) error {
	f.router.Preempt = value == "true"
	return nil
}

func setHoldDown(f *form, as, value string) error {
	d, ok := seconds(value)
	if !ok || d > MaxHoldDown {
		return usagef("%s %s: a number of seconds from 0 to %.0f", as, show(value), MaxHoldDown.Seconds())
	}
	f.HoldDown = d
	return nil
}

func setMixedLimit(f *form, as, value string) error {
	d, ok := seconds(value)
	if !ok || d > MaxMixedLimit {
		return usagef("%s %s: a number of seconds from 0 to %.0f", as, show(value), MaxMixedLimit.Seconds())
	}
	if f.MixedLimit = d; d == 0 {
		f.MixedLimit = -1
	}
	return nil
}

// setFileAuth is setAuth for a file that others may read: the keys are elsewhere.
func setFileAuth(f *form, as, value string) error {
	if keyIn(value) != "" && value != "none" {
		return usagef("%s: the key has to be in a file, like hmac/@/etc/vrrpd/keys or pass/@/etc/vrrpd/key, and not in the configuration", as)
	}
	return setAuth(f, as, value)
}
