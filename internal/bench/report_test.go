package main

import (
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

func msec(list ...int) (s sample) {
	for _, n := range list {
		s = append(s, time.Duration(n)*time.Millisecond)
	}
	return s
}

// figuresForTest are of a run that never was.
func figuresForTest() result {
	const i = time.Second
	f := func(name string, k cause, dark, double sample) failover {
		return failover{Contender: name, Interval: i, Cause: k, Dark: dark, Double: double, Speaks: msec(700), Apart: msec(1)}
	}
	return result{
		Date: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), Took: 9 * time.Minute, Command: "make bench-peers", Repetitions: 3,
		Machine:    surroundings{Kernel: "Linux 6.18", Processor: "Some <Processor>", Processors: 2, Before: "0.1 0.2 0.3", After: "1 2 3"},
		Contenders: []version1{{ourName, "v1"}, {"keepalived", "2.2.7"}, {"FRR", "8.4"}},
		Missing:    []string{"ucarp"},
		Failovers: []failover{
			f(ourName, stop, msec(1, 2, 3), msec(0, 0, 0)), f("keepalived", stop, msec(600, 611, 620), msec(0)), f("FRR", stop, msec(12), msec(0)),
			f(ourName, cable, msec(600, 650), msec(0)), f("keepalived", cable, msec(3606), msec(0)), f("FRR", cable, sample{never}, msec(0)),
			f(ourName, kill, msec(1600, 1700, 1650), msec(0)), f("keepalived", kill, msec(1), sample{never}), f("FRR", kill, msec(2), sample{never}),
			f(ourName, hang, msec(1600), msec(0)), f("keepalived", hang, msec(4), msec(2400)), f("FRR", hang, msec(4), msec(2300)),
		},
		Controls: []control{{ourName, i, msec(5), msec(2)}, {"keepalived", i, msec(9, 30, 3), msec(3)}},
		Scale: []scale{
			{Contender: ourName, Routers: 1, Interval: i, Sent: sample{300000}, Received: sample{5000}, RSS: 10 << 20, PSS: 6 << 20, Masters: time.Millisecond},
			{Contender: "keepalived", Routers: 1, Interval: i, Sent: sample{60000}, Received: sample{30000}, RSS: 13 << 20, PSS: 3 << 20, Masters: 300 * time.Millisecond},
			{Contender: "FRR", Routers: 1, Interval: i, Sent: sample{60000}, Received: sample{5000}, RSS: 20 << 20, PSS: 20 << 20, Takeover: never, Announced: never, Taken: 1},
			{Contender: ourName, Routers: 1000, Interval: i, Note: "not measured: why"},
			{Contender: "keepalived", Routers: 1000, Interval: i, Sent: sample{60000}, Received: sample{30000}},
		},
		Crossed: []scale{
			{Contender: ourName, Routers: 1000, Interval: i, Sent: sample{3400, 3500, 4100}, Received: sample{1900}},
			{Contender: "FRR", Routers: 1000, Interval: i, Note: "not measured: why"},
			{Contender: floorName, Routers: 1000, Interval: i, Sent: sample{2600}, Received: sample{700}},
		},
		Path: []pathRow{
			{Contender: bareName, Way: toParent, Turns: 900, Quick: 4000, Median: 4100},
			{Contender: ourName + ", clsact", Way: toParent, Turns: 900, Quick: 4500, Median: 4600, Base: bareName, More: 480, Low: 470, High: 495},
			{Contender: "keepalived", Way: toParent, Turns: 900, Quick: 4050, Median: 4600, Base: bareName, More: 40},
			{Contender: "FRR", Way: toParent, Turns: 900, Quick: 4450, Median: 4600, Base: bareName, More: 440},
		},
		Notes: []string{"the cat was on the keyboard"},
	}
}

