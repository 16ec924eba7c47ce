package acceptance

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// keyFile is where the tests keep keys on a machine.
const keyFile = "/etc/vrrpd-keys"

// The keys of two ids, as a line of a file of keys.
func keyLine(id int) string {
	return fmt.Sprintf("%d:0x%s", id, strings.Repeat(fmt.Sprintf("%02x", id), 32))
}

// keys writes a file of keys.
func (r *router) keys(lines ...string) {
	r.site.t.Helper()
	check(r.site.t, r.WriteFile(keyFile, netlab.File{Text: strings.Join(lines, "\n") + "\n", Mode: 0o600}))
}

// lone is the line of a daemon on LAN A that shares its state with no other process.
func lone(priority int, more string) string {
	return fmt.Sprintf("vrrpd -i %s -v %d -d 0.1 -p %d %s %s", lanA.nic, lanA.vrid, priority, lanA.vip, more)
}

// accepted waits until the process of LAN A has accepted more adverts.
func (r *router) accepted(more uint64) {
	r.site.t.Helper()
	before := r.status(lanA).Routers[0].Statistics.AdvertisementRcvd
	r.waitStatus(lanA, "adverts are accepted", func(s control.Status) bool {
		return s.Routers[0].Statistics.AdvertisementRcvd >= before+more
	})
}

// A rotation step by step, as keepalived's manual has it: nothing changes sides, and
// not one advert is dropped.
func TestHMACRotationWithoutAFlap(t *testing.T) {
	t.Parallel()
	s := newSite(t, calm)
	for _, r := range s.routers() {
		r.keys(keyLine(1))
	}
	s.r1.startLine(lone(150, "-a hmac/@"+keyFile))
	s.r1.waitServing(lanA)
	s.r2.startLine(lone(100, "-a hmac/@"+keyFile))
	s.r2.waitBackup(lanA)
	s.r2.waitStatus(lanA, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	epochs := [2]uint64{s.r1.status(lanA).Machine.Epoch, s.r2.status(lanA).Machine.Epoch}
	for _, step := range []struct {
		lines  []string
		active uint8
		keys   int
	}{
		{[]string{"*" + keyLine(1), keyLine(2)}, 1, 2},
		{[]string{keyLine(1), "*" + keyLine(2)}, 2, 2},
		{[]string{keyLine(2)}, 2, 1},
	} {
		for _, r := range s.routers() {
			r.keys(step.lines...)
			r.signal(lanA, syscall.SIGHUP)
			r.waitStatus(lanA, "it has the keys", func(st control.Status) bool {
				a := st.Routers[0].Authentication
				return a.ActiveKey == step.active && len(a.Keys) == step.keys
			})
			s.r2.accepted(3) // beside a machine that is a step behind
		}
	}
	// A mistake in the file changes nothing.
	s.r1.keys("*" + keyLine(3) + "zz")
	mark := len(s.r1.syslog.texts())
	s.r1.signal(lanA, syscall.SIGHUP)
	netlab.Eventually(t, patience, func() (bool, string) {
		texts := s.r1.syslog.texts()[mark:]
		return strings.Contains(strings.Join(texts, "\n"), "the keys stay as they are"), fmt.Sprint(texts)
	})
	s.r2.accepted(3)
	for i, r := range s.routers() {
		st := r.status(lanA)
		if st.Machine.Epoch != epochs[i] {
			t.Errorf("%s has changed its state: %+v", r.Name(), st.Transitions)
		}
		if d := st.Routers[0].Statistics.Drops; len(d) != 0 {
			t.Errorf("%s has dropped %v", r.Name(), d)
		}
	}
}

// Whoever enforces hears nobody who does not sign, and says so once.
func TestHMACEnforceAgainstUnsigned(t *testing.T) {
	t.Parallel()
	s := newSite(t, calm)
	s.r2.keys(keyLine(1))
	s.r1.startLine(lone(150, ""))
	s.r1.waitServing(lanA)
	s.r2.startLine(lone(100, "-a hmac/@"+keyFile))
	s.r2.waitServing(lanA)
	s.r2.waitStatus(lanA, "what it does not accept is counted", func(st control.Status) bool {
		return st.Routers[0].Statistics.AuthMissing >= 5
	})
	said := 0
	for _, text := range s.r2.syslog.texts() {
		if strings.Contains(text, "they are not signed") {
			said++
		}
	}
	// Once while it was BACKUP (and HELD before), and once as MASTER.
	if said < 1 || said > 4 {
		t.Errorf("said %d times:\n%s", said, strings.Join(s.r2.syslog.texts(), "\n"))
	}
	// Permissive is the way out: it follows the other machine.
	s.r2.signal(lanA, syscall.SIGTERM)
	s.r2.waitProcesses(0)
	s.r2.startLine(lone(100, "--auth-mode receive-only -a hmac/@"+keyFile))
	s.r2.accepted(5)
	s.r2.waitBackup(lanA)
	if st := s.r2.status(lanA).Routers[0].Statistics; st.AuthUnsigned == 0 || st.AuthMissing != 0 {
		t.Errorf("%+v", st)
	}
}

// Recorded adverts of a dead machine keep nobody from taking over, also not a machine
// that was restarted after it had heard them.
func TestHMACReplayAfterARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, calm)
	for _, r := range s.routers() {
		r.keys(keyLine(1))
	}
	// A window in which the recorded adverts are not merely too old.
	flags := "--auth-window 300 -a hmac/@" + keyFile
	sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
	s.r1.startLine(lone(150, flags))
	s.r1.waitServing(lanA)
	s.r2.startLine(lone(100, flags))
	s.r2.accepted(5)
	recorded := s.r1.waitAdverts(sn, 3)
	s.r2.accepted(2) // it has heard them
	for _, r := range s.routers() {
		r.signal(lanA, syscall.SIGKILL)
		r.waitProcesses(0)
		r.tells(fmt.Sprintf("vrrpd --release -i %s -v %d", lanA.nic, lanA.vrid), 0)
	}
	s.r2.startLine(lone(100, flags))
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	for i := range 30 {
		check(t, in.Send(recorded[i%len(recorded)].Data))
	}
	s.r2.waitStatus(lanA, "the recorded adverts are refused", func(st control.Status) bool {
		return st.Routers[0].Statistics.ReplayErrors >= 30
	})
	s.r2.waitServing(lanA)
	if st := s.r2.status(lanA).Routers[0].Statistics; st.AdvertisementRcvd != 0 {
		t.Errorf("accepted %d", st.AdvertisementRcvd)
	}
	// The other machine's new adverts are heard, from the first one on.
	s.r1.startLine(lone(150, flags))
	s.r1.waitServing(lanA)
	s.r2.waitBackup(lanA)
	if st := s.r2.status(lanA).Routers[0].Statistics; st.Drops["auth-replay"] != st.ReplayErrors || st.ReplayErrors != 30 || len(st.Drops) != 1 {
		t.Errorf("%+v", st)
	}
}

