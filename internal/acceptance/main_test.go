package acceptance

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	dir, err := os.Getenv(programsEnv), error(nil)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "vrrpd-acceptance-"); err == nil {
			defer os.RemoveAll(dir)
			err = build(dir)
		}
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	if err := bound(); err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	netlab.Hurry()
	return m.Run()
}

// labs is how many stand side by side, however many processors there are: the
// tests wait most of the time, but all network namespaces of a machine share the
// kernel's one lock for changes, and all processes of a user 128 instances of
// inotify, of which a lab needs 8.
const labs = "8"

// bound sets how many tests run at a time, if the command line does not.
func bound() error {
	const name = "test.parallel"
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == name })
	if asked {
		return nil
	}
	return flag.Set(name, labs)
}

// programsEnv names the directory with the programs where nothing can be built, as in
// the machine of internal/vm.
const programsEnv = "VRRPD_TEST_PROGRAMS"

// build makes the programs as make build does, into dir.
func build(dir string) error {
	return errors.Join(buildOne(dir, "vrrpd"), buildOne(dir, "atropos"))
}

func buildOne(dir, program string, flags ...string) error {
	args := append([]string{"build", "-ldflags", "-X main.version=" + version}, flags...)
	if *raceBinaries {
		args = append(args, "-race")
	}
	args = append(args, "-o", filepath.Join(dir, program), "vrrpd/cmd/"+program)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

// version is what the programs are built to say of themselves.
const version = "acceptance-test"
