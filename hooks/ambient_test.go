package hooks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ambientEnv makes this program a daemon with ambient capabilities: it runs one
// command, and says what the command's capabilities were and what its own are.
const ambientEnv = "HOOKS_TEST_AMBIENT"

func runAmbient() {
	show := func(who string) []string {
		return []string{"sed", "-n", "s/^Cap\\(Inh\\|Prm\\|Eff\\|Amb\\):[\\t 0]*/" + who + " \\1 /p", "/proc/self/status"}
	}
	done := make(chan Result, 1)
	ctx, cancel := context.WithCancel(context.Background())
	start, over := starting(ctx)
	r := New(Options{
		Start:  start,
		Output: func(_ Job, line string) { fmt.Println(strings.TrimSpace(line)) },
		Done:   func(r Result) { done <- r },
	})
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.Post(full(show("command")...))
	if err := (<-done).Err; err != nil {
		fmt.Println(err)
	}
	cancel()
	if err := <-ended; err != nil {
		fmt.Println(err)
	}
	<-over
	// The daemon itself keeps them: this thread's, read by itself.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("daemon Eff %x\n", sets[0].Effective)
}

// A daemon of a user of its own, which systemd has given ambient capabilities,
// does not give them on.
func TestAmbientCapabilitiesStayHere(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to become another user with capabilities")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's own program lies where only root may go.
	file, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), ambientEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	// CAP_NET_ADMIN is 12, CAP_NET_RAW 13; zeros were cut off.
	want := []string{"command Inh", "command Prm", "command Eff", "command Amb", "daemon Eff 3000"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
