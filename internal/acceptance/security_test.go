package acceptance

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"vrrpd/internal/netlab"
)

// whoScript writes down who runs it and what it may do.
const whoScript = `exec >>/run/who; echo $VRRP_STATE $(id -u) $(id -g) $(id -G) $HOME; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status`

// who are the lines that whoScript has written, once it has run for a state.
func (r *router) who(state string) []string {
	r.site.t.Helper()
	var lines []string
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		text, _ := r.ReadFile("/run/who")
		_, text, found := strings.Cut(text, state+" ")
		lines = strings.Split(text, "\n")
		return found && len(lines) > 4, "the script has not run for " + state
	})
	return lines[:5]
}

// withoutRights checks who ran a script.
func withoutRights(t *testing.T, got []string, home string) {
	t.Helper()
	if want := fmt.Sprintf("%d %d %d %s", nobody, nobody, nobody, home); got[0] != want {
		t.Errorf("the script was run by %q, want %q", got[0], want)
	}
	for _, line := range got[1:] {
		if _, set, _ := strings.Cut(line, ":"); strings.Trim(set, "\t0") != "" {
			t.Errorf("the script has capabilities: %q", line)
		}
	}
}

// Scripts of a root daemon run as the user that was asked for; a user that does
// not exist is refused at the start.
func TestSecurity_ScriptUser(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{master: whoScript, down: whoScript})
	r := s.r1
	line := "vrrpd -i eth0 -v 51 -d 0.1 -U '/bin/sh /etc/scripts/who.sh' --script-user "
	check(t, r.WriteFile("/etc/scripts/who.sh", netlab.File{Text: whoScript, Mode: 0o755}))
	check(t, r.WriteFile("/run/who", netlab.File{Mode: 0o666}))
	got := r.typed(line + "nobdy " + lanA.vip.String())
	if got.Code != 2 || got.Stderr != "vrrpd: --script-user nobdy: there is no user nobdy on this machine\n" {
		t.Errorf("a user that does not exist: exit %d, %q", got.Code, got.Stderr)
	}
	r.startLine(line + "nobody " + lanA.vip.String())
	withoutRights(t, r.who("MASTER"), "/nonexistent")
	r.stop(lanA)
}

// vrrpd as a user of its own, with three capabilities: it does all that it does
// as root, its scripts do not have them, and it leaves the machine as it was.
func TestSecurity_OwnUser(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	before := r.nics()
	check(t, r.WriteFile("/etc/scripts/who.sh", netlab.File{Text: whoScript, Mode: 0o755}))
	check(t, r.WriteFile("/run/who", netlab.File{Mode: 0o666}))
	// As RuntimeDirectory= does.
	if got := r.typed(fmt.Sprintf("mkdir -m 755 %[1]s && chown %[2]d:%[2]d %[1]s", runDir, nobody)); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	self, err := os.Executable()
	check(t, err)
	args := []string{"vrrpd", "-F", "-i", "eth0", "-v", "51", "-d", "0.1", "-U", "/bin/sh /etc/scripts/who.sh", lanA.vip.String()}
	_, err = r.Start(netlab.Command{Path: self, Args: args, Env: []string{toolEnv + "=" + toolOwnUser}})
	check(t, err)
	r.waitServing(lanA)
	if mac, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil || mac != lanA.vmac() {
		t.Errorf("%v is at %v, %v", lanA.vip, mac, err)
	}
	for key, want := range map[string]string{"eth0/arp_ignore": "1", "eth0/arp_announce": "2", "vrrp51/rp_filter": "2"} {
		if got, err := r.Sysctl("net/ipv4/conf/" + key); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %s", key, got, err, want)
		}
	}
	withoutRights(t, r.who("MASTER"), os.Getenv("HOME"))
	// Root may ask for what it wants, whoever the daemon is.
	if got := r.typed("atropos --reduce"); got.Code != 0 {
		t.Errorf("root: exit %d\n%s%s", got.Code, got.Stdout, got.Stderr)
	}
	r.signal(lanA, syscall.SIGTERM)
	r.waitProcesses(0)
	before.same(t, "after vrrpd of its own user has stopped", r.nics())
	for _, key := range []string{"arp_ignore", "arp_announce"} {
		if got, err := r.Sysctl("net/ipv4/conf/eth0/" + key); got != "0" || err != nil {
			t.Errorf("%s is left at %q, %v", key, got, err)
		}
	}
}

// A run directory that others could change, or that a link leads to, is refused
// with what to do, and nothing has changed.
func TestSecurity_RunDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	before := r.snapshot("link", "addr", "route")
	for _, c := range []struct{ prepare, want string }{
		{"mkdir -m 777 " + runDir, "vrrpd: join group: directory /run/vrrpd (mode 0777) is writable by others: chmod 755 it, or name another run directory with -f\n"},
		{"mkdir -m 775 " + runDir, "vrrpd: join group: directory /run/vrrpd (mode 0775) is writable by others: chmod 755 it, or name another run directory with -f\n"},
		{"mkdir -m 755 " + runDir + " && chown nobody " + runDir,
			"vrrpd: join group: directory /run/vrrpd belongs to user 65534, and this is user 0: remove it, or name another run directory with -f\n"},
		{"mkdir -m 755 /run/else && ln -s else " + runDir, "vrrpd: join group: directory /run/vrrpd is a symbolic link: remove it, or name the directory itself with -f\n"},
	} {
		if got := r.typed(c.prepare); got.Code != 0 {
			t.Fatal(got.Stderr)
		}
		got := r.typed(r.opts.line(1, lanA))
		if got.Code != 1 || got.Stderr != c.want {
			t.Errorf("%s: exit %d, %q, want %q", c.prepare, got.Code, got.Stderr, c.want)
		}
		if got := r.typed("rm -r " + runDir); got.Code != 0 {
			t.Fatal(got.Stderr)
		}
	}
	before.same(t, "after what was refused", r.snapshot("link", "addr", "route"))
}
