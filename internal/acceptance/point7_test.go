package acceptance

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

const alone = "vrrpd -i eth0 -v 51 10.16.1.200 -d 0.1"

// unit is a daemon that a service manager has started.
type unit struct {
	r      *router
	proc   *netlab.Proc
	notify *inbox
	// atReady is the state of vrrp51 when READY=1 arrived first.
	atReady chan netlab.Link
}

// startUnit starts a daemon as systemd does, with a watchdog of 0.4 s.
func (r *router) startUnit(line string) *unit {
	r.site.t.Helper()
	u := &unit{r: r, atReady: make(chan netlab.Link, 1)}
	u.notify = watch(r.site.t, r.Host, "/run/manager/notify", func(text string) {
		if !strings.Contains(text, "READY=1") {
			return
		}
		k, _ := r.Link("vrrp51") // none is what the test looks for
		select {
		case u.atReady <- k:
		default:
		}
	})
	p, err := r.Start(netlab.Command{
		Path: "sh", Args: []string{"-c", "WATCHDOG_PID=$$ exec " + line},
		Env: []string{"NOTIFY_SOCKET=/run/manager/notify", "WATCHDOG_USEC=400000"},
	})
	check(r.site.t, err)
	u.proc = p
	return u
}

// letter waits for a notification with the line, from mark on.
func (u *unit) letter(mark int, line string) letter {
	u.r.site.t.Helper()
	return u.notify.waitFor(u.r.site.t, mark, line, func(text string) bool {
		return slices.Contains(strings.Split(text, "\n"), line)
	})
}

// READY=1 when everything stands, STATUS= as people read it, RELOADING=1 and
// READY=1 on SIGHUP, STOPPING=1 when it goes.
func TestPoint7_Notify(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	u := s.r1.startUnit(alone)
	ready := u.letter(0, "READY=1")
	for _, l := range u.notify.letters(0) {
		if l.at.Before(ready.at) {
			t.Errorf("before READY=1 came %q", l.text)
		}
	}
	if k := <-u.atReady; !k.Exists() || k.MAC != lanA.vmac() {
		t.Errorf("READY=1 came before the interface stood: %+v", k)
	}
	if st, err := s.r1.tryStatus(lanA); err != nil || st.Machine.Phase == "INIT" {
		t.Errorf("ready, and the control socket says %+v, %v", st.Machine, err)
	}
	status := regexp.MustCompile(`(?m)^STATUS=(HELD \([a-z-]+\) for|BACKUP of|MASTER of) vrrp51 \(eth0\) since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(, master [0-9.]+)?$`)
	u.notify.waitFor(t, 0, "MASTER", containing("STATUS=MASTER of vrrp51 (eth0) since "))
	for _, l := range u.notify.letters(0) {
		if strings.Contains(l.text, "STATUS=") && !status.MatchString(l.text) {
			t.Errorf("odd status: %q", l.text)
		}
	}

	mark := u.notify.mark()
	check(t, u.proc.Signal(syscall.SIGHUP))
	reloading := u.letter(mark, "RELOADING=1")
	if !regexp.MustCompile(`(?m)^MONOTONIC_USEC=\d+$`).MatchString(reloading.text) {
		t.Errorf("reloading: %q", reloading.text)
	}
	u.letter(mark, "READY=1")

	mark = u.notify.mark()
	linkMark := s.r1.links.Mark()
	check(t, u.proc.Signal(syscall.SIGTERM))
	stopping := u.letter(mark, "STOPPING=1")
	if gone := s.r1.waitEvent(linkMark, "vrrp51", netlab.AddrGone, lanA.vip); gone.At.Before(stopping.at) {
		t.Errorf("the address went %v before STOPPING=1", stopping.at.Sub(gone.At))
	}
	if state, err := u.proc.Wait(within(t, patience)); err != nil || state.ExitCode() != 0 {
		t.Errorf("stopped: %v, %v", state, err)
	}
}

// WATCHDOG=1 comes from the loop: at least twice in each period, and not from a
// process that is stopped.
func TestPoint7_Watchdog(t *testing.T) {
	t.Parallel()
	const period = 400 * time.Millisecond
	s := newSite(t, options{})
	u := s.r1.startUnit(alone)
	var gaps []time.Duration
	last := u.letter(0, "WATCHDOG=1")
	mark := u.notify.mark()
	for range 8 {
		next := u.letter(mark, "WATCHDOG=1")
		gaps = append(gaps, next.at.Sub(last.at))
		last = next
		mark = slices.IndexFunc(u.notify.letters(0), func(l letter) bool { return l == next }) + 1
	}
	slices.Sort(gaps)
	t.Logf("WATCHDOG=1 every %v", gaps)
	// One gap may be a stall of the machine that the test runs on.
	if half := gaps[len(gaps)/2]; half > period/2+20*time.Millisecond || gaps[len(gaps)-2] > period {
		t.Errorf("WATCHDOG=1 after %v, want every %v", gaps, period/2)
	}

	check(t, u.proc.Signal(syscall.SIGSTOP))
	// Another machine measures the time: ten of its adverts are a second.
	s.r2.startLine(alone)
	s.r2.waitServing(lanA)
	mark = u.notify.mark()
	s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 10)
	if l := u.notify.letters(mark); len(l) > 0 {
		t.Errorf("a process that is stopped says %+v", l)
	}
	check(t, u.proc.Signal(syscall.SIGCONT))
	u.letter(mark, "WATCHDOG=1")

	// A watchdog that is meant for another process is not fed.
	p, err := s.r1.Start(netlab.Command{Path: "vrrpd", Args: strings.Fields("-i eth1 -v 52 10.17.1.200 -d 0.1"), Env: []string{
		"NOTIFY_SOCKET=/run/other", "WATCHDOG_USEC=100000", "WATCHDOG_PID=1"}})
	check(t, err)
	other := listen(t, s.r1.Host, "/run/other")
	s.r1.waitServing(lanB)
	check(t, p.Signal(syscall.SIGTERM))
	other.waitFor(t, 0, "STOPPING=1", containing("STOPPING=1"))
	for _, l := range other.letters(0) {
		if strings.Contains(l.text, "WATCHDOG") {
			t.Errorf("fed another's watchdog: %q", l.text)
		}
	}
}

