package sysd

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func notifier(path string) *Notifier { return NewNotifier(path, slog.New(slog.DiscardHandler)) }

func TestNotifyOrder(t *testing.T) {
	r := listen(t, "")
	n := notifier(r.path)
	n.Status("one")
	n.Ready()
	n.Watchdog()
	n.Status("BACKUP of vrrp51 (eth0)")
	n.Watchdog()
	n.Errno(19)
	if got := r.rest(); got != nil {
		t.Fatalf("sent before Run: %q", got)
	}
	start(t, n.Run)
	if err := n.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	want := []string{"READY=1\nSTATUS=BACKUP of vrrp51 (eth0)\nERRNO=19\nWATCHDOG=1"}
	if got := r.rest(); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}

	// The same status again is no news, a WATCHDOG always is.
	n.Status("BACKUP of vrrp51 (eth0)")
	n.Watchdog()
	n.Flush(within(t))
	n.Watchdog()
	n.Flush(within(t))
	n.Status("two\nREADY=1")
	n.Stopping()
	n.Flush(within(t))
	want = []string{"WATCHDOG=1", "WATCHDOG=1", "STOPPING=1\nSTATUS=two READY=1"}
	got := strings.Join(r.rest(), "|")
	// Run may have sent status and STOPPING apart.
	got = strings.Replace(got, "STATUS=two READY=1|STOPPING=1", want[2], 1)
	if got != strings.Join(want, "|") {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestNotifyReload(t *testing.T) {
	r := listen(t, "")
	n := notifier(r.path)
	n.Ready()
	n.Reloading()
	n.Ready()
	n.Status("reloaded")
	start(t, n.Run)
	if err := n.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	got := r.rest()
	if len(got) != 2 || got[1] != "READY=1\nSTATUS=reloaded" {
		t.Fatalf("got %q", got)
	}
	m := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=(\d+)$`).FindStringSubmatch(got[0])
	if m == nil {
		t.Fatalf("got %q", got[0])
	}
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	usec, _ := strconv.ParseInt(m[1], 10, 64)
	if usec <= 0 || usec > now.Nano()/1000 {
		t.Errorf("MONOTONIC_USEC=%d is not in the past of %d", usec, now.Nano()/1000)
	}
}

// The loop goes on while the service manager does not read; what waits is one
// WATCHDOG and the latest status.
func TestNotifyBusyReceiver(t *testing.T) {
	r := listen(t, "")
	filler, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(filler)
	for unix.Sendto(filler, []byte("x"), 0, &unix.SockaddrUnix{Name: r.path}) == nil {
	}
	n := notifier(r.path)
	start(t, n.Run)
	for i := range 1000 {
		n.Status("status " + strconv.Itoa(i))
		n.Watchdog()
	}
	n.Ready()
	var got []string
	for !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "READY=1") }) {
		if b, _ := r.next(); string(b) != "x" {
			got = append(got, string(b))
		}
	}
	if err := n.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(append(got, r.rest()...), "\n")
	if !strings.Contains(all, "STATUS=status 999") {
		t.Errorf("the latest status is missing: %q", all)
	}
	if n := strings.Count(all, "WATCHDOG=1"); n < 1 || n > 3 {
		t.Errorf("%d WATCHDOG=1 for 1000 posts: %q", n, all)
	}
}

// A manager that was not there gets everything later, except an old WATCHDOG.
func TestNotifyManagerComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	n := notifier(path)
	start(t, n.Run)
	n.Ready()
	n.Status("early")
	n.Watchdog()
	if err := n.Flush(within(t)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Flush without a manager: %v", err)
	}
	r := listen(t, path)
	n.Errno(5)
	if err := n.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	// In one datagram or in two: the notifier may just have been about to try again.
	if got := strings.Join(r.rest(), "\n"); got != "READY=1\nSTATUS=early\nERRNO=5" {
		t.Errorf("got %q", got)
	}

	// It is replaced by another on the same path.
	r.conn.Close()
	os.Remove(path)
	r = listen(t, path)
	n.Watchdog()
	if err := n.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := r.rest(); !slices.Equal(got, []string{"WATCHDOG=1"}) {
		t.Errorf("after the manager was replaced: %q", got)
	}
}

func TestNotifyLeavesAtTheEnd(t *testing.T) {
	r := listen(t, "")
	n := notifier(r.path)
	stop := start(t, n.Run)
	n.Stopping()
	stop()
	if got := r.rest(); !slices.Equal(got, []string{"STOPPING=1"}) {
		t.Errorf("got %q", got)
	}
}

func TestNotifyNobody(t *testing.T) {
	n := notifier("")
	stop := start(t, n.Run)
	n.Ready()
	n.Status("x")
	n.Watchdog()
	n.Stopping()
	n.Reloading()
	n.Errno(1)
	if err := n.Flush(within(t)); err != nil || n.Enabled() {
		t.Errorf("Flush %v, enabled %v", err, n.Enabled())
	}
	stop()
}

func TestWatchdogPostDoesNotAllocate(t *testing.T) {
	n := notifier("/nowhere")
	if a := testing.AllocsPerRun(100, n.Watchdog); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func TestWatchdogInterval(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		bad       bool
	}{
		{"", "", 0, false},
		{"3000000", self, 3 * time.Second, false},
		{"3000000", "", 3 * time.Second, false},
		{"3000000", "1", 0, false},
		{"soon", self, 0, true},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		d, err := WatchdogInterval()
		if d != c.want || (err != nil) != c.bad {
			t.Errorf("%q/%q: %v, %v", c.usec, c.pid, d, err)
		}
	}
}