// wants fails for each line that a text lacks.
func wants(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(text, l) {
			t.Errorf("lacks %q", l)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestDocument(t *testing.T) {
	text := document(figuresForTest())
	wants(t, text,
		"vrrpd v1, keepalived 2.2.7 and FRR 8.4, measured side by side\nin one run on 25 November 2026",
		"    make bench-peers\n", "| load average before, after | 0.1 0.2 0.3, 1 2 3 |", "| not installed | ucarp |",
		// Ours is within the noise of 9 ms, and so is FRR's.
		"| planned stop (SIGTERM) | 2.0 (1.0–3.0) | 611 (600–620) | 12 | > 68 | > 1.3 |",
		"| cable pulled on one LAN | 600 (600–650) | 3606 | never | 6 | ∞ |",
		"| daemon killed (SIGKILL) | 1650 (1600–1700) | 1.0 | 2.0 | < 0.0055 | < 0.0055 |",
		"| daemon killed (SIGKILL) | 0.0 | never | never | ∞ | ∞ |",
		"without an answer for 9.0 ms (the median of the\nnoisiest site; 30 at worst), and late by up to 3.0 ms itself",
		"| 1 | 1s | keepalived | 60.0 | 30.0 | 13.0 | 3.0 | 300 | 0.0 | 0.0 |",
		"| 1 | 1s | FRR | 60.0 | 5.0 | 20.0 | 20.0 | 0.0 | 1 of 1 within 30s | not all |",
		"| 1000 | 1s | vrrpd | not measured: why |",
		"| 1000 | 1s | vrrpd | 3.5 (3.4–4.1) | 1.9 |", "| 1000 | 1s | FRR | not measured: why | |", "| 1000 | 1s | *system calls* | 2.6 | 0.7 |",
		"| MAC of the card | vrrpd, clsact | 4500 | 222 000 | +480 (+470 to +495), nothing |",
		"| 1 | 1s | keepalived : vrrpd | 0.2 | 6 | 1.3 | 0.5 | > 15 | ≈ |", "| 1 | 1s | FRR : vrrpd | 0.2 | 1 | 2 | 3.3 | ≈ | ∞ |",
		"- the cat was on the keyboard",
	)
	// Every table row has as many cells as its header.
	cells := 0
	for i, l := range strings.Split(text, "\n") {
		if !strings.HasPrefix(l, "|") {
			cells = 0
			continue
		}
		if n := strings.Count(l, "|"); cells == 0 {
			cells = n
		} else if n != cells {
			t.Errorf("line %d has %d bars, its table %d: %s", i+1, n, cells, l)
		}
	}
}

func TestSlower(t *testing.T) {
	got := strings.Join(slower(figuresForTest()), "\n")
	wants(t, got,
		"**daemon killed (SIGKILL)**, adverts every 1s: nobody answers for 1650 ms (keepalived 1.0, FRR 2.0). That is the price of the lease",
		"without one both answer, for ever with keepalived and for ever with FRR.",
		"without one both answer, for 2400 ms with keepalived and for 2300 ms with FRR.",
		"**Processor time for an advert sent**, us: 300.0 with 1 router at 1s (keepalived 60.0, FRR 60.0).",
		"**Memory with what is shared counted in part**, MB: 6.0 with 1 router at 1s (keepalived 3.0).",
		"**Forwarded packets** to the MAC of the card: 4500 ns each (keepalived 4050).",
	)
	for _, not := range []string{"planned stop", "cable", "received", "Resident", "FRR 4450", "1000 router", "virtual MAC"} {
		if strings.Contains(got, not) {
			t.Errorf("%q is told as slower:\n%s", not, got)
		}
	}
	if lines := slower(result{}); len(lines) != 0 {
		t.Errorf("nothing measured, and slower: %v", lines)
	}
}

func TestChart(t *testing.T) {
	text := chart(figuresForTest())
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
	}
	wants(t, text, "prefers-color-scheme: dark", "keepalived 2.2.7", "never answers again", ">two answer for ever<", ">two answer for 2.4 s<", ">611 ms<", ">noise<")
	if at(time.Microsecond) != labelWidth || at(never) != axisRight || at(100*time.Millisecond) != (labelWidth+axisRight)/2 {
		t.Errorf("the axis: %v %v %v", at(time.Microsecond), at(never), at(100*time.Millisecond))
	}
}

func TestRatio(t *testing.T) {
	const n = 10
	for _, c := range []struct {
		ours, theirs time.Duration
		want         string
	}{
		{100, 105, "≈"}, {100, 250, "2.5"}, {1, 1000, "> 100"}, {1000, 1, "< 0.01"}, {500, 100, "0.2"},
		{1, never, "∞"}, {never, 1, "0"}, {never, never, "both never"}, {2, 5, "≈"},
	} {
		if got := ratio(c.ours, c.theirs, n); got != c.want {
			t.Errorf("%v : %v is %s, want %s", c.theirs, c.ours, got, c.want)
		}
	}
}

func TestSample(t *testing.T) {
	s := msec(5, 1, 9, 3)
	if s.median() != 3*time.Millisecond || s.min() != time.Millisecond || s.max() != 9*time.Millisecond || s[0] != 5*time.Millisecond {
		t.Errorf("%v: %v %v %v", s, s.median(), s.min(), s.max())
	}
	if (sample{}).median() != 0 {
		t.Error("nothing has a median")
	}
}

// Two machines that answer each other's questions by turns answer at the same time; one
// after the other they do not.
func TestDouble(t *testing.T) {
	zero := time.Unix(1000, 0)
	record := func(length int, who func(n int) string) netlab.Answers {
		r := netlab.Answers{Interval: time.Millisecond, End: zero.Add(time.Duration(length) * time.Millisecond)}
		for n := range length {
			at := zero.Add(time.Duration(n) * time.Millisecond)
			q := netlab.Question{Sent: at}
			for _, from := range strings.Fields(who(n)) {
				q.Answers = append(q.Answers, netlab.Answer{From: from, At: at})
			}
			q.Answers = append(q.Answers, netlab.Answer{From: "r3", At: at, Echo: true})
			r.List = append(r.List, q)
		}
		return r
	}
	turns := []string{"r1", "r2"}
	for _, c := range []struct {
		what string
		who  func(n int) string
		want time.Duration
	}{
		{"one after the other", func(n int) string { return turns[n/200] }, 0},
		{"by turns, until the end", func(n int) string { return turns[n%2] }, never},
		{"both for a while", func(n int) string {
			if n < 50 || n > 150 {
				return "r1"
			}
			return "r2 r1"
		}, 100 * time.Millisecond},
		{"nobody", func(int) string { return "" }, 0},
		{"one, with a gap just before the end", func(n int) string {
			if n > 320 && n < 380 {
				return ""
			}
			return "r1"
		}, 0},
	} {
		if got := double(record(400, c.who)); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	zero := time.Unix(1000, 0)
	at := func(n int) time.Time { return zero.Add(time.Duration(n)) }
	for _, c := range []struct {
		a, b        time.Time
		both, apart time.Duration
	}{
		{at(5), at(3), 5, 2}, {at(3), at(5), 5, 2}, {time.Time{}, at(5), never, never}, {time.Time{}, time.Time{}, never, 0},
	} {
		if both, apart := spread(zero, c.a, c.b); both != c.both || apart != c.apart {
			t.Errorf("%v %v: %v %v", c.a, c.b, both, apart)
		}
	}
}

func TestCompare(t *testing.T) {
	bare, none, guarded := &stall{name: bareName}, &stall{name: noLease}, &stall{name: ourName + ", clsact"}
	flat := func(n time.Duration) sample { return sample{n, n, n} }
	rows := compare([]*stall{bare, none, guarded},
		map[way]sample{{bare, toParent}: flat(1000), {none, toParent}: flat(1010), {guarded, toParent}: flat(1030)},
		map[way]sample{
			{bare, toParent}: flat(1000), {none, toParent}: flat(1510), {guarded, toParent}: flat(1530),
			{none, toVirtual}: flat(1700), {guarded, toVirtual}: flat(1840),
		})
	want := map[string]time.Duration{
		bareName + toParent: 0, noLease + toParent: 500, guarded.name + toParent: 500, noLease + toVirtual: 0, guarded.name + toVirtual: 120,
	}
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for _, r := range rows {
		if more := want[r.Contender+r.Way]; r.More != more {
			t.Errorf("%s, %s: %v more, want %v", r.Contender, r.Way, r.More, more)
		}
	}
}

func TestConfigurations(t *testing.T) {
	r := machineRouters(1, 100*time.Millisecond)
	if got := strings.Join(routerArgs(r[0]), " "); got != "-F -i eth0 -v 51 -p 100 -d 0.1 --vrrp-version 3 --name vrrp51 192.0.2.100" {
		t.Error(got)
	}
	const want = `version = 3
priority = 100
interval = 0.1

[[router]]
interface = "eth0"
vrid = 51
name = "vrrp51"
addresses = ["192.0.2.100"]
`
	if got := routersFile(r[:1]); got != want {
		t.Error(got)
	}
	if a := crowdAddr(3, 7); a != netip.MustParseAddr("198.18.3.7") {
		t.Error(a)
	}
}

// The bounds are those of the sign test, and hold for whatever a few are.
func TestConfidence(t *testing.T) {
	var s sample
	for n := range 100 {
		s = append(s, time.Duration((n*37)%100)) // 0 to 99, mixed
	}
	s[3] = never
	low, middle, high := s.confidence()
	if low < 38 || low > 41 || middle < 48 || middle > 51 || high < 59 || high > 62 {
		t.Errorf("%d, %d to %d", middle, low, high)
	}
	if low, middle, high := (sample{5, 7}).confidence(); low != 5 || middle != 5 || high != 7 {
		t.Errorf("of two: %d, %d to %d", middle, low, high)
	}
}

// What the machines differed by before is taken off, a turn that was interrupted is one of
// many, and the doubt about either counts.
func TestPaired(t *testing.T) {
	var with, without, before, beforeWithout sample
	for n := range 101 {
		slow := time.Duration(n) * 1000 // both, more and more
		with, without = append(with, 5000+slow+time.Duration(n%5)), append(without, 4880+slow)
		before, beforeWithout = append(before, 4020+slow), append(beforeWithout, 4000+slow)
	}
	with[7] = time.Second
	low, more, high := paired(with, without, before, beforeWithout)
	if more != 102 || low < 101 || low > more || high > 103 || high < more {
		t.Errorf("%d, %d to %d", more, low, high)
	}
	for n := range before {
		before[n] += time.Duration(n%2) * 100 // now that is in doubt
	}
	if l, _, h := paired(with, without, before, beforeWithout); h-l < 99 {
		t.Errorf("%d to %d", l, h)
	}
}

func TestTollText(t *testing.T) {
	r := result{Tolls: []toll{
		{Rung: "clsact", Interval: time.Second, Chosen: true, Pairs: 300, More: 116, Low: 110, High: 121},
		{Rung: "clsact", Interval: 10 * time.Millisecond, Pairs: 300, More: 165, Low: -3, High: 170},
	}}
	wants(t, tollText(r),
		"| 1s | **clsact** | **+116 (+110 to +121)** | 300 |",
		"| 10ms | clsact | +165 (-3 to +170) | 300 |")
}
