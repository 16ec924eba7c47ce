package acceptance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// atropos runs atropos on the router and checks its exit code.
func (r *router) atropos(code int, args string) netlab.Result {
	r.site.t.Helper()
	got := r.typed("atropos " + args)
	if got.Code != code {
		r.site.t.Fatalf("atropos %s on %s: exit %d, want %d\n%s%s", args, r.Name(), got.Code, code, got.Stdout, got.Stderr)
	}
	return got
}

// view is what atropos --state --json says.
func (r *router) view(code int) control.View {
	r.site.t.Helper()
	var v control.View
	check(r.site.t, json.Unmarshal([]byte(r.atropos(code, "--state --json").Stdout), &v))
	return v
}

// Every spelling, both machines, for people and for programs.
func TestPoint6_State(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	for _, args := range []string{"--state", "-state", "state"} {
		for r, state := range map[*router]string{s.r1: "MASTER", s.r2: "BACKUP"} {
			got := r.atropos(0, args)
			for _, word := range []string{state + " since ", "vrrp51", "vrrp52", "eth0", "eth1", "10.16.1.200", "10.17.1.200"} {
				if !strings.Contains(got.Stdout, word) || got.Stderr != "" {
					t.Errorf("atropos %s on %s says nothing of %q:\n%s%s", args, r.Name(), word, got.Stdout, got.Stderr)
				}
			}
		}
	}
	t.Logf("\n%s", s.r1.atropos(0, "--state").Stdout)
	t.Logf("\n%s", s.r2.atropos(0, "--state").Stdout)
	s.r1.atropos(0, "is-master")
	s.r2.atropos(1, "is-master")
	for _, args := range []string{"--why", "-why", "why"} {
		if got := s.r1.atropos(0, args); !strings.Contains(got.Stdout, "BACKUP -> MASTER") {
			t.Errorf("atropos %s: %s", args, got.Stdout)
		}
	}

	// The names of RFC 8347, read without our own types.
	var v struct {
		Groups []struct {
			State   string           `json:"state"`
			Routers []map[string]any `json:"vrrp-instance"`
		} `json:"groups"`
	}
	check(t, json.Unmarshal([]byte(s.r2.atropos(0, "state --json").Stdout), &v))
	if len(v.Groups) != 1 || v.Groups[0].State != "BACKUP" || len(v.Groups[0].Routers) != 2 {
		t.Fatalf("one group of two virtual routers is wanted: %+v", v)
	}
	for i, l := range lans {
		got := v.Groups[0].Routers[i]
		for key, want := range map[string]any{
			"vrid": float64(l.vrid), "state": "backup", "priority": 100.0, "effective-priority": 100.0, "interface": l.vrrp(),
			"virtual-ipv4-addresses": []any{l.vip.String()}, "last-adv-source": s.r1.own(l).Addr().String(), "advertise-interval-centi-sec": 30.0,
		} {
			if fmt.Sprint(got[key]) != fmt.Sprint(want) {
				t.Errorf("%s of %s is %v, want %v", key, l.vrrp(), got[key], want)
			}
		}
	}
}

