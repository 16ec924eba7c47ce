package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func newHost(t *testing.T, opts HostOptions) *Host {
	t.Helper()
	return must[*Host](t)(ForTest(t).Host("h", opts))
}

func TestHostHasItsOwnFiles(t *testing.T) {
	const script = "/etc/scripts/MASTER.sh"
	lab := ForTest(t)
	files := map[string]File{script: {Text: "#!/bin/sh\necho master of $(cat /proc/sys/kernel/hostname)\n", Mode: 0o755}}
	r1 := must[*Host](t)(lab.Host("r1", HostOptions{Files: files}))
	r2 := must[*Host](t)(lab.Host("r2", HostOptions{}))
	check(t, r1.WriteFile("/run/vrrpd/x", File{Text: "1"}))

	got := must[Result](t)(r1.Run(within(t), Command{Path: "sh", Args: []string{"-c", script}}))
	if got.Stdout != "master of r1\n" || got.Code != 0 {
		t.Errorf("the script of r1 says %+v", got)
	}
	for _, path := range []string{script, "/run/vrrpd/x"} {
		if _, err := r2.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of r1 on r2: %v, want that it does not exist", path, err)
		}
	}
	// What the machine has in /etc is there, and stays as it is.
	machine, err := os.ReadFile("/etc/passwd")
	check(t, err)
	if text := must[string](t)(r1.ReadFile("/etc/passwd")); text != string(machine) {
		t.Error("the host does not see the machine's /etc/passwd")
	}
	check(t, r1.WriteFile("/etc/passwd", File{Text: "changed"}))
	if after, err := os.ReadFile("/etc/passwd"); err != nil || string(after) != string(machine) {
		t.Fatal("what a host writes to /etc reached the machine")
	}
	for _, path := range []string{"/usr/x", "/etc", "/run/../usr/x"} {
		if err := r1.WriteFile(path, File{}); err == nil {
			t.Errorf("%s was written, which is the machine's", path)
		}
	}
}

func TestHostHasItsOwnProcesses(t *testing.T) {
	h := newHost(t, HostOptions{})
	got := must[Result](t)(h.Run(within(t), Command{Path: "sh", Args: []string{"-c", "echo /proc/[0-9]* $$"}}))
	// The holder, and the shell itself.
	fields := strings.Fields(got.Stdout)
	own := fields[len(fields)-1]
	if want := []string{"/proc/1", "/proc/" + own}; !slices.Equal(fields[:len(fields)-1], want) {
		t.Errorf("processes seen on the host: %v, want %v", fields, want)
	}
}

func TestSysClassNetIsTheHosts(t *testing.T) {
	h := newHost(t, HostOptions{})
	got := must[Result](t)(h.Run(within(t), Command{Path: "sh", Args: []string{"-c", "echo /sys/class/net/*"}}))
	if got.Stdout != "/sys/class/net/lo\n" {
		t.Errorf("interfaces in /sys: %q, want lo only", got.Stdout)
	}
}

func TestSysctl(t *testing.T) {
	lab := ForTest(t)
	router := must[*Host](t)(lab.Host("router", HostOptions{Light: true}))
	host := must[*Host](t)(lab.Host("host", HostOptions{Light: true, NoForward: true}))
	const key = "net/ipv4/ip_forward"
	if v := must[string](t)(router.Sysctl(key)); v != "1" {
		t.Errorf("router: %s is %q", key, v)
	}
	if v := must[string](t)(host.Sysctl(key)); v != "0" {
		t.Errorf("host: %s is %q", key, v)
	}
	check(t, host.SetSysctl(key, "1"))
	if v := must[string](t)(host.Sysctl(key)); v != "1" {
		t.Errorf("%s set to 1 is %q", key, v)
	}
	if err := host.SetSysctl("kernel/panic", "0"); err == nil {
		t.Error("a sysctl that belongs to the machine was accepted")
	}
}

func TestDoEndsAsACallWould(t *testing.T) {
	h := newHost(t, HostOptions{})
	if err := h.Do(func() error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("error of f: %v", err)
	}
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "oops") {
				t.Errorf("recovered %v, want the panic of f", p)
			}
		}()
		_ = h.Do(func() error { panic("oops") })
	}()
	var after, deferred bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { deferred = true }()
		_ = h.Do(func() error { runtime.Goexit(); return nil }) // what FailNow does
		after = true
	})
	wg.Wait()
	if after || !deferred {
		t.Errorf("after Goexit in f the caller went on (%v) or did not run its deferred calls (%v)", after, deferred)
	}
}

