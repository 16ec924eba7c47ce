package acceptance

import (
	"fmt"
	"syscall"
	"testing"

	"vrrpd/internal/netlab"
)

// Two groups on one card, each in a run directory of its own: whoever leaves first,
// in order or not, takes nothing from the other, and the last one restores the card.
func TestTwoRunDirectories(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	check(t, r.SetSysctl("net/ipv4/conf/eth0/arp_announce", "1"))
	for _, dir := range []string{runDir, "/run/other"} {
		check(t, r.WriteFile(dir+"/.keep", netlab.File{}))
	}
	before := r.machine()
	lines := [2]string{
		"vrrpd -i eth0 -v 51 10.16.1.200 -d 0.1",
		"vrrpd -i eth0 -v 53 10.16.1.203 -d 0.1 -f /run/other",
	}
	pids := [2]string{runDir + "/eth0-51.pid", "/run/other/eth0-53.pid"}
	needed := func() {
		t.Helper()
		for key, want := range map[string]string{"arp_ignore": "1", "arp_announce": "2"} {
			if got, err := r.Sysctl("net/ipv4/conf/eth0/" + key); err != nil || got != want {
				t.Errorf("%s of eth0 is %q (%v) while it is needed, want %q", key, got, err, want)
			}
		}
	}
	end := func(n int, sig syscall.Signal, left int) {
		t.Helper()
		if got := r.typed(fmt.Sprintf("kill -%d $(cat %s)", sig, pids[n])); got.Code != 0 {
			t.Fatalf("%+v", got)
		}
		r.waitProcesses(left)
	}
	for _, c := range []struct {
		name  string
		first int
		sig   syscall.Signal
	}{{"the first leaves", 0, syscall.SIGTERM}, {"the second leaves", 1, syscall.SIGTERM}, {"the first dies", 0, syscall.SIGKILL}, {"the second dies", 1, syscall.SIGKILL}} {
		for _, line := range lines {
			r.startLine(line)
		}
		needed()
		end(c.first, c.sig, 1)
		needed()
		if c.sig == syscall.SIGKILL {
			if got := r.typed(lines[c.first] + " --release"); got.Code != 0 {
				t.Errorf("--release: %+v", got)
			}
			needed()
		}
		end(1-c.first, syscall.SIGTERM, 0)
		before.same(t, c.name, r.machine())
	}
}

// What a dead instance has left and another one of another run directory has taken up
// is that one's: whoever cleans up after the dead neither touches it nor says
// priority 0 in its place.
func TestTwoRunDirectories_TakenUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	const other = "/run/other"
	for _, dir := range []string{runDir, other} {
		check(t, r.WriteFile(dir+"/.keep", netlab.File{}))
	}
	before := r.machine()
	const line = "vrrpd -i eth0 -v 51 10.16.1.200 -d 0.3"
	r.startLine(line)
	r.waitServing(lanA)
	if got := r.typed("kill -9 $(cat " + runDir + "/eth0-51.pid)"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	r.waitProcesses(0)
	r.startLine(line + " -f " + other)
	r.waitServing(lanA)
	k, err := r.Link("vrrp51")
	check(t, err)
	sn := r.sniff(lanA, netlab.MatchAdverts())
	r.waitAdverts(sn, 1)
	for _, command := range []string{"vrrpd --release", line + " --release"} {
		if got := r.typed(command); got.Code != 0 {
			t.Errorf("%s: %+v", command, got)
		}
	}
	r.waitAdverts(sn, 3)
	for _, f := range sn.Frames(0) {
		if a, ok := f.Advert(); ok && a.Priority == 0 {
			t.Errorf("somebody has resigned: %v", a)
		}
	}
	if now, err := r.Link("vrrp51"); err != nil || now.Index != k.Index || !serving(lanA)(now) {
		t.Errorf("vrrp51 was %+v, and is %+v, %v", k, now, err)
	}
	if got := r.typed("kill $(cat " + other + "/eth0-51.pid)"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	r.waitProcesses(0)
	before.same(t, "both have gone", r.machine())
}
