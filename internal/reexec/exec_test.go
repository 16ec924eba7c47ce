package reexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// role makes this program one of those in the tests.
const role = "REEXEC_TEST_ROLE"

func TestMain(m *testing.M) {
	if s, err := Inherited(); s != nil || err != nil {
		successor(s, err)
		return
	}
	switch os.Getenv(role) {
	case "predecessor":
		predecessor()
	default:
		os.Exit(m.Run())
	}
}

// report is what the second program says.
type report struct {
	Pid         int
	Args        []string
	Error       string
	Inherits    []string // environment of ours that a command would have
	CloseOnExec []bool   // of the descriptors
	Read        string   // from the first of them
	Child       string
}

// predecessor opens things and becomes another program: itself.
func predecessor() {
	fail := func(err error) {
		if err != nil {
			fmt.Println("predecessor:", err)
			os.Exit(1)
		}
	}
	r, w, err := os.Pipe()
	fail(err)
	_, err = w.WriteString("left behind")
	fail(err)
	in, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	fail(err)
	child := exec.Command("sleep", "1000")
	child.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	fail(child.Start())
	fd := int(r.Fd())
	s := &State{Version: "1", Args: []string{"-x"}, Shown: []string{"shown"}, Files: []int{fd}, Late: SlowToClose(), Children: []int{child.Process.Pid}}
	if len(s.Late) != 1 || s.Late[0] != in {
		fail(fmt.Errorf("slow to close: %v, not %d", s.Late, in))
	}
	self, err := os.Executable()
	fail(err)

	// What fails changes nothing.
	ready := func() error { return nil }
	limit := func() (l unix.Rlimit) {
		fail(unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
		return l
	}
	before := limit()
	tried := func(path string) *Tried {
		file, err := check(path)
		fail(err)
		return &Tried{"2", path, file}
	}
	nothing := filepath.Join(os.TempDir(), "reexec-test-"+fmt.Sprint(os.Getpid()))
	fail(os.WriteFile(nothing, []byte("no program"), 0o700))
	err = Exec(tried(nothing), s, ready)
	if !errors.Is(err, unix.ENOEXEC) {
		fail(fmt.Errorf("exec of no program: %v", err))
	}
	was := tried(nothing)
	fail(os.WriteFile(nothing, []byte("no program either"), 0o700))
	if err := Exec(was, s, ready); err == nil || !strings.Contains(err.Error(), "tried a moment ago") {
		fail(fmt.Errorf("exec of another file than was tried: %v", err))
	}
	fail(os.Remove(nothing))
	if after := limit(); after != before {
		fail(fmt.Errorf("exec of no program leaves a limit of %d descriptors, it was %d", after.Cur, before.Cur))
	}
	not := errors.New("not now")
	if err := Exec(tried(self), s, func() error { return not }); err != not {
		fail(fmt.Errorf("exec at a bad moment: %v", err))
	}
	syscall.ForkLock.Lock() // as somebody who starts a command
	if err := Exec(tried(self), s, ready); err != ErrStarting {
		fail(fmt.Errorf("exec while a command is being started: %v", err))
	}
	syscall.ForkLock.Unlock()
	for _, fd := range []int{fd, in} {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			fail(fmt.Errorf("descriptor %d would be inherited: %d, %v", fd, flags, err))
		}
	}
	// A SIGHUP between the two is nobody's end.
	hangup := func() error { return unix.Kill(os.Getpid(), unix.SIGHUP) }
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, unix.SIGHUP)
	if err := Exec(tried(self), s, func() error { return errors.Join(hangup(), not) }); !errors.Is(err, not) {
		fail(fmt.Errorf("exec at a bad moment: %v", err))
	}
	fail(hangup())
	<-heard // as before
	fail(Exec(tried(self), s, hangup))
}

// successor is that program, and ends at once.
func successor(s *State, err error) {
	out := report{Pid: os.Getpid(), Args: os.Args[1:]}
	if err != nil {
		out.Error = err.Error()
	} else {
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "VRRPD_") {
				out.Inherits = append(out.Inherits, v)
			}
		}
		for _, fd := range append(s.Files, s.Late...) {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			out.CloseOnExec = append(out.CloseOnExec, err == nil && flags&unix.FD_CLOEXEC != 0)
		}
		b := make([]byte, 100)
		n, _ := unix.Read(s.Files[0], b)
		out.Read = string(b[:n])
		s.CloseLate()
		s.CloseLate()
		s.Reap()
		out.Child = fmt.Sprint(unix.Kill(s.Children[0], 0))
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
}

func TestExec(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "ulimit -S -n 256; exec "+self) // the runtime raises it
	cmd.Env = append(os.Environ(), role+"=predecessor")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got report
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := report{
		Pid: cmd.Process.Pid, Args: []string{"shown"}, CloseOnExec: []bool{true, true}, Read: "left behind", Child: unix.ESRCH.Error(),
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A variable that somebody else has set, or a state that is none, is an error, and no
// start as if nothing had been.
func TestInheritedNonsense(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command(self)
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), variable+"=3"), []*os.File{r}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(out, &got); err != nil || got.Error == "" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTry(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	good := script("good", `[ "$1" = `+TryFlag+` ] && [ $# = 1 ] && [ -s /dev/fd/3 ] && [ -z "$VRRPD_STATE_FD" ] && echo "`+Yes("7.1")+`"`)
	if p, err := Try(ctx, good, sample()); err != nil || p.Version != "7.1" {
		t.Errorf("%+v, %v", p, err)
	}
	open := script("open", "")
	if err := os.Chmod(open, 0o775); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("echo '"+Yes("1")+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "there is no ",
		dir:                           "is no program",
		open:                          "others may write to " + open + " (mode 0775); chmod it to 0755",
		"/bin/true":                   "does not know how to take over",
		script("bad", "echo vrrpd: why >&2; exit 4"):  "cannot take over: why",
		script("liar", "echo '"+Yes("1")+"'; exit 1"): "cannot take over",
		script("killed", "kill -9 $$"):                "SIGKILL",
		text:                                          "exec format error",
	} {
		if v, err := Try(ctx, path, sample()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %+v, %v; want %q", path, v, err, want)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(good, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := Try(ctx, good, sample()); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("a stranger's program: %v", err)
		}
	}
}

// A program is found by the name that it was started by, however it was.
func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "alternative")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/nonexistent:"+dir)
	for name, want := range map[string]string{
		self: self, link: link, "alternative": link, "vrrpd": self, "./vrrpd": self, "/bin/sh": self,
	} {
		if got, err := Program(name); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
}
