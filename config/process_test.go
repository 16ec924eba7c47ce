package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestRunOptions reads options that concern the whole process.
func TestRunOptions(t *testing.T) {
	const base = "-i eth0 -v 51 10.16.1.200 "
	for _, c := range []struct {
		option string
		want   func(*Config)
	}{
		{"--announce-refresh 0", func(*Config) {}},
		{"--announce-refresh 1", func(c *Config) { c.AnnounceRefresh = time.Second }},
		{"--announce-refresh=2.5", func(c *Config) { c.AnnounceRefresh = 2500 * time.Millisecond }},
		{"--ann 86400", func(c *Config) { c.AnnounceRefresh = 24 * time.Hour }},
		{"--script-user nobody", func(c *Config) { c.ScriptUser = "nobody" }},
		{"--realtime 1", func(c *Config) { c.Realtime = 1 }},
		{"--realtime=49 --lock-memory", func(c *Config) { c.Realtime, c.LockMemory = 49, true }},
		{"--scr=1000", func(c *Config) { c.ScriptUser = "1000" }},
		{"--release --announce-refresh nonsense", func(c *Config) {
			c.Mode, c.Routers = Release, released("eth0", 51)[:1]
		}},
	} {
		want := plain()
		c.want(&want)
		if got, err := Parse(strings.Fields(base+c.option), nil); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", c.option, err, got, want)
		}
	}
	for option, want := range map[string]string{
		"--announce-refresh 0.9":   "--announce-refresh 0.9: a number of seconds from 1 to 86400, or 0 for never",
		"--announce-refresh 86401": "--announce-refresh 86401: a number of seconds from 1 to 86400, or 0 for never",
		"--announce-refresh 1m":    "--announce-refresh 1m: a number of seconds from 1 to 86400, or 0 for never",
		"--realtime 0":             "--realtime 0: a whole number from 1 to 49; the kernel's interrupts, which adverts come through, have 50",
		"--realtime 50":            "--realtime 50: a whole number from 1 to 49; the kernel's interrupts, which adverts come through, have 50",
		"--realtime rr":            "--realtime rr: a whole number from 1 to 49; the kernel's interrupts, which adverts come through, have 50",
		"--script-user=":           `--script-user "": give the name of a user, like nobody`,
		"--script-user a:b":        "--script-user a:b: give the name of a user, like nobody",
		"--script-user ../x":       "--script-user ../x: give the name of a user, like nobody",
	} {
		if _, err := Parse(strings.Fields(base+option), nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", option, err, want)
		}
	}
	c := plain()
	c.AnnounceRefresh = time.Millisecond
	if err := c.Validate(); err == nil {
		t.Error("a refresh every millisecond is accepted")
	}
}