// A key that was typed on the command line is nowhere to be seen afterwards.
func TestKeysAreNotShown(t *testing.T) {
	t.Parallel()
	s := newSite(t, calm)
	const key = "hunt3r2hunt3r2hunt3r2hunt3r2hunt3r2"
	s.r2.startLine(lone(100, "-a hmac/7:"+key+"xx -a hmac/8:"+key+" --auth-active 7"))
	s.r1.startLine(lone(150, "-a hmac/8:"+key))
	s.r1.waitServing(lanA)
	s.r1.waitStatus(lanA, "it signs with the key", func(st control.Status) bool { return st.Routers[0].Authentication.ActiveKey == 8 })
	s.r2.accepted(2)
	s.r1.signal(lanA, syscall.SIGUSR1)
	pid := s.r1.daemon(lanA).Own
	shown := s.r1.typed(fmt.Sprintf("tr '\\0' ' ' < /proc/%d/cmdline", pid)).Stdout
	if want := strings.Repeat("x", len(key)); !strings.Contains(shown, "-a hmac/8:"+want) {
		t.Errorf("the list of processes shows %q", shown)
	}
	for _, line := range []string{
		fmt.Sprintf("cat /proc/%d/cmdline /proc/%d/environ", pid, pid),
		"cat /proc/[0-9]*/cmdline | grep -av grep",
		"atropos --state; atropos --state --json; atropos --why",
		"cat /run/vrrpd/*.auth /run/vrrpd/*.state /run/vrrpd/*.member /run/vrrpd/*.group /run/vrrpd/*.pid",
	} {
		if out := s.r1.typed(line); strings.Contains(out.Stdout+out.Stderr, "hunt3r2") {
			t.Errorf("%s shows the key:\n%s%s", line, out.Stdout, out.Stderr)
		}
	}
	for _, text := range s.r1.syslog.texts() {
		if strings.Contains(text, "hunt3r2") {
			t.Errorf("in the log: %s", text)
		}
	}
}

// A process that is killed cannot sign any more: its sibling says for it what it has
// signed in advance, and the peer takes that for news.
func TestHMACLastWordOfTheDead(t *testing.T) {
	t.Parallel()
	// Between the skew time (0.61 s) and the master-down interval (3.61 s) lies what
	// tells a priority 0 that was believed from one that was not.
	s := pair(t, options{interval: "1", flags: "-a hmac/1:0x" + strings.Repeat("5a", 32)})
	began := time.Now()
	s.r1.signal(lanA, syscall.SIGKILL)
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	took := time.Since(began)
	t.Logf("the peer serves both LANs after %s", ms(took))
	if took > 2500*time.Millisecond {
		t.Errorf("the peer serves both LANs only after %s", ms(took))
	}
	for _, l := range lans {
		if d := s.r2.status(l).Routers[0].Statistics.Drops; d["auth-stale"] != 0 || d["auth"] != 0 || d["auth-missing"] != 0 {
			t.Errorf("%s: dropped %v", l.vrrp(), d)
		}
	}
}