func TestPoint6_NobodyAndUsage(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	for _, args := range []string{"--state", "state --json", "-backup", "--hold", "--release", "reduce", "--increase", "--why", "--watch", "is-master"} {
		if got := s.r1.atropos(3, args); got.Stdout != "" || !strings.Contains(got.Stderr, runDir) && args != "is-master" {
			t.Errorf("atropos %s: %q, %q", args, got.Stdout, got.Stderr)
		}
	}
	for _, args := range []string{"", "--stat", "state backup", "--state -f"} {
		if got := s.r1.atropos(2, args); strings.Count(got.Stderr, "\n") != 1 || got.Stdout != "" {
			t.Errorf("atropos %s: %q, %q", args, got.Stdout, got.Stderr)
		}
	}
	for _, args := range []string{"--help", "-help", "help"} {
		if got := s.r1.atropos(0, args); !strings.Contains(got.Stdout, "--backup") {
			t.Errorf("atropos %s: %s", args, got.Stdout)
		}
	}
	for _, line := range []string{"atropos --version", "atropos -version", "vrrpd --version", "vrrpd -V"} {
		if got := s.r1.typed(line); got.Code != 0 || !strings.Contains(got.Stdout, version) {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if got := s.r1.typed("vrrpd -h"); got.Code != 0 || !strings.Contains(got.Stdout, "-M") || got.Stderr != "" {
		t.Errorf("vrrpd -h: %+v", got)
	}
}

// atropos --backup hands the whole machine over without a gap, and the state is
// not taken back by preemption; --release allows that again. If the other
// machine dies, this one takes over all the same.
func point6BackupWithSuccessor(t *testing.T) {
	onStage(t)
	s := pair(t, options{})
	// Three times: a stall of the machine that the test runs on is no packet lost
	// by the routers.
	var outages []time.Duration
	for n := range 3 {
		quietly(t, func() {
			during := s.journey(func(ping *netlab.Pinger) {
				if got := s.r1.atropos(0, "--backup"); !strings.Contains(got.Stdout, "successor") {
					t.Errorf("atropos --backup: %q %q", got.Stdout, got.Stderr)
				}
				s.settled(s.r2, s.r1)
				check(t, ping.WaitAnswer(within(t, patience), time.Now()))
			})
			t.Logf("hand-over %d: %d of %d pings lost, longest outage %v; the sender stalled for %s",
				n+1, during.Lost(), len(during.List), during.Longest(0), ms(during.Stall()))
			outages = append(outages, during.Longest(0).Length()-during.Stall())
		})
		s.r1.atropos(0, "release")
		s.settled(s.r1, s.r2)
	}
	slices.Sort(outages)
	// Until a guard lets the successor set up before it speaks, what arrives
	// between its first advert and its interface is lost: about a millisecond.
	if outages[1] > swift {
		t.Errorf("outages of %v, in the median more than %v", outages, swift)
	}

	s.r1.atropos(0, "-backup")
	s.settled(s.r2, s.r1)
	s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 12) // three master-down intervals
	s.settled(s.r2, s.r1)
	if v := s.r1.view(0); !v.Groups[0].Wishes.Soft || v.Groups[0].Phase != "BACKUP" {
		t.Errorf("after --backup: %+v", v.Groups[0].Machine)
	}
	s.r2.loosePower()
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	if v := s.r1.view(0); v.Groups[0].Wishes.Soft {
		t.Error("--backup outlived the promotion")
	}
}

func TestPoint6_BackupWithoutSuccessor(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.r1.startAll()
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	mark := s.r1.fence()
	if got := s.r1.atropos(1, "backup"); !strings.Contains(got.Stderr, "no successor") {
		t.Errorf("atropos backup: %q %q", got.Stdout, got.Stderr)
	}
	if e := s.r1.since(mark); len(e) > 0 {
		t.Errorf("it gave something up: %v", e)
	}
	s.r1.atropos(0, "is-master")
	_, err := s.client.Ping(within(t, patience), lanA.vip)
	check(t, err)
}

// --hold: not even when nobody else serves, until --release.
func TestPoint6_Hold(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	s.r1.atropos(0, "--hold")
	s.settled(s.r2, s.r1)
	s.r2.stop(lans...)
	mark := s.r1.fence()
	// Long enough for a machine that would have taken over after 0.4 s.
	s.r1.waitStatus(lanA, "a second has passed", func(st control.Status) bool { return st.Machine.AgoMS > 1000 })
	if v := s.r1.view(0); v.Groups[0].Phase != "HELD" || v.Groups[0].Reason != "operator-hold" || !v.Groups[0].Wishes.Hold {
		t.Errorf("held by the operator: %+v", v.Groups[0].Machine)
	}
	if e := s.r1.since(mark); len(e) > 0 {
		t.Errorf("it did something: %v", e)
	}
	s.r1.atropos(0, "--release")
	for _, l := range lans {
		s.r1.waitServing(l)
	}
}

// --reduce and --increase with the values of -z and -x move the machine.
func TestPoint6_PriorityMovesTheMachine(t *testing.T) {
	t.Parallel()
	s := pair(t, options{flags: "-z 50 -x 200"})
	if got := s.r1.atropos(0, "--reduce"); !strings.Contains(got.Stdout, "50") {
		t.Errorf("atropos --reduce: %s", got.Stdout)
	}
	s.settled(s.r2, s.r1)
	if v := s.r1.view(0); v.Groups[0].Priority != (control.Priority{Effective: 50, Configured: 150}) {
		t.Errorf("priority %+v", v.Groups[0].Priority)
	}
	s.r1.atropos(0, "increase")
	s.settled(s.r1, s.r2)
	s.neverSplit()
}

// The signals of the original, sent to one of the two processes, concern the
// whole machine.
func TestPoint6_Signals(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	var heard []*netlab.Sniffer
	for _, l := range lans {
		heard = append(heard, s.r1.sniff(l, netlab.MatchVRID(l.vrid)))
	}
	speaks := func(priority uint8) {
		t.Helper()
		for i := range lans {
			s.r1.waitAdvert(heard[i], heard[i].Mark(), fmt.Sprintf("priority %d", priority), func(a netlab.Advert) bool { return a.Priority == priority })
		}
	}
	s.r1.signal(lanA, syscall.SIGTTIN)
	speaks(140)
	s.r1.signal(lanB, syscall.SIGTTOU)
	speaks(150)

	epoch := s.r1.status(lanA).Machine.Epoch
	mark := s.r1.fence()
	for _, l := range lans {
		letters := s.r1.syslog.mark()
		s.r1.signal(l, syscall.SIGHUP)
		s.r1.syslog.waitFor(t, letters, "SIGHUP", containing("SIGHUP"))
		s.r1.signal(l, syscall.SIGUSR1)
		s.r1.syslog.waitFor(t, letters, "the state", containing("state: MASTER since"))
		netlab.Eventually(t, patience, func() (bool, string) {
			text, err := s.r1.ReadFile(runDir + "/" + l.instance() + ".state")
			return strings.HasPrefix(text, "MASTER since ") && strings.Contains(text, l.vip.String()), fmt.Sprint(text, err)
		})
	}
	for i := range lans {
		s.r1.waitAdverts(heard[i], 3)
	}
	if now := s.r1.status(lanA).Machine.Epoch; now != epoch || len(s.r1.since(mark)) > 0 {
		t.Errorf("SIGHUP and SIGUSR1 have changed something: epoch %d -> %d, %v", epoch, now, s.r1.since(mark))
	}

	s.r1.signal(lanB, syscall.SIGUSR2)
	s.settled(s.r2, s.r1)
	s.neverSplit()
}

// --watch tells events as they happen, one JSON object on each line.
func TestPoint6_Watch(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	plain, err := s.r1.Start(netlab.Command{Path: "atropos", Args: []string{"--watch"}})
	check(t, err)
	watch, err := s.r1.Start(netlab.Command{Path: "atropos", Args: []string{"--watch", "--json"}})
	check(t, err)
	_, err = watch.WaitLine(within(t, patience), says("state", "", ""))
	check(t, err)
	_, err = plain.WaitLine(within(t, patience), func(netlab.Line) bool { return true })
	check(t, err)
	check(t, s.r1.cable(lanA).Cut())
	s.settled(s.r2, s.r1)
	check(t, s.r1.cable(lanA).Plug())
	s.settled(s.r1, s.r2)
	// A process that obeys another one's transitions may see only their sum: from
	// HELD to MASTER. The process that is watched a little later than the other one may say
	// first what state it has by then.
	for _, e := range []struct{ from, to string }{{"MASTER ", "HELD"}, {"", "MASTER"}} {
		_, err := watch.WaitLine(within(t, patience), func(l netlab.Line) bool {
			return says("transition", strings.TrimSpace(e.from), e.to)(l) || e.to == "HELD" && says("state", "", e.to)(l)
		})
		check(t, err)
		_, err = plain.WaitLine(within(t, patience), containingLine(e.from+"-> "+e.to+": "))
		check(t, err)
	}
	told := map[string]int{}
	for _, l := range watch.Lines() {
		var e control.Event
		if err := json.Unmarshal([]byte(l.Text), &e); err != nil {
			t.Errorf("not JSON: %q: %v", l.Text, err)
		}
		if e.Kind == control.KindTransition {
			told[fmt.Sprintf("%d %s->%s", e.Epoch, e.From, e.To)]++
		}
	}
	for what, n := range told {
		if n != 1 {
			t.Errorf("%s was told %d times", what, n)
		}
	}
	check(t, watch.Signal(syscall.SIGINT))
	if _, err := watch.Wait(within(t, patience)); err != nil {
		t.Error(err)
	}
	check(t, plain.Signal(syscall.SIGINT))
}

func containingLine(text string) func(netlab.Line) bool {
	return func(l netlab.Line) bool { return strings.Contains(l.Text, text) }
}

// says matches a line of --watch --json.
func says(kind, from, to string) func(netlab.Line) bool {
	return func(l netlab.Line) bool {
		var e control.Event
		return json.Unmarshal([]byte(l.Text), &e) == nil && e.Kind == kind && slices.Contains([]string{"", e.From}, from) && slices.Contains([]string{"", e.To}, to)
	}
}
