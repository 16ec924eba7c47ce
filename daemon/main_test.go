package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"

	"vrrpd/config"
	"vrrpd/internal/netlab"
	"vrrpd/sysd"
)

// processEnv makes the test program a daemon that runs on a host of the lab.
const processEnv = "DAEMON_TEST_PROCESS"

func TestMain(m *testing.M) {
	netlab.Hook()
	if os.Getenv(processEnv) != "" {
		os.Exit(process(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// sleptFile says for how long, in ns, the machine of a process has been
// suspended, because no test can suspend the machine that it runs on.
const sleptFile = "/run/slept"

// lateEnv makes a process one that does not read when a socket has rung.
const lateEnv = "DAEMON_TEST_READS_LATE"

// process is vrrpd with a clock that believes sleptFile.
func process(args []string) int {
	cfg, err := config.Parse(args, os.Getenv)
	if err == nil {
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		d := New(cfg, Options{Log: log, Version: "test", Notify: sysd.NewNotifier("", log)})
		d.asleep = func() int64 {
			text, err := os.ReadFile(sleptFile)
			if err != nil {
				return asleep()
			}
			slept, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err != nil {
				panic(err) // the test wrote it
			}
			return asleep() + slept
		}
		if os.Getenv(lateEnv) != "" {
			d.serve = func() {}
		}
		err = d.Run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// reconfigure gives a router the configuration that change makes of the present one.
func reconfigure(r *router, change func(*config.Router)) {
	c := *r.cfg
	change(&c)
	r.configure(&c)
}
