package realtime

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func policy(t *testing.T, id int) (policy, priority uint32) {
	t.Helper()
	a, err := unix.SchedGetAttr(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a.Policy, a.Priority
}

// threads prepares for threads with a priority, with a limit of spinning of its own, and
// leaves the process as it was.
func threads(t *testing.T, limit time.Duration) *Threads {
	t.Helper()
	if err := Try(3); err != nil {
		t.Skip(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &before); err != nil {
		t.Fatal(err)
	}
	strict := unix.Rlimit{Cur: uint64(limit / time.Microsecond), Max: before.Max}
	if err := setSpinning(strict); err != nil {
		t.Fatal(err)
	}
	procs := runtime.GOMAXPROCS(0)
	nice, err := niceness()
	if err != nil {
		t.Fatal(err)
	}
	all, err := NewThreads(3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tasks, _ := os.ReadDir("/proc/self/task")
		for _, task := range tasks {
			id, _ := strconv.Atoi(task.Name())
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, nice)
		}
		spinning.Lock()
		spinning.limited, spinning.favoured = false, false
		spinning.Unlock()
		runtime.GOMAXPROCS(procs)
		if err := setSpinning(before); err != nil {
			t.Error(err)
		}
	})
	return all
}

// A thread is real-time from Enter to leave, and what it starts is not.
func TestEnter(t *testing.T) {
	all := threads(t, time.Second)
	leave, err := all.Enter()
	if err != nil {
		t.Fatal(err)
	}
	id := unix.Gettid()
	if p, prio := policy(t, id); p != unix.SCHED_RR || prio != 3 {
		t.Errorf("entered: policy %d, priority %d", p, prio)
	}
	var child []byte
	if err := Starting(func() (err error) {
		child, err = exec.Command("cat", "/proc/self/stat", "/proc/self/limits").Output()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(child)); f[40] != "0" {
		t.Errorf("a process that the thread has started has policy %s", f[40])
	}
	if _, limit, _ := strings.Cut(string(child), "Max realtime timeout"); strings.Fields(limit)[0] != "1000000" {
		t.Errorf("its limit is not that of before: %s", limit)
	}
	leave()
	if p, _ := policy(t, id); p != unix.SCHED_NORMAL {
		t.Errorf("left: policy %d", p)
	}
}

// A thread that never waits loses its priority, as do the others, and that is told.
func TestSpinning(t *testing.T) {
	all := threads(t, 200*time.Millisecond)
	_ = all.Favour() // who may not has only more noise
	told := make(chan struct{}, 2)
	defer all.Watch(func() { told <- struct{}{} })()

	bell, err := NewBell(true)
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	other, otherLeft := make(chan int), make(chan struct{})
	go func() {
		leave, err := all.Enter()
		if err != nil {
			t.Error(err)
		}
		other <- unix.Gettid()
		for !over.Load() {
			bell.Wait(math.MaxInt64)
		}
		leave()
		close(otherLeft)
	}()
	id := <-other
	spinner := make(chan uint32)
	go func() {
		leave, err := all.Enter()
		if err != nil {
			t.Error(err)
		}
		for begin := time.Now(); time.Since(begin) < patience && all.Priority() != 0; {
		}
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
		}
		leave()
		spinner <- a.Policy
	}()
	if p := <-spinner; p != unix.SCHED_NORMAL {
		t.Errorf("the thread that took a processor for itself has policy %d", p)
	}
	if p, _ := policy(t, id); p != unix.SCHED_NORMAL {
		t.Errorf("another thread has policy %d", p)
	}
	select {
	case <-told:
	case <-time.After(patience):
		t.Error("nobody was told")
	}
	over.Store(true)
	bell.Ring()
	<-otherLeft
	if err := bell.Close(); err != nil {
		t.Error(err)
	}
	bell.Ring() // nobody's
	if leave, err := all.Enter(); err != nil {
		t.Error(err)
	} else {
		if p, _ := policy(t, unix.Gettid()); p != unix.SCHED_NORMAL {
			t.Errorf("a later thread has policy %d", p)
		}
		leave()
	}
}

