// Package openswan_test runs the scripts of this folder against an ipsec command
// that records how it was called. What a real pluto makes of these calls is
// not tested here; README.md says so.
package openswan_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// record is an ipsec that writes its arguments to $CALLS, and answers
// "whack --trafficstatus" with $TRAFFIC.
const record = `#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
"whack --trafficstatus") printf '%s' "$TRAFFIC" ;;
esac
exit ${FAIL:-0}
`

// run runs a script as vrrpd would and returns the calls of ipsec.
func run(t *testing.T, script, settings string, env ...string) (calls []string, err error) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ipsec", record, 0o755)
	log := write("calls", "", 0o644)
	config := write("openswan", settings, 0o644)
	cmd := exec.Command("./" + script)
	cmd.Env = append([]string{
		"PATH=" + dir + ":" + os.Getenv("PATH"), "CALLS=" + log, "IPSEC_CONFIG=" + config,
		"VRRP_STATE=MASTER", "VRRP_INTERFACE=vrrp51", "VRRP_PARENT=eth0",
	}, env...)
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Logf("%s", out)
	}
	text, rerr := os.ReadFile(log)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), err
}

func expect(t *testing.T, calls []string, want ...string) {
	t.Helper()
	if strings.Join(calls, "\n") != strings.Join(want, "\n") {
		t.Errorf("ipsec was called with\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
	}
}

func TestMasterNetkey(t *testing.T) {
	calls, err := run(t, "MASTER.sh", "IPSEC_CONNS='one two'\n", `TRAFFIC=#2: "one", #3: "two",`)
	if err != nil {
		t.Error(err)
	}
	// The address must be listened on before a connection can use it.
	expect(t, calls, "whack --listen",
		"auto --up one", "whack --trafficstatus",
		"auto --up two", "whack --trafficstatus")
}

// Exit codes of ipsec lie: what counts is whether there is traffic status.
func TestMasterNetkeyBelievesTrafficOnly(t *testing.T) {
	if _, err := run(t, "MASTER.sh", "", "TRAFFIC="); err == nil {
		t.Error("a connection without traffic status was taken for up")
	}
	if _, err := run(t, "MASTER.sh", "IPSEC_CONNS=branch\n", `TRAFFIC=#2: "branch2",`); err == nil {
		t.Error("another connection's status was taken for this one's")
	}
}

func TestDownNetkey(t *testing.T) {
	calls, err := run(t, "DOWN.sh", "IPSEC_CONNS='one two'\n", "VRRP_STATE=BACKUP")
	if err != nil {
		t.Error(err)
	}
	expect(t, calls, "auto --down one", "auto --down two", "whack --listen")
}

func TestKLIPS(t *testing.T) {
	calls, err := run(t, "MASTER.sh", "IPSEC_STACK=klips\n")
	if err != nil {
		t.Error(err)
	}
	expect(t, calls, "setup start")
	calls, err = run(t, "DOWN.sh", "IPSEC_STACK=klips\n")
	if err != nil {
		t.Error(err)
	}
	expect(t, calls, "setup stop")
}

// Every vrrpd of the machine runs the scripts; the tunnel belongs to one.
func TestOtherRoutersLeaveTheTunnelAlone(t *testing.T) {
	for _, script := range []string{"MASTER.sh", "DOWN.sh"} {
		calls, err := run(t, script, "", "VRRP_INTERFACE=vrrp52")
		if err != nil || len(calls) != 0 {
			t.Errorf("%s for vrrp52 called ipsec: %q, %v", script, calls, err)
		}
	}
}

// The configuration files name the interface and the address that the manual's
// command line makes.
func TestConfigurationNamesTheRouter(t *testing.T) {
	for file, line := range map[string]string{
		"ipsec.conf.klips":  `interfaces="ipsec0=vrrp51"`,
		"ipsec.conf.netkey": "left=10.16.1.200",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for l := range strings.Lines(string(text)) {
			found = found || strings.TrimSpace(l) == line
		}
		if !found {
			t.Errorf("%s has no line %s", file, line)
		}
	}
}
