package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"vrrpd/internal/promtext"
	"vrrpd/vrrp"
)

// busyStatus has a sample of every metric.
func busyStatus(group string) Status {
	r := Router{Interface: "vrrp51", Parent: "eth0", Family: "ipv4", VRID: 51, Version: VersionName(3), State: "master", EffectivePriority: 140,
		Lease: Lease{Rung: "clsact", RemainingMS: 1750}, Authentication: &Authentication{Type: "hmac"}, LastAdvSource: netip.MustParseAddr("192.0.2.66"),
		Statistics: Statistics{MasterTransitions: 2, AdvertisementRcvd: 7, AdvertisementSent: 1 << 40, SendErrors: 1, Repairs: 3, GARPSent: 4, UNASent: 1,
			PriorityZeroSent: 5, PriorityZeroRcvd: 6, Drops: map[string]uint64{"ttl": 9, "vrid": 8}}}
	r.Statistics.Own[vrrp.DropTTL] = 9
	r.SetTimers(100*time.Millisecond, 339*time.Millisecond, 39*time.Millisecond)
	six := r
	six.Family, six.Interface = "ipv6", "vrrp51v6"
	return Status{Program: "vrrpd 2.0", Time: time.Unix(2000, 0), Started: time.Unix(1000, 0), Goroutines: 12, HeapLive: 1 << 20,
		Machine: Machine{Group: group, State: "BACKUP", Phase: "HELD", Reason: "link-down", Since: time.Unix(1500, 500e6), HeldMS: 250,
			Priority: Priority{Effective: 140, Configured: 150, Checks: -10}, Wishes: Wishes{Hold: true}, Processes: Processes{Alive: 1, Wanted: 2},
			Faults: []Fault{{Interface: "vrrp51", Reason: "link-down"}, {Interface: "vrrp52", Reason: "link-down"}, {Reason: "check-failed"}},
			Alarms: []Alarm{{Reason: "peer-deaf", Peer: "192.0.2.66"}, {Reason: "peer-deaf", Peer: "192.0.2.67"}}},
		Routers: []Router{r, six},
		Parents: []Parent{{Interface: "eth0", Drops: map[string]uint64{"vrid": 8}}},
		Checks:  []Check{{Name: `the "web" \ server` + "\n", Kind: "command", State: "failing", Weight: -10, Observations: 20, Failures: 2}},
		Hooks:   []HookResult{{State: "MASTER", Command: "/secret/path", MS: 1500, ExitCode: 3}},
		Counts:  []TransitionCount{{"HELD", "startup", 1}, {"HELD", "link-down", 4}},
	}
}

func scrape(t *testing.T, all ...Status) (string, map[string]*promtext.Family) {
	t.Helper()
	var b strings.Builder
	if err := WriteMetrics(&b, all); err != nil {
		t.Fatal(err)
	}
	families, err := promtext.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), families
}

func TestMetrics(t *testing.T) {
	text, all := scrape(t, busyStatus("lan"), busyStatus("dmz"))
	for _, f := range metricFamilies {
		if got := all["vrrpd_"+f.name]; got == nil || len(got.Samples) == 0 {
			t.Errorf("%s has no sample", f.name)
		}
	}
	for _, c := range []struct {
		name, labels string
		want         float64
	}{
		{"build_info", "version=2.0", 1},
		{"start_time_seconds", "group=lan", 1000},
		{"state", "group=lan state=HELD", 1},
		{"state", "group=lan state=MASTER", 0},
		{"master", "group=lan", 0},
		{"last_transition_timestamp_seconds", "group=dmz", 1500.5},
		{"transitions_total", "group=lan reason=link-down", 4},
		{"priority", "group=lan", 140},
		{"priority_checks", "group=lan", -10},
		{"held", "group=lan", 1},
		{"hold_reason", "group=lan reason=link-down", 1},
		{"hold_reason", "group=lan reason=check-failed", 1},
		{"hold_down_remaining_seconds", "group=lan", 0.25},
		{"operator_wish", "group=lan wish=hold", 1},
		{"operator_wish", "group=lan wish=backup", 0},
		{"processes_wanted", "group=lan", 2},
		{"alarms_active", "group=lan reason=peer-deaf", 2},
		{"router_info", "group=lan family=ipv4 parent=eth0 version=vrrp-v3 authentication=hmac", 1},
		{"router_master", "group=lan interface=vrrp51 vrid=51", 1},
		{"advert_interval_seconds", "group=lan family=ipv6", 0.1},
		{"master_down_interval_seconds", "group=lan family=ipv6", 0.339},
		{"lease_remaining_seconds", "group=lan family=ipv4", 1.75},
		{"lease_guard_info", "group=lan family=ipv4 rung=clsact", 1},
		{"adverts_sent_total", "group=lan family=ipv4", 1 << 40},
		{"adverts_dropped_total", "group=lan family=ipv4", 9},
		{"parent_packets_dropped_total", "group=lan parent=eth0 reason=vrid", 8},
		{"announcements_sent_total", "group=lan family=ipv4", 5},
		{"check_state", "group=lan state=failing", 1},
		{"check_failures_total", "group=lan", 2},
		{"hook_failed", "group=lan state=MASTER", 1},
		{"hook_duration_seconds", "group=lan state=MASTER", 1.5},
	} {
		got, err := all["vrrpd_"+c.name].Value(strings.FieldsFunc(c.labels, func(r rune) bool { return r == ' ' || r == '=' })...)
		if err != nil || got != c.want {
			t.Errorf("%s{%s}: %v, want %v: %v", c.name, c.labels, got, c.want, err)
		}
	}
	if got := all["vrrpd_check_weight"].Samples[0].Labels["check"]; got != `the "web" \ server`+"\n" {
		t.Errorf("check %q", got)
	}
	for _, secret := range []string{"192.0.2.66", "/secret/path"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the metrics", secret)
		}
	}
}