func TestManyThreadsInHosts(t *testing.T) {
	// Each Do must be where it says, also when many are about and when the
	// process's first thread is among those they run on.
	lab := ForTest(t)
	var hosts []*Host
	for i := range 3 {
		h := must[*Host](t)(lab.Host(fmt.Sprintf("h%d", i), HostOptions{}))
		check(t, h.WriteFile("/run/name", File{Text: h.Name()}))
		hosts = append(hosts, h)
	}
	outside, err := os.Readlink("/proc/self/ns/net")
	check(t, err)
	var wg sync.WaitGroup
	for i := range 60 {
		h := hosts[i%len(hosts)]
		wg.Go(func() {
			err := h.Do(func() error {
				name, err := os.ReadFile("/run/name")
				if err == nil && string(name) != h.Name() {
					err = fmt.Errorf("in %s instead of %s", name, h.Name())
				}
				if c, cookieErr := netnsCookie(); cookieErr != nil || c != h.cookie {
					err = errors.Join(err, cookieErr, fmt.Errorf("in network %d instead of %d", c, h.cookie))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if now, err := os.Readlink("/proc/self/ns/net"); err != nil || now != outside {
		t.Errorf("the process moved from %s to %s (%v)", outside, now, err)
	}
}

func TestProcOutputAndExit(t *testing.T) {
	h := newHost(t, HostOptions{})
	var heard []string
	p := must[*Proc](t)(h.Start(Command{
		Path: "sh", Args: []string{"-c", "echo one; echo two >&2; echo $COLOUR; read line < /run/gate; printf last; exit 3"},
		Env:    []string{"COLOUR=blue"},
		OnLine: func(l Line) { heard = append(heard, l.Text) },
	}))
	line := must[Line](t)(p.WaitLine(within(t), func(l Line) bool { return l.Text == "blue" }))
	if line.Stderr || line.At.IsZero() {
		t.Errorf("line %+v", line)
	}
	state := must[*os.ProcessState](t)(p.Wait(within(t))) // there is no gate: the shell goes on
	if state.ExitCode() != 3 {
		t.Errorf("ended with %v, want exit code 3", state)
	}
	if p.Text(false) != "one\nblue\nlast\n" || !strings.HasPrefix(p.Text(true), "two\n") {
		t.Errorf("output %q, errors %q", p.Text(false), p.Text(true))
	}
	if len(heard) != len(p.Lines()) {
		t.Errorf("callback heard %q, lines are %v", heard, p.Lines())
	}
	if _, err := p.WaitLine(within(t), func(l Line) bool { return l.Text == "never" }); err == nil {
		t.Error("a line that was never written was found")
	}
	if _, err := h.Start(Command{Path: "no-such-program"}); err == nil {
		t.Error("a program that does not exist was started")
	}
}

func TestProcSignalAndDeadline(t *testing.T) {
	h := newHost(t, HostOptions{})
	p := must[*Proc](t)(h.Start(Command{Path: "sleep", Args: []string{"1000"}}))
	past, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Wait(past); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with a context that is over: %v", err)
	}
	check(t, p.Signal(unix.SIGTERM))
	if state := must[*os.ProcessState](t)(p.Wait(within(t))); !strings.Contains(state.String(), "terminated") {
		t.Errorf("ended with %v, want SIGTERM", state)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to a dead program: %v", err)
	}
}

// A daemon goes to the background, as vrrpd does without systemd, and keeps the
// standard output of its parent open.
const daemonize = "sleep 1000 & echo in the background"

func TestBackgroundDaemonIsFoundAndDies(t *testing.T) {
	lab := ForTest(t)
	h := must[*Host](t)(lab.Host("h", HostOptions{}))
	p := must[*Proc](t)(h.Start(Command{Path: "sh", Args: []string{"-c", daemonize}}))
	must[*os.ProcessState](t)(p.Wait(within(t)))
	if p.Text(false) != "in the background\n" {
		t.Errorf("output %q: Wait returned before it was read", p.Text(false))
	}
	found := findDaemon(t, h)
	if found.Own <= 1 || found.Own == found.PID {
		t.Fatalf("found %+v, want two different process ids", found)
	}
	daemon := must[int](t)(unix.PidfdOpen(found.PID, 0))
	defer unix.Close(daemon)
	if dead(t, daemon) {
		t.Fatal("the daemon is dead already")
	}
	check(t, lab.Close())
	if !dead(t, daemon) {
		t.Error("the daemon is alive after Close")
	}
	if err := found.Signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to a dead daemon: %v", err)
	}
}

func TestSignalToDaemon(t *testing.T) {
	h := newHost(t, HostOptions{})
	must[Result](t)(h.Run(within(t), Command{Path: "sh", Args: []string{"-c", daemonize}}))
	check(t, findDaemon(t, h).Signal(unix.SIGKILL))
	Eventually(t, limit, func() (bool, string) {
		left, err := h.Processes()
		return err == nil && len(left) == 0, fmt.Sprintf("%+v %v", left, err)
	})
}

// crowd makes the test binary a program of many threads that holds a lock.
const crowd = "crowd"

func beCrowd(path string) int {
	f, err := os.Create(path)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	// Whoever closes a packet socket waits for the kernel: dying takes a while.
	var ready sync.WaitGroup
	for range 16 {
		if _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x0300); err != nil {
			fmt.Println(err)
			return 1
		}
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			_ = unix.Pause()
		}()
	}
	ready.Wait()
	fmt.Println("locked")
	select {}
}

// What was killed is listed until its locks are free: many threads hold its files,
// and the first one is a zombie long before the last has let go of them.
func TestDyingProcessIsListed(t *testing.T) {
	h := newHost(t, HostOptions{})
	self := must[string](t)(os.Executable())
	const lock = "/run/lock"
	for n := range 10 {
		p := must[*Proc](t)(h.Start(Command{Path: self, Args: []string{lock}, Env: []string{victimEnv + "=" + crowd}}))
		must[Line](t)(p.WaitLine(within(t), func(l Line) bool { return l.Text == "locked" }))
		check(t, p.Signal(unix.SIGKILL))
		for {
			left := must[[]Process](t)(h.Find(filepath.Base(self)))
			if len(left) == 0 {
				break
			}
		}
		check(t, h.Do(func() error {
			f, err := os.Open(lock)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				return fmt.Errorf("process %d is not listed any more and holds its lock: %w", n, err)
			}
			return nil
		}))
	}
}

// findDaemon waits until the shell's child has become what it wants to be.
func findDaemon(t *testing.T, h *Host) Process {
	t.Helper()
	var found []Process
	Eventually(t, limit, func() (bool, string) {
		var err error
		found, err = h.Find("sleep")
		return err == nil && len(found) == 1, fmt.Sprintf("%+v %v", found, err)
	})
	return found[0]
}

// dead tells whether the process of a pidfd has ended.
func dead(t *testing.T, pidfd int) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	check(t, err)
	return n == 1
}

