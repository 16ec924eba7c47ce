package daemon

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/health"
	"vrrpd/internal/child"
)

// Checks are what the configuration says, with the users of this machine.
func TestHealthChecks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root runs commands as somebody else")
	}
	one, all := netip.MustParseAddr("192.0.2.1"), &child.Identity{UID: 7}
	cfg := config.Config{Checks: []config.HealthCheck{
		{Name: "a", Weight: -3, Interval: time.Second, Timeout: time.Minute, Rise: 2, Fall: 4, Command: config.Command{Line: "true", Argv: []string{"true"}}},
		{Name: "b", Command: config.Command{Argv: []string{"true"}}, User: "0"},
		{Name: "c", Interface: "eth0", Addresses: []netip.Addr{one}},
		{Name: "d", Process: "e", PIDFile: "/f"},
	}}
	got, err := healthChecks(cfg, all)
	want := []health.Check{
		{Name: "a", Weight: -3, Interval: time.Second, Timeout: time.Minute, Rise: 2, Fall: 4, Command: []string{"true"}, RunAs: all},
		{Name: "b", Command: []string{"true"}},
		{Name: "c", Interface: "eth0", Addresses: []netip.Addr{one}},
		{Name: "d", Process: health.Process{Name: "e", PIDFile: "/f"}},
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if id := got[1].RunAs; id == nil || id.Name != "root" {
		t.Errorf("b runs as %+v", id)
	}
	got[1].RunAs = nil
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}

	cfg.Checks[1].User = "no-such-user"
	var usage config.UsageError
	if _, err := healthChecks(cfg, nil); !errors.As(err, &usage) || usage != "check b: user no-such-user: there is no user no-such-user on this machine" {
		t.Error(err)
	}
}

// A command that is not there is told at the start, and is no reason not to start.
func TestCheckDoubts(t *testing.T) {
	var said []string
	cfg := config.Config{Group: "machine", Routers: []config.Router{{Interface: "eth0", Name: "vrrp1", VRID: 1, Family: 4, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}}}
	for name, program := range map[string]string{"a": "no-such-program", "b": "/nowhere/b", "c": "/etc/passwd", "d": "true"} {
		cfg.Checks = append(cfg.Checks, config.HealthCheck{Name: name, Command: config.Command{Argv: []string{program}}})
	}
	for _, name := range []string{"lo", "nosuch0"} {
		cfg.Checks = append(cfg.Checks, config.HealthCheck{Name: name, Interface: name})
	}
	d := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Warn: func(w string) { said = append(said, w) }})
	if err := d.lookupChecks(); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{
		"check a cannot pass: no-such-program: no such program in PATH", "check b cannot pass: /nowhere/b: no such file or directory",
		"check c cannot pass: /etc/passwd: permission denied", "check nosuch0 cannot pass: there is no interface nosuch0",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if len(said) != 4 {
		t.Errorf("%q", said)
	}
}

func TestCheckEffect(t *testing.T) {
	for _, c := range []struct {
		weight int
		v      health.Verdict
		want   string
	}{
		{0, health.Passing, ""}, {0, health.Failing, "it holds this machine"}, {0, health.Pending, "it holds this machine"},
		{-5, health.Passing, ""}, {-5, health.Failing, "it takes 5 from the priority"},
		{5, health.Passing, "it adds 5 to the priority"}, {5, health.Failing, ""},
	} {
		if got := checkEffect(c.weight, c.v); got != c.want {
			t.Errorf("%d %v: %q", c.weight, c.v, got)
		}
	}
}
