package systemdtest

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two instances on a machine, as in the manual: they meet in /run/vrrpd, which
// belongs to both, and one's end, in order or not, is the other's business.
func TestGroup(t *testing.T) {
	t.Parallel()
	_, machines := newSiteWith(t, "h1")
	m := machines[0]
	began := time.Now()
	m.configure("lan", lanA.options("-M 2"))
	m.configure("wan", lanB.options("-M 2"))
	both := func(begins string) {
		t.Helper()
		m.waitStatus("vrrpd@lan", begins+" vrrp51 (host0) since ")
		m.waitStatus("vrrpd@wan", begins+" vrrp52 (host1) since ")
	}
	// One after the other, as systemctl start does with what is ordered: the
	// first must be ready without the second.
	m.sh("systemctl start vrrpd@lan && systemctl start vrrpd@wan")
	both("MASTER of")
	place := m.sh("stat -c %i /run/vrrpd")

	m.sh("systemctl stop vrrpd@wan")
	if now := m.sh("stat -c %i /run/vrrpd"); now != place {
		t.Errorf("/run/vrrpd was inode %sand is %s", place, now)
	}
	if out, err := m.try("atropos --state"); err != nil || !strings.Contains(out, "HELD") || strings.Contains(out, "vrrp52") {
		t.Errorf("after the stop of one of two: %v\n%s", err, out)
	}
	m.waitStatus("vrrpd@lan", "HELD (member-left) for vrrp51 (host0) since ")
	if m.holds(lanA) || m.holds(lanB) || m.link("vrrp52") != nil {
		t.Errorf("after the stop of one of two the machine serves: %v %v %v", m.holds(lanA), m.holds(lanB), m.link("vrrp52"))
	}
	m.sh("systemctl start vrrpd@wan")
	both("MASTER of")

	// The sibling and ExecStopPost clean up after the same corpse, without
	// getting in each other's way.
	at := m.process("vrrpd@wan").signal(syscall.SIGKILL)
	onA, onB := m.waitAdvert(lanA, at, resigning), m.waitAdvert(lanB, at, resigning)
	t.Logf("SIGKILL of one of two: priority 0 after %v on its sibling's LAN, after %v on its own", onA.At.Sub(at), onB.At.Sub(at))
	m.waitShow("vrrpd@wan", "NRestarts", func(v string) bool { return v == "1" })
	both("MASTER of")
	for _, l := range lans {
		for _, f := range m.adverts(l, at, at.Add(time.Second)) {
			if a, _ := f.Advert(); serving(a) && f.At.Sub(at) > 100*time.Millisecond {
				t.Errorf("%v after the death of one, %s carries %v", f.At.Sub(at), l.bridge, a)
			}
		}
	}
	if v := m.show("vrrpd@lan", "NRestarts"); v != "0" {
		t.Errorf("the survivor was restarted %s times", v)
	}

	m.sh("systemctl stop vrrpd@lan vrrpd@wan")
	for _, unit := range []string{"vrrpd@lan", "vrrpd@wan"} {
		if v := m.show(unit, "Result"); v != "success" {
			t.Errorf("systemctl stop of both: %s of %s", v, unit)
		}
	}
	if m.link("vrrp51") != nil || m.link("vrrp52") != nil {
		t.Error("systemctl stop of both leaves an interface")
	}
	if now := m.sh("stat -c %i /run/vrrpd"); now != place {
		t.Errorf("/run/vrrpd was inode %sand is %s", place, now)
	}
	m.quiet(t, began)
}
