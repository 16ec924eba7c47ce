package control

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = 20 * time.Second

// TestMain is also the client that runs as somebody else.
func TestMain(m *testing.M) {
	if mode := os.Getenv("CONTROL_TEST_CHILD"); mode != "" {
		os.Exit(stranger(mode, os.Getenv("CONTROL_TEST_SOCKET")))
	}
	goleak.VerifyTestMain(m)
}

// fake is a Source that says what it is told to.
type fake struct {
	mu       sync.Mutex
	status   []Status // each is given once, the last for ever
	commands []Command
	reply    func(context.Context, Command) (Result, error)
}

func (f *fake) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.status[0]
	if len(f.status) > 1 {
		f.status = f.status[1:]
	}
	return st
}

func (f *fake) Command(ctx context.Context, c Command) (Result, error) {
	f.mu.Lock()
	f.commands = append(f.commands, c)
	f.mu.Unlock()
	if f.reply != nil {
		return f.reply(ctx, c)
	}
	return Result{Done: true, Message: string(c.Verb) + " is done"}, nil
}

func (f *fake) asked() []Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Command(nil), f.commands...)
}

func machine(group, phase string, epoch uint64) Status {
	m := Machine{Group: group, Phase: phase, State: phase, Reason: "startup", Epoch: epoch}
	if phase == "HELD" {
		m.State = "BACKUP"
	}
	return Status{Machine: m, PID: 42, Time: time.Unix(int64(epoch), 0)}
}

// daemon is a server with its feed, running until the test ends or stop.
type daemon struct {
	*fake
	feed   Feed
	server *Server
	path   string
	stop   func()
}

func serve(t testing.TB, path string, status ...Status) *daemon {
	t.Helper()
	d := &daemon{fake: &fake{status: status}, path: path}
	d.server = &Server{Source: d, Feed: &d.feed}
	if err := d.server.Listen(path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.server.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(d.stop)
	return d
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// nobody is a user that is not root.
const nobody = 65534

// as prepares this test binary to run as another user, in group gid.
func as(t *testing.T, gid uint32, mode, socket string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: to ask as another user")
	}
	// t.TempDir is for its owner alone.
	for dir := filepath.Dir(socket); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(within(t), "/proc/self/exe")
	c.Env = []string{"CONTROL_TEST_CHILD=" + mode, "CONTROL_TEST_SOCKET=" + socket}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: gid}}
	return c
}

func stranger(mode, path string) int {
	ctx := context.Background()
	c := NewClient(path)
	switch mode {
	case "ask":
		st, err := c.Status(ctx)
		fmt.Printf("state %s %v\n", st.Machine.Phase, err)
		for _, v := range Verbs() {
			r, err := c.Command(ctx, v)
			fmt.Printf("%v %s %v\n", r.Done, r.Message, err)
		}
	case "flood":
		// Hold as many watches as the server allows, and then some.
		refused := 0
		for range 3 * maxPerUser {
			conn, err := net.Dial("unix", path)
			if err != nil {
				fmt.Println(err)
				return 1
			}
			fmt.Fprint(conn, "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || strings.Contains(line, "503") {
				refused++
			}
		}
		fmt.Println("refused", refused)
		bufio.NewReader(os.Stdin).ReadString('\n')
	}
	return 0
}
