package sysd

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const errPipe = syscall.EPIPE

func readNow(fd int, buf []byte) (int, error) {
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	return n, err
}

// printSigIgn shows which signals a script started from here would ignore.
func printSigIgn() int {
	c := exec.Command("grep", "SigIgn", "/proc/self/status")
	c.Stdout = os.Stdout
	if c.Run() != nil {
		return 5
	}
	return 0
}

func runChild(t *testing.T, mode string) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	ctx := within(t)
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(os.Environ(), "SYSD_TEST_CHILD="+mode)
	c.Stderr = w
	out, err := c.Output()
	return string(out), err
}

func TestStderrReaderGone(t *testing.T) {
	out, err := runChild(t, "survive")
	if err != nil {
		t.Fatalf("child: %v, said %q", err, out)
	}
	if !strings.HasPrefix(out, "lost 1\nalive\n") {
		t.Errorf("child said %q", out)
	}
	var mask uint64
	if _, err := fmt.Sscanf(out[strings.Index(out, "SigIgn"):], "SigIgn:\t%x", &mask); err != nil {
		t.Fatalf("child said %q: %v", out, err)
	}
	if mask&(1<<(unix.SIGPIPE-1)) != 0 {
		t.Error("scripts inherit an ignored SIGPIPE")
	}

	// The counter-check: without it the plain write kills, after the handler
	// has already survived its own.
	out, err = runChild(t, "plain")
	if err == nil || out != "lost 1\n" {
		t.Errorf("without SurviveSIGPIPE: said %q, err %v; want death by SIGPIPE after %q", out, err, "lost 1")
	}
}

// pipeLog opens a log on the writing end of a pipe and returns the reading end.
func pipeLog(t *testing.T, o Options) (*Log, *os.File, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	o.Stderr = w
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, r, w
}

func TestStderrLineHasFullTimeInAPipe(t *testing.T) {
	l, r, _ := pipeLog(t, Options{Dest: Stderr})
	start(t, l.Run)
	slog.New(l.Handler()).Warn("peer does not hear us", KeyInterface, "vrrp51")
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	stamp, text, _ := strings.Cut(line, " ")
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", stamp); err != nil {
		t.Errorf("time stamp: %v", err)
	}
	if text != "vrrp51: warning: peer does not hear us\n" {
		t.Errorf("line %q", text)
	}
}

func TestStderrInJournalHasPriorityAndNoTime(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	journalStream(t, w)
	l, err := Open(Options{Dest: Stderr, Stderr: w})
	if err != nil {
		t.Fatal(err)
	}
	start(t, l.Run)
	slog.New(l.Handler()).Error("cannot send", "error", "no buffer space")
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || line != "<3>cannot send error=\"no buffer space\"\n" {
		t.Errorf("line %q, %v", line, err)
	}
}

func journalStream(t *testing.T, f *os.File) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
}

// A reader that is alive but stuck costs records, and Run still ends.
func TestStderrReaderStuck(t *testing.T) {
	l, _, w := pipeLog(t, Options{Dest: Stderr})
	fill(t, w)
	for i := range 100 {
		slog.New(l.Handler()).Info("stuck", "i", i)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	l.Run(done)
	if l.Lost() != 100 {
		t.Errorf("lost %d of 100", l.Lost())
	}
}

func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
			break
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}
