package config

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Every kind of check, with what is left open and what is not.
func TestChecksOfAFile(t *testing.T) {
	groups := parseFile(t, small+`
[[check]]
name = "gateway"
interface = "eth0"
address = ["10.16.1.254", "10.16.1.3"]

[[check]]
name = "six"
interface = "eth0"
address = "fe80::1"
weight = -60
interval = 0.5
timeout = 0.2
rise = 4
fall = 5

[[check]]
name = "web"
command = '/bin/check "a b"'
user = "nobody"
weight = 20

[[check]]
name = "list"
command = ["/bin/sh", "-c", "a | b; $c"]

[[check]]
name = "uplink"
interface = "eth2"

[[check]]
name = "named"
process = "named"
pid_file = "/run/named.pid"
fall = 3
`)
	second := time.Second
	want := []HealthCheck{
		{Name: "gateway", Interval: second, Rise: 2, Fall: 3, Interface: "eth0", Addresses: []netip.Addr{netip.MustParseAddr("10.16.1.254"), netip.MustParseAddr("10.16.1.3")}},
		{Name: "six", Weight: -60, Interval: second / 2, Timeout: second / 5, Rise: 4, Fall: 5, Interface: "eth0", Addresses: []netip.Addr{netip.MustParseAddr("fe80::1")}},
		{Name: "web", Weight: 20, Interval: second, Rise: 2, Fall: 3, User: "nobody", Command: Command{Line: `/bin/check "a b"`, Argv: []string{"/bin/check", "a b"}}},
		{Name: "list", Interval: second, Rise: 2, Fall: 3, Command: Command{Line: "/bin/sh -c a | b; $c", Argv: []string{"/bin/sh", "-c", "a | b; $c"}}},
		{Name: "uplink", Interval: second, Rise: 1, Fall: 1, Interface: "eth2"},
		{Name: "named", Interval: second, Rise: 1, Fall: 3, Process: "named", PIDFile: "/run/named.pid"},
	}
	got := groups[0].Checks
	if len(got) != len(want) {
		t.Fatalf("%d checks", len(got))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
	plan := strings.Join(Plan(groups), "\n")
	for _, line := range []string{
		"check gateway: 10.16.1.254, 10.16.1.3 on eth0, holds the machine while it fails",
		"check six: fe80::1 on eth0, takes 60 from the priority while it fails",
		`check web: /bin/check "a b", adds 20 to the priority while it passes`,
		"check uplink: carrier of eth2, holds", "check named: process named of /run/named.pid, holds",
	} {
		if !strings.Contains(plan, line) {
			t.Errorf("%q is not in the plan\n%s", line, plan)
		}
	}
	if w := Warnings(groups); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

// A check is of the group that it names, and of the default one otherwise.
func TestChecksOfGroups(t *testing.T) {
	groups := parseFile(t, `[group.dmz]
[[router]]
interface = "eth0"
vrid = 1
addresses = ["10.0.0.1"]
group = "dmz"
[[router]]
interface = "eth1"
vrid = 1
addresses = ["10.0.1.1"]
name = "vrrp1b"
[[check]]
name = "a"
interface = "eth2"
group = "dmz"
[[check]]
name = "a"
interface = "eth3"
`)
	for _, g := range groups {
		want := map[string]string{"dmz": "eth2", "machine": "eth3"}[g.Group]
		if len(g.Checks) != 1 || g.Checks[0].Interface != want {
			t.Errorf("group %s: %+v", g.Group, g.Checks)
		}
	}
}

func TestChecksAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"[check]\nname = 1":         ":12: check is a table of its own",
		"[[check]]\n":               ":12: a check needs a name",
		"[[check]]\nname = \"a\"\n": ":12: check a watches nothing",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nprocess = \"b\"":                           ":12: check a watches several things",
		"[[check]]\nname = \"a\"\naddress = \"192.0.2.1\"":                                         ":12: check a: address needs interface",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nuser = \"nobody\"":                         ":12: check a: user is for",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\ntimeout = 1":                               ":12: check a: timeout is for",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nweight = 0":                                ":15: weight 0: -253 to -1, or 1 to 253; without",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nweight = -254":                             ":15: weight -254",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nweight = 2.5":                              ":15: weight 2.5",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\ninterval = 0.05":                           ":15: interval 0.05: a number of seconds from 0.1 to 3600",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nrise = 0":                                  ":15: rise 0: 1 to 1000",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\npriority = 3":                              ":15: unknown key priority",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\nwieght = 3":                                ":15: unknown key wieght; did you mean weight?",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\ngroup = \"b\"":                             ":15: group b: there is no [group.b]",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\ngroup = 7":                                 ":15: group: a string is needed",
		"[[check]]\nname = \"a\"\ncommand = \"a; b\"":                                              ":14: command \"a; b\": ; & | < > outside quotes would need a shell",
		"[[check]]\nname = \"a\"\ncommand = []":                                                    ":14: command: the list begins with a program",
		"[[check]]\nname = \"a\"\ncommand = [\"bin/a\"]":                                           ":14: command bin/a: commands run in /",
		"[[check]]\nname = \"a\"\ncommand = [1]":                                                   ":14: command: a value of type string, or array of strings",
		"[[check]]\nname = \"a\"\nprocess = \"sbin/named\"":                                        ":14: process sbin/named: give the name",
		"[[check]]\nname = \"a\"\npid_file = \"named.pid\"":                                        ":14: pid_file named.pid: an absolute path",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\naddress = \"192.0.2.1/24\"":                ":15: address 192.0.2.1/24: an IP address without a length",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\naddress = \"224.0.0.1\"":                   ":12: check a: 224.0.0.1 is not the address of a machine",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\naddress = \"fe80::1%eth2\"":                "is not the address of a machine",
		"[[check]]\nname = \"a\"\ninterface = \"eth2\"\naddress = [\"192.0.2.1\", \"fe80::1\"]":    "IPv4 and IPv6 addresses need a [[check]] each",
		"[[check]]\nname = \"a\"\ninterface = \"eth0\"\naddress = [\"10.17.1.201\"]":               ":12: check a: 10.17.1.201 is a virtual address of vrrp52",
		"[[check]]\nname = \"a\"\ninterface = \"b\"\n[[check]]\nname = \"a\"\ninterface = \"c\"\n": ":15: check a: two checks of a group cannot share a name",
	} {
		_, err := ParseFile("f", []byte(small+text), "")
		var usage UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	_, err := ParseFile("f", []byte("[group.a]\n[[router]]\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"10.0.0.1\"]\ngroup = \"a\"\n[[check]]\nname = \"b\"\ninterface = \"c\"\n"), "")
	if err == nil || err.Error() != `f:7: group machine has no virtual router: say with group = "..." which one the check is about` {
		t.Error(err)
	}
}

func TestCheckWarnings(t *testing.T) {
	groups := parseFile(t, small+`
[[check]]
name = "gateway"
interface = "eth0"
address = "10.16.1.254"
timeout = 3
[[check]]
name = "eth1"
interface = "eth1"
`)
	got := strings.Join(Warnings(groups), "\n")
	for _, want := range []string{"if 10.16.1.254 itself fails, every machine", "timeout 3s is longer than interval 1s", "check eth1: eth1 carries virtual routers"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// Every key of a check is in the example, with a value that is right.
func TestExampleChecks(t *testing.T) {
	text := ExampleFile()
	for _, k := range checkKeys() {
		line := k.name + " = " + k.example + "\n"
		if !strings.Contains(text, "\n#"+line) {
			t.Errorf("%s is not in the example", k.name)
		}
		kind := "interface = \"eth2\"\n"
		switch k.name {
		case "command", "user":
			kind = "command = \"true\"\n"
		case "timeout":
			kind = "command = \"true\"\n"
		case "process", "pid_file":
			kind = ""
		}
		set := text + "\n[[check]]\n" + strings.Replace(strings.Replace("name = \"x\"\n"+kind, k.name+" =", "#", 1)+line, "#", "# ", 1)
		if _, err := ParseFile("example", []byte(set), ""); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}
