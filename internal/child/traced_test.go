package child

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tracedEnv makes this test the tracer of a process until stdin ends.
const tracedEnv = "CHILD_TEST_TRACE"

// Somebody looks with strace at a command while it ends: to its parent it has ended, and
// cannot be waited for before the tracer has seen that.
func TestTracedToTheEnd(t *testing.T) {
	if pid := os.Getenv(tracedEnv); pid != "" {
		trace(pid)
		return
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStarter()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.Run(ctx)
	p, err := s.Start(ctx, Command{Argv: []string{"sh", "-c", "read line < " + fifo + "; exit 3"}, Environ: os.Environ(), Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	tracer := exec.Command(os.Args[0], "-test.run=TestTracedToTheEnd")
	tracer.Env = append(os.Environ(), fmt.Sprintf("%s=%d", tracedEnv, p.PID()))
	in, err := tracer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tracer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, err := out.Read(said)
	if err != nil || !strings.HasPrefix(string(said[:n]), "traced") {
		in.Close()
		tracer.Wait()
		if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
			t.Error(err)
		}
		p.Wait(ctx)
		t.Skipf("cannot trace here: %s %v", said[:n], err)
	}
	result := make(chan Result, 1)
	go func() { result <- p.Wait(ctx) }()
	if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
		t.Error(err)
	}
	for !p.end.Over() {
		time.Sleep(time.Millisecond)
	}
	select {
	case r := <-result:
		t.Errorf("it was waited for although it cannot be: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
	in.Close()
	if err := tracer.Wait(); err != nil {
		t.Error(err)
	}
	if r := <-result; r.ExitCode != 3 {
		t.Errorf("it ended like this: %+v", r)
	}
}

func trace(pid string) {
	runtime.LockOSThread()
	n := 0
	fmt.Sscan(pid, &n)
	const seize = 0x4206
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, seize, uintptr(n), 0, 0, 0, 0); errno != 0 {
		fmt.Println(errno)
		return
	}
	fmt.Println("traced")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
