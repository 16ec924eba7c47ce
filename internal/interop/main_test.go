package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
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
	dir, err := os.Getenv(programsEnv), error(nil)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "vrrpd-interop-"); err == nil {
			defer os.RemoveAll(dir)
			err = build(dir)
		}
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")+string(os.PathListSeparator)+"/usr/sbin")
	}
	if err == nil && !asked("test.parallel") {
		// The elections at 1 s adverts wait nearly all of their time: many at a time
		// do not disturb each other much. Three inotify instances each: the kernel's
		// limit is 128.
		err = flag.Set("test.parallel", "16")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	stopListening, err := listenToNoise()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer stopListening()
	code := m.Run()
	if *writeDoc { // what failed is in it with the figure that it failed with
		if err := writeDocument(documentPath); err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			return 1
		}
	}
	return code
}

// din is the noise of the machine that all of this runs on.
var din *netlab.Noise

func listenToNoise() (stop func(), err error) {
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	h, err := lab.Host("noise", netlab.HostOptions{})
	if err == nil {
		din, err = h.ListenToNoise()
	}
	if err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return func() {
		din.Close()
		_ = lab.Close() // the machine does it otherwise
	}, nil
}

// asked tells whether the command line has the flag.
func asked(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// writeDoc has the results of this run written down.
var everyForm = flag.Bool("every", false, "ties and the absence of preemption in every form too")
var writeDoc = flag.Bool("write-doc", false, "write docs/interop.md from the results of this run")

// programsEnv names the directory with vrrpd where it cannot, or need not, be built.
const programsEnv = "VRRPD_TEST_PROGRAMS"

// build makes vrrpd as make build does.
func build(dir string) error {
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "vrrpd"), "vrrpd/cmd/vrrpd").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build vrrpd: %w\n%s", err, out)
	}
	return nil
}

// programs are what the implementations need to be there.
var programs = map[string][]string{
	nameKeepalived: {"keepalived"},
	nameFRR:        {peers.FRRZebra, peers.FRRDaemon},
}

// need skips the test without what the peer runs.
func (c peering) need(t *testing.T) {
	t.Helper()
	for _, p := range programs[c.implementation()] {
		need(t, p)
	}
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
