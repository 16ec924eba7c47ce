package pidfd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// sleeper is a process that ends when it is let go of.
func sleeper(t *testing.T) (cmd *exec.Cmd, letGo func()) {
	t.Helper()
	cmd = exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return cmd, func() { in.Close() }
}

func threads(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Many are waited for without a thread for each of them, and each is told of.
func TestWaitKeepsNoThread(t *testing.T) {
	const many = 40
	var all []func()
	var ended sync.WaitGroup
	before := threads(t)
	for range many {
		cmd, letGo := sleeper(t)
		p, err := Open(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if p.Over() {
			t.Fatal("it is over already")
		}
		ended.Go(func() {
			if err := p.Wait(); err != nil {
				t.Error(err)
			}
			if !p.Over() {
				t.Error("it ended and is not over")
			}
		})
		all = append(all, letGo)
	}
	if now := threads(t); now-before >= many/2 {
		t.Errorf("%d threads more for %d processes", now-before, many)
	}
	for _, letGo := range all {
		letGo()
	}
	ended.Wait()
}

// A process that nobody has reaped yet has ended.
func TestZombie(t *testing.T) {
	cmd, letGo := sleeper(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	letGo()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil || !strings.Contains(string(stat), ") Z ") {
		t.Errorf("it is no zombie: %s, %v", stat, err)
	}
}

func TestCloseEndsWait(t *testing.T) {
	cmd, _ := sleeper(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- p.Wait() }()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if <-done == nil {
		t.Error("a closed one has ended")
	}
	if !p.Over() {
		t.Error("a closed one is not over")
	}
}

func TestOpenNobody(t *testing.T) {
	cmd, letGo := sleeper(t)
	letGo()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cmd.Process.Pid); !errors.Is(err, unix.ESRCH) {
		t.Errorf("Open of a process that was reaped: %v", err)
	}
}
