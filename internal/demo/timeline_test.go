package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

var update = flag.Bool("update", false, "write testdata anew")

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not what %s says; got:\n%s\nwant:\n%s", path, got, want)
	}
}

// unpainted takes the terminal's codes out.
func unpainted(s string) string { return regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(s, "") }

func TestRender(t *testing.T) {
	open := cablePull()
	open.adverts, open.states = open.adverts[:5], open.states[:1]
	open.links = open.links[:5]
	open.pings = datagrams(-250*msec, 900*msec, 1*msec, time.Hour)
	for name, c := range map[string]struct {
		seen observation
		what string
	}{
		"cable-pull": {cablePull(), "the cable of eth0 is pulled out of the switch"},
		"hand-over":  {handOver(), "SIGTERM to both vrrpd"},
		"no-heir":    {open, "the cable of eth0 is pulled out of the switch"},
	} {
		t.Run(name, func(t *testing.T) {
			event := row{0, "r1", c.what}
			text := c.seen.render(false, event)
			golden(t, name+".txt", text)
			painted := c.seen.render(true, event)
			golden(t, name+".ansi", painted)
			if unpainted(painted) != text {
				t.Error("colours change the text")
			}
			for line := range strings.Lines(text) {
				if len(line) > 80 {
					t.Errorf("%d characters: %q", len(line)-1, line)
				}
			}
		})
	}
}

// What was there before the event, and what goes on as it was, is no row.
func TestRowsTellOnlyWhatChanges(t *testing.T) {
	o := observation{from: -1 * time.Second, to: 3 * time.Second, held: atR1, adverts: []advert{
		{-900 * msec, 0, 0, 100}, {100 * msec, 0, 0, 100}, {1100 * msec, 0, 0, 100}, {2100 * msec, 0, 0, 100},
	}, states: []transition{{-500 * msec, 0, "BACKUP", "MASTER", "master-timeout"}}}
	if rows := o.rows(); len(rows) != 0 {
		t.Errorf("got %v, want none", rows)
	}
}

// A resignation counts also from a router that does not speak: a survivor
// resigns for a dead process. One that is repeated is one row.
func TestRowsOfResignations(t *testing.T) {
	o := observation{to: 3 * time.Second, adverts: []advert{
		{10 * msec, 0, 0, 0}, {20 * msec, 0, 0, 0},
		{30 * msec, 0, 0, 100}, {40 * msec, 0, 0, 0}, // again, after it has spoken
		{50 * msec, 1, 0, 0},
	}}
	var got []string
	for _, r := range o.rows() {
		got = append(got, r.where+": "+r.what)
	}
	want := []string{
		"LAN A: r1 resigns: priority 0 (2 times, until 20.0 ms)",
		"LAN A: r1 speaks: first advert as MASTER, priority 100",
		"LAN A: r1 resigns: priority 0",
		"LAN A: r2 resigns: priority 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whatever happens, the bars fit on a line, show the event and what followed,
// and the scale says where.
func TestScale(t *testing.T) {
	for last := time.Duration(0); last < 45*time.Second; last = last*3/2 + msec {
		o := observation{from: -250 * msec, to: last + 300*msec, links: []change{{at: last, link: "eth0", what: netlab.CarrierOn}}}
		s := o.scale()
		if n := s.cells(); n > barWidth || n < 10 {
			t.Errorf("last %v: %d characters of %v", last, n, s.cell)
		}
		if s.from > 0 || s.at(s.cells()-1) < last.Truncate(s.cell) {
			t.Errorf("last %v: shown is %v to %v", last, s.from, s.to)
		}
		ticks := s.ticks()
		zero := int(-s.from / s.cell)
		if !strings.HasPrefix(ticks[zero:], "|0") || strings.TrimSpace(ticks[:zero]) != "" || len(ticks) > ruler-9 {
			t.Errorf("last %v: scale %q, with 0 at %d", last, ticks, zero)
		}
	}
}

func TestDeliveries(t *testing.T) {
	o := observation{to: 50 * msec, pings: []ping{
		{0, false}, {9 * msec, false}, // all delivered
		{10 * msec, true}, {19 * msec, false}, // some
		{20 * msec, true}, // none
		// nothing sent
		{40 * msec, false},
	}}
	if got, want := o.deliveries(scale{0, 50 * msec, 10 * msec}), ".+# ."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