// The other threads are favoured, those that are real-time and commands are not.
func TestFavour(t *testing.T) {
	before, err := niceness()
	if err != nil {
		t.Fatal(err)
	}
	all := threads(t, time.Second)
	if err := all.Favour(); err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if n, err := niceness(); n != favour || err != nil {
		t.Errorf("a thread has nice %d, %v", n, err)
	}
	var child []byte
	if err := Starting(func() (err error) {
		// The fork is on this thread, and nothing favours it meanwhile.
		if err := all.Favour(); err != nil {
			return err
		}
		child, err = exec.Command("cat", "/proc/self/stat").Output()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(child)); f[18] != strconv.Itoa(before) {
		t.Errorf("a command has nice %s, want %d", f[18], before)
	}
	if n, err := niceness(); n != favour || err != nil {
		t.Errorf("after a command a thread has nice %d, %v", n, err)
	}
	// A process of its own has the thread's until it is there, and what it starts has not.
	cmd := exec.Command("sh", "-c", "read line; exec cat /proc/self/stat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := Spawning(func() (int, error) {
		if n, err := niceness(); renices() && (n != favour || err != nil) {
			t.Errorf("a process is started with nice %d, %v", n, err)
		}
		err := cmd.Start()
		return cmd.Process.Pid, err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if f := strings.Fields(out.String()); len(f) < 19 || f[18] != strconv.Itoa(before) {
		t.Errorf("a process has nice %s, want %d", f, before)
	}
	if err := unfavour(cmd.Process.Pid, before); err != nil {
		t.Errorf("of a process that has ended: %v", err)
	}
}

// Nobody has asked.
func TestNone(t *testing.T) {
	all, err := NewThreads(0)
	if err != nil || all != nil || all.Priority() != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	leave, err := all.Enter()
	if err != nil {
		t.Fatal(err)
	}
	leave()
	all.Watch(nil)()
	if err := all.Favour(); err != nil {
		t.Error(err)
	}
}

// What the kernel's one word means, by what the machine looks like.
func TestRefusal(t *testing.T) {
	const v1 = "5:cpu,cpuacct:/system.slice/vrrpd.service\n0::/\n"
	for name, c := range map[string]struct {
		capable bool
		limit   uint64
		files   map[string]string
		want    string
	}{
		"no right": {false, 4, nil, "run vrrpd as root, or give the service CAP_SYS_NICE (CapabilityBoundingSet=, AmbientCapabilities=) or LimitRTPRIO=5"},
		"v1": {true, 0, map[string]string{
			"proc/self/cgroup": v1,
			"sys/fs/cgroup/cpu,cpuacct/system.slice/vrrpd.service/cpu.rt_runtime_us": "0\n",
		}, "the control group /system.slice/vrrpd.service has no time for real-time threads: write some microseconds of each second to /sys/fs/cgroup/cpu,cpuacct/system.slice/vrrpd.service/cpu.rt_runtime_us, or Slice=-.slice in the unit"},
		"v1 with time": {false, 5, map[string]string{
			"proc/self/cgroup": v1, "proc/self/status": "Name:\tvrrpd\nSeccomp:\t2\n",
			"sys/fs/cgroup/cpu,cpuacct/system.slice/vrrpd.service/cpu.rt_runtime_us": "1000\n",
		}, "a filter of system calls: RestrictRealtime=no in the unit, and no SystemCallFilter= without @resources"},
		"v2": {true, 0, map[string]string{
			"proc/self/cgroup": "0::/system.slice/vrrpd.service\n", "proc/sys/kernel/osrelease": "6.12.1\n", "proc/cmdline": "root=/dev/vda\n",
			"boot/config-6.12.1": "#\nCONFIG_RT_GROUP_SCHED=y\n",
		}, "this kernel gives real-time processors to the root of cgroup v2 only (CONFIG_RT_GROUP_SCHED), and vrrpd is in /system.slice/vrrpd.service: boot with rt_group_sched=0"},
		"v2 without groups": {true, 0, map[string]string{
			"proc/self/cgroup": "0::/system.slice/vrrpd.service\n", "proc/sys/kernel/osrelease": "6.12.1\n", "proc/cmdline": "root=/dev/vda rt_group_sched=0\n",
			"boot/config-6.12.1": "#\nCONFIG_RT_GROUP_SCHED=y\n",
		}, "the kernel, a security module or a container refuses it"},
	} {
		m := machine{root: t.TempDir(), may: func() (bool, uint64) { return c.capable, c.limit }}
		for file, text := range c.files {
			path := filepath.Join(m.root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.refusal(5); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
	if err := explain(5, unix.EINVAL); err.Error() != fmt.Sprintf("--realtime 5: sched_setattr: %v", unix.EINVAL) {
		t.Error(err)
	}
}
