package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vrrpd/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Hook()
	flag.Parse()
	os.Exit(run(m))
}

// run builds vrrpd, puts it in front of PATH, and runs the tests.
func run(m *testing.M) int {
	if netlab.Available() != nil {
		return m.Run() // every test says what is missing, and is skipped or fails
	}
	dir, err := os.MkdirTemp("", "vrrpd-interop-")
	if err == nil {
		defer os.RemoveAll(dir)
		var out []byte
		if out, err = exec.Command("go", "build", "-o", filepath.Join(dir, "vrrpd"), "vrrpd/cmd/vrrpd").CombinedOutput(); err != nil {
			err = fmt.Errorf("build vrrpd: %w\n%s", err, out)
		}
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")+string(os.PathListSeparator)+"/usr/sbin")
	}
	if err == nil {
		// The elections at 1 s adverts wait nearly all of their time: six at a time
		// do not disturb each other.
		err = flag.Set("test.parallel", "6")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	return m.Run()
}

// need skips a test, or ends it, if a program is not there.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatalf("%s is not installed, and INTEROP_REQUIRED is set", program)
	}
	t.Skipf("SKIPPED: %s is not installed", program)
}

// check ends the test if err is not nil.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
