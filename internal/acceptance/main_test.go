package acceptance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"vrrpd/internal/netlab"
)

var (
	raceBinaries = flag.Bool("race-binaries", false, "build vrrpd and atropos with the race detector")
	logs         = flag.Bool("logs", false, "show what the daemons logged even if nothing has failed")
)

func TestMain(m *testing.M) {
	netlab.Hook()
	if tool := os.Getenv(toolEnv); tool != "" {
		os.Exit(runTool(tool, os.Args[1:]))
	}
	flag.Parse()
	os.Exit(run(m))
}

// run builds the programs, puts them in front of PATH, and runs the tests.
func run(m *testing.M) int {
	if netlab.Available() != nil {
		return m.Run() // every test says what is missing, and is skipped or fails
	}
	dir, err := os.MkdirTemp("", "vrrpd-acceptance-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	// Two labs at a time, however many processors there are: all network
	// namespaces of a machine share the kernel's one lock for changes.
	if err := flag.Set("test.parallel", "2"); err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	// Routers do not share their processor with a build. What is started from
	// here inherits this; a machine that does not grant it is only noisier.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10)
	return m.Run()
}

// build makes the programs as make build does, into dir.
func build(dir string) error {
	for _, program := range []string{"vrrpd", "atropos"} {
		args := []string{"build", "-ldflags", "-X main.version=" + version}
		if *raceBinaries {
			args = append(args, "-race")
		}
		args = append(args, "-o", filepath.Join(dir, program), "vrrpd/cmd/"+program)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	return nil
}

// version is what the programs are built to say of themselves.
const version = "acceptance-test"
