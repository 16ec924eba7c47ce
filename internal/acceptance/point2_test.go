package acceptance

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"vrrpd/internal/netlab"
)

// The manual's lines, as typed, on both machines: interval of a second, VRRP
// version 2, equal priorities.
func TestPoint2_ManualLines(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	adverts := map[*router][]*netlab.Sniffer{}
	for _, r := range s.routers() {
		for _, l := range lans {
			adverts[r] = append(adverts[r], r.sniff(l, netlab.MatchAdverts()))
			got := r.typed(l.manual())
			if got.Code != 0 || got.Stdout != "" || got.Stderr != "" {
				t.Fatalf("%s: %s: exit %d, %q, %q", r.Name(), l.manual(), got.Code, got.Stdout, got.Stderr)
			}
			// It has returned: the instance must be ready.
			if k, err := r.Link(l.vrrp()); err != nil || !k.Exists() || k.MAC != l.vmac() {
				t.Errorf("%s: %s has returned, and %s is %+v, %v", r.Name(), l.manual(), l.vrrp(), k, err)
			}
			inBackground(t, r, r.daemon(l))
		}
	}
	master, backup := s.elected()
	for _, l := range lans {
		if mac, err := s.host(l).Resolve(within(t, patience), "eth0", l.vip); err != nil || mac != l.vmac() {
			t.Errorf("%v is at %v, %v", l.vip, mac, err)
		}
		f := master.waitAdvert(adverts[master][l.index()], 0, "speaks", func(a netlab.Advert) bool { return a.Priority != 0 })
		a, _ := f.Advert()
		want := netlab.Advert{Version: 2, VRID: l.vrid, Priority: 100, TTL: 255, SrcMAC: l.vmac(), Src: master.own(l).Addr(), Dst: a.Dst, VIPs: a.VIPs, Interval: 1e9}
		if fmt.Sprint(a) != fmt.Sprint(want) || a.Interval != want.Interval || a.TTL != 255 || len(a.VIPs) != 1 || a.VIPs[0] != l.vip || a.Dst.String() != "224.0.0.18" {
			t.Errorf("%s on %s: advert %+v, want %+v", master.Name(), l.nic, a, want)
		}
	}
	if _, err := s.client.Ping(within(t, patience), s.address(s.server)); err != nil {
		t.Errorf("client to server through the virtual router: %v", err)
	}
	t.Logf("%s is MASTER, %s BACKUP", master.Name(), backup.Name())
	s.neverSplit()
}

// inBackground checks that a process has left whoever started it.
func inBackground(t *testing.T, r *router, p netlab.Process) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	check(t, err)
	// "pid (name) state ppid pgrp session tty ..."
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if parent := fmt.Sprint(r.PID()); f[1] != parent {
		t.Errorf("%s: its parent is %s, want the host's first process %s", p.Args, f[1], parent)
	}
	if session := fmt.Sprint(p.PID); f[3] != session || f[4] != "0" {
		t.Errorf("%s: session %s, terminal %s, want a session of its own (%s) without one", p.Args, f[3], f[4], session)
	}
	for fd := range 3 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.PID, fd)); err != nil || to != "/dev/null" {
			t.Errorf("%s: descriptor %d is %s, %v", p.Args, fd, to, err)
		}
	}
	if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID)); err != nil || dir != "/" {
		t.Errorf("%s: it keeps the directory %s busy, %v", p.Args, dir, err)
	}
}

// Who stays in the foreground: -F, NOTIFY_SOCKET, SYSTEMD_EXEC_PID with its own
// pid; and nobody else.
func TestPoint2_Foreground(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	const line = "vrrpd -i eth0 -v 51 10.16.1.200 -d 0.1"
	for _, c := range []struct {
		name, line string
		env        []string
		background bool
	}{
		{name: "option F", line: line + " -F"},
		{name: "option foreground", line: line + " --foreground"},
		{name: "NOTIFY_SOCKET", line: line, env: []string{"NOTIFY_SOCKET=/run/nobody-listens"}},
		{name: "SYSTEMD_EXEC_PID is its own", line: "SYSTEMD_EXEC_PID=$$ exec " + line},
		{name: "SYSTEMD_EXEC_PID is another's", line: line, env: []string{"SYSTEMD_EXEC_PID=1"}, background: true},
		{name: "INVOCATION_ID as cron inherits it", line: line, env: []string{"INVOCATION_ID=0123456789abcdef0123456789abcdef"}, background: true},
		{name: "in the directory of a script", line: "cd /etc/scripts && " + line, background: true},
	} {
		p, err := s.r1.Start(netlab.Command{Path: "sh", Args: []string{"-c", c.line}, Env: c.env})
		check(t, err)
		s.r1.waitServing(lanA)
		d := s.r1.daemon(lanA)
		if c.background {
			state, err := p.Wait(within(t, patience))
			if err != nil || state.ExitCode() != 0 {
				t.Errorf("%s: %v, %v: it should be in the background", c.name, state, err)
			}
			inBackground(t, s.r1, d)
		} else {
			select {
			case <-p.Done():
				t.Errorf("%s: it went to the background", c.name)
			default:
			}
			// The shell has become the program, or waits for it.
			if f, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.PID)); d.PID != p.PID() && !strings.Contains(string(f), fmt.Sprintf(") S %d ", p.PID())) {
				t.Errorf("%s: process %d was started, the daemon is %s, %v", c.name, p.PID(), f, err)
			}
		}
		check(t, d.Signal(syscall.SIGTERM))
		s.r1.waitProcesses(0)
		if !c.background {
			if state, err := p.Wait(within(t, patience)); err != nil || state.ExitCode() != 0 {
				t.Errorf("%s: stopped: %v, %v", c.name, state, err)
			}
		}
	}
}

// What cannot start in the background says so to whoever typed the line.
func TestPoint2_StartFailureIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.r1.startLine("vrrpd -i eth0 -v 51 10.16.1.200 -d 0.1")
	s.r1.waitServing(lanA) // from here on it changes nothing by itself
	what := []string{"link ", "addr ", "route ", "sysctl ", "file "}
	before := s.r1.snapshot(what...)
	for _, c := range []struct {
		line string
		code int
		says string
	}{
		{"vrrpd -i eth9 -v 52 10.17.1.200", 2, "eth9"},
		{"vrrpd -i eth0 -v 51 10.16.1.200 -d 0.1", 1, "eth0-51"},
		{"vrrpd -i eth0 -v 53 10.16.1.203 -f /proc/nowhere", 1, "/proc/nowhere"},
	} {
		got := s.r1.typed(c.line)
		if got.Code != c.code || got.Stdout != "" || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, c.says) {
			t.Errorf("%s: exit %d, want %d and one line about %s:\n%s%s", c.line, got.Code, c.code, c.says, got.Stdout, got.Stderr)
		}
		t.Logf("%s: exit %d: %s", c.line, got.Code, strings.TrimSpace(got.Stderr))
	}
	s.r1.waitProcesses(1)
	before.same(t, "three starts have failed", s.r1.snapshot(what...))
}
