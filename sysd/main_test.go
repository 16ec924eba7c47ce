package sysd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if mode := os.Getenv("SYSD_TEST_CHILD"); mode != "" {
		os.Exit(child(mode))
	}
	goleak.VerifyTestMain(m)
}

// receiver is the far end of a datagram socket.
type receiver struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func listen(t *testing.T, path string) *receiver {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "socket")
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &receiver{t, path, conn}
}

// next waits for a datagram and returns it with the files that came along.
func (r *receiver) next() (data, rights []byte) {
	r.t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(patience))
	data, rights = make([]byte, 1<<20), make([]byte, 1<<10)
	n, on, _, _, err := r.conn.ReadMsgUnix(data, rights)
	if err != nil {
		r.t.Fatalf("waiting for a datagram: %v", err)
	}
	return data[:n], rights[:on]
}

// rest returns what has already arrived, without waiting.
func (r *receiver) rest() (all []string) {
	r.t.Helper()
	raw, err := r.conn.SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		got := ""
		buf := make([]byte, 1<<20)
		raw.Read(func(fd uintptr) bool {
			if n, err := readNow(int(fd), buf); err == nil {
				got = string(buf[:n])
			}
			return true
		})
		if got == "" {
			return all
		}
		all = append(all, got)
	}
}

// start runs f until the test ends, and waits for its end.
func start(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("Run does not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// child is the test binary run again with a stderr whose reader is gone.
func child(mode string) int {
	undo := func() {}
	if mode == "survive" {
		undo = SurviveSIGPIPE()
	}
	defer undo()
	l, err := Open(Options{Dest: Stderr})
	if err != nil {
		return 3
	}
	slog.New(l.Handler()).Info("nobody reads this")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.Run(ctx)
	fmt.Printf("lost %d\n", l.Lost())
	if _, err := fmt.Fprintln(os.Stderr, "nor this"); !errors.Is(err, errPipe) {
		return 4
	}
	fmt.Println("alive")
	return printSigIgn()
}
