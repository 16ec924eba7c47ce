package health

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/child"
)

// script writes a program that /bin/sh runs.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a command says of itself, and of how it ended.
func TestCommandOutcomes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.sh")
	for _, c := range []struct {
		name   string
		argv   []string
		limit  time.Duration
		v      Verdict
		detail string
	}{
		{"success", []string{"true"}, 0, Passing, ""},
		{"says something", []string{script(t, "echo; echo ' all is well '; echo more")}, 0, Passing, "all is well"},
		{"fails", []string{"false"}, 0, Failing, "exit status 1"},
		{"fails and says why", []string{script(t, "echo no route to host >&2; exit 7")}, 0, Failing, "exit status 7: no route to host"},
		{"arguments", []string{script(t, `[ "$1" = "a b; exit 3" ] && [ "$VRRP_CHECK" = arguments ] && [ -z "$NOTIFY_SOCKET" ]`), "a b; exit 3"}, 0, Passing, ""},
		{"killed", []string{script(t, "kill -SEGV $$")}, 0, Failing, "ended by SIGSEGV (segmentation fault)"},
		{"hangs", []string{script(t, "echo waiting; trap '' TERM; sleep 3600 & wait; sleep 3600")}, 200 * time.Millisecond, Failing,
			"time limit of 200ms reached, its process group was killed: waiting"},
		{"missing", []string{missing}, 0, Failing, "no such file or directory"},
		{"not executable", []string{"/etc/passwd"}, 0, Failing, "not executable for vrrpd, try chmod +x: permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", "/nowhere")
			limit := c.limit
			if limit == 0 {
				limit = patience
			}
			b := start(t, Options{}, Pending, Check{Name: c.name, Command: c.argv, Interval: time.Hour, Timeout: limit, Rise: 3, Fall: 3})
			b.becomes(c.v, c.detail)
			b.silent()
		})
	}
}

func TestCommandRunsAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: setuid")
	}
	b := start(t, Options{}, Pending, Check{
		Name: "who", Command: []string{"id", "-u"}, RunAs: &child.Identity{UID: 65534, GID: 65534}, Interval: time.Hour, Timeout: patience,
	})
	b.becomes(Passing, "65534")
}

// A command is run again and again, never twice at once, and decides by rise and
// fall; at the end the one that runs is killed, and says nothing.
func TestCommandIsRepeated(t *testing.T) {
	dir := t.TempDir()
	flag := filepath.Join(dir, "bad")
	b := start(t, Options{}, Passing, Check{
		Name: "web", Interval: 10 * time.Millisecond, Timeout: patience, Rise: 3, Fall: 2,
		Command: []string{script(t, "mkdir "+dir+"/running || exit 99; rmdir "+dir+"/running; [ ! -e "+flag+" ]")},
	})
	for range 3 {
		if err := os.WriteFile(flag, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		b.becomes(Failing, "exit status 1")
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
		b.becomes(Passing, "")
	}
	if s := b.Status()[0]; s.Observations < 15 || s.Failures < 6 || s.Failures > s.Observations-9 {
		t.Errorf("%d observations, %d failures", s.Observations, s.Failures)
	}

	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	hung := start(t, Options{}, Passing, Check{
		Name: "hung", Interval: time.Hour, Timeout: time.Hour, Rise: 1, Fall: 1, Command: []string{script(t, "echo > "+fifo+"; sleep 3600")},
	})
	f, err := os.Open(fifo) // the command runs
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	begin := time.Now()
	hung.end()
	hung.silent()
	if d := time.Since(begin); d > patience {
		t.Errorf("the end took %v", d)
	}
}

// The times at which commands are started: on a grid, and what takes too long
// leaves some out.
func TestCommandSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []string
		takes := []time.Duration{0, 900 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 0, 0}
		b := start(t, Options{Start: func(context.Context, child.Command) (*child.Process, error) {
			at = append(at, time.Since(begin).String())
			if n := len(at); n <= len(takes) {
				time.Sleep(takes[n-1])
			}
			return nil, unix.ENOEXEC
		}}, Pending, Check{Name: "a", Command: []string{"a"}, Interval: time.Second, Rise: 1, Fall: 1})
		b.becomes(Failing, "exec format error")
		time.Sleep(9500 * time.Millisecond)
		b.end()
		want := []string{"0s", "1s", "2s", "4s", "8s", "9s"}
		if !slices.Equal(at, want) {
			t.Errorf("started after %s, want %s", strings.Join(at, " "), strings.Join(want, " "))
		}
	})
}
