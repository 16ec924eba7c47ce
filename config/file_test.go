package config

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/vrrp"
)

const small = `priority = 150

[[router]]
interface = "eth0"
vrid = 51
addresses = ["10.16.1.200"]

[[router]]
interface = "eth1"
vrid = 52
addresses = ["10.17.1.200/24", "10.17.1.201"]
`

func parseFile(t *testing.T, text string) []Config {
	t.Helper()
	groups, err := ParseFile("vrrpd.toml", []byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

func TestSmallFile(t *testing.T) {
	groups := parseFile(t, small)
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	g := groups[0]
	if g.Group != "machine" || g.RunDir != DefaultRunDir || len(g.Routers) != 2 {
		t.Errorf("%+v", g)
	}
	// It is what the command line makes of the same.
	cmd, err := Parse(strings.Fields("-i eth1 -v 52 -p 150 10.17.1.200/24 10.17.1.201"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.Routers[1], cmd.Routers[0]; got.Name != want.Name || got.Version != want.Version || got.Priority != want.Priority ||
		got.Interval != want.Interval || !got.Preempt || !slices.Equal(got.Addresses, want.Addresses) || got.Family != 4 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(Warnings(groups)) != 0 {
		t.Errorf("warnings %v", Warnings(groups))
	}
}

// Every key, where it may stand, and what it means.
func TestWholeFile(t *testing.T) {
	groups := parseFile(t, `
run_dir = "/run/test"
socket_group = "adm"
realtime = 7
lock_memory = true
metrics = "[::1]:9112"
interval = 0.5
on_master = "/bin/up all"
auth = "none"

[group.machine]
priority = 90
preempt = false
hold_down = 7
mixed_view_limit = 0
lease = "tcx"
lease_intervals = 3
announce_refresh = 300
script_user = "nobody"
reduced_priority = 80
increased_priority = 95
on_backup = '/bin/down "a b"'

[group."d-m_z"]
interval = 1
preempt_delay = 1.5
auth = ["hmac/1:@/etc/k1", "hmac/2:@/etc/k2"]
auth_active = 2
auth_window = 9

[[router]]
interface = "eth0"
vrid = 7
addresses = ["2001:db8::1"]
name = "six"
on_master = "/bin/six"
priority = 91

[[router]]
group = "d-m_z"
interface = "eth1"
vrid = 7
addresses = ["192.0.2.1"]
version = 3

[[router]]
group = "d-m_z"
interface = "eth2"
vrid = 8
addresses = ["192.0.2.2"]
auth = "pass/@/etc/k"
`)
	if len(groups) != 2 || groups[0].Group != "d-m_z" || groups[1].Group != "machine" {
		t.Fatalf("%+v", groups)
	}
	dmz, g := groups[0], groups[1]
	if g.RunDir != "/run/test" || dmz.RunDir != "/run/test" || g.SocketGroup != "adm" || dmz.Metrics.String() != "[::1]:9112" || g.Realtime != 7 || dmz.Realtime != 7 || !g.LockMemory || g.OnMaster.Line != "/bin/up all" ||
		g.HoldDown != 7*time.Second || g.MixedLimit >= 0 || g.Lease != "tcx" || g.LeaseIntervals != 3 || g.AnnounceRefresh != 300*time.Second ||
		g.ScriptUser != "nobody" || g.ReducedPriority != 80 || g.IncreasedPriority != 95 || !slices.Equal(g.OnBackup.Argv, []string{"/bin/down", "a b"}) {
		t.Errorf("%+v", g)
	}
	six := g.Routers[0]
	if six.Name != "six" || six.Interval != 500*time.Millisecond || six.Version != 3 || six.Priority != 91 || six.Preempt || six.Family != 6 ||
		!six.Generated.IsValid() || six.OnMaster.Line != "/bin/six" || six.OnBackup.Given() {
		t.Errorf("%+v", six)
	}
	if dmz.OnMaster.Line != "/bin/up all" || dmz.OnBackup.Given() || dmz.HoldDown != 0 {
		t.Errorf("%+v", dmz)
	}
	a, b := dmz.Routers[0], dmz.Routers[1]
	if a.Interval != time.Second || a.PreemptDelay != 1500*time.Millisecond || a.Version != 3 || a.OnMaster.Given() ||
		a.Auth.Kind != vrrp.TrailerAuth || len(a.Auth.Keys) != 2 || a.Auth.Active != 2 || a.Auth.Window != 9 {
		t.Errorf("%+v", a)
	}
	if b.Version != 2 || b.Auth.Kind != vrrp.PasswordAuth || b.Auth.Keys[0].File != "/etc/k" || b.Auth.Window != 0 {
		t.Errorf("%+v", b)
	}
}

func TestFileIsRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "vrrpd.toml: there is no virtual router: add a [[router]] with interface, vrid and addresses"},
		{"x = ", "vrrpd.toml:1: unexpected EOF; expected value"},
		{small + "vrid = 3\n", "vrrpd.toml:12: Key 'router.vrid' has already been defined"},
		{"proirity = 3\n" + small, "vrrpd.toml:1: unknown key proirity; did you mean priority?"},
		{small + "prioriti = 3\n", "vrrpd.toml:12: unknown key prioriti; did you mean priority?"},
		{small + "# x\n\n  \"virtual id\" = 3\n", `vrrpd.toml:14: unknown key "virtual id"`},
		{small + "interval = 2\n", "vrrpd.toml:12: interval does not belong here: it is a key of a group: it stands in [group.NAME], or before all tables"},
		{small + "run_dir = \"/x\"\n", "vrrpd.toml:12: run_dir does not belong here: it is a key of the file as a whole, and stands before all tables"},
		{"vrid = 2\n" + small, "vrrpd.toml:1: vrid does not belong here: it is a key of [[router]]"},
		{small + "[router.extra]\n", "vrrpd.toml:12: unknown key extra"},
		{small + "priority = \"high\"\n", "vrrpd.toml:12: priority: a value of type number is needed, like 150"},
		{small + "priority = 300\n", "vrrpd.toml:12: priority 300: a priority is a whole number from 1 to 254, or 255 for the owner"},
		{small + "priority = 1.5\n", "vrrpd.toml:12: priority 1.5: a priority is a whole number from 1 to 254, or 255 for the owner"},
		{small + "priority = -1\n", "vrrpd.toml:12: priority -1: a priority is a whole number from 1 to 254, or 255 for the owner"},
		{strings.Replace(small, `["10.16.1.200"]`, `"10.16.1.200"`, 1), `vrrpd.toml:6: addresses: a value of type array of strings is needed, like ["10.16.1.200"]`},
		{strings.Replace(small, `["10.16.1.200"]`, `[]`, 1), "vrrpd.toml:6: addresses: one at least is needed"},
		{strings.Replace(small, `["10.16.1.200"]`, `["10.16.1.300"]`, 1), "vrrpd.toml:6: 10.16.1.300: not an IP address; write it like 10.16.1.200 or 10.16.1.200/24"},
		{strings.Replace(small, `["10.16.1.200"]`, "[\n  \"10.16.1.200\",\n  \"2001:db8::1\",\n]", 1), "vrrpd.toml:3: 2001:db8::1: one virtual router has addresses of one family only, and this one has IPv4; give the IPv4 and the IPv6 addresses a [[router]] each"},
		{strings.Replace(small, "vrid = 51\n", "", 1), "vrrpd.toml:3: vrid is missing in this [[router]]"},
		{strings.Replace(small, "eth1", "eth0", 1) + "group = \"dmz\"\n", "vrrpd.toml:12: group dmz: there is no [group.dmz] in this file"},
		{small + "[group.dmz]\n", `vrrpd.toml:12: group dmz has no virtual router: add one with group = "dmz", or remove the table`},
		{small + "[group.\"a b\"]\n", `vrrpd.toml:12: group "a b": a name has letters, digits, - and _ only`},
		{"group = 3\n" + small, "vrrpd.toml:1: a group is a table with its name: [group.machine]"},
		{"router = 3\n", "vrrpd.toml:1: router is a table of its own for each virtual router, and begins with [[router]]"},
		{strings.NewReplacer("eth1", "eth0", "52", "51").Replace(small), "vrrpd.toml:8: VRID 51 for IPv4 on eth0: the virtual router of line 3 has it already"},
		{strings.Replace(small, "52", "51", 1), "vrrpd.toml:8: interface name vrrp51: the virtual router of line 3 has it already; give one of them another name"},
		{strings.Replace(small, "10.17.1.201", "10.16.1.200", 1), "vrrpd.toml:8: address 10.16.1.200: the virtual router of line 3 has it already"},
		{"preempt = false\npreempt_delay = 3\n" + small, "vrrpd.toml:5: preemption delay 3s: there is nothing to delay while preemption is switched off; drop preempt_delay, or preempt = false"},
		{small + "auth = \"pass/secret\"\n", "vrrpd.toml:12: auth: the key has to be in a file, like hmac/@/etc/vrrpd/keys or pass/@/etc/vrrpd/key, and not in the configuration"},
		{small + "auth = \"hmac/1:secret\"\n", "vrrpd.toml:12: auth: the key has to be in a file, like hmac/@/etc/vrrpd/keys or pass/@/etc/vrrpd/key, and not in the configuration"},
		{small + "auth_window = 5\n", "vrrpd.toml:8: auth_window: it is for auth hmac only; leave it away, or give auth hmac"},
		{small + "on_master = \"a; b\"\n", `vrrpd.toml:12: on_master "a; b": ; & | < > outside quotes would need a shell, and none runs this: put it into a script`},
		{"metrics = \"0.0.0.0:9112\"\n" + small, "vrrpd.toml:1: metrics 0.0.0.0:9112: only a loopback address is possible, like 127.0.0.1:9112, because nobody is asked who they are there"},
		{"metrics = \"[2001:db8::1]:99\"\n" + small, "vrrpd.toml:1: metrics [2001:db8::1]:99: only a loopback address is possible, like 127.0.0.1:99"},
		{"metrics = \"[::ffff:192.0.2.1]:99\"\n" + small, "vrrpd.toml:1: metrics [::ffff:192.0.2.1]:99: only a loopback address"},
		{"metrics = \"localhost:9112\"\n" + small, "vrrpd.toml:1: metrics localhost:9112: an address and a port are needed, like 127.0.0.1:9112 or [::1]:9112"},
		{"metrics = \":9112\"\n" + small, "vrrpd.toml:1: metrics :9112: an address and a port are needed"},
		{"metrics = \"127.0.0.1:0\"\n" + small, "vrrpd.toml:1: metrics 127.0.0.1:0: a port from 1 to 65535 is needed"},
		{"metrics = 9112\n" + small, "vrrpd.toml:1: metrics: a value of type string is needed, like \"127.0.0.1:9112\""},
		{small + "metrics = \"127.0.0.1:9112\"\n", "vrrpd.toml:12: metrics does not belong here: it is a key of the file as a whole"},
		{"run_dir = \"run\"\n" + small, "vrrpd.toml:1: run_dir run: the run directory has to be an absolute path, like /run/vrrpd"},
	} {
		_, err := ParseFile("vrrpd.toml", []byte(c.text), "")
		var usage UsageError
		if !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestFileWarnings(t *testing.T) {
	text := strings.Replace(small, "vrid = 52", "vrid = 52\npriority = 100", 1)
	text = "reduced_priority = 140\nhold_down = 10\npreempt_delay = 5\n" + text
	text += "[group.dmz]\n[[router]]\ngroup = \"dmz\"\ninterface = \"eth1\"\nvrid = 53\naddresses = [\"10.17.1.53\"]\n"
	got := Warnings(parseFile(t, text))
	for _, want := range []string{
		"group machine: the priorities differ (100 for vrrp52, 150 for vrrp51), and the lowest counts",
		"group machine: preempt_delay begins when hold_down is over",
		"group machine: reduced_priority 140 is not lower than the priority 100",
		"groups dmz and machine both use eth1",
	} {
		if !slices.ContainsFunc(got, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("no warning %q in %q", want, got)
		}
	}
	if plan := strings.Join(Plan(parseFile(t, text)), "\n"); !strings.Contains(plan, "group machine: 2 virtual routers") ||
		!strings.Contains(plan, "vrrp53 on eth1: VRID 53, VRRPv2, [10.17.1.53]") {
		t.Errorf("plan:\n%s", plan)
	}
}

// The run directory of the command line stands before that of the file.
func TestFileRunDir(t *testing.T) {
	groups, err := ParseFile("f", []byte("run_dir = \"/a\"\n"+small), "/b")
	if err != nil || groups[0].RunDir != "/b" {
		t.Errorf("%v, %v", groups, err)
	}
}

// The example is accepted as it is, and with every comment that is a key made one.
func TestExampleFile(t *testing.T) {
	text := ExampleFile()
	groups := parseFile(t, text)
	if len(groups) != 1 || len(groups[0].Routers) != 2 {
		t.Errorf("%+v", groups)
	}
	for _, k := range fileKeys() {
		line := k.name + " = " + k.example + "\n"
		if !strings.Contains(text, line) {
			t.Errorf("%s is not in the example", k.name)
		}
		// What the example shows is right, and each key is read.
		set := strings.Replace(text, "\n#"+line, "\n"+line, 1)
		switch k.name {
		case "auth_active":
			set = "auth = [\"hmac/1:@/a\", \"hmac/2:@/b\"]\n" + set
		case "auth_mode", "auth_replay", "auth_window":
			set = "auth = \"hmac/@/a\"\n" + set
		case "checksum":
			set = "version = 3\n" + set
		case "peer_ttl":
			set = strings.Replace(set, "\n#peers", "\npeers", 1)
		case "ah_icv":
			set = "version = 2\nauth = \"ah/@/a\"\n" + set
		}
		if _, err := ParseFile("example", []byte(set), ""); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

func TestManualPage(t *testing.T) {
	page, err := os.ReadFile("../docs/vrrpd.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Manual() {
		t.Error("docs/vrrpd.toml.5 is not what config/keys.go says: make man")
	}
	whole, checks, _ := strings.Cut(string(page), ".SH KEYS OF A CHECK\n")
	for _, part := range []struct {
		text string
		keys []fileKey
	}{{whole, fileKeys()}, {checks, checkKeys()}} {
		for _, k := range part.keys {
			if strings.Count(part.text, ".TP\n.BR "+k.name+" \" (") != 1 {
				t.Errorf("%s is not explained once", k.name)
			}
		}
	}
}

func TestPositions(t *testing.T) {
	text := "a = 1 # b = 2\n'quoted.key' = \"x\\\"]\"\nc = [\n  # d = 4\n  '''e\nf = 6''', { g = 7 },\n]\n\n[t . \"u v\"]\nh = \"\"\"\n[i]\n\"\"\"\n[[r]]\nj.k = 1\n[[r]]\nj = 2\n[r.s]\nl = 3\n"
	got := locate(text)
	for path, line := range map[string]int{
		"a": 1, "quoted.key": 2, "c": 3, "t.u v": 9, "t.u v.h": 10, "r[0]": 13, "r[0].j.k": 14, "r[1]": 15, "r[1].j": 16, "r[1].s": 17, "r[1].s.l": 18,
	} {
		if got[path] != line {
			t.Errorf("%s is on line %d, want %d", path, got[path], line)
		}
	}
	for _, path := range []string{"b", "d", "f", "i"} {
		if n, ok := got[path]; ok {
			t.Errorf("%s is no key, and was found on line %d", path, n)
		}
	}
	if n := got.line("r[1].s.nobody.knows"); n != 17 {
		t.Errorf("the nearest line is %d", n)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add(small)
	f.Add(ExampleFile())
	f.Add("a = '''\n[[b")
	f.Fuzz(func(t *testing.T, text string) {
		locate(text)
		groups, err := ParseFile("f", []byte(text), "")
		var usage UsageError
		if err != nil && (!errors.As(err, &usage) || !strings.HasPrefix(err.Error(), "f:")) {
			t.Fatalf("%q: %v", text, err)
		}
		for _, g := range groups {
			if err := g.Validate(); err != nil {
				t.Fatalf("%q gives what is not valid: %v", text, err)
			}
		}
	})
}

// Without a virtual MAC several virtual routers are on one parent, each with its length;
// peers are those of one virtual router.
func TestFileWithoutVirtualMAC(t *testing.T) {
	const both = `
[[router]]
interface = "eth0"
vrid = 51
vmac = false
peers = ["10.16.1.2", "10.16.2.2"]
peer_ttl = 254
addresses = ["10.16.1.200/24"]
[[router]]
interface = "eth0"
vrid = 52
vmac = false
addresses = ["10.16.1.201"]
`
	groups, err := ParseFile("f", []byte(both), "")
	if err != nil {
		t.Fatal(err)
	}
	a, b := groups[0].Routers[0], groups[0].Routers[1]
	if !a.NoVMAC || a.Name != "eth0" || len(a.Peers) != 2 || a.PeerTTL != 254 || a.Addresses[0].Bits() != 24 {
		t.Errorf("%+v", a)
	}
	if !b.NoVMAC || b.Name != "eth0" || len(b.Peers) != 0 || b.PeerTTL != 0 {
		t.Errorf("%+v", b)
	}
	for what, want := range map[string]string{
		`name = "vrrp51"`:         "f:5: name vrrp51: with vmac = false there is no interface to be named",
		`accept = false`:          "accept = false: with vmac = false the addresses are on eth0 itself",
		`peers = ["2001:db8::1"]`: "f:5: peer 2001:db8::1: the virtual addresses are of IPv4",
		`peers = ["x"]`:           "peers x: not an IP address",
	} {
		text := "\n\n\n\n[[router]]\ninterface = \"eth0\"\nvrid = 51\nvmac = false\naddresses = [\"10.16.1.200\"]\n" + what + "\n"
		if _, err := ParseFile("f", []byte(text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
}
