package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// scheduled are the scheduling policies of a process's threads, by how many have it, and
// the priorities of those with a real-time one. See proc_pid_stat(5).
func scheduled(t *testing.T, pid int) (policies map[string]int, priorities map[string]int) {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	check(t, err)
	policies, priorities = map[string]int{}, map[string]int{}
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(after)
		policies[f[38]]++
		if f[38] != "0" {
			priorities[f[37]]++
		}
	}
	return policies, priorities
}

// locked is how many kB of a process are locked in memory, and how many are there.
func locked(t *testing.T, pid int) (lck, rss int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch key {
		case "VmLck":
			lck = n
		case "VmRSS":
			rss = n
		}
	}
	return lck, rss
}

// calmDown gives a process the priority that everybody has who has asked for none.
func calmDown(t *testing.T, pid int) {
	t.Helper()
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte("0"), 0) // there need be no such file
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	check(t, err)
	for _, task := range all {
		if id, err := strconv.Atoi(task.Name()); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, 0) // it may have ended
		}
	}
}

// howScript writes down how it is scheduled and its limit for real-time threads.
const howScript = `#!/bin/sh
{ read stat < /proc/self/stat; set -- $stat; echo "policy ${41}"; grep "Max realtime timeout" /proc/self/limits; } > /run/how.new
mv /run/how.new /run/how
`

// With --realtime the threads that hear and speak, and no others, are real-time ones, and
// adverts keep time beside busy processors; with --lock-memory memory is locked, and not
// more of it in use. Scripts have neither. The other LAN is served without, at the same time.
func TestRealtime(t *testing.T) {
	s := newSite(t, options{})
	r := s.r1
	check(t, r.WriteFile("/etc/scripts/how.sh", netlab.File{Text: howScript, Mode: 0o755}))
	line := "vrrpd -i %s -v %d -d 0.01 -U /etc/scripts/how.sh %s "
	if got := r.typed(fmt.Sprintf(line, lanA.nic, lanA.vrid, lanA.vip) + "--realtime 5 --lock-memory --check"); got.Code != 0 {
		t.Skip("not to be had here: ", got.Stderr)
	}
	r.startLine(fmt.Sprintf(line, lanA.nic, lanA.vrid, lanA.vip) + "--realtime 5 --lock-memory")
	r.waitServing(lanA)
	var how string
	netlab.Eventually(t, patience, func() (bool, string) {
		how, _ = r.ReadFile("/run/how")
		return how != "", "the script has not run"
	})
	if f := strings.Fields(how); len(f) != 8 || f[1] != "0" || f[5] != "unlimited" {
		t.Errorf("the script is not like any other: %s", how)
	}
	r.startLine(fmt.Sprintf("vrrpd -i %s -v %d -d 0.01 %s", lanB.nic, lanB.vrid, lanB.vip))
	r.waitServing(lanB)

	pid := map[lan]int{lanA: r.daemon(lanA).PID, lanB: r.daemon(lanB).PID}
	// The loop, which hears and speaks.
	if policies, priorities := scheduled(t, pid[lanA]); policies["2"] != 1 || priorities["5"] != 1 || policies["0"] < 1 {
		t.Errorf("policies of the threads: %v, priorities %v; want one of SCHED_RR (2) with 5, and others", policies, priorities)
	}
	if policies, _ := scheduled(t, pid[lanB]); len(policies) != 1 || policies["0"] == 0 {
		t.Errorf("without the option: policies %v", policies)
	}
	lck, rss := locked(t, pid[lanA])
	otherLck, otherRSS := locked(t, pid[lanB])
	if lck == 0 || otherLck != 0 || rss > 2*otherRSS {
		t.Errorf("locked %d kB of which %d are there; without the option %d and %d", lck, rss, otherLck, otherRSS)
	}
	for _, l := range lans {
		want := l == lanA
		r.waitStatus(l, "what is in force is shown", func(st control.Status) bool {
			return (st.Realtime == 5) == want && st.MemoryLock == want
		})
	}
	if got := r.typed("atropos --state"); !strings.Contains(got.Stdout, "eth0-51 has real-time priority 5 and its memory locked.") {
		t.Errorf("atropos --state:\n%s", got.Stdout)
	}

	// More work than processors, and more important than the daemons, which are not in
	// the hurry that the tests are in otherwise.
	for _, id := range pid {
		calmDown(t, id)
	}
	for range 6 * runtime.NumCPU() {
		p, err := r.Start(netlab.Command{Path: "sh", Args: []string{"-c", "while :; do :; done"}})
		check(t, err)
		p.Hurry()
		defer p.Signal(syscall.SIGKILL)
	}
	// Both are measured in the same seconds. What is late on both is the machine's fault.
	sniffers := map[lan]*netlab.Sniffer{lanA: r.sniff(lanA, allAdverts), lanB: r.sniff(lanB, allAdverts)}
	const enough = 150
	netlab.Eventually(t, patience, func() (bool, string) {
		n := len(sniffers[lanA].Frames(0))
		return n >= enough, fmt.Sprintf("%d adverts", n)
	})
	late := map[lan]float64{}
	for l, sn := range sniffers {
		all := sn.Frames(0)
		n := 0
		for i, f := range all[1:] {
			if f.At.Sub(all[i].At) > 11*time.Millisecond {
				n++
			}
		}
		late[l] = float64(n) / float64(len(all)-1)
		t.Logf("%s: %d adverts, %.1f %% more than 1 ms late", l.nic, len(all), 100*late[l])
	}
	if late[lanB] < 0.05 {
		t.Log("the machine is not busy enough to tell the difference")
	}
	if late[lanA] > 0.02+late[lanB]/2 {
		t.Errorf("late: %.1f %% with --realtime, %.1f %% without", 100*late[lanA], 100*late[lanB])
	}
}

// What was asked for and cannot be had is an error at the start, with what to do, and
// nothing has changed.
func TestRealtime_Refused(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	before := s.r1.nics()
	self, err := os.Executable()
	check(t, err)
	for option, want := range map[string]string{
		"--realtime=5":  "vrrpd: --realtime 5: not permitted: run vrrpd as root, or give the service CAP_SYS_NICE (",
		"--lock-memory": "vrrpd: --lock-memory: not permitted, with a limit of 64 kB for locked memory: run vrrpd as root, or give the service CAP_IPC_LOCK (",
	} {
		line := fmt.Sprintf("ulimit -l 64; ulimit -r 0; %s=%s exec %s vrrpd -F -i eth0 -v 51 %s %s", toolEnv, toolOwnUser, self, option, lanA.vip)
		if got := s.r1.typed(line); got.Code != 1 || !strings.HasPrefix(got.Stderr, want) {
			t.Errorf("%s: exit %d, %s", option, got.Code, got.Stderr)
		}
	}
	before.same(t, "after vrrpd was refused", s.r1.nics())
}