func TestPowerFailureOfAHost(t *testing.T) {
	lab := ForTest(t)
	h := must[*Host](t)(lab.Host("h", HostOptions{}))
	sw := must[*Switch](t)(lab.Switch("lan", SwitchOptions{}))
	cable := must[*Cable](t)(lab.Connect(h, "eth0", sw, CableOptions{}))
	p := must[*Proc](t)(h.Start(Command{Path: "sleep", Args: []string{"1000"}}))
	check(t, h.Close())
	select {
	case <-p.Done():
	default:
		t.Error("a program survived its host")
	}
	_, err := sw.WaitLink(within(t), cable.Port, func(l Link) bool { return !l.Exists() })
	check(t, err)
}

func TestWaitAddrAndLinkLog(t *testing.T) {
	h := newHost(t, HostOptions{Light: true})
	addr := netip.MustParsePrefix("192.0.2.1/32")
	log := must[*LinkLog](t)(h.StartLinkLog())
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "v0"
	done := make(chan error, 1)
	go func() {
		_, err := h.WaitAddr(context.WithoutCancel(within(t)), "v0", addr.Addr(), true)
		done <- err
	}()
	check(t, h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "v1"}))
	check(t, h.AddAddr("v0", addr))
	check(t, <-done)
	for _, name := range []string{"v0", "v1"} {
		link, err := h.Netlink().LinkByName(name)
		check(t, err)
		check(t, h.Netlink().LinkSetUp(link))
	}
	l := must[Link](t)(h.WaitLink(within(t), "v0", func(l Link) bool { return l.Carrier }))
	if !l.Up || !l.Has(addr.Addr()) || l.Kind != "veth" {
		t.Errorf("v0 is %+v", l)
	}
	check(t, h.DelAddr("v0", addr))
	must[Link](t)(h.WaitAddr(within(t), "v0", addr.Addr(), false))
	link, err := h.Netlink().LinkByName("v1")
	check(t, err)
	check(t, h.Netlink().LinkDel(link))
	must[Link](t)(h.WaitLink(within(t), "v0", func(l Link) bool { return !l.Exists() }))
	_, err = log.WaitFrom(within(t), 0, func(e LinkEvent) bool { return e.Link == "v0" && e.What == LinkGone })
	check(t, err)
	var got []string
	for _, e := range log.Events(0) {
		if e.Link == "v0" && (!e.Addr.IsValid() || e.Addr == addr) {
			got = append(got, string(e.What))
		}
	}
	// Between carrier and end the kernel may tell more than once that the
	// carrier went; what matters is that nothing is missing or out of order.
	want := []string{"appeared", "got address", "set up", "has carrier", "lost address", "is gone"}
	rest := slices.Clone(got)
	for _, w := range want {
		i := slices.Index(rest, w)
		if i < 0 {
			t.Fatalf("events of v0: %q, want %q in this order", got, want)
		}
		rest = rest[i+1:]
	}
}

func TestUnprivileged(t *testing.T) {
	err := onThread(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
		}
		return privileged()
	})
	if err == nil || !strings.Contains(err.Error(), "needs root") || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without capabilities: %v, want a line that says what is missing", err)
	}
}
