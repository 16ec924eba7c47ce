package hooks

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/internal/child"
)

func TestEnvironmentOfACommand(t *testing.T) {
	b := start(t, Options{Environ: []string{"PATH=/usr/bin:/bin", "NOTIFY_SOCKET=/n", "LISTEN_FDS=1", "PWD=/root"}})
	b.Post(full("env"))
	if r := b.result(); r.Err != nil {
		t.Fatal(r.Err)
	}
	got, want := b.said(), full().environ([]string{"PATH=/usr/bin:/bin"})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}

func TestDefaultEnvironment(t *testing.T) {
	t.Setenv("HOOKS_TEST", "yes")
	b := start(t, Options{})
	if _, got := b.do("echo $HOOKS_TEST"); !slices.Equal(got, []string{"yes"}) {
		t.Errorf("got %q", got)
	}
}

// TestSurroundings: working directory, stdin, arguments, process group,
// descriptors, signals.
func TestSurroundings(t *testing.T) {
	// Something that the daemon was given by mistake, without close-on-exec, at
	// a number that no shell uses itself.
	leak, err := unix.FcntlInt(0, unix.F_DUPFD, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGTTIN)
	t.Cleanup(func() { signal.Reset(syscall.SIGPIPE, syscall.SIGTTIN) })

	b := start(t, Options{})
	// The shell reads its status itself: while it forks it blocks everything.
	b.Post(full(script(t, `pwd
readlink /proc/self/fd/0
echo $# "$1"
[ $$ = "$(cut -d ' ' -f 5 /proc/$$/stat)" ] && echo leads its group
[ -e /proc/$$/fd/`+strconv.Itoa(leak)+` ] && echo has a leak
while read -r line; do case $line in SigBlk*|SigIgn*) echo "$line";; esac; done < /proc/$$/status`), "a b"))
	if r := b.result(); r.Err != nil {
		t.Fatal(r.Err)
	}
	got := b.said()
	for i, line := range got {
		// The signals above the classic ones are the C library's own; whoever
		// starts the tests may have them ignored, and Go cannot change that.
		if name, mask, ok := strings.Cut(line, ":\t00000000"); ok {
			if n, err := strconv.ParseUint(mask, 16, 32); err == nil {
				got[i] = fmt.Sprintf("%s %x", name, n&(1<<31-1))
			}
		}
	}
	want := []string{"/", "/dev/null", "1 a b", "leads its group", "SigBlk 0", "SigIgn 0"}
	if !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}

// TestIgnoredStaysHarmless: the daemon does not feel that SIGPIPE is no longer
// ignored but handled.
func TestIgnoredStaysHarmless(t *testing.T) {
	signal.Ignore(syscall.SIGPIPE)
	t.Cleanup(func() { signal.Reset(syscall.SIGPIPE) })
	b := start(t, Options{})
	b.do("true")
	if err := unix.Kill(os.Getpid(), unix.SIGPIPE); err != nil {
		t.Fatal(err)
	}
	if r, _ := b.do("true"); r.Err != nil { // still here
		t.Error(r.Err)
	}
}

// TestNoReaders: both callbacks may be missing.
func TestNoReaders(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	start, over := starting(ctx)
	r := New(Options{Start: start})
	stopped := make(chan error, 1)
	go func() { stopped <- r.Run(ctx) }()
	r.Post(full(script(t, "echo a")))
	r.Post(Job{State: election.Backup, Argv: []string{script(t, "exit 1")}})
	wait, done := context.WithTimeout(context.Background(), patience)
	defer done()
	if err := r.Idle(wait); err != nil {
		t.Error(err)
	}
	cancel()
	if err := receive(t, stopped, "the end of Run"); err != nil {
		t.Error(err)
	}
	<-over
}

func TestRunAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: setuid")
	}
	b := start(t, Options{RunAs: &child.Identity{UID: 65534, GID: 65533, Groups: []uint32{65532}}})
	b.Post(full("grep", "-E", "^(Uid|Gid|Groups|CapEff)", "/proc/self/status"))
	if r := b.result(); r.Err != nil {
		t.Fatal(r.Err)
	}
	var got []string
	for _, line := range b.said() {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"Uid: 65534 65534 65534 65534", "Gid: 65533 65533 65533 65533", "Groups: 65532", "CapEff: 0000000000000000"}
	if !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}