// fields are those of a journal entry in the native protocol.
func fields(t *testing.T, entry string) map[string]string {
	t.Helper()
	f := map[string]string{}
	for line := range strings.Lines(entry) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, twice := f[key]; !ok || twice {
			t.Errorf("line %q of the entry %q", line, entry)
		}
		f[key] = value
	}
	return f
}

// Every transition is one journal entry with all of its fields, for a service
// and for a process in the background of a machine with journald.
func TestPoint7_Journal(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprintf("background %v", background), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			r := s.r1
			journal := listen(t, r.Host, "/run/systemd/journal/socket")
			if background {
				listen(t, r.Host, "/run/systemd/journal/dev-log")
				check(t, r.Do(func() error {
					if err := os.Remove("/dev/log"); err != nil {
						return err
					}
					return os.Symlink("/run/systemd/journal/dev-log", "/dev/log")
				}))
				r.startAll()
			} else {
				for _, l := range lans {
					_, err := r.Start(netlab.Command{Path: "sh", Args: []string{"-c", toolLine(toolJournal, r.opts.line(1, l), "-F")}})
					check(t, err)
				}
			}
			for _, l := range lans {
				r.waitServing(l)
			}
			s.r2.startAll()
			check(t, r.cable(lanB).Cut())
			s.settled(s.r2, r)
			check(t, r.cable(lanB).Plug())
			s.settled(r, s.r2)
			for _, l := range lans {
				checkJournal(t, r, l, journal)
			}
		})
	}
}

// messageID are those of docs and unit files; they never change.
var messageID = map[string]string{
	"MASTER": "d878058e34824189bed19b2156ebc43b",
	"BACKUP": "0c5c2ce041df4b76bf7aa656dbe8ed15",
	"HELD":   "4d4afb264d1b40e2b7490454f0912d7e",
}

func checkJournal(t *testing.T, r *router, l lan, journal *inbox) {
	t.Helper()
	// What the process itself counts as its transitions, at least the five of
	// this test: startup, recovered, promotion, link-down and so on.
	var history []control.Transition
	var entries []map[string]string
	netlab.Eventually(t, patience, func() (bool, string) {
		history, entries = r.status(l).Transitions, nil
		for _, letter := range journal.letters(0) {
			f := fields(t, letter.text)
			if f["VRRP_STATE"] != "" && f["VRRP_VRID"] == strconv.Itoa(int(l.vrid)) && f["VRRP_OLD_STATE"] != "" {
				entries = append(entries, f)
			}
		}
		return len(entries) >= len(history), fmt.Sprintf("%d entries for %d transitions", len(entries), len(history))
	})
	if len(entries) != len(history) || len(history) < 5 {
		t.Fatalf("%d entries for %d transitions:\n%v\n%+v", len(entries), len(history), entries, history)
	}
	for i, f := range entries {
		h := history[i]
		want := map[string]string{
			"MESSAGE_ID": messageID[h.To], "PRIORITY": "6", "SYSLOG_IDENTIFIER": "vrrpd",
			"VRRP_STATE": h.To, "VRRP_OLD_STATE": h.From, "VRRP_REASON": h.Reason, "VRRP_PEER": h.Peer,
			"VRRP_VRID": strconv.Itoa(int(l.vrid)), "VRRP_INTERFACE": l.vrrp(), "VRRP_PARENT": l.nic, "VRRP_PRIORITY": "150",
		}
		if h.Reason == "link-down" {
			want["PRIORITY"] = "4"
		}
		for key, value := range want {
			if got, there := f[key]; got != value || !there {
				t.Errorf("entry %d of %s: %s is %q, want %q: %v", i+1, l.vrrp(), key, got, value, f)
			}
		}
		if sentence := fmt.Sprintf("%s: %s -> %s: %s", l.vrrp(), h.From, h.To, h.Reason); !strings.HasPrefix(f["MESSAGE"], sentence) {
			t.Errorf("entry %d: %q, want %q", i+1, f["MESSAGE"], sentence)
		}
		if i > 0 && h.From != history[i-1].To {
			t.Errorf("after %s -> %s comes %s -> %s", history[i-1].From, history[i-1].To, h.From, h.To)
		}
	}
}

// Without systemd a process in the background writes to syslog, one in the
// foreground to stderr.
func TestPoint7_Elsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.r1.startLine(alone)
	sentence := regexp.MustCompile(`vrrp51: BACKUP -> MASTER: master-timeout .*vrid=51`)
	l := s.r1.syslog.waitFor(t, 0, "MASTER", sentence.MatchString)
	if !regexp.MustCompile(`^<30>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d vrrpd\[\d+\]: vrrp51: `).MatchString(l.text) {
		t.Errorf("syslog line: %q", l.text)
	}
	p, err := s.r2.Start(netlab.Command{Path: "vrrpd", Args: strings.Fields("-F -i eth1 -v 51 10.17.1.200 -d 0.1")})
	check(t, err)
	_, err = p.WaitLine(within(t, patience), func(l netlab.Line) bool { return l.Stderr && sentence.MatchString(l.Text) })
	check(t, err)
	if l := s.r2.syslog.letters(0); len(l) > 0 {
		t.Errorf("a process in the foreground wrote to syslog: %+v", l)
	}
}