// The manual has every metric, and none that there is not.
func TestMetricsInTheManual(t *testing.T) {
	text, err := os.ReadFile("../docs/vrrpd.8")
	if err != nil {
		t.Fatal(err)
	}
	manual := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm (vrrpd_\w+)`).FindAllStringSubmatch(string(text), -1) {
		manual[m[1]] = true
	}
	for _, f := range metricFamilies {
		if !manual["vrrpd_"+f.name] {
			t.Errorf("vrrpd_%s is not in vrrpd(8)", f.name)
		}
		delete(manual, "vrrpd_"+f.name)
	}
	for name := range manual {
		t.Errorf("%s is in vrrpd(8) only", name)
	}
}

// What peers do must not make series: a thousand of them with alarms cost as many as one.
func TestMetricsAreBounded(t *testing.T) {
	st := busyStatus("lan")
	before, _ := scrape(t, st)
	for i := range 1000 {
		st.Machine.Alarms = append(st.Machine.Alarms, Alarm{Reason: "peer-deaf", Peer: fmt.Sprint(i), Message: fmt.Sprint(i)})
		st.Machine.Faults = append(st.Machine.Faults, Fault{Reason: "link-down", Detail: fmt.Sprint(i)})
	}
	after, _ := scrape(t, st)
	if a, b := strings.Count(before, "\n"), strings.Count(after, "\n"); a != b {
		t.Errorf("%d lines, and %d with a thousand peers", a, b)
	}
}

// A machine that is well still has every metric's description.
func TestMetricsOfAQuietMachine(t *testing.T) {
	_, all := scrape(t, Status{Machine: Machine{Group: "lan", Phase: "MASTER", State: "MASTER"}})
	if len(all) != len(metricFamilies) {
		t.Errorf("%d families, want %d", len(all), len(metricFamilies))
	}
	if n := len(all["vrrpd_hold_reason"].Samples); n != 0 {
		t.Errorf("a MASTER has %d hold reasons", n)
	}
}

func TestMetricsOnTheSocket(t *testing.T) {
	st := busyStatus("")
	d := serve(t, sock(t, "eth0-51"), st)
	c := NewClient(d.path)
	resp, err := c.http.Get("http://vrrpd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != metricsType {
		t.Errorf("%s, %q", resp.Status, got)
	}
	all, err := promtext.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := all["vrrpd_held"].Value("group", "eth0-51"); v != 1 || err != nil {
		t.Errorf("held: %v, %v", v, err)
	}
}

// failing takes so many bytes and then no more.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("the reader has gone")
	}
	return len(b), nil
}

func TestMetricsForAReaderThatGoes(t *testing.T) {
	st := busyStatus("lan")
	for range 1000 {
		st.Routers = append(st.Routers, st.Routers[0])
	}
	if err := WriteMetrics(&failing{2 * metricsChunk}, []Status{st}); err == nil {
		t.Error("no error")
	}
}

func BenchmarkWriteMetrics(b *testing.B) {
	st := busyStatus("lan")
	for len(st.Routers) < 1000 {
		st.Routers = append(st.Routers, st.Routers[0])
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteMetrics(io.Discard, []Status{st}); err != nil {
			b.Fatal(err)
		}
	}
}

// A reader that takes nothing keeps its own answer waiting and nobody else's, and is not
// waited for at the end.
func TestMetricsForASlowReader(t *testing.T) {
	st := busyStatus("lan")
	for len(st.Routers) < 2000 {
		st.Routers = append(st.Routers, st.Routers[0])
	}
	d := serve(t, sock(t, "eth0-51"), st)
	for range 4 {
		c := dial(t, d.path)
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		// The answer has begun, and is more than the socket takes.
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if got, err := NewClient(d.path).Status(within(t)); err != nil || len(got.Routers) != 2000 {
			t.Fatalf("%d routers, %v", len(got.Routers), err)
		}
	}
	at := time.Now()
	d.stop()
	if took := time.Since(at); took > scrapeLimit/2 {
		t.Errorf("the server waited for slow readers for %v", took)
	}
}
