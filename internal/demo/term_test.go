package main

import (
	"os"
	"strings"
	"testing"
)

func TestColours(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		env      map[string]string
		want     paint
	}{
		{true, map[string]string{"TERM": "xterm"}, true},
		{true, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{true, map[string]string{"TERM": "dumb"}, false},
		{false, map[string]string{"TERM": "xterm"}, false},
	} {
		if got := colours(c.terminal, func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("terminal %v, %v: got %v, want %v", c.terminal, c.env, got, c.want)
		}
	}
}

func TestAPipeIsNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if isTerminal(w) {
		t.Error("a pipe is a terminal")
	}
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIPPED, no pseudo-terminals here: %v", err)
	}
	defer pty.Close()
	if !isTerminal(pty) {
		t.Error("a terminal is none")
	}
}

// What is shown of the manual's lines can be typed, and is them.
func TestFold(t *testing.T) {
	for _, lan := range plan() {
		parts := fold(lan.line, 68)
		if len(parts) < 2 {
			t.Errorf("%q is not folded", lan.line)
		}
		var words []string
		for i, p := range parts {
			if len(p) > 68 {
				t.Errorf("%d characters: %q", len(p), p)
			}
			if cont := strings.HasSuffix(p, ` \`); cont != (i < len(parts)-1) {
				t.Errorf("part %d of %d: %q", i, len(parts), p)
			}
			words = append(words, strings.Fields(strings.TrimSuffix(p, `\`))...)
		}
		if got := strings.Join(words, " "); got != lan.line {
			t.Errorf("got %q, want %q", got, lan.line)
		}
	}
	if got := fold("atropos --state", 68); len(got) != 1 || got[0] != "atropos --state" {
		t.Errorf("got %q", got)
	}
	if got := strings.Join(fold("a -U /x -b", 8), "|"); got != `a \|-U /x \|-b` {
		t.Errorf("an option lost its value: %q", got)
	}
}

func TestWrap(t *testing.T) {
	for line, want := range map[string]string{
		"":                  "",
		"short":             "short",
		"exactly10!":        "exactly10!",
		"one two three":     "one two|three",
		"one two th four":   "one two th|four",
		"unbreakableunbrea": "unbreakableunbrea",
	} {
		if got := strings.Join(wrap(line, 10), "|"); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// The columns are those of iproute2 (checked against ip 6.1).
func TestBriefLine(t *testing.T) {
	for _, c := range []struct {
		name, state string
		addrs       []string
		want        string
	}{
		{"vrrp51@eth0", "up", []string{"10.16.1.200/32"}, "vrrp51@eth0      UP             10.16.1.200/32"},
		{"vrrp51@eth0", "down", nil, "vrrp51@eth0      DOWN"},
		{"vrrp51@eth0", "lower-layer-down", []string{"10.16.1.200/32", "192.0.2.1/32"},
			"vrrp51@eth0      LOWERLAYERDOWN 10.16.1.200/32 192.0.2.1/32"},
	} {
		if got := briefLine(c.name, c.state, c.addrs); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// The picture shows the addresses that are used.
func TestPictureIsTrue(t *testing.T) {
	for _, lan := range plan() {
		for _, word := range []string{lan.name, lan.nic, lan.vmac(), lan.vip.String(), lan.subnet.String()} {
			if !strings.Contains(picture, word) {
				t.Errorf("the picture does not show %s", word)
			}
			if word == lan.nic || word == lan.vip.String() {
				if !strings.Contains(lan.line, word) {
					t.Errorf("%q does not say %s", lan.line, word)
				}
			}
		}
	}
	for line := range strings.Lines(picture) {
		if len(line) > 80 {
			t.Errorf("%d characters: %q", len(line)-1, line)
		}
	}
}
