package acceptance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

var reexecs = flag.Int("reexecs", 20, "how often the program is replaced")

// ownProgram is where the machines of these tests have a vrrpd of their own.
const ownProgram = "/run/bin/vrrpd"

// newVersion is that of another vrrpd.
const newVersion = "acceptance-test-2"

// otherProgram is that vrrpd, built once.
var otherProgram = sync.OnceValues(func() (string, error) {
	first, err := exec.LookPath("vrrpd")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(first), "other", "vrrpd") // which goes with the first
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+newVersion, "-o", path, "vrrpd/cmd/vrrpd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build another vrrpd: %w\n%s", err, out)
	}
	return path, nil
})

// install puts a program where the machine starts it from, as a package manager does;
// "": the one that is tested.
func (r *router) install(program string) {
	r.site.t.Helper()
	if program == "" {
		program = "$(command -v vrrpd)"
	}
	r.did("mkdir -p /run/bin; cp " + program + " /run/bin/new && chmod 755 /run/bin/new && mv /run/bin/new " + ownProgram)
}

func (r *router) did(line string) {
	r.site.t.Helper()
	if got := r.typed(line); got.Code != 0 {
		r.site.t.Fatalf("%s: %s: %d %s%s", r.Name(), line, got.Code, got.Stdout, got.Stderr)
	}
}

// reexec replaces the programs of the machine and returns what atropos says.
func (r *router) reexec(code int, words ...string) string {
	r.site.t.Helper()
	got := r.typed("atropos reexec")
	text := got.Stdout + got.Stderr
	if got.Code != code {
		r.site.t.Fatalf("%s: atropos reexec ends with %d: %s", r.Name(), got.Code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			r.site.t.Errorf("%s: atropos reexec says %q, want %q", r.Name(), text, w)
		}
	}
	return text
}

// ids are what a process must keep: its number, and how many descriptors it has.
type ids struct{ pid, descriptors int }

func (r *router) ids() map[int]ids {
	r.site.t.Helper()
	all, err := r.Find("vrrpd")
	check(r.site.t, err)
	out := map[int]ids{}
	for _, p := range all {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
		check(r.site.t, err)
		out[p.PID] = ids{p.PID, len(fds)}
	}
	return out
}

// standing is what a machine must keep.
type standing struct {
	epoch       uint64
	transitions int
	calls       int
	processes   map[int]ids
	sent        uint64
}

func (r *router) standing(status func() control.Status) standing {
	st := status()
	k := standing{epoch: st.Machine.Epoch, transitions: len(st.Transitions), processes: r.ids()}
	for _, l := range lans {
		k.calls += len(r.calls(l))
	}
	for _, v := range st.Routers {
		k.sent += v.Statistics.AdvertisementSent
	}
	return k
}

// stays checks that a machine is what it was. A descriptor more may be one that is
// being closed.
func (r *router) stays(was standing, status func() control.Status) (moved []string) {
	r.site.t.Helper()
	now := r.standing(status)
	if now.epoch != was.epoch || now.transitions != was.transitions {
		moved = append(moved, fmt.Sprintf("%s has changed its state: %+v", r.Name(), status().Transitions))
	}
	if now.calls != was.calls {
		moved = append(moved, fmt.Sprintf("%s has run %d commands", r.Name(), now.calls-was.calls))
	}
	if now.sent < was.sent {
		r.site.t.Errorf("%s has sent %d adverts and had sent %d", r.Name(), now.sent, was.sent)
	}
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		now := r.ids()
		for pid, p := range was.processes {
			if now[pid].pid != pid || now[pid].descriptors > p.descriptors+1 {
				return false, fmt.Sprintf("%s: processes %v, were %v", r.Name(), now, was.processes)
			}
		}
		return len(now) == len(was.processes), fmt.Sprintf("%s: processes %v, were %v", r.Name(), now, was.processes)
	})
	return moved
}

// The program of each process is replaced again and again, of the MASTER as well as of
// the BACKUP: nothing of what is sent through the virtual addresses is lost, no machine
// changes its state, no command is run, no advert is missed, and nothing is left over.
func TestReexecMovesNobody(t *testing.T) {
	for _, c := range []struct {
		interval string
		every    time.Duration
	}{{"1", time.Second}, {"0.1", 100 * time.Millisecond}} {
		t.Run(c.interval, func(t *testing.T) {
			onStage(t)
			reexecMovesNobody(t, c.interval, c.every)
		})
	}
}

// The same at the shortest interval, at which a process that stands still for 30 ms has
// lost its lease. So nothing else of these tests runs beside it.
func TestReexecSwiftly(t *testing.T) {
	reexecMovesNobody(t, "0.01", 10*time.Millisecond)
}

func reexecMovesNobody(t *testing.T, interval string, every time.Duration) {
	s := newSite(t, options{interval: interval, program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	sn := s.r1.sniff(lanA, netlab.MatchVRID(lanA.vrid))
	unexplained := 0
	for try := 1; ; try++ {
		var lost int
		var moved []string
		var gap, stall time.Duration
		quietly(t, func() { lost, moved, gap, stall = s.replaced(sn) })
		t.Logf("%d replacements of each of 4 processes: %d of the datagrams every 1 ms lost, the longest time between adverts every %v is %s, the client itself was late by up to %s",
			*reexecs, lost, every, ms(gap), ms(stall))
		if lost == 0 && len(moved) == 0 && gap < 2*every+30*time.Millisecond {
			return
		}
		// A stall of the machine that the tests run on says nothing, and one that the
		// client has not had itself is no rule.
		if stall < 8*time.Millisecond {
			unexplained++
		}
		if try == 6 || unexplained == 2 {
			t.Fatalf("%d lost, a gap of %s; %v", lost, ms(gap), moved)
		}
		s.settled(s.r1, s.r2)
	}
}

// replaced replaces the programs so often, and returns what was lost, what has moved, and
// the longest time between two adverts of r1.
func (s *site) replaced(sn *netlab.Sniffer) (lost int, moved []string, gap, stall time.Duration) {
	s.t.Helper()
	of := func(r *router) func() control.Status { return func() control.Status { return r.status(lanA) } }
	was := map[*router]standing{}
	for _, r := range s.routers() {
		was[r] = r.standing(of(r))
	}
	mark := sn.Mark()
	got := s.journey(func(*netlab.Pinger) {
		for range *reexecs {
			for _, r := range s.routers() {
				r.reexec(0, "binary replaced: version "+version+" -> "+version)
			}
		}
	})
	for _, r := range s.routers() {
		moved = append(moved, r.stays(was[r], of(r))...)
	}
	var last time.Time
	for _, f := range sn.Frames(mark) {
		if a, ok := f.Advert(); !ok || a.Priority != 150 || f.Out {
			continue
		}
		if !last.IsZero() {
			gap = max(gap, f.At.Sub(last))
		}
		last = f.At
	}
	return got.Lost(), moved, gap, got.Stall()
}
